"""vecmath.h: accuracy in ulp against a wider type, special values, and the checks of `evaluate`."""

from concurrent.futures import ProcessPoolExecutor
from functools import cache, partial

import numpy as np
import pytest

from fastloss import _cpu

F, D = np.float32, np.float64
LEVELS = _cpu.supported_levels()
INF, NAN = np.inf, np.nan

# Largest error in ulp of the exact result, per function and dtype: (with FMA, without FMA).
MAX_ULP = {
    ("exp", F): (1.0, 2.0),
    ("exp", D): (1.5, 2.0),
    ("exp_nonpositive", F): (1.0, 2.0),
    ("exp_nonpositive", D): (1.5, 2.0),
    ("expm1", F): (1.5, 1.5),
    ("expm1", D): (1.5, 1.5),
    ("log", F): (1.0, 2.0),
    ("log", D): (1.5, 2.0),
    ("log1p", F): (2.0, 2.0),
    ("log1p", D): (2.0, 2.0),
    ("log1p_01", F): (1.5, 2.0),
    ("log1p_01", D): (1.5, 1.5),
    ("tanh", F): (2.7, 2.7),
    ("tanh", D): (2.7, 2.7),
    ("sigmoid", F): (2.5, 2.5),
    ("sigmoid", D): (2.5, 2.5),
    ("softplus", F): (2.0, 2.7),
    ("softplus", D): (2.0, 2.5),
    ("log_sigmoid", F): (2.0, 2.7),
    ("log_sigmoid", D): (2.0, 2.5),
}
FUNCTIONS = sorted({name for name, _ in MAX_ULP})
DOMAIN = {"exp_nonpositive": (-INF, 0.0), "log1p_01": (0.0, 1.0)}  # NaN is always in

SAMPLED = [pytest.param(name, dtype, id=f"{name}-{dtype.__name__}") for name, dtype in MAX_ULP]

each_level = pytest.mark.parametrize("level", LEVELS)
each_sample = pytest.mark.parametrize("name, dtype", SAMPLED)


def bound(name, dtype, level):
    fma, no_fma = MAX_ULP[name, dtype]
    return no_fma if level == "x86-64-v2" else fma


def evaluate(level, name, x):
    out = np.empty_like(x)
    _cpu.kernel("vecmath", level).evaluate(name, x, out)
    return out


def wider(dtype):
    """The type that reference values are computed in: at least 10 more bits of mantissa."""
    if dtype is F:
        return D
    if np.finfo(np.longdouble).nmant < 62:
        pytest.skip("no type wider than float64 here")
    return np.longdouble


def softplus(x):
    return np.maximum(x, 0) + np.log1p(np.exp(-abs(x)))


def sigmoid(x):
    e = np.exp(-abs(x))
    return np.where(x < 0, e, 1) / (1 + e)


REFERENCE = {
    "exp": np.exp,
    "exp_nonpositive": np.exp,
    "expm1": np.expm1,
    "log": np.log,
    "log1p": np.log1p,
    "log1p_01": np.log1p,
    "tanh": np.tanh,
    "sigmoid": sigmoid,
    "softplus": softplus,
    "log_sigmoid": lambda x: -softplus(-x),
}


def reference(name, x):
    with np.errstate(all="ignore"):
        return REFERENCE[name](x.astype(wider(x.dtype.type)))


def ulp_error(got, exact):
    """Largest error of `got` in ulp of the exact values (given in a wider type); inf if a NaN or sign is wrong.

    Infinity counts as the power of two where overflow starts. The ulp of a subnormal is the smallest subnormal.
    """
    info, wide = np.finfo(got.dtype), exact.dtype.type
    limit = wide(2) ** info.maxexp
    with np.errstate(all="ignore"):
        if (np.isnan(got) != np.isnan(exact)).any():
            return INF
        if ((np.signbit(got) != np.signbit(exact)) & ~np.isnan(got)).any():
            return INF
        exact = np.clip(exact, -limit, limit)
        error = abs(np.clip(got.astype(wide), -limit, limit) - exact)
        if wide is D:  # 2^floor(log2(exact)) by its bits: ldexp and frexp are slow, and the exhaustive test is long
            power = (exact.view(np.uint64) & np.uint64(0x7FF << 52)).view(D)
        else:
            fraction, exponent = np.frexp(exact)
            power = np.ldexp(abs(np.sign(fraction)) / 2, exponent)
        ulp = np.maximum(power * wide(info.eps), wide(info.smallest_subnormal))
        return float(np.fmax.reduce(error / ulp, initial=0))


def restrict(name, x):
    low, high = DOMAIN.get(name, (-INF, INF))
    return x[~((x < low) | (x > high))]


@cache
def sample(dtype):
    """Edges and their neighbours, log-spaced magnitudes, the ranges where things happen, and random bits."""
    info, rng = np.finfo(dtype), np.random.default_rng(0)
    n = 60_000 if dtype is F else 15_000
    ln_max, ln_min = np.log(D(info.max)), np.log(D(info.smallest_subnormal))
    edges = [0, 1, 2, 0.5, np.sqrt(0.5), np.sqrt(2), np.sqrt(2) - 1, np.log(2) / 2, 0.75 * np.log(4), ln_max, ln_min]
    edges += [info.max, info.tiny, info.smallest_subnormal, info.eps, info.eps / 2, INF]
    edges += [ln_min - np.log(2), np.log(D(info.tiny)), 20, 40, 89, 104, 710, 746, 2.0**-26, 2.0**-55, 0.5 * info.max]
    x = np.array(edges, dtype)
    with np.errstate(all="ignore"):
        down, up = np.nextafter(x, dtype(-INF)), np.nextafter(x, dtype(INF))
        x = np.concatenate([x, down, up, np.nextafter(down, dtype(-INF)), np.nextafter(up, dtype(INF))])
    bits = rng.integers(0, 2 ** (8 * x.itemsize), n, dtype=f"u{x.itemsize}", endpoint=False).view(dtype)
    parts = [
        x,
        [NAN],
        np.exp2(rng.uniform(np.log2(info.smallest_subnormal), info.maxexp, n)),
        np.exp2(rng.uniform(-30, 10, n)),
        rng.uniform(0, 2, n),
        rng.uniform(1 - 1e-3, 1 + 1e-3, n),
        rng.uniform(0, 10, n),
        rng.uniform(0, 1.02 * abs(ln_min), n),
        rng.uniform(abs(ln_max) * 0.98, 1.02 * abs(ln_min), n),
    ]
    with np.errstate(all="ignore"):
        x = np.concatenate([np.asarray(part, dtype) for part in parts])
        return np.concatenate([x, -x, bits])


@cache
def sample_of(name, dtype):
    x = restrict(name, sample(dtype))
    return x, reference(name, x)


@each_level
@each_sample
def test_accuracy_on_a_sample(name, dtype, level):
    x, exact = sample_of(name, dtype)
    assert ulp_error(evaluate(level, name, x), exact) <= bound(name, dtype, level)


@pytest.mark.parametrize("dtype", [F, D])
def test_ulp_error_sees_errors(dtype):
    x = np.array([1.0, 1.5, 1e-310, 3.0, 0.0, NAN, INF, np.finfo(dtype).max], dtype)
    exact = x.astype(wider(dtype))
    assert ulp_error(x, exact) == 0
    for i, wrong, ulp in [
        (0, np.nextafter(dtype(1), dtype(2)), 1),
        (0, np.nextafter(dtype(1), dtype(0)), 0.5),
        (1, np.nextafter(dtype(1.5), dtype(2)), 1),
        (4, np.finfo(dtype).smallest_subnormal, 1),
        (7, dtype(INF), 1),
        (4, dtype(-0.0), INF),
        (5, dtype(1), INF),
        (3, dtype(NAN), INF),
        (6, dtype(1), 2.0 ** np.finfo(dtype).nmant),
    ]:
        got = x.copy()
        got[i] = wrong
        assert ulp_error(got, exact) == pytest.approx(ulp, rel=1e-6)


SPECIAL = [
    ("exp", -INF, 0.0),
    ("exp", -1e30, 0.0),
    ("exp", 0.0, 1.0),
    ("exp", -0.0, 1.0),
    ("exp", 1e30, INF),
    ("exp", INF, INF),
    ("exp_nonpositive", -INF, 0.0),
    ("exp_nonpositive", -1e30, 0.0),
    ("exp_nonpositive", 0.0, 1.0),
    ("exp_nonpositive", -0.0, 1.0),
    ("expm1", -INF, -1.0),
    ("expm1", -1e30, -1.0),
    ("expm1", 0.0, 0.0),
    ("expm1", -0.0, -0.0),
    ("expm1", 1e30, INF),
    ("expm1", INF, INF),
    ("log", 0.0, -INF),
    ("log", -0.0, -INF),
    ("log", 1.0, 0.0),
    ("log", INF, INF),
    ("log", -1e-40, NAN),
    ("log", -1.0, NAN),
    ("log", -INF, NAN),
    ("log1p", 0.0, 0.0),
    ("log1p", -0.0, -0.0),
    ("log1p", -1.0, -INF),
    ("log1p", -1.5, NAN),
    ("log1p", -INF, NAN),
    ("log1p", INF, INF),
    ("log1p_01", 0.0, 0.0),
    ("tanh", 0.0, 0.0),
    ("tanh", -0.0, -0.0),
    ("tanh", 1e30, 1.0),
    ("tanh", -1e30, -1.0),
    ("tanh", INF, 1.0),
    ("tanh", -INF, -1.0),
    ("sigmoid", 0.0, 0.5),
    ("sigmoid", -0.0, 0.5),
    ("sigmoid", INF, 1.0),
    ("sigmoid", -INF, 0.0),
    ("sigmoid", 1e30, 1.0),
    ("sigmoid", -1e30, 0.0),
    ("softplus", INF, INF),
    ("softplus", -INF, 0.0),
    ("softplus", 1e30, 1e30),
    ("softplus", -1e30, 0.0),
    ("log_sigmoid", INF, -0.0),
    ("log_sigmoid", -INF, -INF),
    ("log_sigmoid", -1e30, -1e30),
    *[(name, NAN, NAN) for name in FUNCTIONS],
]


@each_level
@pytest.mark.parametrize("dtype", [F, D])
@pytest.mark.parametrize("name, x, expected", SPECIAL)
@pytest.mark.parametrize("n", [1, 33])  # the scalar remainder and the vector loop
def test_special_values(name, x, expected, dtype, level, n):
    got, expected = evaluate(level, name, np.full(n, x, dtype)), np.full(n, expected, dtype)
    np.testing.assert_array_equal(got, expected)
    if not np.isnan(expected[0]):
        np.testing.assert_array_equal(np.signbit(got), np.signbit(expected))


@each_level
@each_sample
def test_tiny_arguments_are_not_flushed(name, dtype, level):
    tiny = np.finfo(dtype).smallest_subnormal
    x = np.array([tiny, 2 * tiny, 3 * tiny, np.finfo(dtype).tiny - tiny], dtype)
    if name in ("expm1", "log1p", "log1p_01", "tanh"):
        np.testing.assert_array_equal(evaluate(level, name, x), x)
    if name in ("exp", "exp_nonpositive", "sigmoid", "softplus"):  # down to the last subnormal
        x = np.array([np.log(D(tiny)) + 1e-3, np.log(D(tiny)) + np.log(2) + 1e-3], dtype)
        np.testing.assert_array_equal(evaluate(level, name, x), np.array([1, 2], dtype) * tiny)


@each_level
@each_sample
def test_nan_of_any_payload_passes(name, dtype, level):
    rng = np.random.default_rng(1)
    bits = rng.integers(0, 2 ** (8 * np.dtype(dtype).itemsize), 10_000, dtype=f"u{np.dtype(dtype).itemsize}")
    exponent = np.array(INF, dtype).view(bits.dtype)
    x = (bits | exponent | np.array(1, bits.dtype)).view(dtype)
    assert np.isnan(evaluate(level, name, x)).all()


@each_level
@each_sample
def test_same_bits_at_every_length_and_offset(name, dtype, level):
    x = restrict(name, sample(dtype))[-3000:]
    whole = evaluate(level, name, x)
    for start in range(40):
        for stop in range(start, 80):
            assert evaluate(level, name, x[start:stop]).tobytes() == whole[start:stop].tobytes()


@each_level
def test_result_may_replace_the_argument(level):
    x = np.linspace(-5, 5, 1001)
    expected = evaluate(level, "tanh", x)
    _cpu.kernel("vecmath", level).evaluate("tanh", x, x)
    np.testing.assert_array_equal(x, expected)


@each_level
def test_functions_are_the_ones_tested(level):
    assert sorted(_cpu.kernel("vecmath", level).FUNCTIONS) == FUNCTIONS


@each_level
@pytest.mark.parametrize(
    "name, x, out, error, message",
    [
        ("cosh", np.ones(3), np.ones(3), KeyError, "unknown function 'cosh'"),
        (None, np.ones(3), np.ones(3), KeyError, "unknown function None"),
        ("exp", [1.0], np.ones(1), TypeError, "x"),
        ("exp", np.ones(1), None, TypeError, "out"),
        ("exp", np.ones(3, int), np.ones(3, int), TypeError, "x must be float32 or float64, not int64"),
        ("exp", np.ones(3, F), np.ones(3), TypeError, "out must have the dtype of x, float32, not float64"),
        ("exp", np.ones((3, 1)), np.ones((3, 1)), ValueError, "x must be 1-d"),
        ("exp", np.ones(6)[::2], np.ones(3), ValueError, "x must be 1-d, C-contiguous"),
        ("exp", np.ones(3, ">f8"), np.ones(3), ValueError, "of native byte order"),
        ("exp", np.ones(3), np.ones(6)[::2], ValueError, "out must be 1-d, C-contiguous"),
        ("exp", np.ones(3), np.frombuffer(bytes(24)), ValueError, "and writable"),
        ("exp", np.ones(3), np.ones(4), ValueError, "out must have the length of x, 3, not 4"),
    ],
)
def test_wrong_arguments(level, name, x, out, error, message):
    with pytest.raises(error, match=message):
        _cpu.kernel("vecmath", level).evaluate(name, x, out)


CHUNK = 2**13  # temporaries small enough to stay in cache and out of mmap


def errors_per_level(name, x):
    exact, errors, last = reference(name, x), [], None
    for level in LEVELS:
        got = evaluate(level, name, x)
        same = last is not None and got.tobytes() == last.tobytes()  # v4 has the bits of v3
        errors.append(errors[-1] if same else ulp_error(got, exact))
        last = got
    return errors


def float32_errors(name, start, stop):
    worst = np.zeros(len(LEVELS))
    for i in range(start, stop, CHUNK):
        x = restrict(name, np.arange(i, i + CHUNK, dtype=np.uint32).view(F))
        if x.size:
            worst = np.maximum(worst, errors_per_level(name, x))
    return worst


def float64_errors(name, seed, count):
    rng, worst = np.random.default_rng(seed), 0
    for _ in range(0, count, 2 * CHUNK):
        bits = rng.integers(0, 2**64, CHUNK, dtype=np.uint64).view(D)
        if name == "exp":
            interesting = rng.uniform(-750, 712, CHUNK)
        else:
            interesting = rng.uniform(0.5, 2, CHUNK) * np.exp2(rng.integers(-3, 4, CHUNK))
        worst = np.maximum(worst, errors_per_level(name, np.concatenate([bits, interesting])))
    return worst


def assert_bounds(name, dtype, errors, *chunks):
    with ProcessPoolExecutor() as pool:
        worst = np.max(list(pool.map(partial(errors, name), *chunks)), axis=0)
    for level, error in zip(LEVELS, worst, strict=True):
        print(f"{name} {dtype.__name__} {level}: {error:.3f} ulp")
        assert error <= bound(name, dtype, level)


@pytest.mark.exhaustive
@pytest.mark.parametrize("name", FUNCTIONS)
def test_accuracy_on_every_float32(name):
    starts = range(0, 2**32, 2**24)
    assert_bounds(name, F, float32_errors, starts, [start + 2**24 for start in starts])


@pytest.mark.exhaustive
@pytest.mark.parametrize("name", ["exp", "log"])
def test_accuracy_on_10_to_the_8_random_float64(name):
    wider(D)
    assert_bounds(name, D, float64_errors, range(100), [10**6] * 100)

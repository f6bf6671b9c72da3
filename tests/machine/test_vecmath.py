"""vecmath.h: errors in ulp against a wider type, special values, and the checks of `evaluate`."""

import math
from concurrent.futures import ProcessPoolExecutor
from functools import cache, partial

import numpy as np
import pytest

from fastloss._core.calls.kernels import kernels, supported_levels

F, D, INF, NAN = np.float32, np.float64, np.inf, np.nan
LEVELS = supported_levels()

#: The largest error in ulp of the exact result, by function and dtype: with FMA, and without.
MAX_ULP = {
    ("exp", F): (1.0, 2.0),
    ("exp", D): (1.5, 2.0),
    ("exp_nonpositive", F): (1.0, 2.0),
    ("exp_nonpositive", D): (1.5, 2.0),
    ("expm1", F): (1.5, 1.5),
    ("expm1_from", F): (2.0, 2.0),
    ("expm1_from", D): (2.0, 2.0),
    ("expm1_minus_x", F): (3.0, 3.0),
    ("expm1_minus_x", D): (3.0, 3.0),
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
    ("x_minus_log1p", F): (2.7, 2.7),
    ("x_minus_log1p", D): (3.0, 3.0),
    ("lgamma1p", F): (1.0, 1.0),
    ("lgamma1p", D): (3.0, 3.0),
    ("log_near_one", F): (1.5, 2.0),
    ("log_near_one", D): (1.5, 2.0),
    ("exp_of_product", F): (1.2, 2.0),
    ("exp_of_product", D): (1.5, 2.0),
    ("log_cosh", F): (2.0, 2.0),
    ("log_cosh", D): (2.0, 2.0),
    ("tanh_from", F): (2.7, 2.7),
    ("tanh_from", D): (2.7, 2.7),
    ("pow", F): (1.5, 2.0),
    ("pow", D): (1.5, 2.0),
}
FUNCTIONS = sorted({name for name, _ in MAX_ULP})
DOMAIN = {  # NaN is always in
    "exp_nonpositive": (-INF, 0.0),
    "log1p_01": (0.0, 1.0),
    "x_minus_log1p": (0.0, INF),
    "lgamma1p": (-0.5, INF),
    "log_near_one": (0.0, 2.0),
    "pow": (0.0, INF),
}


def any_in(low, high):
    """A function of x with values spread over [low, high] that look random."""

    def spread(x):
        bits = x.view(f"u{x.itemsize}")
        return (low + (high - low) * ((bits * bits.dtype.type(0x9E3779B1)) % 1000003) / 1000002).astype(x.dtype)

    return spread


def any_power(x):
    """Exponents of use, and exponents for results of any size."""
    y = abs(any_in(-800, 800)(x) / np.log(x.astype(D))).astype(x.dtype)
    choice = any_in(0, 10)(x)
    y[~((choice < 7) & (y < INF))] = 2
    for i, power in enumerate((0.001, 0.5, 1, 3, 0)):
        y[(choice > 7 + i / 2) & (choice < 7.5 + i / 2)] = power
    return y


def any_factor(x):
    """Factors that give products of any size."""
    y = (any_in(-800, 800)(x) / x.astype(D)).astype(x.dtype)
    y[np.isnan(y)] = 2
    return y


def rounded_exp(x):
    return np.exp(x.astype(wider(x.dtype.type))).astype(x.dtype)


def exp_minus_twice(x):
    return np.exp(-2 * abs(x.astype(wider(x.dtype.type)))).astype(x.dtype)


def rounded_expm1(x):
    return np.expm1(x.astype(wider(x.dtype.type))).astype(x.dtype)


# The second argument of the functions of two, from the first.
SECOND = {
    "expm1_from": rounded_exp,
    "expm1_minus_x": rounded_expm1,
    "log_near_one": lambda x: x - 1,
    "exp_of_product": any_factor,
    "log_cosh": exp_minus_twice,
    "tanh_from": exp_minus_twice,
    "pow": any_power,
}

SAMPLED = [pytest.param(name, dtype, id=f"{name}-{dtype.__name__}") for name, dtype in MAX_ULP]

each_sample = pytest.mark.parametrize("name, dtype", SAMPLED)


def bound(name, dtype, level):
    fma, no_fma = MAX_ULP[name, dtype]
    return no_fma if level == "x86-64-v2" else fma


def arguments(name, x):
    with np.errstate(all="ignore"):
        return (x, SECOND[name](x)) if name in SECOND else (x,)


def evaluate(name, x, *y):
    out = np.empty_like(x)
    kernels.vecmath.evaluate(name, x, out, *y)
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


def log_cosh(x, _):
    x = abs(x)
    return np.where(x < 0.75, np.log1p(2 * np.sinh(x / 2) ** 2), x + np.log1p(np.exp(-2 * x)) - np.log(x.dtype.type(2)))


def expm1_minus_x(x, _):
    series = 0
    for k in range(25, 1, -1):
        series = 1 / x.dtype.type(math.factorial(k)) + series * x
    return np.where(abs(x) < 0.5, x * x * series, np.where(x < INF, np.expm1(x) - x, x))


def x_minus_log1p(x):
    series = 0
    for k in range(40, 1, -1):
        series = 1 / x.dtype.type(k) - series * x
    return np.where(x < 0.15, x * x * series, np.where(x < INF, x - np.log1p(x), x))


def pow_of_nan_is_nan(x, y):
    return np.where(np.isnan(x), x, x**y)


def lgamma1p(t):
    """Gauss's product, with Stirling's series for the rest of it, by differences that vanish with u."""
    dtype, n = t.dtype.type, 40
    u = np.where(t > 0.5, t - 1, t)  # its zeros are where u = 0
    result = (n + u + dtype(0.5)) * np.log1p(u / n) + u * np.log(dtype(n)) - u
    for i in range(1, n + 1):
        result = result - np.log1p(u / i)
    for power, factor in stirling(dtype):
        result = result + factor / dtype(n) ** power * np.expm1(-power * np.log1p(u / n))
    result = np.where(t > 0.5, result + np.log1p(u), result)
    large = (t + dtype(0.5)) * np.log(t) - t + np.log(8 * np.arctan(dtype(1))) / 2
    for power, factor in stirling(dtype):
        large = large + factor / t**power
    return np.where(t < 30, np.where(t == 0, 0, result), np.where(t == INF, t, large))


def stirling(dtype):
    factors = ((1, 12), (3, -360), (5, 1260), (7, -1680), (9, 1188), (11, dtype(-360360) / 691))
    return [(power, 1 / dtype(divisor)) for power, divisor in factors]


REFERENCE = {
    "exp": np.exp,
    "exp_nonpositive": np.exp,
    "expm1": np.expm1,
    "expm1_from": lambda x, e: np.expm1(x),
    "expm1_minus_x": expm1_minus_x,
    "log": np.log,
    "log1p": np.log1p,
    "log1p_01": np.log1p,
    "tanh": np.tanh,
    "sigmoid": sigmoid,
    "softplus": softplus,
    "log_sigmoid": lambda x: -softplus(-x),
    "x_minus_log1p": x_minus_log1p,
    "lgamma1p": lgamma1p,
    "log_near_one": lambda x, d: np.log(x),
    "exp_of_product": lambda a, b: np.exp(a * b),
    "log_cosh": log_cosh,
    "tanh_from": lambda x, e: np.tanh(x),
    "pow": pow_of_nan_is_nan,
}


def reference(name, x, *y):
    with np.errstate(all="ignore"):
        return REFERENCE[name](*(v.astype(wider(x.dtype.type)) for v in (x, *y)))


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
    args = arguments(name, restrict(name, sample(dtype)))
    return args, reference(name, *args)


@each_sample
def test_accuracy_on_a_sample(name, dtype, level):
    args, exact = sample_of(name, dtype)
    assert ulp_error(evaluate(name, *args), exact) <= bound(name, dtype, level)


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
    ("expm1_from", (-0.0, 1.0), -0.0),
    ("expm1_from", (INF, INF), INF),
    ("expm1_from", (-INF, 0.0), -1.0),
    ("expm1_minus_x", (0.0, 0.0), 0.0),
    ("expm1_minus_x", (-0.0, -0.0), 0.0),
    ("expm1_minus_x", (INF, INF), INF),
    ("expm1_minus_x", (100.0, INF), INF),
    ("expm1_minus_x", (-INF, -1.0), INF),
    ("expm1_minus_x", (-1e30, -1.0), 1e30),
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
    ("x_minus_log1p", 0.0, 0.0),
    ("x_minus_log1p", 1e30, 1e30),
    ("x_minus_log1p", INF, INF),
    ("lgamma1p", 0.0, 0.0),
    ("lgamma1p", -0.0, 0.0),
    ("lgamma1p", 1.0, 0.0),
    ("lgamma1p", -1.0, INF),
    ("lgamma1p", -2.0, INF),
    ("lgamma1p", -1e30, INF),
    ("lgamma1p", INF, INF),
    ("lgamma1p", -INF, INF),
    ("log_near_one", (0.0, -1.0), -INF),
    ("log_near_one", (1.0, 0.0), 0.0),
    ("log_near_one", (1.0, 1e-30), 1e-30),
    ("log_near_one", (1.0, -1e-30), -1e-30),
    ("log_near_one", (1.0, NAN), NAN),
    ("log_near_one", (0.25, NAN), NAN),
    ("log_near_one", (NAN, 0.0), NAN),
    ("exp_of_product", (0.0, 5.0), 1.0),
    ("exp_of_product", (INF, 2.0), INF),
    ("exp_of_product", (2.0, -INF), 0.0),
    ("exp_of_product", (-INF, -INF), INF),
    ("exp_of_product", (1e30, 1e30), INF),
    ("exp_of_product", (1e30, -1e30), 0.0),
    ("exp_of_product", (1e30, 0.0), 1.0),
    ("exp_of_product", (INF, 0.0), NAN),
    ("exp_of_product", (NAN, 0.0), NAN),
    ("exp_of_product", (0.0, NAN), NAN),
    ("log_cosh", (0.0, 1.0), 0.0),
    ("log_cosh", (-0.0, 1.0), 0.0),
    ("log_cosh", (1e30, 0.0), 1e30),
    ("log_cosh", (-1e30, 0.0), 1e30),
    ("log_cosh", (INF, 0.0), INF),
    ("log_cosh", (-INF, 0.0), INF),
    ("tanh_from", (0.0, 1.0), 0.0),
    ("tanh_from", (-0.0, 1.0), -0.0),
    ("tanh_from", (1e30, 0.0), 1.0),
    ("tanh_from", (-INF, 0.0), -1.0),
    ("pow", (0.0, 0.0), 1.0),
    ("pow", (0.0, 1e-3), 0.0),
    ("pow", (0.0, 1e30), 0.0),
    ("pow", (1.0, 0.0), 1.0),
    ("pow", (1.0, 1e30), 1.0),
    ("pow", (2.0, 0.0), 1.0),
    ("pow", (2.0, 1e30), INF),
    ("pow", (0.5, 1e30), 0.0),
    ("pow", (INF, 0.0), 1.0),
    ("pow", (INF, 1e-3), INF),
    ("pow", (0.5, NAN), NAN),
    ("pow", (NAN, 0.0), NAN),
    *[(name, (NAN, NAN) if name in SECOND else NAN, NAN) for name in FUNCTIONS],
]


@pytest.mark.parametrize("dtype", [F, D])
@pytest.mark.parametrize("name, args, expected", SPECIAL)
@pytest.mark.parametrize("n", [1, 33])  # the scalar remainder and the vector loop
def test_special_values(name, args, expected, dtype, level, n):
    args = [np.full(n, value, dtype) for value in (args if name in SECOND else (args,))]
    got, expected = evaluate(name, *args), np.full(n, expected, dtype)
    np.testing.assert_array_equal(got, expected)
    if not np.isnan(expected[0]):
        np.testing.assert_array_equal(np.signbit(got), np.signbit(expected))


@each_sample
def test_tiny_arguments_are_not_flushed(name, dtype, level):
    tiny = np.finfo(dtype).smallest_subnormal
    x = np.array([tiny, 2 * tiny, 3 * tiny, np.finfo(dtype).tiny - tiny], dtype)
    if name in ("expm1", "log1p", "log1p_01", "tanh"):
        np.testing.assert_array_equal(evaluate(name, x), x)
    if name in ("exp", "exp_nonpositive", "sigmoid", "softplus"):  # down to the last subnormal
        x = np.array([np.log(D(tiny)) + 1e-3, np.log(D(tiny)) + np.log(2) + 1e-3], dtype)
        np.testing.assert_array_equal(evaluate(name, x), np.array([1, 2], dtype) * tiny)


@each_sample
def test_nan_of_any_payload_passes(name, dtype, level):
    rng = np.random.default_rng(1)
    bits = rng.integers(0, 2 ** (8 * np.dtype(dtype).itemsize), 10_000, dtype=f"u{np.dtype(dtype).itemsize}")
    exponent = np.array(INF, dtype).view(bits.dtype)
    x = (bits | exponent | np.array(1, bits.dtype)).view(dtype)
    assert np.isnan(evaluate(name, *arguments(name, x))).all()


@each_sample
def test_same_bits_at_every_length_and_offset(name, dtype, level):
    args = [x[-3000:] for x in sample_of(name, dtype)[0]]
    whole = evaluate(name, *args)
    for start in range(40):
        for stop in range(start, 80):
            part = evaluate(name, *(x[start:stop] for x in args))
            assert part.tobytes() == whole[start:stop].tobytes()


def test_result_may_replace_the_argument(level):
    x = np.linspace(-5, 5, 1001)
    expected = evaluate("tanh", x)
    kernels.vecmath.evaluate("tanh", x, x)
    np.testing.assert_array_equal(x, expected)


def test_functions_are_the_ones_tested(level):
    of_two = sorted(kernels.vecmath.FUNCTIONS_OF_TWO)
    assert sorted([*kernels.vecmath.FUNCTIONS, *of_two]) == FUNCTIONS
    assert of_two == sorted(SECOND)


@pytest.mark.parametrize("dtype", [F, D])
def test_log_near_one_takes_the_difference(dtype, level):
    d = np.random.default_rng(2).uniform(-0.29, 0.41, 20_000).astype(dtype)
    d = np.concatenate([d, d * np.exp2(np.linspace(0, -100, d.size, dtype=dtype))])
    exact = np.log1p(d.astype(wider(dtype)))
    assert ulp_error(evaluate("log_near_one", 1 + d, d), exact) <= bound("log_near_one", dtype, level)


@pytest.mark.parametrize("dtype", [F, D])
def test_lgamma1p_of_negative_numbers(dtype, level):
    """Reflection: Gamma(1 + t) Gamma(-t) = -pi / sin(pi t)."""
    t = np.random.default_rng(3).uniform(-60, -0.5, 20_000).astype(dtype)
    wide = t.astype(wider(dtype))
    pi, rest = 4 * np.arctan(wide.dtype.type(1)), wide - np.rint(wide)
    exact = np.log(pi / abs(np.sin(pi * rest))) - reference("lgamma1p", -1 - t)
    error = abs(evaluate("lgamma1p", t) - exact) / np.maximum(1, abs(exact))
    assert error.max() <= 8 * np.finfo(dtype).eps
    even = -np.exp2(np.arange(1, 100)).astype(dtype)
    assert (evaluate("lgamma1p", even) == INF).all()


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
        ("pow", np.ones(3), np.ones(3), TypeError, "pow is a function of x and y"),
    ],
)
def test_wrong_arguments(level, name, x, out, error, message):
    with pytest.raises(error, match=message):
        kernels.vecmath.evaluate(name, x, out)


@pytest.mark.parametrize(
    "name, y, error, message",
    [
        ("exp", np.ones(3), TypeError, "exp is a function of x"),
        ("pow", [1.0] * 3, TypeError, "y"),
        ("pow", np.ones(3, F), TypeError, "y must have the dtype of x, float64, not float32"),
        ("pow", np.ones((3, 1)), ValueError, "y must be 1-d"),
        ("pow", np.ones(2), ValueError, "y must have the length of x, 3, not 2"),
    ],
)
def test_wrong_second_argument(name, y, error, message):
    with pytest.raises(error, match=message):
        kernels.vecmath.evaluate(name, np.ones(3), np.ones(3), y)


CHUNK = 2**13  # temporaries small enough to stay in cache and out of mmap


def errors_per_level(name, x):
    args = arguments(name, x)
    exact, errors, last = reference(name, *args), [], None
    for level in LEVELS:
        kernels.select(level)
        got = evaluate(name, *args)
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

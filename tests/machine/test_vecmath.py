"""vecmath.h: errors in ulp against a wider type, special values, and the checks of `evaluate`."""

import numpy as np
import pytest

from fastloss._core.calls.kernels import kernels
from tests.machine.vecmath import (
    FUNCTIONS,
    INF,
    MAX_ULP,
    NAN,
    SECOND,
    D,
    F,
    arguments,
    bound,
    evaluate,
    reference,
    sample_of,
    ulp_error,
    wider,
)

SAMPLED = [pytest.param(name, dtype, id=f"{name}-{dtype.__name__}") for name, dtype in MAX_ULP]

each_sample = pytest.mark.parametrize("name, dtype", SAMPLED)


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

"""What vecmath.h promises: the bounds of its errors, its domains, reference values in a wider type, and inputs."""

import math
from functools import cache

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
    ("exp_difference", F): (1.2, 2.0),
    ("exp_difference", D): (1.5, 2.0),
    ("exp_beside_fall", F): (1.2, 2.0),
    ("exp_beside_fall", D): (1.5, 2.0),
    ("fall", F): (1.5, 2.0),
    ("fall", D): (1.5, 2.0),
    ("log1p_beside_gap", F): (2.0, 2.0),
    ("log1p_beside_gap", D): (2.0, 2.0),
    ("gap_near_one", F): (4.5, 4.0),
    ("gap_near_one", D): (3.0, 3.0),
    ("exp_of_product", F): (1.2, 2.0),
    ("exp_of_product", D): (1.5, 2.0),
    ("log_cosh", F): (2.0, 2.0),
    ("log_cosh", D): (2.0, 2.0),
    ("tanh_from", F): (2.7, 2.7),
    ("tanh_from", D): (2.7, 2.7),
    ("pow", F): (1.5, 2.0),
    ("pow", D): (1.5, 2.0),
    ("times_exp", F): (1.8, 2.5),
    ("times_exp", D): (2.0, 2.5),
}
FUNCTIONS = sorted({name for name, _ in MAX_ULP})
DOMAIN = {  # NaN is always in
    "exp_nonpositive": (-INF, 0.0),
    "log1p_01": (0.0, 1.0),
    "x_minus_log1p": (0.0, INF),
    "log1p_beside_gap": (0.0, np.finfo(F).max),
    "gap_near_one": (np.finfo(F).tiny, 1.0),
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


def larger_by_any(x):
    """y >= x, most of them by less than 256."""
    return (x + np.exp2(any_in(-30, 8)(x))).astype(x.dtype)


def any_exponent(x):
    """Exponents for results of any size. A subnormal weight loses digits by any other than 0."""
    y = (any_in(-173, 175) if x.dtype == F else any_in(-1415, 1417))(x)
    return np.where((x != 0) & (abs(x) < np.finfo(x.dtype).tiny), 0, y).astype(x.dtype)


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
    "exp_difference": larger_by_any,
    "exp_beside_fall": larger_by_any,
    "fall": larger_by_any,
    "gap_near_one": lambda x: x - 1,
    "exp_of_product": any_factor,
    "log_cosh": exp_minus_twice,
    "tanh_from": exp_minus_twice,
    "pow": any_power,
    "times_exp": any_exponent,
}


def bound(name, dtype, level):
    fma, no_fma = MAX_ULP[name, dtype]
    return no_fma if level == "x86-64-v2" else fma


def arguments(name, x):
    with np.errstate(all="ignore"):
        return (x, SECOND[name](x)) if name in SECOND else (x,)


def evaluate(name, x, *y, module=None):
    """The function at the CPU level of the module, or at the level in use."""
    out = np.empty_like(x)
    (module or kernels.vecmath).evaluate(name, x, out, *y)
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


def gap_near_one(x, d):
    """d - log(1 + d), which is d^2 / 2 - d^3 / 3 + ... near 0. Small x = 1 + d tell more than d does."""
    series = 0
    for k in range(40, 1, -1):
        series = 1 / x.dtype.type(k) - series * d
    return np.where(d > -0.15, d * d * series, d - np.log(np.where(x < 0.375, x, 1 + d)))


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
    "exp_difference": lambda x, y: np.exp(x - y),
    "exp_beside_fall": lambda x, y: np.exp(x - y),
    "fall": lambda x, y: -np.expm1(x - y),
    "log1p_beside_gap": np.log1p,
    "gap_near_one": gap_near_one,
    "exp_of_product": lambda a, b: np.exp(a * b),
    "log_cosh": log_cosh,
    "tanh_from": lambda x, e: np.tanh(x),
    "pow": pow_of_nan_is_nan,
    "times_exp": lambda weight, x: weight * np.exp(x),
}


def reference(name, x, *y):
    with np.errstate(all="ignore"):
        return REFERENCE[name](*(v.astype(wider(x.dtype.type)) for v in (x, *y)))


def ulp_errors(got, exact):
    """The error of each element of `got` in ulp of the exact values (of a wider type); inf if a NaN or sign is wrong.

    Infinity counts as the power of two where overflow starts. The ulp of a subnormal is the smallest subnormal.
    """
    info, wide = np.finfo(got.dtype), exact.dtype.type
    limit = wide(2) ** info.maxexp
    is_nan = np.isnan(got)
    with np.errstate(all="ignore"):
        wrong = (is_nan != np.isnan(exact)) | ((np.signbit(got) != np.signbit(exact)) & ~is_nan)
        exact = np.clip(exact, -limit, limit)
        error = abs(np.clip(got.astype(wide), -limit, limit) - exact)
        if wide is D:  # 2^floor(log2(exact)) by its bits: ldexp and frexp are slow, and the exhaustive test is long
            power = (exact.view(np.uint64) & np.uint64(0x7FF << 52)).view(D)
        else:
            fraction, exponent = np.frexp(exact)
            power = np.ldexp(abs(np.sign(fraction)) / 2, exponent)
        error /= np.maximum(power * wide(info.eps), wide(info.smallest_subnormal))
    error[is_nan] = 0
    error[wrong] = INF
    return error


def ulp_error(got, exact):
    """The largest of these errors."""
    return float(ulp_errors(got, exact).max(initial=0))


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

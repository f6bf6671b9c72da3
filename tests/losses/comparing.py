"""Comparing results: to some units in the last place, or bit for bit."""

import numpy as np


def as_tuple(x):
    """The derivatives with respect to each input, also of a loss with one differentiable input."""
    return x if isinstance(x, tuple) else (x,)


def leaves(x):
    """The arrays and floats of a result, as a flat list."""
    return [leaf for part in x for leaf in leaves(part)] if isinstance(x, tuple) else [x]


def like(x, fill=np.nan):
    """Arrays of the structure, the shapes and the dtypes of a result."""
    return tuple(like(part, fill) for part in x) if isinstance(x, tuple) else np.full_like(x, fill)


def assert_close(actual, expected, ulp=16, scale=None):
    """Assert that two results agree to `ulp` units in the last place of actual's dtype (a float counts as float64).

    With `scale`, an error of `ulp` units in the last place of the scale passes too. Use it for results that are
    differences of numbers of this size. Results may be tuples. Their scale is then a tuple as well, or one for all.
    """
    if isinstance(actual, tuple):
        assert isinstance(expected, tuple) and len(actual) == len(expected)
        scales = scale if isinstance(scale, tuple) else [scale] * len(actual)
        for a, b, s in zip(actual, expected, scales, strict=True):
            assert_close(a, b, ulp, s)
        return
    actual, expected = np.asarray(actual), np.asarray(expected)
    assert actual.shape == expected.shape
    eps, tiny = np.finfo(actual.dtype).eps, np.finfo(actual.dtype).smallest_subnormal
    with np.errstate(invalid="ignore", over="ignore"):
        allowed = ulp * (eps * np.maximum(np.abs(expected), 0 if scale is None else scale) + tiny)
        beyond = np.isinf(actual) & (actual == expected.astype(actual.dtype))  # too large for the dtype
        same = (actual == expected) | beyond | np.isnan(actual) & np.isnan(expected)
        close = same | (np.abs(actual - expected) <= allowed) & np.isfinite(allowed)
    if not close.all():
        i = np.unravel_index(np.argmin(close), close.shape)
        where = f"{np.sum(~close)} of {close.size} differ, at {tuple(map(int, i))}"
        raise AssertionError(f"{where}: {actual[i]!r}, expected {expected[i]!r}")


def assert_same_bits(actual, expected):
    """Assert that two results, or tuples of results, are the same to the last bit, the type included."""
    assert type(actual) is type(expected)
    if isinstance(actual, tuple):
        assert len(actual) == len(expected)
        for a, b in zip(actual, expected, strict=True):
            assert_same_bits(a, b)
        return
    a, b = np.asarray(actual), np.asarray(expected)
    assert a.dtype == b.dtype and a.shape == b.shape
    assert a.tobytes() == b.tobytes(), f"{a!r}\nis not\n{b!r}"


def largest(*x):
    """The largest finite magnitude in results, which may be tuples."""
    return max(float(np.max(np.abs(a), initial=0, where=np.isfinite(a))) for a in map(np.asarray, leaves(x)))

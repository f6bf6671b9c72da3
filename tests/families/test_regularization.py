"""Penalties by hand. max_norm and dropout: definitions, edges, errors, the same bits for all threads and layouts."""

import numpy as np
import pytest

import fastloss as fl
from fastloss._core.calls.kernels import kernels, supported_levels
from tests.losses.comparing import assert_close, assert_same_bits
from tests.losses.problem import levels
from tests.losses.support import INF, MASKED, NAN, each_dtype, peak_of, raises, random, type_name


@each_dtype
def test_penalties_by_hand(dtype):
    w = np.array([[3, -2], [0, -0.0]], dtype)
    for loss, parameters, value, grad, hess in [
        (fl.l1, (), 5, [[1, -1], [0, 0]], 0),
        (fl.l1, (0.5,), 2.5, [[0.5, -0.5], [0, 0]], 0),
        (fl.l2, (), 6.5, [[3, -2], [0, 0]], 1),
        (fl.l2, (4,), 26, [[12, -8], [0, 0]], 4),
        (fl.elastic_net, (), 5.75, [[2, -1.5], [0, 0]], 0.5),
        (fl.elastic_net, (2, 0.25), 12.25, [[5, -3.5], [0, 0]], 1.5),
    ]:
        assert loss(w, *parameters) == value
        actual, curvature = loss.grad_and_hess(w, *parameters)
        assert actual.tolist() == grad and np.all(curvature == hess)


def test_strengths_by_position_or_by_name():
    w = np.random.default_rng(0).standard_normal(20)
    for loss in (fl.l1, fl.l2):
        assert loss(w, 0.3) == loss(w, strength=0.3) == loss(w=w, strength=0.3)
    assert fl.elastic_net(w, 0.3, 0.2) == fl.elastic_net(w, 0.3, l1_ratio=0.2)
    assert fl.elastic_net(w, 0.3, 0.2) == fl.elastic_net(w, l1_ratio=0.2, strength=0.3)


@each_dtype
def test_penalties_are_sums(dtype):
    w = np.random.default_rng(0).standard_normal((4, 5)).astype(dtype)
    for loss in (fl.l1, fl.l2, fl.elastic_net):
        assert loss(w) == loss(w, reduction="sum")
        assert_close(loss(w, reduction="mean"), loss(w) / 20, 2)
        assert loss(w, reduction="none").shape == w.shape
        with pytest.raises(ValueError, match=r"^normalizer goes with reduction='mean', not 'sum'$"):
            loss(w, normalizer=2)
        assert_close(loss(w, sample_weight=[1, 0, 2, 0]), loss(w[0]) + 2 * loss(w[2]), 8)


@each_dtype
def test_elastic_net_ends_in_l1_and_l2(dtype):
    w = np.array([*np.random.default_rng(0).standard_normal(50), 0, -0.0, 1e-30, 1e15], dtype)
    for ratio, loss in ((1, fl.l1), (0, fl.l2)):
        assert_close(fl.elastic_net(w, 0.3, ratio, reduction="none"), loss(w, 0.3, reduction="none"), 1)
        assert_close(fl.elastic_net.grad_and_hess(w, 0.3, ratio), loss.grad_and_hess(w, 0.3), 1)


@each_dtype
def test_penalties_of_special_values(dtype):
    w = np.array([INF, -INF, NAN], dtype)
    for loss, slope in ((fl.l1, 1), (fl.l2, INF), (fl.elastic_net, INF)):
        value, grad = loss.value_and_grad(w, reduction="none")
        assert value[:2].tolist() == [INF, INF] and grad[:2].tolist() == [slope, -slope]
        assert np.isnan(value[2]) and np.isnan(grad[2])


@each_dtype
def test_gradient_of_a_penalty_in_place(dtype):
    w = np.random.default_rng(0).standard_normal((4, 5)).astype(dtype)
    for loss in (fl.l1, fl.l2, fl.elastic_net):
        same = w.copy()
        expected = loss.value_and_grad(w, 0.1)
        assert_same_bits(loss.value_and_grad(same, 0.1, out=same), expected)


def projected(w, limit, axis):
    """The definition, in long doubles, whose range is that of the squares of doubles."""
    wide = w.astype(np.longdouble)
    norm = np.sqrt((wide * wide).sum(axis, keepdims=True))
    with np.errstate(all="ignore"):
        return np.where(norm <= limit, wide, wide * (limit / norm)).astype(w.dtype)


def norms(w, axis=-1):
    wide = w.astype(np.longdouble)
    return np.sqrt((wide * wide).sum(axis))


SHAPES = [(), (1,), (7,), (3, 5), (40, 31), (33, 32), (5, 100), (700, 3), (2, 65, 64), (3, 129, 65), (2, 3, 1030)]
SHAPES += [(140_000,), (2, 70_000), (70_000, 2), (1, 300, 600), (20_000, 10), (300, 5, 100), (4, 70_001, 1)]


@each_dtype
@pytest.mark.parametrize("shape", SHAPES[1:], ids=str)
def test_max_norm_is_the_definition(shape, dtype):
    w = random(*shape, dtype=dtype)
    for axis in range(-1, w.ndim):
        before = norms(w, axis)
        limit = float(np.median(before)) * (0.9 if w.ndim == 1 else 1)
        expected = projected(w, limit, axis)
        inside = np.broadcast_to(np.expand_dims(before < limit * (1 - 1e-12), axis), shape)
        for _ in levels():
            result = fl.max_norm(w, limit, axis)
            assert result.dtype == dtype and result.shape == shape
            np.testing.assert_allclose(result, expected, rtol=4 * np.finfo(dtype).eps, atol=0)
            assert np.all(norms(result, axis) <= limit * (1 + 4 * np.finfo(dtype).eps))
            assert np.array_equal(result[inside], w[inside])


@each_dtype
@pytest.mark.parametrize("shape", SHAPES[1:], ids=str)
def test_max_norm_same_bits_for_threads_layouts_and_out(shape, dtype):
    w = random(*shape, dtype=dtype)
    for axis in range(w.ndim):
        limit = float(np.median(norms(w, axis))) * 0.99
        fl.set_num_threads(1)
        expected = fl.max_norm(w, limit, axis)
        for threads in (2, 3, 8):
            fl.set_num_threads(threads)
            assert_same_bits(fl.max_norm(w, limit, axis), expected)
        assert_same_bits(fl.max_norm(np.asfortranarray(w), limit, axis - w.ndim), expected)
        assert_same_bits(fl.max_norm(np.flip(w).copy()[(slice(None, None, -1),) * w.ndim], limit, axis), expected)
        memory = np.zeros(w.size + 3, dtype)
        out = memory[1 : 1 + w.size].reshape(shape)
        assert fl.max_norm(w, limit, axis, out=out) is out
        assert_same_bits(out, expected)
        out[...] = w
        assert fl.max_norm(out, limit, axis, out) is out  # in place
        assert_same_bits(out, expected)
        assert not memory[0] and not memory[1 + w.size :].any()


@each_dtype
@pytest.mark.parametrize("axis", [0, 1])
def test_max_norm_special_values(dtype, axis):
    rows = [[0.0, -0.0, 0], [np.nan, 1, 2], [np.inf, 1, -1], [-np.inf, np.inf, 0], [np.inf, np.nan, 0], [1, -0.0, 2]]
    w = np.array(rows, dtype)
    turned = w if axis else np.ascontiguousarray(w.T)
    n, z = np.nan, 0.0
    expected = np.array([[0, -0.0, 0], [n, n, n], [n, z, -z], [n, n, z], [n, n, n], rows[5]], dtype)
    result = fl.max_norm(turned, 3, axis)
    result = result if axis else result.T
    np.testing.assert_array_equal(result, expected)
    known = ~np.isnan(expected)
    assert np.array_equal(np.signbit(result[known]), np.signbit(expected[known]))
    zeros = fl.max_norm(np.array([[1, -2], [0, 0]], dtype), 0, axis)
    assert np.array_equal(zeros, np.zeros((2, 2)))


@pytest.mark.parametrize("size", [1e-320, 1e-300, 1e-160, 1e-150, 1e-140, 1.0, 1e150, 1e160, 1e300, 1e308])
@pytest.mark.parametrize("relative", [1e-320, 1e-300, 1e-9, 0.5, 0.999, 1.001, 1e9, 1e300])
@pytest.mark.parametrize("n", [5, 100])
def test_max_norm_at_the_ends_of_the_range(size, relative, n):
    w = np.stack([random(n) / np.sqrt(n), random(n, seed=1)]) * (size / 4)
    w[:, 1:3] = 0, size / 9
    limit = float(np.longdouble(relative) * norms(w)[0])
    if not np.isfinite(limit):
        pytest.skip("the limit is finite")
    smallest = np.finfo(float).smallest_subnormal
    for axis, given in ((1, w), (0, np.ascontiguousarray(w.T))):
        for out in (None, given.copy()):
            result = fl.max_norm(given if out is None else out, limit, axis, out)
            np.testing.assert_allclose(result, projected(given, limit, axis), rtol=1e-15, atol=4 * smallest)
            assert np.all(norms(result, axis) <= limit * (1 + 1e-15) + 4 * n * smallest)
    if relative > 1 and size < 1e308:
        assert_same_bits(fl.max_norm(w[0], limit), w[0])


def test_max_norm_of_float32_at_the_ends_of_the_range():
    info = np.finfo(np.float32)
    for size in (info.smallest_subnormal, info.tiny, info.max):
        w = np.full((3, 50), size, np.float32)
        for limit in (1e-320, float(size), float(size) * 7, 1e308):
            np.testing.assert_allclose(
                fl.max_norm(w, limit), projected(w, limit, -1), rtol=2e-7, atol=info.smallest_subnormal
            )


@each_dtype
def test_max_norm_empty(dtype):
    for shape in ((0,), (0, 3), (3, 0), (2, 0, 3)):
        for axis in range(len(shape)):
            assert_same_bits(fl.max_norm(np.empty(shape, dtype), 1.0, axis), np.empty(shape, dtype))


def test_max_norm_errors():
    w = random(2, 3)
    with raises(TypeError, "w must be float16, bfloat16, float32 or float64, not int64"):
        fl.max_norm([1, 2], 1.0)
    with raises(ValueError, "w must have an axis, and is 0-dimensional"):
        fl.max_norm(1.0, 1.0)
    for bad in (2, -3):
        with raises(ValueError, f"axis must be in [-2, 2), not {bad}"):
            fl.max_norm(w, 1.0, bad)
    for bad in ((0, 1), 1.0, None, True):
        with raises(TypeError, f"axis must be an integer, not {type_name(bad)}"):
            fl.max_norm(w, 1.0, axis=bad)
    for bad in (-1, -1e-300, -np.inf, np.nan):
        with raises(ValueError, f"limit must be >= 0, or inf, not {bad!r}"):
            fl.max_norm(w, bad)
    for bad in ("1", None, True, [1.0]):
        with raises(TypeError, f"limit must be a real number, not {type_name(bad)}"):
            fl.max_norm(w, bad)


@pytest.mark.parametrize(
    "counter, key, words",
    [
        ((0,) * 4, 0, (0x6627E8D5, 0xE169C58D, 0xBC57AC4C, 0x9B00DBD8)),
        ((2**32 - 1,) * 4, 2**64 - 1, (0x408F276D, 0x41C83B0E, 0xA20BC7C6, 0x6D5451FD)),
        (
            (0x243F6A88, 0x85A308D3, 0x13198A2E, 0x03707344),
            0x299F31D0A4093822,
            (0xD16CFE09, 0x94FDCCEB, 0x5001E420, 0x24126EA1),
        ),
    ],
)
def test_philox_known_answers(counter, key, words, level):
    """Of Random123, tests/kat_vectors."""
    assert kernels.dropout.philox_words(counter, key) == words


def philox_mask(n, rate, seed):
    """The definition of the mask, element by element."""
    mask = np.empty(n, bool)
    for i in range(n):
        tile, rest = divmod(i, 1024)
        j, b = divmod(rest, 256)
        word = kernels.dropout.philox_words((256 * tile + b, 0, 0, 0), seed)[j]
        mask[i] = word >= round(rate * 2**32)
    return mask


@each_dtype
def test_dropout_is_the_definition(dtype, level):
    x = random(2600, dtype=dtype)
    for rate, seed in ((0.1, 0), (0.5, 2**64 - 1), (0.9, 12345678901234567890)):
        expected = philox_mask(x.size, rate, seed)
        for n in (0, 1, 15, 16, 17, 255, 256, 257, 513, 1023, 1024, 1025, 2600):
            y, mask = fl.dropout(x[:n], rate, seed)
            assert_same_bits(mask, expected[:n])
            assert_same_bits(y, np.where(mask, x[:n] / dtype(1 - rate), dtype(0)))


@each_dtype
def test_dropout_same_bits_for_threads_levels_dtypes_and_layouts(dtype):
    x = random(70, 1000, dtype=dtype)
    fl.set_num_threads(1)
    y, mask = fl.dropout(x, 0.25, 42)
    assert type(y) is type(mask) is np.ndarray and mask.dtype == bool and y.shape == mask.shape == x.shape
    assert_same_bits(mask, fl.dropout(x.astype(np.float32), 0.25, np.uint64(42))[1])
    for level in supported_levels():
        kernels.select(level)
        for threads in (1, 2, 3, 8):
            fl.set_num_threads(threads)
            assert_same_bits(fl.dropout(x, 0.25, 42), (y, mask))
    assert_same_bits(fl.dropout(np.asfortranarray(x), 0.25, 42), (y, mask))
    assert_same_bits(fl.dropout(np.repeat(x, 2, 1)[:, ::2], 0.25, 42), (y, mask))
    assert_same_bits(fl.dropout(x.ravel()[:50_001], 0.25, 42)[1], mask.ravel()[:50_001])  # a prefix
    for shift in range(5):
        memory = np.zeros(x.size + 8, dtype)
        out = memory[shift : shift + x.size].reshape(x.shape)
        assert fl.dropout(x, 0.25, 42, out=out)[0] is out
        assert_same_bits(out, y)
        out[...] = x
        assert_same_bits(fl.dropout(out, 0.25, 42, out), (y, mask))  # in place
        assert not memory[:shift].any() and not memory[shift + x.size :].any()


@each_dtype
def test_dropout_edges(dtype):
    x = np.array([np.nan, np.inf, -np.inf, 0.0, -0.0, 1.0] * 500, dtype)
    with np.errstate(all="raise"):
        y, mask = fl.dropout(x, 0, 3)
        assert_same_bits(y, x)
        assert mask.all()
        for rate in (1, 1 - 2**-53):  # the latter rounds to 1 in 32 bits
            y, mask = fl.dropout(x, rate, 3)
            assert_same_bits(y, np.zeros_like(x))
            assert not mask.any()
        y, mask = fl.dropout(x, 0.5, 3)
        assert_same_bits(y[~mask], np.zeros((~mask).sum(), dtype))
        assert_same_bits(y[mask], x[mask] / dtype(0.5))
        y, mask = fl.dropout(x, 1e-12, 3)
        assert mask.all() and np.isnan(y[0])
    y, mask = fl.dropout(dtype(3), 0.0, 0)
    assert y.shape == mask.shape == () and y == 3


def test_dropout_gradient():
    x, grad_y = random(2, 3000)
    y, mask = fl.dropout(x, 0.3, 9)
    step = 1e-3
    slope = (fl.dropout(x + step, 0.3, 9)[0] - fl.dropout(x - step, 0.3, 9)[0]) / (2 * step)
    np.testing.assert_allclose(np.where(mask, grad_y / (1 - 0.3), 0), grad_y * slope, rtol=1e-9)


@pytest.mark.parametrize("rate", [0.001, 0.1, 0.5, 0.8, 0.999])
def test_dropout_is_unbiased_and_independent(rate):
    n = 10**6
    masks = [fl.dropout(np.ones(n, np.float32), rate, seed)[1] for seed in (0, 1, 2, 2**32, 2**63)]
    deviation = np.sqrt(rate * (1 - rate))
    for mask in masks:
        assert abs(mask.mean() - (1 - rate)) < 5 * deviation / np.sqrt(n)
    standard = [(mask - (1 - rate)) / deviation for mask in masks]
    limit = 5 / np.sqrt(n) + 100 / (n * rate * (1 - rate))  # the second term is for the few of extreme rates
    for k, a in enumerate(standard):
        for b in standard[:k]:
            assert abs((a * b).mean()) < limit
        for lag in (1, 2, 3, 4, 16, 255, 256, 257, 512, 1024):  # neighbours in memory, and words of one counter
            assert abs((a[lag:] * a[:-lag]).mean()) < limit


def test_dropout_at_a_higher_rate_drops_the_same_and_others():
    x = np.ones(10_000)
    low, high = (fl.dropout(x, rate, 5)[1] for rate in (0.2, 0.6))
    assert np.all(low[high]) and low.sum() > high.sum()


def test_dropout_errors():
    x = random(4)
    with raises(TypeError, "x must be float16, bfloat16, float32 or float64, not int64"):
        fl.dropout([1, 2], 0.5, 0)
    for bad in (-0.1, 1.1, np.nan, np.inf):
        with raises(ValueError, f"rate must be in [0, 1], not {bad!r}"):
            fl.dropout(x, bad, 0)
    with raises(TypeError, "rate must be a real number, not str"):
        fl.dropout(x, "0.5", 0)
    for bad in (-1, 2**64):
        with raises(ValueError, f"seed must be in [0, 2^64), not {bad}"):
            fl.dropout(x, 0.5, bad)
    for bad in (1.0, None, "1", True, [1]):
        with raises(TypeError, f"seed must be an integer, not {type_name(bad)}"):
            fl.dropout(x, 0.5, bad)
    for good in (0, 2**64 - 1, np.uint64(2**64 - 1), np.int8(5)):
        fl.dropout(x, 0.5, good)


BOTH = [
    pytest.param("w", lambda w, **out: fl.max_norm(w, 0.5, **out), id="max_norm"),
    pytest.param("x", lambda x, **out: fl.dropout(x, 0.5, 1, **out), id="dropout"),
]


@pytest.mark.parametrize("name, function", BOTH)
@each_dtype
def test_out(name, function, dtype):
    x = random(2, 3, dtype=dtype)
    good = np.zeros((2, 3), dtype)
    frozen = good.copy()
    frozen.flags.writeable = False
    other = np.dtype(np.float64 if dtype is np.float32 else np.float32)
    memory = random(20, dtype=dtype)
    before = x.copy()
    for error, text, out in (
        (TypeError, "out must be a NumPy array, not list", good.tolist()),
        (TypeError, f"out must have dtype {np.dtype(dtype)}, not {other}", good.astype(other)),
        (ValueError, "out must have shape (2, 3), not (3, 2)", np.empty((3, 2), dtype)),
        (ValueError, "out must be C-contiguous and aligned", np.asfortranarray(good)),
        (ValueError, "out must be writable, and is read-only", frozen),
    ):
        with raises(error, text):
            function(x, out=out)
    for start in (1, 5):
        with raises(ValueError, f"out overlaps {name}"):
            function(memory[:6].reshape(2, 3), out=memory[start : start + 6].reshape(2, 3))
    assert_same_bits(x, before)
    assert_same_bits(memory, random(20, dtype=dtype))
    transposed = random(3, 2, dtype=dtype).T  # is copied first: out may lie over it
    expected = function(transposed.copy())
    assert_same_bits(function(transposed, out=transposed.T.reshape(2, 3)), expected)


@pytest.mark.parametrize("name, function", BOTH)
def test_inputs(name, function):
    with raises(TypeError, f"{name} {MASKED}"):
        function(np.ma.masked_array(random(3)))
    assert_same_bits(function([[0.25, 0.5]]), function(np.array([[0.25, 0.5]])))
    swapped = random(100).astype(">f8")
    assert_same_bits(function(swapped), function(random(100)))


@each_dtype
@pytest.mark.parametrize("axis", [0, 1])
def test_no_temporaries_that_grow(dtype, axis):
    fl.set_num_threads(2)
    for shape in ((400_000, 2), (2, 400_000), (900, 900)):
        w, out = random(*shape, dtype=dtype), np.empty(shape, dtype)
        assert peak_of(lambda w=w, out=out: fl.max_norm(w, 1.0, axis, out)) <= 2 * 256 * 1024
        mask_and_sums = w.size + 16384
        assert peak_of(lambda w=w, out=out: fl.dropout(w, 0.5, 1, out)) < mask_and_sums

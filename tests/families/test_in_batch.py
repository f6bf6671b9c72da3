"""In-batch losses: tiles, values worked out by hand, special cases, errors."""

from fractions import Fraction

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import fastloss as fl
from fastloss._core.calls import batches
from tests.losses.cases import IN_BATCH
from tests.losses.comparing import assert_close, assert_same_bits, leaves
from tests.losses.support import each_dtype, for_each, random

pytestmark = pytest.mark.filterwarnings("error")


each_in_batch_case = for_each(IN_BATCH)
each_in_batch_loss = for_each({case.name: case for case in IN_BATCH}.values())


@pytest.fixture
def small_tiles(monkeypatch):
    monkeypatch.setattr(batches, "TILE_SIDE", 16)
    monkeypatch.setattr(batches, "LOWEST_STRIP", 4)
    monkeypatch.setattr(batches, "MAX_CACHED", 34 * 34)


@each_in_batch_case
@each_dtype
@pytest.mark.parametrize("n", [1, 7, 8, 9, 16, 17, 33, 64, 65, 100])
def test_around_every_size_of_tiles(case, dtype, n, small_tiles, level):
    """nt_xent has twice as many vectors; strips of whole rows end at 64, similarities are kept up to 34."""
    problem = case.problem((n, 3), dtype=dtype, seed=n)
    problem.assert_as_expected(reduction="mean")
    problem.assert_as_expected(reduction="sum", sample_weight=problem.weight())


@each_in_batch_loss
def test_tiles_of_the_real_size(case):
    problem = case.problem((1100, 3), dtype=np.float32)
    problem.assert_as_expected(ulp=64, reduction="mean")


def test_two_orthogonal_samples():
    eye = np.eye(2)
    t = 0.5
    for loss in (fl.info_nce, fl.clip):
        options = {"temperature": t} if loss is fl.info_nce else {}
        numbers = () if loss is fl.info_nce else (1 / t,)
        value, grad = loss.value_and_grad(eye, eye, *numbers, reduction="sum", **options)
        tail = 1 / (1 + np.exp(2))  # the share of the negative in exp(2) + exp(0)
        assert value == pytest.approx(2 * np.log1p(np.exp(-2)), rel=1e-15)
        assert_close(grad[0], tail / t * np.array([[-1.0, 1], [1, -1]]), 4)
        if numbers:
            assert grad[2] == pytest.approx(-2 * tail, rel=1e-15)
    value, grad = fl.siglip.value_and_grad(eye, eye, 2.0, -1.0, reduction="sum")
    assert value == pytest.approx(4 * np.log1p(np.exp(-1)), rel=1e-15)
    tail = 1 / (1 + np.exp(1))
    assert grad[2] == pytest.approx(-2 * tail, rel=1e-15) and abs(grad[3]) < 1e-15


def test_one_sample():
    """There is nothing to tell it from."""
    x, y = random(2, 1, 4)
    for loss, numbers in ((fl.info_nce, ()), (fl.clip, (3.0,)), (fl.nt_xent, ())):
        value, grad = loss.value_and_grad(x, y, *numbers)
        assert value == 0 and all(np.all(g == 0) for g in grad)
    assert fl.siglip(x, y, 2.0, 1.0) == pytest.approx(np.log1p(np.exp(-(2 * np.sum(x * y) + 1))), rel=1e-13)


def test_supcon_of_one_class_and_of_none():
    z = random(5, 3)
    assert_same_bits(fl.supcon.value_and_grad(z, np.arange(5)), (0.0, np.zeros((5, 3))))
    value = fl.supcon(np.ones((5, 3)), np.zeros(5, int))
    assert value == pytest.approx(np.log(4), rel=1e-14)  # each is as close as any other
    assert fl.supcon(z, [0, 0, 1, 2, 3], reduction="none")[2:].tolist() == [0, 0, 0]


@each_dtype
@pytest.mark.parametrize("size", [31, 32, 33, 34, 60])
def test_classes_of_many_samples(dtype, size, small_tiles, level):
    for case in (case for case in IN_BATCH if "labels" in case.problem((2, 3)).inputs):
        problem = case.problem((100, 3), dtype=dtype).copied()
        problem.inputs["labels"][:] = np.arange(100) % 100 // size
        problem.assert_as_expected()


@each_dtype
def test_clip_with_a_scale_of_zero_or_next_to_it(dtype):
    x, y = random(2, 9, 4, dtype=dtype)
    s = x.astype(float) @ y.T
    for scale in (0.0, 1e-320, 1e-60):
        value, (by_x, by_y, by_scale) = fl.clip.value_and_grad(x, y, scale)
        assert value == pytest.approx(np.log(9), rel=1e-15)
        assert np.abs(by_x).max() <= 1e-50 >= np.abs(by_y).max()
        assert by_scale == pytest.approx(s.mean() - np.diag(s).mean(), rel=1e-5)


def test_supcon_with_two_views_is_nt_xent():
    z1, z2 = random(2, 40, 6)
    value, (grad, _) = fl.nt_xent.value_and_grad(z1, z2, temperature=0.3)
    z1, z2 = (z / np.linalg.norm(z, axis=1, keepdims=True) for z in (z1, z2))
    labels = np.tile(np.arange(40), 2)
    other, of_z = fl.supcon.value_and_grad(np.concatenate([z1, z2]), labels, temperature=0.3)
    assert other == pytest.approx(value, rel=1e-13)
    assert np.abs(np.sum(grad * z1, axis=1)).max() < 1e-16  # along the vector there is no slope
    assert np.abs(of_z[:40] - np.sum(of_z[:40] * z1, axis=1, keepdims=True) * z1).max() > np.abs(grad).max() / 10


def test_symmetric_info_nce_is_clip():
    x, y = random(2, 30, 4)
    value, grad = fl.info_nce.value_and_grad(x, y, temperature=0.25, symmetric=True)
    other, (by_x, by_y, _) = fl.clip.value_and_grad(x, y, 4.0)
    assert_same_bits((value, *grad), (other, by_x, by_y))


def test_batch_hard_triplet_by_hand():
    z = np.array([[0.0, 0], [3, 4], [0, 2], [10, 0], [10, 1]])
    labels = [3, 3, 3, 9, 9]
    losses = fl.batch_hard_triplet(z, labels, reduction="none", margin=8.0)
    near = [10, np.hypot(7, 3), np.hypot(10, 1), np.hypot(7, 4), np.hypot(7, 3)]
    far = [5, 5, np.hypot(3, 2), 1, 1]
    assert_close(losses, np.maximum(0, np.array(far) - near + 8), 8)
    soft = fl.batch_hard_triplet(z, labels, reduction="none", soft=True, margin=123.0)
    assert_close(soft, np.log1p(np.exp(np.array(far) - near)), 8)


def test_batch_hard_triplet_counts_who_has_both():
    z = random(6, 3)
    one_class = fl.batch_hard_triplet.value_and_grad(z, np.zeros(6, int))
    none_alike = fl.batch_hard_triplet.value_and_grad(z, np.arange(6))
    for result in (one_class, none_alike):
        assert_same_bits(result, (0.0, np.zeros((6, 3))))
    losses = fl.batch_hard_triplet(z, [0, 0, 0, 1, 1, 2], reduction="none", margin=9.0)
    assert np.all(losses[:5] > 0) and losses[5] == 0
    assert fl.batch_hard_triplet(z, [0, 0, 0, 1, 1, 2], margin=9.0) == pytest.approx(losses.sum() / 5, rel=1e-15)


@each_dtype
def test_temperature_of_a_thousandth(dtype):
    z = random(50, 6, dtype=dtype)
    z /= np.linalg.norm(z, axis=1, keepdims=True)
    other = z[::-1].copy()
    labels = np.arange(50) // 5
    for result in (
        fl.info_nce.value_and_grad(z, other, temperature=0.001),
        fl.clip.value_and_grad(z, other, 1000.0),
        fl.nt_xent.value_and_grad(z, other, temperature=0.001),
        fl.supcon.value_and_grad(z, labels, temperature=0.001),
    ):
        assert result[0] > 1 and all(np.all(np.isfinite(x)) for x in leaves(result))


@each_dtype
def test_small_losses_keep_their_accuracy(dtype):
    """A sum over all, less the positive, would lose what is below the rounding of the similarities."""
    eye = np.eye(4, dtype=dtype)
    for scale in (20.0, 60.0):
        tail = 3 * np.exp(-scale)
        value, (grad, *_) = fl.clip.value_and_grad(eye, eye, scale)
        assert value == pytest.approx(tail, rel=1e-6)
        assert grad[0, 0] == pytest.approx(-scale * tail / 4, rel=1e-6)
        assert fl.supcon(np.repeat(eye, 2, axis=0), np.arange(8) // 2, temperature=1 / scale) == pytest.approx(
            2 * tail, rel=1e-5
        )


@each_dtype
def test_zero_vectors_of_nt_xent(dtype):
    z1, z2 = random(2, 5, 3, dtype=dtype)
    z1[1] = 0
    value, (grad, other) = fl.nt_xent.value_and_grad(z1, z2)
    assert np.isfinite(value) and np.all(np.isfinite(other))
    assert np.all(grad[1] == 0) and np.all(grad[[0, 2, 3, 4]] != 0)
    assert fl.nt_xent(np.zeros((3, 2), dtype), np.zeros((3, 2), dtype)) == pytest.approx(np.log(5), rel=1e-6)


@each_dtype
@pytest.mark.parametrize("exponent", [-1, 1])
def test_nt_xent_does_not_depend_on_lengths(dtype, exponent):
    z1, z2 = random(2, 9, 3, dtype=dtype)
    value, grads = fl.nt_xent.value_and_grad(z1, z2)
    unit = np.ldexp(dtype(1), exponent * (np.finfo(dtype).maxexp - 20))
    scaled, scaled_grads = fl.nt_xent.value_and_grad(z1 * unit, z2)
    assert scaled == value
    assert_same_bits(scaled_grads[1], grads[1])


@each_dtype
def test_duplicates(dtype):
    z = np.ones((6, 3), dtype)
    labels = [0, 0, 0, 1, 1, 1]
    value, grad = fl.batch_hard_triplet.value_and_grad(z, labels)
    assert value == 1 and np.all(grad == 0)  # no distance has a direction
    assert fl.info_nce(z, z) == pytest.approx(np.log(6), rel=1e-6)
    assert fl.supcon(z, labels) == pytest.approx(np.log(5), rel=1e-6)


@each_dtype
def test_far_from_the_origin_distances_do_not_cancel(dtype):
    z = np.round(random(40, 4) * 16).astype(dtype)
    labels = np.arange(40) // 4
    assert_same_bits(
        fl.batch_hard_triplet.value_and_grad(z + dtype(2**15), labels), fl.batch_hard_triplet.value_and_grad(z, labels)
    )


def test_an_outlier_does_not_hide_who_is_hardest():
    z = random(300, 4, dtype=np.float32)
    z[0] = 1e6
    labels = np.arange(300) // 5
    actual = fl.batch_hard_triplet(z, labels, reduction="none")
    assert actual == pytest.approx(fl.batch_hard_triplet(z.astype(float), labels, reduction="none"), rel=1e-6)


@each_dtype
def test_the_hardest_far_from_the_middle(dtype, level):
    """|x|^2 + |y|^2 - 2 x y is 0 in float32 for each of the last four."""
    z = np.array([[0, 0]] * 5 + [[1e4, 0], [1e4, 3], [1e4, 1], [1e4, 2]], dtype)
    losses = fl.batch_hard_triplet(z, [10, 11, 12, 13, 14, 0, 1, 2, 0], reduction="none")
    assert losses.tolist() == [0, 0, 0, 0, 0, 2, 0, 0, 2]


def exact_hardest(z, labels):
    """The nearest negative and the farthest positive of each sample, or None; of several, the first."""
    rows = [[Fraction(float(x)) for x in row] for row in z]
    for i, row in enumerate(rows):
        square = [sum((a - b) ** 2 for a, b in zip(row, other, strict=True)) for other in rows]
        near = min((j for j in range(len(z)) if labels[j] != labels[i]), key=square.__getitem__, default=None)
        same = (j for j in range(len(z)) if labels[j] == labels[i] and j != i)
        yield near, max(same, key=square.__getitem__, default=None)


def assert_hardest(z, labels, same_pairs=True):
    """Assert that the losses, and with `same_pairs` the gradients, are those of the exact choice."""
    labels, x = np.asarray(labels), z.astype(np.longdouble)
    losses, sizes, grad = np.zeros(len(z)), np.zeros(len(z)), np.zeros_like(x)
    for i, hardest in enumerate(exact_hardest(z, labels)):
        if None in hardest:
            continue
        near, far = (np.sqrt(np.sum((x[i] - x[j]) ** 2)) for j in hardest)
        losses[i], sizes[i] = max(0, far - near), far + near
        for j, distance, sign in zip(hardest, (near, far), (-1, 1), strict=True):
            pull = sign * (x[i] - x[j]) / distance if distance > 0 else 0 * x[i]
            grad[i] += pull
            grad[j] -= pull
    assert_close(fl.batch_hard_triplet(z, labels, margin=0.0, reduction="none"), losses, 4, sizes)
    if same_pairs:  # with a large margin, all samples have a gradient
        actual = fl.batch_hard_triplet.grad(z, labels, margin=1e300, reduction="sum")
        assert_close(actual, grad.astype(float), scale=len(z))


@each_dtype
@pytest.mark.parametrize("distance", [3e-4, 1e-6, 0.0])
def test_the_hardest_in_tight_clusters(dtype, distance, small_tiles, level):
    centres = random(8, 16)
    centres /= np.linalg.norm(centres, axis=1, keepdims=True)
    z = centres[np.arange(64) % 8] + distance * random(64, 16, seed=1) / 4
    assert_hardest(z.astype(dtype), np.arange(64) // 4 % 7)


@st.composite
def near_ties(draw):
    """Vectors around a few centres, of any size: distances agree or nearly agree, and are exact in double."""
    n, d, centres = draw(st.integers(2, 40)), draw(st.integers(1, 3)), draw(st.integers(1, 3))
    rng = np.random.default_rng(draw(st.integers(0, 2**32)))
    size, unit = draw(st.sampled_from([0, 2**20, 2**23])), 2.0 ** draw(st.integers(-149, 100))
    z = rng.integers(-size, size + 1, (centres, d))[rng.integers(0, centres, n)] + rng.integers(0, 4, (n, d))
    return unit * z, rng.integers(0, draw(st.integers(1, n)), n)


@settings(max_examples=300, deadline=None)
@given(near_ties(), st.sampled_from([np.float32, np.float64]))
def test_the_hardest_among_near_ties(problem, dtype):
    z, labels = problem
    assert_hardest(z.astype(dtype), labels)


@settings(max_examples=100, deadline=None)
@given(st.integers(2, 20), st.integers(1, 6), st.integers(0, 2**32), st.sampled_from([np.float32, np.float64]))
def test_the_hardest_of_any_exponents(n, d, seed, dtype):
    """Distances that differ by less than the rounding of a double may be taken for the same."""
    rng = np.random.default_rng(seed)
    half = 240 if dtype == np.float64 else 120  # below 2^-498 of the largest, squares of float64 lose digits
    z = np.ldexp(rng.choice([-1, 0, 1, 1.5], (n, d)), rng.integers(-half, half, (n, 1))).astype(dtype)
    labels = rng.integers(0, 3, n)
    assert_hardest(z, labels, same_pairs=False)


def test_ties_go_to_the_first(small_tiles, level):
    """Whatever the labels: samples are sorted by them inside."""
    z = np.float32([[0, 0], [0, 0], [3, 4], [5, 0], [-4, 3], [0, 5], [-5, 0], [0, -5]])
    assert_hardest(z, [1, 1, 1, 4, 3, 1, 2, 0])
    assert_hardest(np.tile(z, (6, 1)), np.arange(48)[::-1] % 5)
    assert_hardest(np.ones((40, 2)), np.arange(40) % 3)


def test_an_outlier_does_not_hide_small_distances():
    z = random(30, 4, dtype=np.float32) * np.float32(1e-30)
    expected = fl.batch_hard_triplet.grad(z[:-1], np.arange(29) // 5, margin=9.0, reduction="sum")
    z[-1] = 1e38
    grad = fl.batch_hard_triplet.grad(z, np.arange(30) // 5 + 9 * (np.arange(30) == 29), margin=9.0, reduction="sum")
    assert_same_bits(grad[:-1], expected)


@each_dtype
@pytest.mark.parametrize("small", [False, True], ids=["large", "small"])
def test_distances_of_any_size(dtype, small):
    """Up to sums that overflow, and down to subnormal numbers. Gradients do not depend on the unit."""
    z = np.round(random(12, 3) * 16).astype(dtype)
    labels = np.arange(12) // 3
    expected, grad = fl.batch_hard_triplet.value_and_grad(z, labels, margin=0.0, reduction="none")
    info = np.finfo(dtype)
    unit = info.smallest_subnormal if small else np.ldexp(dtype(1), info.maxexp - 7)
    actual, scaled_grad = fl.batch_hard_triplet.value_and_grad(z * unit, labels, margin=0.0, reduction="none")
    assert actual / unit == pytest.approx(np.round(expected) if small else expected, rel=1e-6)
    assert_same_bits(scaled_grad, grad)


@each_in_batch_case
@each_dtype
def test_nan_reaches_the_losses_it_touches(case, dtype, small_tiles, level):
    n = 40
    problem = case.problem((n, 3), dtype=dtype).copied()
    before = problem.value(reduction="none") != 0
    problem.pred[2, 1] = np.nan
    touched = np.arange(n) == 2 if case.own_loss_alone else np.ones(n, bool)
    value, grad = problem.value_and_grad(reduction="none")
    assert np.all(np.isnan(value[touched & before])) and np.all(np.isfinite(value[~touched]))
    assert np.isnan(problem.value()) and np.all(np.isnan(leaves(grad)[0][2]))


@each_in_batch_case
def test_nothing_to_average_has_no_gradient(case):
    """A sample that is NaN does not change that."""
    problem = case.problem((6, 3)).copied()
    options = {"sample_weight": np.zeros(6)}
    if "labels" in problem.inputs:
        problem.inputs["labels"][:] = np.arange(6)
        options = {}
    problem.pred[2, 1] = np.nan
    value, grad = problem.value_and_grad(**options)
    assert value == 0 and all(np.all(g == 0) for g in leaves(grad))


def test_sums_that_overflow_do_so_quietly():
    z = np.array([[1e308], [0.0], [-1e308], [0.0]])
    losses = fl.batch_hard_triplet(z, [0, 0, 1, 1], margin=0.0, reduction="none")
    assert losses == pytest.approx([0, 1e308, 0, 1e308], rel=1e-14)
    assert fl.batch_hard_triplet(z, [0, 0, 1, 1], margin=0.0, reduction="sum") == np.inf
    with pytest.raises(ValueError, match="^the weights add up to inf, which float64 cannot divide by$"):
        fl.info_nce(z, z, sample_weight=np.full(4, 1e308))


@each_dtype
def test_infinite_similarities(dtype):
    """-inf rules a pair out; a loss with a similarity of +inf is NaN, or inf."""
    x, y = np.ones((2, 3, 2), dtype)
    y[2] = -np.inf
    expected = [np.log(2), np.log(2), np.inf]
    assert_close(fl.info_nce(x, y, temperature=1.0, reduction="none"), np.array(expected, dtype), 4)
    y[2] = np.inf
    assert np.all(np.isnan(fl.info_nce(x, y, reduction="none")))
    z = np.array([[np.inf, 0], [-1, 0], [-2, 1], [-1, -1]], dtype)  # -inf is a positive of the second and third
    assert fl.supcon(z, [0, 0, 0, 1], reduction="none")[1:].tolist() == [np.inf, np.inf, 0]


@pytest.mark.parametrize("dtype", ["b", "B", "h", "H", "i", "I", "l", "L", "q", "Q", ">i4", ">u8"])
def test_labels_of_every_integer_dtype(dtype):
    z = random(8, 3)
    labels = np.array([3, 0, 3, 100, 0, 100, 3, 7])
    for loss in (fl.supcon, fl.batch_hard_triplet):
        assert_same_bits(loss.value_and_grad(z, labels.astype(dtype)), loss.value_and_grad(z, labels))


def test_labels_beyond_int64_and_negative():
    z = random(6, 3)
    plain = [0, 0, 1, 1, 2, 2]
    huge = np.array([2**63, 2**63, 2**64 - 1, 2**64 - 1, 2**64 - 2, 2**64 - 2], np.uint64)
    negative = np.array([-(2**63), -(2**63), -1, -1, 5, 5])
    for loss in (fl.supcon, fl.batch_hard_triplet):
        for labels in (huge, negative):
            assert loss(z, labels) == pytest.approx(loss(z, plain), rel=1e-14)


@each_in_batch_case
def test_in_place_of_the_other_input(case, small_tiles):
    if len(case.differentiable) < 2:
        pytest.skip("has one gradient")
    problem = case.problem((40, 3))
    expected = problem.value_and_grad()
    same = problem.copied()
    first, second, *numbers = same.differentiated
    assert_same_bits(same.value_and_grad(out=(second, first, *numbers)), expected)


def message(function, *args, **options):
    with pytest.raises((TypeError, ValueError)) as error:
        function(*args, **options)
    return f"{type(error.value).__name__}: {error.value}"


def test_errors_of_shapes():
    x = np.zeros((4, 3))
    for loss, names, others in (
        (fl.info_nce, ("query", "key"), ()),
        (fl.clip, ("image", "text"), (1.0,)),
        (fl.siglip, ("image", "text"), (1.0, 0.0)),
        (fl.nt_xent, ("z1", "z2"), ()),
    ):
        for shape in ((), (3,), (2, 4, 3)):
            bad = np.zeros(shape)
            expected = f"ValueError: {names[0]} must have shape (N, D), vectors as rows, not {shape}"
            assert message(loss, bad, bad, *others) == expected
        expected = f"ValueError: {names[0]} must hold vectors of at least one element, and has shape (4, 0)"
        assert message(loss, x[:, :0], x[:, :0], *others) == expected
        expected = f"ValueError: {names[1]} must have the shape of {names[0]}, (4, 3), not (3, 3)"
        assert message(loss, x, x[:3], *others) == expected


def test_errors_of_labels():
    z = np.zeros((4, 3))
    for loss in (fl.supcon, fl.batch_hard_triplet):
        assert message(loss, z, [0, 1]) == "ValueError: labels must have shape (4,), a label for each sample, not (2,)"
        for labels in ([0.0, 1, 2, 3], [True] * 4):
            dtype = np.asarray(labels).dtype
            expected = f"TypeError: labels must hold class labels of an integer dtype, not {dtype}"
            assert message(loss, z, labels) == expected


def test_errors_of_scalars():
    x = np.zeros((4, 3))
    assert message(fl.clip, x, x, [1.0]) == "ValueError: logit_scale must be a number, not an array of shape (1,)"
    for loss, numbers in ((fl.clip, ()), (fl.siglip, (1.0,))):
        for bad in (np.nan, -1.0, np.float32(-2.5), -1, np.inf):
            expected = f"ValueError: logit_scale must be finite and >= 0, not {float(bad)}"
            assert message(loss, x, x, bad, *numbers) == expected
    assert message(fl.siglip, x, x, 1.0, np.inf) == "ValueError: logit_bias must be finite, not inf"


@each_in_batch_case
def test_an_error_leaves_what_out_aliases_as_it_was(case):
    problem = case.problem((8, 3)).copied()
    before = problem.copied()
    weight = np.array([1, 1, 1, 1, 1, 1, 1, -1.0])
    with pytest.raises(ValueError, match=r"^sample_weight\[7\] = -1.0 is not a finite weight >= 0$"):
        problem.grad(out=problem.differentiated, sample_weight=weight)
    for name, x in problem.inputs.items():
        assert_same_bits(x, before.inputs[name])


def test_out_of_the_numbers_is_0_dimensional():
    x = np.eye(3)
    out = (np.empty((3, 3)), np.empty((3, 3)), np.empty(1))
    assert message(fl.clip.grad, x, x, 1.0, out=out) == "ValueError: out[2] must have shape (), not (1,)"

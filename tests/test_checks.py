"""Errors: each text word for word, and nothing changed by a call that raises."""

import inspect
import sys

import numpy as np
import pytest
from losses import CASES, IN_UNIT, MARGINS, NOT_NEGATIVE, ONE_OF_EACH, SIGN, ZERO_OR_ONE, assert_same_bits, like, raises

import fastloss as fl

METHODS = ["value", "grad", "value_and_grad", "grad_and_hess"]
one_of_each = pytest.mark.parametrize("case", ONE_OF_EACH, ids=str)

Z, Y = np.zeros((3, 4)), np.array([0, 1, 2])


# ---------------------------------------------------------------------------------------------------------------------
# Arguments of every loss


@one_of_each
@pytest.mark.parametrize("method", METHODS)
def test_common_arguments(case, method):
    if method not in case.methods:
        pytest.skip("has no Hessian")
    problem = case.small()
    call = getattr(problem, method)
    for bad in ("avg", "Mean", None, 1, True, ["mean"]):
        with raises(ValueError, f"reduction must be 'mean', 'sum' or 'none', not {bad!r}"):
            call(reduction=bad)
    for reduction in ("sum", "none"):
        with raises(ValueError, f"normalizer goes with reduction='mean', not '{reduction}'"):
            call(reduction=reduction, normalizer=1.0)
    for bad in (0, -1.0, np.nan, np.inf, np.float32(-2)):
        with raises(ValueError, f"normalizer must be finite and > 0, not {bad!r}"):
            call(reduction="mean", normalizer=bad)
    for bad in ("1", [1.0], np.ones(1), 1j, True):
        with raises(TypeError, f"normalizer must be a real number, not {type(bad).__name__}"):
            call(reduction="mean", normalizer=bad)
    with pytest.raises(TypeError, match=r"got an unexpected keyword argument 'weights'"):
        call(weights=1)


@one_of_each
def test_inputs_are_positional(case):
    problem = case.small()
    inputs = list(problem.inputs.values())
    with pytest.raises(TypeError, match="positional argument"):
        case.loss(*inputs[:-1])
    with pytest.raises(TypeError, match="positional argument"):
        case.loss(*inputs, *[1.0] * 3)  # a regulariser takes two parameters by position
    assert case.loss(**problem.inputs, **problem.options) == problem.value()


@one_of_each
def test_masked_arrays_are_refused(case):
    problem = case.small()
    fill = "must not be a masked array: fill it, and give the mask as sample_weight"
    for name, x in problem.inputs.items():
        with raises(TypeError, f"{name} {fill}"):
            problem.with_(**{name: np.ma.masked_array(x)}).value()
    with raises(TypeError, f"sample_weight {fill}"):
        problem.value(sample_weight=np.ma.ones(problem.batch))


@one_of_each
def test_ragged_lists(case):
    problem = case.small()
    for name in problem.inputs:
        with pytest.raises(ValueError, match=f"^{name} cannot be made an array: setting an array element"):
            problem.with_(**{name: [[1.0], [2.0, 3.0]]}).value()


@one_of_each
def test_sample_weight(case):
    problem = case.small()
    batch = problem.batch
    too_long = (*batch, 1)
    for shape in [(), (1,), (5,), (6, 1), (1, 5), (5, 6), too_long]:
        for method in case.methods:
            with raises(
                ValueError,
                f"sample_weight must have the shape of the leading axes of the loss, {batch} or fewer of these axes, "
                f"not {shape}",
            ):
                getattr(problem, method)(sample_weight=np.ones(shape))
    first, second, where = (2, 4, "2") if len(batch) == 1 else ((2, 3), (4, 0), "2, 3")
    for bad in (-1.0, np.nan, np.inf, -np.inf, -1e-300):
        weight = np.ones(batch)
        weight[first] = weight[second] = bad
        for method in case.methods:
            with raises(ValueError, f"sample_weight[{where}] = {bad!r} is not a finite weight >= 0"):
                getattr(problem, method)(sample_weight=weight)
    with raises(ValueError, "sample_weight[5] = -3 is not a finite weight >= 0"):
        problem.value(sample_weight=np.array([1, 2, 3, 4, 5, -3], np.int8))


@one_of_each
def test_target_shape(case):
    if case.has_classes or "target" not in case.inputs:
        pytest.skip("see test_class_target_shape_and_type")
    problem = case.problem((3, 4))
    for shape in [(3,), (4,), (3, 1), (1, 4), (4, 3), (3, 4, 1), ()]:
        with raises(ValueError, f"target must have the shape of pred, (3, 4), not {shape}"):
            problem.with_(target=np.ones(shape)).value_and_grad()


# ---------------------------------------------------------------------------------------------------------------------
# Parameters


NUMBERS = {  # what is said of a bad value, and some of these
    "finite": [np.inf, -np.inf, np.nan],
    "finite and > 0": [0, -1, np.inf, np.nan, -0.0],
    "finite and >= 0": [-1e-9, np.inf, np.nan],
    "in [0, 1]": [-0.1, 1.5, np.nan, np.inf],
    "in [-1, 1]": [-1.5, 1.001, np.nan, np.inf],
    "in (1, 2)": [1, 2.0, 0, np.nan, np.inf],
    "in (0, 1)": [0, 1.0, -0.5, np.nan, np.inf],
}
#: The numbers that each loss takes; the first and the last good value are those of an interval without its ends.
PARAMETERS = [
    ("huber", "delta", "finite and > 0"),
    ("smooth_l1", "beta", "finite and >= 0"),
    ("pseudo_huber", "delta", "finite and > 0"),
    ("quantile", "q", "in [0, 1]"),
    ("expectile", "q", "in [0, 1]"),
    ("epsilon_insensitive", "epsilon", "finite and >= 0"),
    ("squared_epsilon_insensitive", "epsilon", "finite and >= 0"),
    ("poisson_nll", "eps", "finite and >= 0"),
    ("tweedie", "power", "in (1, 2)"),
    ("gaussian_nll", "eps", "finite and > 0"),
    *((name, "c", "finite and > 0") for name in ("cauchy", "welsch", "geman_mcclure", "fair", "tukey")),
    ("binary_cross_entropy", "alpha", "in [0, 1]"),
    ("binary_cross_entropy", "label_smoothing", "in [0, 1]"),
    ("binary_cross_entropy_with_logits", "alpha", "in [0, 1]"),
    ("binary_cross_entropy_with_logits", "label_smoothing", "in [0, 1]"),
    ("binary_focal", "gamma", "finite and >= 0"),
    ("binary_focal", "alpha", "in [0, 1]"),
    ("sigmoid_focal", "gamma", "finite and >= 0"),
    ("sigmoid_focal", "alpha", "in [0, 1]"),
    ("sigmoid_poly1", "epsilon", "finite"),
    ("hinge", "margin", "finite"),
    ("squared_hinge", "margin", "finite"),
    ("l1", "strength", "finite and >= 0"),
    ("l2", "strength", "finite and >= 0"),
    ("elastic_net", "strength", "finite and >= 0"),
    ("elastic_net", "l1_ratio", "in [0, 1]"),
    ("cross_entropy", "label_smoothing", "in [0, 1]"),
    ("cross_entropy", "z_loss", "finite and >= 0"),
    ("categorical_cross_entropy", "label_smoothing", "in [0, 1]"),
    ("js_divergence", "beta", "in (0, 1)"),
    ("poly1_cross_entropy", "epsilon", "finite"),
    ("poly1_cross_entropy", "label_smoothing", "in [0, 1]"),
    ("softmax_focal", "gamma", "finite and >= 0"),
    ("multiclass_hinge", "margin", "finite"),
    ("crammer_singer", "margin", "finite"),
    ("contrastive", "margin", "finite and >= 0"),
    ("triplet", "margin", "finite"),
    ("triplet", "eps", "finite and >= 0"),
    ("cosine_embedding", "margin", "in [-1, 1]"),
    ("margin_ranking", "margin", "finite"),
    ("hinge_embedding", "margin", "finite"),
    *((name, "temperature", "finite and > 0") for name in ("info_nce", "nt_xent", "supcon")),
    ("batch_hard_triplet", "margin", "finite and >= 0"),
]


@pytest.mark.parametrize("loss, name, wanted", PARAMETERS)
def test_numbers(loss, name, wanted):
    case = next(case for case in CASES if case.name == loss)
    problem = case.small()

    def call(x):
        return problem.with_(problem.options | {name: x}).value()

    for x in NUMBERS[wanted]:
        with raises(ValueError, f"{name} must be {wanted}, not {x!r}"):
            call(x)
    with raises(ValueError, f"{name} must be {wanted}, not inf"):  # beyond the floats
        call(10**400)
    for x in ("1", b"1", True, np.True_, 1j, [1.0], np.ones(2), object()):
        with raises(TypeError, f"{name} must be a real number, not {type(x).__name__}"):
            call(x)
    if name != "alpha":
        with raises(TypeError, f"{name} must be a real number, not NoneType"):
            call(None)
    good = 1.5 if name == "power" else 0.5
    expected = call(good)
    for same in (np.float64(good), np.float32(good), np.array(good), np.longdouble(good)):
        assert call(same) == expected


def test_every_number_is_tested():
    listed = {(loss, name) for loss, name, _ in PARAMETERS}
    listed |= {("multiclass_hinge", "power"), ("triplet", "p")}  # see test_margin_losses, and test_embedding.py
    for case in CASES:
        own = inspect.signature(case.loss).parameters.keys() - case.inputs.keys()
        own -= {"sample_weight", "reduction", "normalizer", "out"}
        own -= {"axis", "class_weight", "ignore_index", "pos_weight"}  # no numbers: see below
        own -= {name for _, name in FLAGS}
        assert {(case.name, name) for name in own} <= listed


FLAGS = [
    ("poisson_nll", "log_input"),
    ("poisson_nll", "full"),
    ("gaussian_nll", "full"),
    ("kl_divergence", "log_target"),
    ("triplet", "swap"),
    ("info_nce", "symmetric"),
    ("batch_hard_triplet", "soft"),
]


@pytest.mark.parametrize("loss, name", FLAGS)
def test_flags(loss, name):
    case = next(case for case in CASES if case.name == loss)
    for bad in ("yes", 1, 0, None, 1.0, np.array([True])):
        with raises(TypeError, f"{name} must be True or False, not {bad!r}"):
            problem = case.small()
            problem.with_(problem.options | {name: bad}).value()
    for good in (True, False):
        same = [problem.with_(problem.options | {name: flag}).grad() for flag in (good, np.bool_(good))]
        assert_same_bits(*same)


def test_var():
    p = np.ones((3, 4, 5))
    for shape in [(1,), (4,), (5,), (4, 5), (3, 1), (3, 4, 1), (3, 4, 5, 1), (3, 5)]:
        with raises(ValueError, f"var must have the shape of pred, (3, 4, 5), or of leading axes of it, not {shape}"):
            fl.gaussian_nll(p, p, np.ones(shape))
    var = np.ones(4)
    var[3] = -1
    with raises(ValueError, "var[3] = -1.0 is not >= 0"):
        fl.gaussian_nll(np.ones(4), np.ones(4), var)
    with raises(ValueError, "var = -3 is not >= 0"):
        fl.gaussian_nll(np.ones(4), np.ones(4), -3)
    assert np.isnan(fl.gaussian_nll(np.ones(4), np.ones(4), [1, 1, np.nan, 1]))


def test_pos_weight():
    bce = fl.binary_cross_entropy_with_logits
    for shape in [(1,), (3,), (3, 4), (4, 1), (0,)]:
        with raises(ValueError, f"pos_weight must be a number or have the shape of the last axis, (4,), not {shape}"):
            bce.grad(Z, Z, pos_weight=np.ones(shape))
    with raises(ValueError, "pos_weight must be a number or have the shape of the last axis, (), not (1,)"):
        bce(0.5, 1, pos_weight=[1.0])
    for bad in (-1.0, np.nan, np.inf):
        with raises(ValueError, f"pos_weight = {bad!r} is not a finite weight >= 0"):
            bce(Z, Z, pos_weight=bad)
        with raises(ValueError, f"pos_weight[2] = {bad!r} is not a finite weight >= 0"):
            bce(Z, Z, pos_weight=[1, 1, bad, bad])
    with raises(TypeError, "pos_weight must be real (bool, integer or float), not complex128"):
        bce(Z, Z, pos_weight=1j)
    with raises(TypeError, "pos_weight must not be a masked array: fill it, and give the mask as sample_weight"):
        bce(Z, Z, pos_weight=np.ma.ones(4))


def test_margin_losses():
    for loss in (fl.multiclass_hinge, fl.crammer_singer):
        with raises(ValueError, "target must have shape (3,) (class indices), not (3, 4)"):
            loss(Z, Z)
        with raises(TypeError, "target must hold class indices of an integer dtype in shape (3,), not float64"):
            loss(Z, Y.astype(float))
        with raises(ValueError, "target[1] = 4 is not a class index in [0, 4) nor ignore_index (-100)"):
            loss(Z, [0, 4, 1])
        with raises(ValueError, "pred must have at least one class, and has shape (3, 0)"):
            loss(np.zeros((3, 0)), Y)
    for bad in (0, 3, 1.5, -1):
        with raises(ValueError, f"power must be 1 or 2, not {bad}"):
            fl.multiclass_hinge(Z, Y, power=bad)
    with raises(TypeError, "power must be a real number, not str"):
        fl.multiclass_hinge(Z, Y, power="2")


def test_axis():
    for bad in (2, -3, 100, sys.maxsize, -sys.maxsize):
        with raises(ValueError, f"axis must be in [-2, 2), not {bad}"):
            fl.cross_entropy(Z, Y, axis=bad)
    for bad in (1.0, -1.0, "1", None, (1,), np.ones(2)):
        with raises(TypeError, f"axis must be an integer, not {type(bad).__name__}"):
            fl.cross_entropy(Z, Y, axis=bad)
    with raises(ValueError, "pred must have a class axis, and is 0-dimensional"):
        fl.cross_entropy(1.0, 0)
    with raises(ValueError, "pred must have at least one class, and has shape (3, 0)"):
        fl.cross_entropy(np.zeros((3, 0)), Y)
    assert fl.cross_entropy(Z, Y, axis=np.int8(1)) == fl.cross_entropy(Z, Y)


def test_class_weight():
    for shape in [(), (1,), (3,), (5,), (3, 4), (4, 1)]:
        with raises(ValueError, f"class_weight must have shape (4,), not {shape}"):
            fl.cross_entropy(Z, Y, class_weight=np.ones(shape))
    for bad in (-1.0, np.nan, np.inf, -np.inf):
        with raises(ValueError, f"class_weight[1] = {bad!r} is not a finite weight >= 0"):
            fl.cross_entropy(Z, Y, class_weight=[1, bad, 1, bad])
    with raises(TypeError, "class_weight must be real (bool, integer or float), not object"):
        fl.cross_entropy(Z, Y, class_weight=[1, 1, 1, None])
    with raises(TypeError, "class_weight must not be a masked array: fill it, and give the mask as sample_weight"):
        fl.cross_entropy(Z, Y, class_weight=np.ma.ones(4))


@pytest.mark.filterwarnings("error")
def test_class_weights_beyond_float32_raise_no_warning():
    with raises(ValueError, "class_weight[1] = 1e+300 is not a finite weight >= 0"):
        fl.cross_entropy(Z.astype(np.float32), Y, class_weight=[1, 1e300, 1, 1])
    with raises(ValueError, "class_weight[1] = -1e+300 is not a finite weight >= 0"):
        fl.cross_entropy(Z.astype(np.float32), Y, class_weight=[1, -1e300, 1, 1])


def test_ignore_index():
    for bad in (1.0, "1", None):
        with raises(TypeError, f"ignore_index must be an integer, not {type(bad).__name__}"):
            fl.cross_entropy(Z, Y, ignore_index=bad)
    for bad in (2**63, -(2**63) - 1, 2**64 - 100):
        with raises(ValueError, f"ignore_index must fit 64 bits, not {bad}"):
            fl.cross_entropy(Z, Y, ignore_index=bad)
    with raises(ValueError, "ignore_index goes with class indices, and target holds probabilities"):
        fl.cross_entropy(Z, Z, ignore_index=1)


def test_class_target_shape_and_type():
    z = np.zeros((3, 4, 5))
    for shape in [(3,), (3, 4), (5, 3), (3, 5, 1), (3, 5, 4), (3, 4, 5, 1), ()]:
        with raises(
            ValueError,
            f"target must have shape (3, 5) (class indices) or (3, 4, 5) (probabilities), not {shape}",
        ):
            fl.cross_entropy.grad(z, np.zeros(shape, int), axis=1)
    for dtype in (bool, np.float16, np.float32, np.float64):
        with raises(
            TypeError, f"target must hold class indices of an integer dtype in shape (3,), not {np.dtype(dtype)}"
        ):
            fl.cross_entropy(Z, Y.astype(dtype))


# ---------------------------------------------------------------------------------------------------------------------
# Elements of the target

PLACES = [0, 1, 500, -2, -1]


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("place", PLACES)
@pytest.mark.parametrize("n", [1000, 100_000])
def test_targets_outside_the_unit_interval(dtype, place, n):
    for bad in (-1e-6, 1 + 1e-6, np.nan, np.inf, -np.inf, 2):
        target = np.ones(n, dtype)
        target[place] = bad
        shown = target[place].item()
        with raises(ValueError, f"target[{place % n}] = {shown!r} is not in [0, 1]"):
            fl.binary_cross_entropy_with_logits.value_and_grad(np.zeros(n, dtype), target)


@one_of_each
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("place", [(0, 0), (3, 1), (-1, -1)])
def test_elements_outside_the_domain_of_their_input(case, dtype, place):
    """Of every input that has a domain; a NaN is in none of them, but in pred or var it propagates."""
    bads = {
        IN_UNIT: (-1e-6, 1 + 1e-6, np.inf, -np.inf),
        SIGN: (0.0, 0.999, np.inf, -2.0, np.nan),
        NOT_NEGATIVE: (-1e-30, -1.0, -np.inf),
        ZERO_OR_ONE: (-1.0, 0.5, np.inf, np.nan),
    }
    for name, domain in case.domains.items():
        for bad in (*bads[domain], *([np.nan] if domain == IN_UNIT and name == "target" else [])):
            problem = case.small(dtype).copied()
            x = problem.inputs[name]
            at = place[: x.ndim]
            if case.has_classes and not case.of_vectors:
                at = (*place[: problem.axis], 1, *place[problem.axis :])
            x[at] = bad
            where = f"[{', '.join(str(k % n) for k, n in zip(at, x.shape, strict=False))}]" if at else ""
            for method in case.methods:
                with raises(ValueError, f"{name}{where} = {x[at].item()!r} is not {domain}"):
                    getattr(problem, method)()
            weight = np.ones(problem.batch)
            weight[place if case.has_classes else at] = 0
            problem.value_and_grad(sample_weight=weight)  # it is not there


@one_of_each
def test_the_first_input_with_a_bad_element_is_named(case):
    problem = case.problem((3,), seed=1)
    if len(case.domains) < 2:
        pytest.skip("has one domain at most")
    bad = problem.with_(**{name: np.full(3, 9.0) for name in case.domains})
    with raises(ValueError, "pred[0] = 9.0 is not in [0, 1]"):
        bad.value()


@pytest.mark.parametrize("place", PLACES)
def test_margin_labels(place):
    for bad in (0, -2, 127):
        target = np.ones((1000, 2), np.int8)
        target[place, 1] = bad
        with raises(ValueError, f"target[{place % 1000}, 1] = {bad} is not {SIGN}"):
            fl.hinge(np.zeros((1000, 2)), target)
    for bad in (0.0, 0.999, np.nan, np.inf):
        target = np.ones(1000)
        target[place] = bad
        with raises(ValueError, f"target[{place % 1000}] = {bad!r} is not {SIGN}"):
            fl.hinge(np.zeros(1000), target)
    with raises(ValueError, f"target[0] = 255 is not {SIGN}"):
        fl.hinge([0.5], np.array([255], np.uint8))
    with raises(ValueError, f"target = False is not {SIGN}"):
        fl.hinge(0.5, False)


def test_the_first_bad_element_is_named():
    target = np.zeros((30, 40, 50))
    target[7, 3, 2] = target[7, 3, 9] = target[20, 0, 0] = 1.5
    with raises(ValueError, "target[7, 3, 2] = 1.5 is not in [0, 1]"):
        fl.binary_cross_entropy_with_logits(np.zeros_like(target), target)
    weight = np.ones((30, 40))
    weight[7, 3] = 0
    with raises(ValueError, "target[20, 0, 0] = 1.5 is not in [0, 1]"):
        fl.binary_cross_entropy_with_logits(np.zeros_like(target), target, sample_weight=weight)


INTEGERS = ["b", "B", "h", "H", "i", "I", "l", "L", "q", "Q", ">i2", ">u4", ">i8", ">u8"]
#: One for each way through the kernel, and two above the serial threshold.
LABEL_SHAPES = [((300, 4), 1), ((300, 100), 1), ((5, 4, 60), 1), ((100, 4, 3), 1), ((9000, 5), 1), ((400, 90), 1)]


@pytest.mark.parametrize("dtype", INTEGERS)
@pytest.mark.parametrize("shape, axis", LABEL_SHAPES, ids=str)
def test_labels_out_of_range(dtype, shape, axis):
    """At the first, the last and a middle place, up to the ends of every integer type, nothing is written."""
    rng = np.random.default_rng(0)
    classes = shape[axis]
    logits = rng.standard_normal(shape).astype(np.float32)
    batch = shape[:axis] + shape[axis + 1 :]
    good = rng.integers(0, classes, batch).astype(dtype)
    info = np.iinfo(good.dtype)
    bad_labels = {classes, classes + 1, -1, -99, -101, 127, 128, 255, 256, info.min, info.max, info.max - 99}
    bad_labels |= {2**31, 2**32, 2**32 + 1, 2**53, 2**63 - 1, 2**63, 2**63 + 1, 2**64 - 1, 2**64 - 100, -(2**63)}
    for bad in sorted(x for x in bad_labels if info.min <= x <= info.max and not 0 <= x < classes and x != -100):
        for place in (0, good.size // 2, good.size - 1):
            label = good.copy()
            label.flat[place] = bad
            index = ", ".join(str(i) for i in np.unravel_index(place, batch))
            text = f"target[{index}] = {bad} is not a class index in [0, {classes}) nor ignore_index (-100)"
            out = np.full(shape, 7, np.float32)
            with raises(ValueError, text):
                fl.cross_entropy.grad(logits, label, axis=axis, out=out)
            assert np.all(out == 7)
            with raises(ValueError, text):
                fl.cross_entropy(logits, label, axis=axis)


def test_labels_are_checked_under_weight_zero_too():
    """They are indices into memory, whatever they weigh."""
    with raises(ValueError, "target[1] = 4 is not a class index in [0, 4) nor ignore_index (-100)"):
        fl.cross_entropy(Z, [0, 4, 1], sample_weight=[1, 0, 1])
    with raises(ValueError, "target[1] = 4 is not a class index in [0, 4) nor ignore_index (7)"):
        fl.cross_entropy(Z, [0, 4, 7], ignore_index=7)
    with raises(ValueError, "target = -1 is not a class index in [0, 4) nor ignore_index (-100)"):
        fl.cross_entropy(Z[0], -1)


@pytest.mark.parametrize("shape, axis", LABEL_SHAPES, ids=str)
def test_probabilities_out_of_range(shape, axis):
    logits = np.zeros(shape, np.float32)
    for bad in (-1e-6, 1 + 1e-6, np.nan, np.inf):
        for place in (0, logits.size // 2, logits.size - 1):
            target = np.full(shape, 0.1, np.float32)
            target.flat[place] = bad
            at = np.unravel_index(place, shape)
            with raises(ValueError, f"target[{', '.join(map(str, at))}] = {target[at].item()!r} is not in [0, 1]"):
                fl.cross_entropy.grad(logits, target, axis=axis)
            weight = np.ones(np.delete(shape, axis))
            weight[tuple(np.delete(at, axis))] = 0
            assert np.all(np.isfinite(fl.cross_entropy.grad(logits, target, axis=axis, sample_weight=weight)))


@pytest.mark.filterwarnings("error")
def test_a_target_is_shown_as_it_was_given():
    """Not as what a conversion to the dtype of pred makes of it."""
    target = np.full((3, 4), 0.25)
    target[1, 2] = 1e300
    with raises(ValueError, "target[1, 2] = 1e+300 is not in [0, 1]"):
        fl.cross_entropy(Z.astype(np.float32), target)
    with raises(ValueError, "target[1, 2] = 1e+300 is not in [0, 1]"):
        fl.binary_cross_entropy_with_logits(Z.astype(np.float32), target)


# ---------------------------------------------------------------------------------------------------------------------
# out


@one_of_each
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_out(case, dtype):
    problem = case.small(dtype)
    if len(case.by) > 1:
        pytest.skip("see test_out_of_several_gradients")
    shape = problem.pred.shape
    other = np.float64 if dtype is np.float32 else np.float32
    good = np.zeros(shape, dtype)
    frozen = good.copy()
    frozen.flags.writeable = False
    bytes_ = np.empty(good.nbytes + 1, np.uint8)
    wanted = np.dtype(dtype)

    def check(error, text, out):
        for method in ("grad", "value_and_grad"):
            with raises(error, f"out {text}"):
                getattr(problem, method)(out=out)
        if case.of_vectors:  # have no Hessian
            return
        with raises(error, f"out[0] {text}"):
            problem.grad_and_hess(out=(out, good))
        with raises(error, f"out[1] {text}"):
            problem.grad_and_hess(out=(good, out))

    check(TypeError, "must be a NumPy array, not list", good.tolist())
    check(TypeError, "must be a NumPy array, not MaskedArray", np.ma.masked_array(good))
    check(TypeError, f"must have dtype {wanted}, not {np.dtype(other)}", good.astype(other))
    check(TypeError, f"must have dtype {wanted}, not int64", good.astype(np.int64))
    check(TypeError, f"must have dtype {wanted}, not {wanted.newbyteorder()}", good.astype(wanted.newbyteorder()))
    check(ValueError, f"must have shape {shape}, not {shape[::-1]}", np.empty(shape[::-1], dtype))
    check(ValueError, f"must have shape {shape}, not {(*shape, 1)}", np.empty((*shape, 1), dtype))
    check(ValueError, f"must have shape {shape}, not {(good.size,)}", np.empty(good.size, dtype))
    check(ValueError, "must be C-contiguous and aligned", np.asfortranarray(good))
    check(ValueError, "must be C-contiguous and aligned", np.empty((*shape[:-1], 2 * shape[-1]), dtype)[..., ::2])
    check(ValueError, "must be C-contiguous and aligned", bytes_[1:].view(dtype).reshape(shape))
    check(ValueError, "must be writable, and is read-only", frozen)

    with raises(TypeError, "out goes with grad, value_and_grad and grad_and_hess: a value needs no array"):
        problem.value(out=good)
    for out in (good, [good, good.copy()], (good,), (good, good, good)) if not case.of_vectors else ():
        with raises(TypeError, "out must be a tuple of 2 arrays"):
            problem.grad_and_hess(out=out)
    with raises(TypeError, "out must be a NumPy array, not tuple"):
        problem.grad(out=(good,))


def test_out_of_several_gradients():
    loss, shape = fl.gaussian_nll, (3, 4)
    p, var, good, rows = np.ones(shape), np.ones(3), np.ones(shape), np.ones(3)
    for out in (good, [good, rows], (good,), (good, rows, rows)):
        for method in (loss.grad, loss.value_and_grad):
            with raises(TypeError, "out must be a tuple of 2 arrays"):
                method(p, p, var, out=out)
        with raises(TypeError, "out[1] must be a tuple of 2 arrays"):
            loss.grad_and_hess(p, p, var, out=((good, rows), out))
    for out in (good, (good, rows, rows), [(good, rows)] * 2):
        with raises(TypeError, "out must be a tuple of 2 tuples of arrays"):
            loss.grad_and_hess(p, p, var, out=out)
    with raises(ValueError, "out[1] must have shape (3,), not (3, 4)"):
        loss.grad(p, p, var, out=(good, good.copy()))
    with raises(TypeError, "out[1] must have dtype float64, not float32"):
        loss.grad(p, p, var.astype(np.float32), out=(good, rows.astype(np.float32)))
    with raises(ValueError, "out[1][1] must have shape (3,), not (4,)"):
        loss.grad_and_hess(p, p, var, out=((good, rows), (good.copy(), np.ones(4))))
    with raises(ValueError, "out[1][0] overlaps out[0][0]"):
        loss.grad_and_hess(p, p, var, out=((good, rows), (good, rows.copy())))
    with raises(ValueError, "out[1] overlaps out[0]"):
        loss.grad(p, p, var, out=(good, good.ravel()[:3]))
    with raises(ValueError, "out[0] overlaps var"):
        memory = np.ones(15)
        loss.grad(p, p, memory[1:4], out=(memory[:12].reshape(shape), rows))


@one_of_each
def test_out_must_not_overlap(case):
    problem = case.small()
    several = len(case.by) > 1
    n = problem.pred.size
    memory = np.zeros(3 * n)
    shape = problem.pred.shape

    def window(start):
        return memory[start : start + n].reshape(shape)

    def out(first):
        """`out` for a gradient, of which this array is the first."""
        return (first, *like(problem.differentiated)[1:]) if several else first

    first, second = ("out[0]", "out[1][0]") if several else ("out", "out[1]")
    pred = window(5)
    pred[...] = problem.pred
    shifted = problem.with_(pred=pred)
    for start in (0, 4, 6, 5 + n - 1):
        with raises(ValueError, f"{first} overlaps {case.first}"):
            shifted.grad(out=out(window(start)))
        if not case.of_vectors:
            with raises(ValueError, f"{second} overlaps {case.first}"):
                shifted.grad_and_hess(out=(out(np.empty(shape)), out(window(start))))
    assert_same_bits(pred, problem.pred)
    if case.of_vectors:
        return
    other = "out[0][0]" if several else "out[0]"
    with raises(ValueError, f"{second} overlaps {other}"):
        problem.grad_and_hess(out=(out(window(0)), out(window(0))))
    with raises(ValueError, f"{second} overlaps {other}"):
        problem.grad_and_hess(out=(out(window(0)), out(window(n - 1))))
    weight = memory[: problem.batch[0]]
    weight[...] = 1
    with raises(ValueError, f"{first} overlaps sample_weight"):
        problem.grad(sample_weight=weight, out=out(window(0)))
    neighbours = problem.grad_and_hess(out=(out(window(0)), out(window(n))))
    assert_same_bits(neighbours, problem.grad_and_hess())


def test_out_must_not_overlap_other_inputs():
    logits, target = np.zeros((4, 4)), np.eye(4)
    with raises(ValueError, "out overlaps target"):
        fl.cross_entropy.grad(logits, target, out=target)
    weight = np.ones((4, 4))
    with raises(ValueError, "out overlaps class_weight"):
        fl.cross_entropy.grad(logits, target, class_weight=weight[1], out=weight)
    with raises(ValueError, "out overlaps pos_weight"):
        fl.binary_cross_entropy_with_logits.grad(logits, target, pos_weight=weight[1], out=weight)
    memory = np.zeros(32)
    labels = memory.view(np.int64)[3:7]
    with raises(ValueError, "out overlaps target"):
        fl.cross_entropy.grad(logits, labels, out=memory[:16].reshape(4, 4))
    target = memory[1:17].reshape(4, 4)
    with raises(ValueError, "out overlaps target"):
        fl.mse.grad(logits, target, out=memory[:16].reshape(4, 4))


@one_of_each
@pytest.mark.parametrize("n", [6, 20_000])
def test_a_call_in_place_that_raises_has_changed_nothing(case, n):
    problem = case.problem((n, 4) if case.has_classes else (n,), -1)

    def refused(bad, match=None, **common):
        """Assert that calls in place raise, and leave the inputs as they were."""
        for method in case.methods[1:]:
            same = bad.copied()
            out = same.differentiated
            if method == "grad_and_hess":
                out = out, like(out)
            with pytest.raises(ValueError, match=match):
                getattr(same, method)(out=out, **common)
            assert_same_bits(tuple(same.inputs.values()), tuple(bad.inputs.values()))

    for common in ({"sample_weight": -np.ones(n)}, {"reduction": "all"}, {"reduction": "mean", "normalizer": 0}):
        refused(problem, **common)
    for name in case.domains or (["target"] if case.has_classes and not case.of_vectors and len(case.by) == 1 else []):
        if name == "target" and case.parameters.get("log_target"):
            continue
        bad = problem.copied()
        if not bad.inputs[name].ndim:
            continue
        bad.inputs[name][-1] = -77
        refused(bad, rf"^{name}\[.* = -77")
        if case.has_classes or len(case.by) > 1:
            continue
        same = bad.copied()  # in place of the target
        with pytest.raises(ValueError, match=rf"^{name}\["):
            same.grad(out=same.target)
        assert_same_bits(same.target, bad.target)
        # In the memory of a pred that is copied first, because of its strides.
        memory = np.zeros(2 * n)
        strided = memory[::2]
        strided[...] = bad.pred
        with pytest.raises(ValueError, match=rf"^{name}\["):
            bad.with_(pred=strided).grad(out=memory[:n])
        assert_same_bits(strided.copy(), bad.pred)


@one_of_each
def test_bad_probabilities_in_place_change_nothing(case):
    if (
        not case.has_classes
        or case.of_vectors
        or case in MARGINS
        or case.sums_terms
        and case.domains.keys() != {"target"}
    ):
        pytest.skip("has no probabilities of classes, or has them in pred too")
    for shape in ((300, 5), (50, 100), (4, 5, 40)):
        pred = np.random.default_rng(0).standard_normal(shape)
        copy, target = pred.copy(), np.full(shape, 0.2)
        target[(-1,) * len(shape)] = 1.5
        with pytest.raises(ValueError, match=r"is not in \[0, 1\]$"):
            case.loss.grad(pred, target, axis=1, out=pred)
        assert_same_bits(pred, copy)


@one_of_each
def test_errors_leak_nothing(case):
    problem = case.small()
    bad = problem.with_(pred=problem.pred.astype(np.float16))
    weight = -np.ones(6)
    held = (*problem.inputs.values(), weight)

    def provoke():
        for call in (
            lambda: problem.grad(sample_weight=weight),
            lambda: problem.value_and_grad(reduction="x"),
            lambda: problem.grad(out=like(problem.pred)[::-1]),
            bad.value,
        ):
            try:
                call()
            except (TypeError, ValueError):
                continue
            raise AssertionError("no error")

    provoke()
    before = [sys.getrefcount(x) for x in held]
    for _ in range(300):
        provoke()
    assert [sys.getrefcount(x) for x in held] == before


def test_the_first_bad_element_is_that_of_the_converted_input():
    """1 + 1e-12 is 1 in float32, and what the kernel sees decides."""
    pred = np.zeros(2, np.float32)
    assert fl.brier(pred, [1 + 1e-12, 1]) == 0.25
    with raises(ValueError, "target[1] = 2.0 is not in [0, 1]"):
        fl.brier(pred, [1 + 1e-12, 2])


def test_normalizer_that_cannot_be_divided_by():
    with raises(ValueError, "normalizer is 1e-310, which float64 cannot divide by"):
        fl.mse(np.ones(2), np.zeros(2), normalizer=1e-310)


def test_zero_slopes_stay_zero_for_any_weight():
    assert fl.mse.grad(np.zeros(1), np.zeros(1), sample_weight=[1e300], normalizer=1e-300).tolist() == [0]

"""Errors of inputs: each text word for word."""

import sys

import numpy as np
import pytest

import fastloss as fl
from fastloss._core.request import checks
from fastloss._core.request.domains import Domain
from tests.losses.comparing import like
from tests.losses.support import (
    EXPECTED,
    MASKED_WEIGHT,
    ONE_OF_EACH,
    each_dtype,
    for_each,
    masked_text,
    one_of_each,
    raises,
    type_name,
)

Z, Y = np.zeros((3, 4)), np.array([0, 1, 2])


# ---------------------------------------------------------------------------------------------------------------------
# Arguments of every loss


@one_of_each
def test_common_arguments(case):
    problem = case.small()
    for method in case.ways:
        call = getattr(problem, method)
        for bad in ("avg", "Mean", None, 1, True, ["mean"]):
            with raises(ValueError, f"reduction must be 'mean', 'sum' or 'none', not {bad!r}"):
                call(reduction=bad)
        for reduction in ("sum", "none"):
            with raises(ValueError, f"normalizer goes with reduction='mean', not '{reduction}'"):
                call(reduction=reduction, normalizer=1.0)
        for bad in (0, -1.0, np.nan, np.inf, np.float32(-2)):
            with raises(ValueError, f"normalizer must be finite and > 0, not {bad}"):
                call(reduction="mean", normalizer=bad)
        for bad in ("1", [1.0], np.ones(1), 1j, True):
            with raises(TypeError, f"normalizer must be a real number, not {type(bad).__name__}"):
                call(reduction="mean", normalizer=bad)
        with pytest.raises(TypeError, match=r"got an unexpected keyword argument 'weights'"):
            call(weights=1)


@one_of_each
def test_inputs_are_positional(case):
    problem = case.small()
    inputs = [problem.inputs[x.name] for x in case.declaration.inputs if not x.optional]
    with pytest.raises(TypeError, match="positional argument"):
        case.loss(*inputs[:-1])
    with pytest.raises(TypeError, match="positional argument"):
        case.loss(*inputs, *[1.0] * 3)  # a regulariser takes two parameters by position
    assert case.loss(**problem.inputs, **problem.options) == problem.value()


@one_of_each
def test_masked_arrays_are_refused(case):
    problem = case.small()
    for name, x in problem.inputs.items():
        with raises(TypeError, masked_text(name)):
            problem.with_(**{name: np.ma.masked_array(x)}).value()
    with raises(TypeError, f"sample_weight {MASKED_WEIGHT}"):
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
    for shape in [(), (5,), (2, 1), (1, 6), (5, 6), (0, 5), too_long]:
        for method in case.ways:
            with raises(
                ValueError,
                f"sample_weight must have the shape of the loss, {batch}, or of its leading axes, "
                f"where an axis of length 1 stands for a whole axis, not {shape}",
            ):
                getattr(problem, method)(sample_weight=np.ones(shape))
    first, second, where = (2, 4, "2") if len(batch) == 1 else ((2, 3), (4, 0), "2, 3")
    for bad in (-1.0, np.nan, np.inf, -np.inf, -1e-300):
        weight = np.ones(batch)
        weight[first] = weight[second] = bad
        for method in case.ways:
            with raises(ValueError, f"sample_weight[{where}] = {bad!r} is not a finite weight >= 0"):
                getattr(problem, method)(sample_weight=weight)
    with raises(ValueError, "sample_weight[5] = -3 is not a finite weight >= 0"):
        problem.value(sample_weight=np.array([1, 2, 3, 4, 5, -3], np.int8))


FLOATING = "float16, bfloat16, float32 or float64"


@one_of_each
def test_pred_is_floating(case):
    problem = case.small()
    for dtype in (np.longdouble, np.int64, np.bool_, np.complex64, object, "U4", "M8[s]"):
        wrong = problem.with_(pred=np.zeros(problem.pred.shape, dtype))
        for method in case.ways:
            with pytest.raises(TypeError) as error:
                getattr(wrong, method)()
            assert str(error.value) == f"{case.first} must be {FLOATING}, not {wrong.pred.dtype}"


@one_of_each
def test_other_inputs_are_real(case):
    problem = case.small()
    for dtype in (np.complex128, object, "U4", "S3", "M8[s]", "m8[s]", [("a", float)]):
        weight = np.zeros(problem.batch, dtype)
        for method in case.ways:
            for name in list(problem.inputs)[1:]:
                wrong = np.zeros(problem.inputs[name].shape, dtype)
                with pytest.raises(TypeError) as error:
                    getattr(problem.with_(**{name: wrong}), method)()
                assert str(error.value) == f"{name} must be real (bool, integer or float), not {wrong.dtype}"
            with pytest.raises(TypeError) as error:
                getattr(problem, method)(sample_weight=weight)
            assert str(error.value) == f"sample_weight must be real (bool, integer or float), not {weight.dtype}"


# ---------------------------------------------------------------------------------------------------------------------
# Shapes


@for_each(
    ONE_OF_EACH, lambda case: not case.has_axis and "target" in case.inputs and not callable(case.parameters.get("q"))
)
def test_target_shape(case):
    problem = case.problem((3, 4))
    for shape in [(3,), (4,), (3, 1), (1, 4), (4, 3), (3, 4, 1), ()]:
        with raises(ValueError, f"target must have the shape of pred, (3, 4), not {shape}"):
            problem.with_(target=np.ones(shape)).value_and_grad()


def test_class_target_shape_and_type():
    z = np.zeros((3, 4, 5))
    for shape in [(3,), (3, 4), (4, 5), (5, 3), (3, 5, 1), (3, 5, 4), (3, 4, 5, 1), ()]:
        hint = {(3, 4): ": it would fit axis=2", (4, 5): ": it would fit axis=0"}.get(shape, "")
        with raises(
            ValueError,
            f"target must have shape (3, 5) (class indices) or (3, 4, 5) (probabilities), not {shape}{hint}",
        ):
            fl.cross_entropy.grad(z, np.zeros(shape, int), axis=1)
    for dtype in (bool, np.float16, np.float32, np.float64):
        with raises(
            TypeError, f"target must hold class indices of an integer dtype in shape (3,), not {np.dtype(dtype)}"
        ):
            fl.cross_entropy(Z, Y.astype(dtype))


def test_axis():
    for bad in (2, -3, 100, sys.maxsize, -sys.maxsize):
        with raises(ValueError, f"axis must be in [-2, 2), not {bad}"):
            fl.cross_entropy(Z, Y, axis=bad)
    for bad in (1.0, -1.0, "1", None, (1,), np.ones(2)):
        with raises(TypeError, f"axis must be an integer, not {type_name(bad)}"):
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
    with raises(TypeError, "class_weight must be real (bool, integer or float), not object (class_weight[3] is None)"):
        fl.cross_entropy(Z, Y, class_weight=[1, 1, 1, None])
    with raises(TypeError, f"class_weight {MASKED_WEIGHT}"):
        fl.cross_entropy(Z, Y, class_weight=np.ma.ones(4))


@pytest.mark.filterwarnings("error")
def test_class_weights_beyond_float32_raise_no_warning():
    with raises(ValueError, "class_weight[1] = 1e+300 is not a finite weight >= 0"):
        fl.cross_entropy(Z.astype(np.float32), Y, class_weight=[1, 1e300, 1, 1])
    with raises(ValueError, "class_weight[1] = -1e+300 is not a finite weight >= 0"):
        fl.cross_entropy(Z.astype(np.float32), Y, class_weight=[1, -1e300, 1, 1])


def test_ignore_index():
    for bad in (1.0, "1", None):
        with raises(TypeError, f"ignore_index must be an integer, not {type_name(bad)}"):
            fl.cross_entropy(Z, Y, ignore_index=bad)
    for bad in (2**63, -(2**63) - 1, 2**64 - 100):
        with raises(ValueError, f"ignore_index must fit 64 bits, not {bad}"):
            fl.cross_entropy(Z, Y, ignore_index=bad)
    with raises(ValueError, "ignore_index goes with class indices, and target holds probabilities"):
        fl.cross_entropy(Z, Z, ignore_index=1)


# ---------------------------------------------------------------------------------------------------------------------
# Elements


def test_domains_are_told_in_these_words():
    from fastloss._core.request import domains

    assert {domain: domains.EXPECTED[domain] for domain in EXPECTED} == EXPECTED


#: Numbers outside each domain. A NaN among probabilities of `pred`, or in a variance, propagates.
OUTSIDE = {
    Domain.UNIT_INTERVAL: (-1e-6, 1 + 1e-6, np.inf, -np.inf, np.nan),
    Domain.PROBABILITY: (-1e-6, 1 + 1e-6, np.inf, -np.inf),
    Domain.SIGN: (0.0, 0.999, np.inf, -2.0, np.nan),
    Domain.NOT_NEGATIVE: (-1e-30, -1.0, -np.inf),
    Domain.ZERO_OR_ONE: (-1.0, 0.5, np.inf, np.nan),
}


@for_each(ONE_OF_EACH, lambda case: case.domains)
@each_dtype
@pytest.mark.parametrize("place", [(0, 0), (3, 1), (-1, -1)])
def test_elements_outside_the_domain_of_their_input(case, dtype, place):
    for name, domain in case.domains.items():
        for bad in OUTSIDE[domain]:
            problem = case.small(dtype).copied()
            x = problem.inputs[name]
            at = place[: x.ndim]
            if case.of_classes or case.linear:
                at = (*place[: problem.axis], 1, *place[problem.axis :])
            x[at] = bad
            where = f"[{', '.join(str(k % n) for k, n in zip(at, x.shape, strict=False))}]" if at else ""
            for method in case.ways:
                with raises(ValueError, f"{name}{where} = {x[at].item()!r} is not {EXPECTED[domain]}"):
                    getattr(problem, method)()
            weight = np.ones(problem.batch)
            weight[place if case.has_axis else at] = 0
            problem.value_and_grad(sample_weight=weight)  # it is ignored


def test_the_first_element_that_counts_is_named():
    """Under a weight for whole axes too."""
    target = np.array([[2.0, 0, 1], [3, 4, 0]])
    for (i, j), weight in {(0, 0): [[1, 1, 0]], (1, 0): [[0], [1]], (1, 1): [[0, 1, 1]]}.items():
        with raises(ValueError, f"target[{i}, {j}] = {target[i, j]} is not in [0, 1]"):
            fl.brier(np.zeros((2, 3)), target, sample_weight=weight)
        for loss in (fl.cross_entropy, fl.kl_divergence):
            with raises(ValueError, f"target[{i}, 0, {j}] = {target[i, j]} is not in [0, 1]"):
                loss(np.zeros((2, 1, 3)), target[:, np.newaxis], axis=1, sample_weight=weight)


@for_each(ONE_OF_EACH, lambda case: len(case.domains) > 1)
def test_the_first_input_with_a_bad_element_is_named(case):
    problem = case.problem((3,), seed=1)
    bad = problem.with_(**{name: np.full(3, 9.0) for name in case.domains})
    with raises(ValueError, f"{case.first}[0] = 9.0 is not {EXPECTED[case.domains[case.first]]}"):
        bad.value()


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


def test_the_first_label_that_has_a_weight_is_named():
    for loss in (fl.cross_entropy, fl.nll, fl.multiclass_hinge):
        with raises(ValueError, "target[2] = 5 is not a class index in [0, 4) nor ignore_index (-100)"):
            loss(Z, [0, 4, 5], sample_weight=[1, 0, 1])
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


def test_an_element_that_another_thread_has_mended():
    """It was bad when the kernel read it, and is right when the error looks for it. No element is blamed."""
    labels = np.array([0, 1, 1])
    with raises(
        ValueError,
        "target had an element that is not a class index in [0, 2) nor ignore_index (-100), and was changed during the "
        "call",
    ):
        checks.raise_class_target(labels, True, -1, 2, -100, None)
    with raises(ValueError, "an input had an element outside its domain, and was changed during the call"):
        checks.raise_outside([("target", np.ones(3), Domain.UNIT_INTERVAL)], np.dtype(float), None)


@one_of_each
def test_errors_leak_nothing(case):
    problem = case.small()
    bad = problem.with_(pred=problem.pred.astype(np.complex64))
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

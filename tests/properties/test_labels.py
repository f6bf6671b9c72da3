"""Class indices and one-hot targets are the same, and samples without a label or a weight are ignored."""

from dataclasses import replace

import numpy as np
import pytest

from tests.losses.cases import CASES
from tests.losses.comparing import assert_close, assert_same_bits, largest, leaves
from tests.losses.generators import labels
from tests.losses.support import NAN, REDUCTIONS, each_dtype, for_each, one_hot

pytestmark = pytest.mark.filterwarnings("error")

#: Of one tile and of several, for each way through the kernels: across samples by a transposed tile, along rows, across
#: samples in place, with more classes than a tile holds.
SHAPES = [(40, 5), (9, 100), (9, 1030), (3, 5, 30), (3, 600, 3), (2, 30, 70), (2, 2, 5000)]


def cases_of_labels():
    """The cases with class indices, none of which is ignored; each set of parameters once."""
    cases = {}
    for case in CASES:
        if case.of_classes and case.class_indices and "ignore_index" not in case.parameters:
            case = replace(case, inputs=case.inputs | {"target": labels})
            cases.setdefault(str(case), case)
    return cases.values()


def of_labels(case, shape, dtype=np.float64):
    """A problem, its class indices and random weights of its classes."""
    problem = case.problem(shape, 1, dtype)
    return problem, problem.target, np.random.default_rng(1).uniform(0.5, 2, shape[1])


@for_each(cases_of_labels(), lambda case: case.takes_probabilities)
@each_dtype
def test_labels_and_one_hot_agree(case, dtype):
    for shape in SHAPES:
        problem, label, weight = of_labels(case, shape, dtype)
        common = {"sample_weight": np.random.default_rng(2).uniform(0, 2, label.shape)}
        if case.family == "classes" and not case.exact_derivatives:
            problem.pred[0] *= 100  # far beyond the range of exp
        for options in (problem.options, problem.options | {"class_weight": weight}):
            by_label = problem.with_(options)
            for hot_dtype in (dtype, bool, np.int8):
                by_hot = by_label.with_(target=one_hot(label, shape[1], hot_dtype))
                for reduction in REDUCTIONS:
                    assert_agree(by_hot, by_label, common | {"reduction": reduction})


def assert_agree(by_hot, by_label, common):
    """The sum over the classes rounds in a one-hot target. A sum of terms has one term that is not 0."""
    dtype, classes = by_label.pred.dtype.type, by_label.pred.shape[1]
    of_terms, exact = by_label.case.family == "terms", by_label.case.exact_derivatives
    ulp = 40 if dtype is np.float32 else max(40, classes)
    if of_terms or exact:
        rounded = "label_smoothing" in by_label.options  # then every class has a part in the sum
        ulp = 4 if dtype is np.float32 else max(4, classes // (10 if rounded else 150))
    (value, *derivatives), (expected, *wanted) = (x.everything(**common) for x in (by_hot, by_label))
    assert_close(dtype(value), dtype(expected), ulp)
    for a, b in zip(derivatives, wanted, strict=True):
        assert_close(a, b, 2 * ulp if exact else ulp, None if of_terms else largest(b))


@for_each(
    cases_of_labels(),
    lambda case: (
        case.takes_probabilities
        and case.family == "classes"
        and not {"label_smoothing", "z_loss"} & case.parameters.keys()
    ),
)
@each_dtype
def test_sure_one_hot_targets_agree_with_labels(case, dtype):
    """Where p_y is close to 1, p_y - t_y would cancel."""
    for shape in SHAPES:
        problem, label, _ = of_labels(case, shape, dtype)
        hot = one_hot(label, shape[1], dtype)
        sure = np.linspace(0, 40, shape[0], dtype=dtype).reshape((-1,) + (1,) * (len(shape) - 1))
        problem = problem.with_(pred=problem.pred + hot * sure)
        (grad, hess), (expected, expected_hess) = problem.with_(target=hot).grad_and_hess(), problem.grad_and_hess()
        assert_close(grad, expected, 32)
        # Most second derivatives are differences of numbers of the size of the gradient.
        assert_close(hess, expected_hess, 32, None if case.exact_derivatives else np.abs(expected))


@for_each(cases_of_labels())
def test_ignored_samples_are_ignored(case):
    for shape in SHAPES:
        problem, label, weight = of_labels(case, shape)
        ignored = np.random.default_rng(2).random(label.shape) < 0.4
        dirty = np.where(np.expand_dims(ignored, 1), NAN, problem.pred)
        for ignore_index in (-100, -1, 0, 2, 255, 2**62, -(2**63), 2**63 - 1):
            good = np.where(label == ignore_index, 1, label)
            holes = np.where(ignored, ignore_index, good)
            for options in (problem.options, problem.options | {"class_weight": weight}):
                plain = problem.with_(options, target=good)
                options = options | {"ignore_index": ignore_index}
                for reduction in REDUCTIONS:
                    expected = plain.value_and_grad(sample_weight=~ignored, reduction=reduction)
                    actual = problem.with_(options, pred=dirty, target=holes).value_and_grad(reduction=reduction)
                    assert_close(actual, expected, 4)
                    assert np.all(np.moveaxis(actual[1], 1, -1)[ignored] == 0)


@for_each(cases_of_labels())
@pytest.mark.parametrize("bad", [-1, 255, 2**31 - 1, -(2**63), 2**63 - 1])
def test_an_index_with_weight_zero_may_be_anything(case, bad):
    for shape in SHAPES:
        problem, label, weight = of_labels(case, shape)
        kept = np.random.default_rng(2).random(label.shape) < 0.6
        for options in (problem.options, problem.options | {"class_weight": weight}):
            clean = problem.with_(options)
            filled = clean.with_(target=np.where(kept, label, bad))
            for common in ({"normalizer": 2.0}, *({"reduction": reduction} for reduction in REDUCTIONS)):
                common |= {"sample_weight": 1.5 * kept}
                for a, b in zip(*(leaves(x.everything(**common)) for x in (filled, clean)), strict=True):
                    assert np.array_equal(a, b)
            out = np.copy(clean.pred)
            filled.with_(pred=out).grad(sample_weight=kept, out=out)
            assert np.array_equal(out, clean.grad(sample_weight=kept))


@for_each(cases_of_labels())
def test_everything_ignored(case):
    for shape in SHAPES:
        problem, label, weight = of_labels(case, shape)
        for ignore_index in (-100, 2**62):
            options = problem.options | {"ignore_index": ignore_index}
            problem = problem.with_(pred=np.full(shape, NAN), target=np.full_like(label, ignore_index))
            for more in ({}, {"class_weight": weight}):
                for common in ({"normalizer": 2.0}, *({"reduction": reduction} for reduction in REDUCTIONS)):
                    for x in leaves(problem.with_(options | more).value_and_grad(**common)):
                        assert np.all(x == 0)
                value = problem.with_(options | more).value()
                assert type(value) is float and value == 0.0


@for_each(cases_of_labels())
def test_an_empty_list_is_class_indices(case):
    options = {k: v for k, v in case.parameters.items() if k != "class_weight"}
    assert case.loss(np.zeros((0, 3)), [], **options) == 0.0


@for_each(CASES, lambda case: case.family == "elementwise" and "ignore_index" in case.parameters)
@each_dtype
def test_ignored_elements_are_ignored(case, dtype):
    """An ignored element is one with weight 0, whatever its prediction is."""
    for shape in ((7,), (40, 5), (3, 1100), (2, 30, 70)):
        problem = case.problem(shape, dtype=dtype)
        ignored = np.random.default_rng(1).random(shape) < 0.4
        label = np.random.default_rng(2).integers(0, 2, shape)
        plain = {k: x for k, x in problem.options.items() if k != "ignore_index"}
        dirty = np.where(ignored, dtype(NAN), problem.pred)
        weight = np.random.default_rng(3).uniform(0.5, 2, shape[:1])
        of_all = weight.reshape(weight.shape + (1,) * (len(shape) - 1)) * ~ignored
        for ignore_index in (255, -1, 0, 1, -(2**63), 2**31 - 1):
            good = np.where(label == ignore_index, 1 - label, label)
            holes = np.where(ignored, ignore_index, good)
            expected = problem.with_(plain, target=good)
            for holed in (holes, holes.astype(dtype), holes.astype(np.uint8 if ignore_index in (0, 255) else np.int64)):
                actual = problem.with_(plain | {"ignore_index": ignore_index}, pred=dirty, target=holed)
                for reduction in REDUCTIONS:
                    for mine, other in ((None, ~ignored), (weight, of_all)):
                        a = actual.everything(sample_weight=mine, reduction=reduction)
                        assert_same_bits(a, expected.everything(sample_weight=other, reduction=reduction))
                out = dirty.copy()
                in_place = actual.with_(pred=out).value_and_grad(sample_weight=weight, out=out)
                assert_same_bits(in_place, actual.value_and_grad(sample_weight=weight))


@for_each(CASES, lambda case: case.family == "elementwise" and "ignore_index" in case.parameters)
def test_every_element_ignored(case):
    problem = case.problem((6, 5))
    problem = problem.with_(pred=np.full((6, 5), NAN), target=np.full((6, 5), 255))
    for common in ({"normalizer": 2.0}, {"sample_weight": np.ones(6)}, *({"reduction": r} for r in REDUCTIONS)):
        for x in leaves(problem.everything(**common)):
            assert np.all(x == 0)
    assert problem.value() == 0.0 and type(problem.value()) is float


@for_each(cases_of_labels(), lambda case: "label_smoothing" not in case.parameters)
@each_dtype
def test_a_class_with_weight_zero_is_ignored(case, dtype):
    for shape in SHAPES:
        problem, label, _ = of_labels(case, shape, dtype)
        label = label.copy()
        label[:2] = 1
        weight = np.ones(shape[1])
        weight[1] = 0
        dirty = problem.with_(
            problem.options | {"class_weight": weight},
            pred=np.where(np.expand_dims(label == 1, 1), dtype(NAN), problem.pred),
            target=label,
        )
        expected = problem.with_(problem.options | {"class_weight": np.ones(shape[1]), "ignore_index": 1}, target=label)
        value, grad = expected.value_and_grad()
        actual = dirty.value_and_grad()
        terms_round = 2**30 if dtype is np.float32 and case.family == "terms" else 1
        assert_close(actual[0], value, 4 * terms_round)
        assert_close(actual[1], grad, 4)
        if case.takes_probabilities:
            by_hot = dirty.with_(target=one_hot(label, shape[1], dtype)).value_and_grad()
            single = 2**30 if dtype is np.float32 else 10
            assert_close(by_hot[0], value, 4 * single)
            assert_close(by_hot[1], grad, 8, largest(grad))

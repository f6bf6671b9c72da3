"""Empty inputs, NaN, infinities, huge and subnormal numbers."""

import numpy as np
import pytest

from tests.losses.cases import CASES
from tests.losses.comparing import as_tuple, assert_close, assert_same_bits, leaves
from tests.losses.problem import levels
from tests.losses.support import REDUCTIONS, each_dtype, for_each, one_of_each

pytestmark = pytest.mark.filterwarnings("error")


def empty(case, shape, axis, dtype):
    if case.of_sequences:
        return case.problem(shape, axis, dtype)
    full = case.problem([max(n, 1) for n in shape], axis, dtype)  # a generator of labels needs a class
    if case.of_chains:
        return full.each(lambda x: x[:0])
    nothing = tuple(slice(n) for n in shape)
    without_axis = nothing[:axis] + nothing[axis + 1 :]
    along_last_axis = {} if case.has_axis else {k: v[: shape[-1]] for k, v in full.options.items() if np.ndim(v)}
    problem = full.with_(full.options | along_last_axis)
    return problem.each(lambda x: x[without_axis if x.dtype.kind == "i" else nothing[: x.ndim]])


@one_of_each
@each_dtype
def test_empty(case, dtype):
    shapes = [((0, 3), 1), ((0, 3, 2), 1), ((2, 3, 0), 1)] if case.has_axis else [((0,), -1), ((3, 0), -1)]
    if case.has_axis and not case.takes_axis:
        shapes = shapes[: 1 if case.in_batch or case.linear else 2]  # the last one has vectors without elements, then
    for shape, axis in shapes:
        problem = empty(case, shape, axis, dtype)
        for weight in (None, np.ones(problem.batch), np.ones(problem.batch[:1])):
            for reduction in REDUCTIONS:
                common = {"reduction": reduction, "sample_weight": weight}
                value, *derivatives = problem.everything(**common)
                for derivative in derivatives if case.hessian else derivatives[:1]:
                    for name, x in zip(case.differentiable, as_tuple(derivative), strict=True):
                        assert x.shape == problem.inputs[name].shape and x.dtype == dtype and np.all(x == 0)
                if reduction == "none":
                    assert value.shape == problem.batch
                else:
                    assert type(value) is float and value == 0.0
        assert problem.value(normalizer=3.0, reduction="mean") == 0.0


@for_each(CASES, lambda case: not case.in_batch and case.family not in ("terms", "linear"))
@each_dtype
def test_nan_propagates(case, dtype):
    """A NaN in the first input makes its own loss and gradient NaN, and no other.

    A NaN in a sum of terms counts where its term does: see test_only_what_counts_is_read.
    """
    problem = case.problem((50,) if not case.has_axis else (50, 5), dtype=dtype)
    if case.class_indices:
        problem = problem.with_(target=np.clip(problem.target, 1, None))  # none is ignored
    if case.of_sequences:
        problem = problem.with_(input_lengths=np.full(50, len(problem.pred)))
    if "lengths" in case.inputs:
        problem = problem.with_(lengths=np.full(problem.batch, problem.pred.shape[1]))  # no step is ignored
    for _ in levels():
        expected = leaves(problem.value_and_grad(reduction="none"))
        for where in (0, 17, 49):
            bad = problem.copied()
            bad.pred[bad.in_batch(where) if not case.has_axis else (*bad.in_batch(where)[:-1], 2)] = np.nan
            assert np.isnan(bad.value()) and np.isnan(bad.value(reduction="sum"))
            others = np.arange(50) != where
            actual = leaves(bad.value_and_grad(reduction="none"))
            assert np.isnan(actual[0][where]) and np.all(np.isnan(actual[1][bad.in_batch(where)]))
            for name, a, b in zip(("value", *case.differentiable), actual, expected, strict=True):
                if a.ndim and name not in case.for_all_samples:
                    kept = bad.in_batch(others) if a.shape == bad.pred.shape else others
                    assert_same_bits(a[kept], b[kept])


@for_each(CASES, lambda case: case.family == "elementwise" and "ignore_index" not in case.parameters)
@each_dtype
def test_nan_propagates_whatever_the_target(case, dtype):
    """A target of 0, which removes a term, does not remove the NaN."""
    problem = case.problem((40,), dtype=dtype)
    problem = problem.with_(pred=np.full_like(problem.pred, np.nan))
    for x in leaves(problem.value_and_grad(reduction="none")):
        assert np.all(np.isnan(x))


@for_each(CASES, lambda case: case.family == "vectors")
@pytest.mark.parametrize("where", [0, 1, 2])
def test_nan_in_any_vector_reaches_all_gradients_of_its_sample(case, where):
    problem = case.problem((6, 5)).copied()
    vectors = [x for x in problem.inputs.values() if x.ndim == 2]
    clean = leaves(problem.value_and_grad(reduction="none"))
    vectors[where % len(vectors)][3, 2] = np.nan
    for x, before in zip(leaves(problem.value_and_grad(reduction="none")), clean, strict=True):
        assert np.all(np.isnan(x[3]))
        others = np.arange(6) != 3
        assert_same_bits(x[others], before[others])


@for_each(CASES, lambda case: not case.in_batch and not case.linear)
@each_dtype
def test_special_values_are_those_of_the_definition(case, dtype):
    specials = case.specials(dtype)
    if case.has_axis and not case.family == "terms":
        specials.remove(np.inf)  # see test_classification.py
    # Those among the logits of one sample have an effect on each other.
    for fill in [[x] for x in specials] if case.has_axis else [specials]:
        for k, problem in enumerate(case.problems(dtype)):
            special = problem.copied()
            places = special.pred.reshape(-1)[:: max(1, problem.pred.size // 25)]
            places[:] = np.resize(np.roll(fill, -k), places.shape)
            special.assert_as_expected(each_level=True, reduction="none")


@for_each(CASES, lambda case: not case.in_batch and not case.linear)
@each_dtype
def test_subnormal_results_survive(case, dtype):
    problem = case.small(dtype)
    tiny = float(np.finfo(dtype).smallest_normal) / 64
    weight = np.full(problem.batch, tiny)
    expected = problem.expected(reduction="none", sample_weight=weight)
    value, grad = problem.value_and_grad(reduction="none", sample_weight=weight)
    for x, wanted in zip(as_tuple(grad), as_tuple(expected.grad), strict=True):
        below_normal = (np.abs(wanted) < np.finfo(dtype).smallest_normal) & (np.abs(wanted) > tiny / 100)
        assert below_normal.any() and np.all(x[below_normal] != 0)
    assert_close(value, expected.value, 20, expected.sizes[0])
    assert_close(grad, expected.grad, 20, expected.sizes[1])

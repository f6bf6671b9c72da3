"""Sizes on both sides of every switch of the kernels, and any shape that hypothesis finds."""

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fastloss._core.calls import policy
from fastloss._core.request.domains import Domain
from tests.losses.cases import CASES
from tests.losses.comparing import as_tuple, assert_close, assert_same_bits, leaves
from tests.losses.support import FLOATS, ONE_OF_EACH, Guarded, each_dtype, for_each

SERIAL, LIGHT = policy.SERIAL, policy.LIGHT * policy.SERIAL  # elements from which threads are used
SIZES = [0, 1, 2, 3, 15, 16, 17, 31, 32, 33, 63, 64, 65, 1023, 1024, 1025, 5000]
SIZES += [n + k for n in (SERIAL, LIGHT) for k in (-1, 0, 1)]


@for_each(ONE_OF_EACH, lambda case: not case.has_axis)
@each_dtype
def test_sizes_of_elementwise_losses(case, dtype):
    biggest = case.problem((SIZES[-1] + 64,), dtype=dtype)
    whole = leaves(biggest.value_and_grad(reduction="none"))
    for n in SIZES:
        options = {k: v[:n] if isinstance(v, np.ndarray) else v for k, v in biggest.options.items()}
        problem = biggest.each(lambda x, n=n: x[:n]).with_(options)
        if n < SERIAL / 2:
            problem.assert_as_expected(reduction="none")
            problem.assert_as_expected()
        # A part has the bits of the whole, and nothing is written behind its end.
        guarded = Guarded(problem.differentiated)
        value, grad = problem.value_and_grad(reduction="none", out=guarded.arrays)
        for part, expected in zip(leaves((value, grad)), whole, strict=True):
            if part.ndim:
                assert_same_bits(part, expected[:n])
        assert_close(problem.value(reduction="sum"), value.sum(dtype=np.longdouble), 40, np.abs(value).sum(dtype=float))
        guarded.assert_untouched()


@pytest.mark.parametrize("classes", [1, 2, 17, 64, 96, 97, 512, 513, 1025])
@each_dtype
def test_sizes_of_class_losses(classes, dtype):
    if dtype is np.float64 and 97 < classes < 1025:
        classes = classes // 2 + classes % 2  # a tile holds half as many
    for samples, inner in [(1, 1), (17, 1), (257, 1), (5, 3), (2, 16), (1, 40)]:
        samples = min(samples, max(3, 20_000 // (classes * inner)))
        for case in [case for case in ONE_OF_EACH if case.family == "classes"]:
            problem = case.problem((samples, classes, inner), 1, dtype, seed=classes)
            problem.assert_as_expected(sample_weight=problem.weight())


#: Numbers of classes, and of samples side by side, for sums of terms.
NUMBERS_OF_TERMS = [1, 2, 16, 32, 33, 341, 342, 512, 513, 1024, 1025, 2049]
INNER = [1, 2, 3, 63, 64, 65, 512, 513, 1024, 1025, 2049]


@for_each(ONE_OF_EACH, lambda case: case.family == "terms")
@each_dtype
def test_sizes_of_sums_of_terms(case, dtype):
    case = replace(case, parameters={k: v for k, v in case.parameters.items() if k != "ignore_index"})
    shapes = {(n, c, inner) for n in (1, 3) for c in NUMBERS_OF_TERMS for inner in INNER if n * c * inner <= 5000}
    shapes |= {(n, c, 1) for n in (1023, 1024, 1025, 2049) for c in (1, 2)}
    for shape in sorted(shapes):
        problem = case.problem(shape, 1, dtype, seed=sum(shape))
        problem.assert_as_expected(reduction="none")
        problem.assert_as_expected(sample_weight=problem.weight(2))
        problem.assert_as_expected(sample_weight=problem.weight(1), reduction="none")


@for_each(ONE_OF_EACH, lambda case: case.family == "terms")
def test_many_classes(case):
    for shape in [(2, 66_001), (7, 20_001), (1, 33_000, 2), (1, 4_000, 17)]:
        problem = case.problem(shape, 1, np.float32)
        problem.assert_as_expected(reduction="none", ulp=32)
        problem.assert_as_expected(sample_weight=problem.weight())


LENGTHS = [1, 2, 3, 15, 16, 17, 31, 32, 33, 63, 64, 65, 1023, 1024, 1025, 2049, 5000]


@for_each(CASES, lambda case: case.family == "vectors")
@pytest.mark.parametrize("length", LENGTHS)
def test_lengths_of_vectors(case, length):
    for dtype in FLOATS:
        for samples in (1, 3, 150) if length < 100 else (1, 3):
            problem = case.problem((samples, length), dtype=dtype, seed=length)
            problem.assert_as_expected(reduction="none")
            guarded = Guarded(problem.differentiated)
            expected = problem.grad(reduction="none")
            assert_same_bits(problem.grad(reduction="none", out=guarded.arrays), expected)
            guarded.assert_untouched()


@for_each(CASES, lambda case: case.family == "vectors")
def test_vectors_longer_than_a_cache(case):
    problem = case.problem((3, 100_003), dtype=np.float32)
    problem.assert_as_expected(reduction="none")


# ---------------------------------------------------------------------------------------------------------------------
# Any shape
ELEMENTWISE = [case for case in CASES if not case.has_axis]
OF_CLASSES = [case for case in CASES if case.of_classes]


@given(
    case=st.sampled_from(ELEMENTWISE),
    shape=st.lists(st.sampled_from([0, 1, 2, 3, 5, 17, 64, 130]), max_size=4).filter(lambda s: np.prod(s) < 40_000),
    dtype=st.sampled_from([np.float32, np.float64]),
    reduction=st.sampled_from(["mean", "sum", "none"]),
    weighted=st.integers(-1, 4),
    whole=st.sets(st.integers(0, 3)),
    weight_dtype=st.sampled_from([np.float32, np.float64, np.int16]),
    transposed=st.booleans(),
)
@settings(max_examples=300, derandomize=True, deadline=None)
def test_any_shape_and_weights(case, shape, dtype, reduction, weighted, whole, weight_dtype, transposed):
    if not case.takes_any_shape and not shape:
        shape, weighted = [1], abs(weighted)
    problem = case.problem(tuple(shape), dtype=dtype, seed=len(shape))
    common = {"reduction": reduction}
    if len(shape[:1]) <= weighted <= len(shape):
        common["sample_weight"] = np.ceil(problem.weight(weighted, whole=whole)).astype(weight_dtype)
    if transposed:
        problem = problem.with_(pred=problem.pred.T.copy().T)
    problem.assert_as_expected(**common)


@st.composite
def problems_of_classes(draw):
    shape = draw(st.lists(st.integers(1, 9), min_size=1, max_size=4))
    axis = draw(st.integers(-len(shape), len(shape) - 1))
    shape[axis] = draw(st.sampled_from([1, 2, 3, 8, 17, 63, 64, 96, 97, 107, 300, 1100]))
    dtype = draw(st.sampled_from([np.float32, np.float64]))
    return draw(st.sampled_from(OF_CLASSES)).problem(tuple(shape), axis, dtype, seed=draw(st.integers(0, 1000)))


@given(
    problem=problems_of_classes(),
    reduction=st.sampled_from(["mean", "sum", "none"]),
    weighted=st.integers(-1, 3),
    whole=st.sets(st.integers(0, 3)),
    in_place=st.booleans(),
    fortran=st.booleans(),
)
@settings(max_examples=500, derandomize=True, deadline=None)
def test_any_shape_axis_and_options(problem, reduction, weighted, whole, in_place, fortran):
    common = {"reduction": reduction}
    if 0 < weighted <= len(problem.batch):
        common["sample_weight"] = problem.weight(weighted, whole=whole)
    if fortran:
        problem = problem.each(np.asfortranarray)
    problem.assert_as_expected(24, **common)
    copied = problem.copied()
    out = copied.differentiated
    if in_place and all(x.flags.c_contiguous for x in as_tuple(out)):
        assert_same_bits(copied.value_and_grad(out=out, **common), problem.value_and_grad(**common))


def numbers(case):
    """Any of float32, within the domain of the first input of a loss."""
    if case.declaration.inputs[0].domain == Domain.PROBABILITY:
        return st.floats(0, 1, width=32)
    return st.floats(width=32, allow_nan=False) | st.floats(-100, 100, width=16)


@given(
    drawn=st.sampled_from(ELEMENTWISE).flatmap(
        lambda case: st.tuples(st.just(case), st.lists(numbers(case), min_size=1))
    ),
    dtype=st.sampled_from([np.float32, np.float64]),
    seed=st.integers(0, 9),
)
@settings(max_examples=1000, derandomize=True, deadline=None)
def test_any_number(drawn, dtype, seed):
    case, pred = drawn
    problem = case.problem((len(pred),), dtype=dtype, seed=seed)
    problem.with_(pred=np.array(pred, dtype)).assert_as_expected(reduction="none")

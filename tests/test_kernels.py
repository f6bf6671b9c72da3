"""The drivers: any number of threads, awkward sizes, memory."""

import tracemalloc

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from losses import (
    CASES,
    CLASSES,
    ELEMENTWISE,
    IN_UNIT,
    ONE_OF_EACH,
    SUMMED,
    apart,
    as_tuple,
    assert_close,
    assert_same_bits,
    leaves,
    like,
)

import fastloss as fl
from fastloss.kernels import call

# The others, and what is theirs alone, are in test_embedding_batch.py.
each_case = pytest.mark.parametrize("case", apart(CASES), ids=str)
one_of_each = pytest.mark.parametrize("case", apart(ONE_OF_EACH), ids=str)
SERIAL, LIGHT = call.SERIAL, call.LIGHT * call.SERIAL  # elements from which threads are used


# ---------------------------------------------------------------------------------------------------------------------
# Threads


def large(case, dtype):
    """Inputs above the serial threshold, one for each way through the kernels."""
    if case.has_classes:
        for shape in ((22_001, 3), (701, 100), (30, 7, 433), (60, 1100), (3701, 9, 2)):
            yield case.problem(shape, 1, dtype)
    else:
        if case.takes_any_shape:  # one weight for each element is tested with two axes
            yield case.problem((140_001,), -1, dtype)
        yield case.problem((611, 257), -1, dtype)


@one_of_each
@pytest.mark.parametrize("dtype", [np.float32, np.float64], ids=["float32", "float64"])
def test_same_bits_for_any_number_of_threads(case, dtype):
    for problem in large(case, dtype):
        assert problem.pred.size > (SERIAL if case.has_classes else LIGHT)
        weight = problem.weight(1)
        results = []
        for threads in (1, 3):
            fl.set_num_threads(threads)
            results.append(
                (
                    problem.value_and_grad(),
                    problem.value_and_grad(sample_weight=weight),
                    problem.value(reduction="none"),
                    problem.everything(reduction="sum"),
                )
            )
        assert_same_bits(*results)


@one_of_each
def test_same_bits_in_every_run(case):
    fl.set_num_threads(4)
    problem = next(iter(large(case, np.float32)))
    first = problem.value_and_grad(sample_weight=problem.weight())
    for _ in range(20):
        assert_same_bits(problem.value_and_grad(sample_weight=problem.weight()), first)


@each_case
def test_large_inputs_are_right(case):
    fl.set_num_threads(3)
    *_, problem = large(case, np.float32)
    problem.assert_as_expected(sample_weight=problem.weight(1))


def test_bad_targets_are_found_by_every_thread():
    fl.set_num_threads(4)
    n = 300_000
    for place in (0, 1023, 1024, 70_000, 150_001, n - 1):
        target = np.zeros(n, np.int8)
        target[place] = 2
        with pytest.raises(ValueError, match=rf"^target\[{place}\] = 2 is not in"):
            fl.binary_cross_entropy_with_logits(np.zeros(n, np.float32), target)


def test_inputs_of_more_tiles_than_partial_sums():
    """The number of partial sums is bounded: beyond 2048 tiles a chunk is several tiles."""
    n = 2048 * 1024 + 5
    rng = np.random.default_rng(0)
    p, t = rng.standard_normal((2, n), np.float32)
    expected = np.sum((p - t).astype(np.float64) ** 2)
    for threads in (1, 4):
        fl.set_num_threads(threads)
        assert_close(fl.mse(p, t, reduction="sum"), expected, 2**28)
        assert_close(fl.mse(p, t, sample_weight=np.full(n, 2.0)), expected / n, 2**28)
    z = rng.standard_normal((2048 * 256 + 3, 2), np.float32)
    losses = fl.cross_entropy(z, np.zeros(len(z), np.int8), reduction="none")
    assert_close(fl.cross_entropy(z, np.zeros(len(z), np.int8)), losses.mean(dtype=float), 100)


# ---------------------------------------------------------------------------------------------------------------------
# Awkward sizes of elementwise losses: those of classes are in test_classification.py

SIZES = [0, 1, 2, 3, 15, 16, 17, 31, 32, 33, 63, 64, 65, 1023, 1024, 1025, 5000]
SIZES += [n + k for n in (SERIAL, LIGHT) for k in (-1, 0, 1)]


@pytest.mark.parametrize("case", [case for case in ONE_OF_EACH if not case.has_classes], ids=str)
@pytest.mark.parametrize("dtype", [np.float32, np.float64], ids=["float32", "float64"])
def test_awkward_sizes(case, dtype):
    biggest = case.problem((SIZES[-1] + 64,), dtype=dtype)
    whole = leaves(biggest.value_and_grad(reduction="none"))
    for n in SIZES:
        options = {k: v[:n] if isinstance(v, np.ndarray) else v for k, v in biggest.options.items()}
        problem = biggest.each(lambda x, n=n: x[:n]).with_(options)
        if n < SERIAL / 2:
            problem.assert_as_expected(reduction="none")
            problem.assert_as_expected()
        # A part has the bits of the whole, and nothing is written behind its end.
        guarded = np.full(n + 64, 7, dtype)
        out = guarded[32 : 32 + n]
        value, grad = problem.value_and_grad(
            reduction="none", out=out if len(case.by) == 1 else (out, *like(problem.differentiated)[1:])
        )
        for part, expected in zip(leaves((value, grad)), whole, strict=True):
            if part.ndim:
                assert_same_bits(part, expected[:n])
        assert_close(problem.value(reduction="sum"), value.sum(dtype=np.longdouble), 40, np.abs(value).sum(dtype=float))
        assert np.all(guarded[:32] == 7) and np.all(guarded[32 + n :] == 7)


@one_of_each
@pytest.mark.parametrize("dtype", [np.float32, np.float64], ids=["float32", "float64"])
def test_stores_past_the_caches_change_no_bit(case, dtype, monkeypatch):
    shapes = [((5, 7), -1), ((31, 70), 1), ((2, 5, 300), 1)] if case.has_classes else [((17,), -1), ((5003,), -1)]
    for shape, axis in shapes if case.takes_any_shape or case.has_classes else [((3, 11), -1), ((50, 107), -1)]:
        problem = case.problem(shape, axis, dtype)
        weight = problem.weight()
        monkeypatch.undo()
        expected = problem.grad()
        whole = problem.everything(), problem.everything(sample_weight=weight)
        monkeypatch.setattr(call, "STREAM", 0)  # bytes; otherwise more than a quick test has
        assert_same_bits((problem.everything(), problem.everything(sample_weight=weight)), whole)
        for start in range(5):  # of a line of the cache, in elements
            guarded = [np.full(x.size + 64, 7, x.dtype) for x in leaves(expected)]
            outs = [x[16 + start : x.size - 48 + start] for x in guarded]
            outs = [x.reshape(y.shape) for x, y in zip(outs, leaves(expected), strict=True)]
            assert_same_bits(problem.grad(out=tuple(outs) if len(outs) > 1 else outs[0]), expected)
            for x in guarded:
                assert np.all(x[: 16 + start] == 7) and np.all(x[x.size - 48 + start :] == 7)
        if len(outs) == 1:
            outs[0][...] = problem.pred
            assert_same_bits(problem.with_(pred=outs[0]).grad(out=outs[0]), expected)


@pytest.mark.parametrize("case", CLASSES, ids=str)
@pytest.mark.parametrize("shape", [(257, 3), (3, 97), (2, 5, 17), (2, 513, 3), (255, 96), (1, 1025), (7, 70, 2)])
def test_classes_write_nothing_outside(case, shape):
    problem = case.problem(shape, 1, np.float32)
    n = problem.pred.size
    grad, hess = np.full(n + 64, 7, np.float32), np.full(n + 64, 7, np.float32)
    problem.grad_and_hess(out=tuple(x[32 : 32 + n].reshape(shape) for x in (grad, hess)))
    for x in (grad, hess):
        assert np.all(x[:32] == 7) and np.all(x[32 + n :] == 7)


@given(
    case=st.sampled_from(ELEMENTWISE),
    shape=st.lists(st.sampled_from([0, 1, 2, 3, 5, 17, 64, 130]), max_size=4).filter(lambda s: np.prod(s) < 40_000),
    dtype=st.sampled_from([np.float32, np.float64]),
    reduction=st.sampled_from(["mean", "sum", "none"]),
    weighted=st.integers(-1, 4),
    weight_dtype=st.sampled_from([np.float32, np.float64, np.int16]),
    transposed=st.booleans(),
)
@settings(max_examples=300, derandomize=True, deadline=None)
def test_any_shape_and_weights(case, shape, dtype, reduction, weighted, weight_dtype, transposed):
    if not case.takes_any_shape and not shape:
        shape, weighted = [1], abs(weighted)
    problem = case.problem(tuple(shape), dtype=dtype, seed=len(shape))
    common = {"reduction": reduction}
    if len(shape[:1]) <= weighted <= len(shape):
        common["sample_weight"] = np.ceil(problem.weight(weighted)).astype(weight_dtype)
    if transposed:
        problem = problem.with_(pred=problem.pred.T.copy().T)
    problem.assert_as_expected(**common)


@st.composite
def problems_of_classes(draw):
    shape = draw(st.lists(st.integers(1, 9), min_size=1, max_size=4))
    axis = draw(st.integers(-len(shape), len(shape) - 1))
    shape[axis] = draw(st.sampled_from([1, 2, 3, 8, 17, 63, 64, 96, 97, 107, 300, 1100]))
    dtype = draw(st.sampled_from([np.float32, np.float64]))
    return draw(st.sampled_from(CLASSES + SUMMED)).problem(tuple(shape), axis, dtype, seed=draw(st.integers(0, 1000)))


@given(
    problem=problems_of_classes(),
    reduction=st.sampled_from(["mean", "sum", "none"]),
    weighted=st.integers(-1, 3),
    in_place=st.booleans(),
    fortran=st.booleans(),
)
@settings(max_examples=500, derandomize=True, deadline=None)
def test_any_shape_axis_and_options(problem, reduction, weighted, in_place, fortran):
    common = {"reduction": reduction}
    if 0 < weighted <= len(problem.batch):
        common["sample_weight"] = problem.weight(weighted)
    if fortran:
        problem = problem.each(np.asfortranarray)
    problem.assert_as_expected(24, **common)
    copied = problem.copied()
    out = copied.differentiated
    if in_place and all(x.flags.c_contiguous for x in as_tuple(out)):
        assert_same_bits(copied.value_and_grad(out=out, **common), problem.value_and_grad(**common))


def numbers(case):
    """Any of float32, within the domain of the first input of a loss."""
    if case.domains.get(case.first) == IN_UNIT:
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


# ---------------------------------------------------------------------------------------------------------------------
# Memory


def peak_of(call):
    call()
    tracemalloc.start()
    try:
        call()
        return tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()


@one_of_each
def test_no_temporaries_that_grow(case):
    fl.set_num_threads(2)

    def peaks(n):
        problem = case.problem((n, 5), -1, np.float32)
        weight = problem.weight(1)
        out, out_2 = like((problem.differentiated, problem.differentiated))
        yield peak_of(lambda: problem.value())
        yield peak_of(lambda: problem.value_and_grad(out=out))
        yield peak_of(lambda: problem.value_and_grad(out=out, sample_weight=weight))
        if not case.of_vectors:
            yield peak_of(lambda: problem.grad_and_hess(out=(out, out_2), sample_weight=weight))

    for small, big in zip(peaks(2**12), peaks(2**14), strict=True):
        assert big < 2 * 256 * 1024
        assert big <= small + 4096


@one_of_each
def test_targets_of_other_dtypes_are_not_copied_as_a_whole(case):
    n = 2**15
    problem = case.problem((n, 4), -1, np.float32)
    as_probabilities = problem.target is not None and problem.target.shape == problem.pred.shape
    if problem.target is None or case.has_classes and not case.of_vectors and not case.sums_terms and as_probabilities:
        pytest.skip("class indices alone are read as they are; probabilities are converted to the dtype of pred")
    out = like(problem.differentiated)
    for dtype in "bHiq" if case.has_classes and not as_probabilities else "?bHiqfd":
        other = problem.with_(target=np.ones(problem.target.shape, dtype))
        weight = np.ones(n, dtype)
        assert peak_of(lambda x=other, w=weight: x.value_and_grad(out=out, sample_weight=w)) < 256 * 1024

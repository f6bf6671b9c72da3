"""Results are written to `out`, which may be an input, and to nothing else."""

import numpy as np
import pytest

import fastloss as fl
from tests.losses.cases import CASES
from tests.losses.comparing import assert_same_bits, leaves, like
from tests.losses.support import ONE_OF_EACH, Guarded, each_dtype, for_each, one_of_each, with_reductions_and_weights

pytestmark = pytest.mark.filterwarnings("error")


def assert_received(result, out, expected):
    assert all(a is b for a, b in zip(leaves(result), leaves(out), strict=True))
    assert_same_bits(out, expected)


@one_of_each
@each_dtype
def test_out_receives_the_same_bits(case, dtype):
    for problem, common in with_reductions_and_weights(case, dtype):
        value, grad = problem.value_and_grad(**common)
        out = like(grad)
        assert_received(problem.grad(out=out, **common), out, grad)
        out = like(grad)
        value_too, same = problem.value_and_grad(out=out, **common)
        assert_same_bits(value_too, value)
        assert_received(same, out, grad)
        if not case.hessian:
            continue
        _, hess = problem.grad_and_hess(**common)
        outs = like((grad, hess))
        assert_received(problem.grad_and_hess(out=outs, **common), outs, (grad, hess))


@one_of_each
@each_dtype
def test_out_may_be_the_inputs(case, dtype):
    for problem, common in with_reductions_and_weights(case, dtype):
        expected = problem.value_and_grad(**common)
        same = problem.copied()
        assert_same_bits(same.value_and_grad(out=same.differentiated, **common), expected)
        assert_same_bits(same.differentiated, expected[1])
        same = problem.copied()
        assert_same_bits(same.grad(out=same.differentiated, **common), expected[1])

        if not case.hessian:
            continue
        expected = problem.grad_and_hess(**common)
        for k in (0, 1):
            same = problem.copied()
            outs = [*like(expected)]
            outs[k] = same.differentiated
            assert_same_bits(same.grad_and_hess(out=tuple(outs), **common), expected)


@for_each(ONE_OF_EACH, lambda case: case.family not in ("classes", "linear"))
@each_dtype
def test_out_may_be_any_input_of_its_shape(case, dtype):
    """But for losses that need all classes at once: see test_errors_of_out.py."""
    more = [case.problem(shape, -1, dtype) for shape in ((7, 3), (5, 40), (2, 2500)) if not case.in_batch]
    for problem in [*case.problems(dtype), *more]:
        value, grad = problem.value_and_grad()
        names = [k for k, x in problem.inputs.items() if x.shape == problem.pred.shape and x.dtype == dtype]
        for shift in range(len(names)):
            same, out, k = problem.copied(), [], shift
            for fresh in leaves(like(grad)):
                fits = fresh.shape == problem.pred.shape and len(out) < len(names)
                out.append(same.inputs[names[k % len(names)]] if fits else fresh)
                k += fits
            assert_same_bits(same.value_and_grad(out=tuple(out) if isinstance(grad, tuple) else out[0]), (value, grad))
            if not case.hessian or len(names) < 2:
                continue
            same = problem.copied()
            first, second = (same.inputs[names[(shift + i) % len(names)]] for i in (0, 1))
            if isinstance(grad, tuple):
                first, second = ((x, *leaves(like(grad))[1:]) for x in (first, second))
            assert_same_bits(same.grad_and_hess(out=(first, second)), problem.grad_and_hess())


@one_of_each
def test_out_may_be_what_a_strided_input_lies_in(case):
    """The input is then copied first, and the result is right even though it is written over the original."""
    problem = case.small()
    memory = np.empty(problem.pred.size)
    pred = memory.reshape(problem.pred.shape[::-1]).T
    pred[...] = problem.pred
    out = memory.reshape(problem.pred.shape)
    if len(case.differentiable) > 1:
        out = (out, *like(problem.grad())[1:])
    assert_same_bits(problem.with_(pred=pred).value_and_grad(out=out), problem.value_and_grad())


def test_out_over_what_had_to_be_copied_is_not_touched_by_an_error():
    bce = fl.binary_cross_entropy_with_logits
    for given in (lambda b: memoryview(b)[::-1], lambda b: [b[:2], b[2:]], lambda b: b[::-1]):
        b = np.array([1.0, 2, 3, 4])
        target = np.array([0.5, 0.5, 0.5, 9]).reshape(np.shape(given(b)))
        before = b.copy()
        with pytest.raises(ValueError, match=r" = 9.0 is not in \[0, 1\]$"):
            bce.grad(given(b), target, out=b.reshape(target.shape))
        assert b.tolist() == before.tolist()


@for_each(CASES, lambda case: case.of_classes)
@pytest.mark.parametrize(
    "shape", [(257, 3), (3, 97), (2, 5, 17), (2, 513, 3), (255, 96), (1, 1025), (7, 70, 2), (2, 30, 70)]
)
def test_nothing_is_written_outside(case, shape):
    problem = case.problem(shape, 1, np.float32)
    expected = problem.grad_and_hess()
    guarded = Guarded(expected)
    assert_same_bits(problem.grad_and_hess(out=guarded.arrays), expected)
    guarded.assert_untouched()


#: Inputs of one tile and of several, for every way through the kernels.
TERM_SHAPES = [(40, 5), (9, 1030), (3, 5, 30), (3, 600, 3), (2, 30, 70), (2, 2, 5000)]


@for_each(ONE_OF_EACH, lambda case: case.family == "terms")
@pytest.mark.parametrize("weighted", [False, True])
def test_in_place_on_several_threads(case, weighted):
    for shape in TERM_SHAPES:
        problem = case.problem(shape, 1)
        common = {"sample_weight": 2 * np.random.default_rng(0).random(problem.batch)} if weighted else {}
        fl.set_num_threads(1)
        expected = problem.value_and_grad(**common)
        fl.set_num_threads(3)
        same = problem.copied()
        assert_same_bits(same.value_and_grad(out=same.differentiated, **common), expected)
        assert_same_bits(same.differentiated, expected[1])
        losses = problem.value(reduction="none", **common)
        assert losses.sum() == pytest.approx(problem.value(reduction="sum", **common), rel=1e-12)

"""Errors of `out`, and nothing changed by a call that raises."""

import numpy as np
import pytest

import fastloss as fl
from tests.losses.comparing import assert_same_bits, like
from tests.losses.support import ONE_OF_EACH, each_dtype, for_each, one_of_each, raises


@for_each(ONE_OF_EACH, lambda case: len(case.differentiable) == 1)
@each_dtype
def test_out(case, dtype):
    problem = case.small(dtype)
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
        if not case.hessian:
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
    for out in (good, [good, good.copy()], (good,), (good, good, good)) if case.hessian else ():
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
    several = len(case.differentiable) > 1
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
        if case.hessian:
            with raises(ValueError, f"{second} overlaps {case.first}"):
                shifted.grad_and_hess(out=(out(np.empty(shape)), out(window(start))))
    assert_same_bits(pred, problem.pred)
    if not case.hessian:
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
    problem = case.problem((n, 4) if case.has_axis else (n,), -1)

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
    for name in ["target"] if case.class_indices else case.domains:
        bad = problem.copied()
        if not bad.inputs[name].ndim:
            continue
        bad.inputs[name][-1] = -77
        refused(bad, rf"^{name}\[.* = -77")
        if case.has_axis or len(case.differentiable) > 1:
            continue
        same = bad.copied()  # in place of the input that is wrong
        with pytest.raises(ValueError, match=rf"^{name}\["):
            same.grad(out=same.inputs[name])
        assert_same_bits(same.inputs[name], bad.inputs[name])
        # In the memory of a first input that is copied, because of its strides.
        memory = np.zeros(2 * n)
        strided = memory[::2]
        strided[...] = bad.pred
        with pytest.raises(ValueError, match=rf"^{name}\["):
            bad.with_(pred=strided).grad(out=memory[:n])
        assert_same_bits(strided.copy(), bad.pred)


@for_each(ONE_OF_EACH, lambda case: case.of_classes and list(case.domains) == ["target"])
def test_bad_probabilities_in_place_change_nothing(case):
    for shape in ((300, 5), (50, 100), (4, 5, 40)):
        pred = np.random.default_rng(0).standard_normal(shape)
        copy, target = pred.copy(), np.full(shape, 0.2)
        target[(-1,) * len(shape)] = 1.5
        with pytest.raises(ValueError, match=r"is not in \[0, 1\]$"):
            case.loss.grad(pred, target, axis=1, out=pred)
        assert_same_bits(pred, copy)

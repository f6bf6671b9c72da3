"""Any layout, any address and any real dtype of the inputs give the same bits."""

import numpy as np
import pytest

from fastloss._core.calls import policy
from fastloss._core.request.domains import Domain
from tests.losses.cases import CASES
from tests.losses.comparing import assert_same_bits, leaves, like
from tests.losses.layouts import LAYOUTS
from tests.losses.support import (
    HALVES,
    ONE_OF_EACH,
    Guarded,
    each_dtype,
    each_precision,
    for_each,
    not_in_batch,
    one_of_each,
)

pytestmark = pytest.mark.filterwarnings("error")


@one_of_each
@each_precision
def test_any_layout_gives_the_same_bits(case, dtype):
    problem = case.small(dtype)
    weight = problem.weight()
    expected = problem.everything(sample_weight=weight)
    for layout in LAYOUTS:
        keep_first = isinstance(layout(problem.pred), list) and dtype is not np.float64  # a list is float64

        def laid_out(arrays, layout=layout, kept=problem.pred if keep_first else None):
            return {k: layout(x) if np.ndim(x) and x is not kept else x for k, x in arrays.items()}

        options, inputs = laid_out(problem.options), laid_out(problem.inputs)
        actual = problem.with_(options, **inputs).everything(sample_weight=layout(weight))
        assert_same_bits(actual, expected)
        for x in leaves(actual[1:]):
            assert type(x) is np.ndarray and x.flags.c_contiguous


@for_each(ONE_OF_EACH, lambda case: not case.has_axis and case.takes_any_shape)
def test_no_dimensions_and_scalars(case):
    one = case.problem((1,))
    scalars = {k: x.reshape(-1)[0] for k, x in one.inputs.items()}
    pred = scalars[case.first]
    for p in (pred, float(pred), np.array(pred)):
        problem = one.with_(**scalars | {case.first: p})
        value, grad = problem.value_and_grad(sample_weight=2.0, reduction="mean")
        assert_same_bits(value, one.value(reduction="mean"))
        for x, expected in zip(leaves(grad), leaves(one.grad(reduction="mean")), strict=True):
            assert x.shape == () and x == expected.reshape(-1)[0]
        assert problem.value(reduction="none").shape == ()
    single = one.with_(**scalars | {case.first: np.float32(pred)})
    assert all(x.dtype == np.float32 for x in leaves(single.grad()))


REAL = [*"?bBhHiIlLqQfdg", ">i2", ">f2", ">f4", ">f8", *HALVES.values()]


@one_of_each
@each_dtype
def test_other_inputs_of_any_real_dtype(case, dtype):
    """They are converted: 0 and 1 (or -1 and 1) mean the same in every dtype that holds them."""
    problem = case.small(dtype)
    for real in REAL:
        others = {k: x for k, x in problem.inputs.items() if k != case.first}
        for name, x in others.items():
            if x.dtype.kind != "f":
                others[name] = np.maximum(x, 0)  # none is ignored: not every dtype holds -100
            elif case.domains.get(name) == Domain.SIGN:
                others[name] = np.ones_like(x) if np.dtype(real).kind in "bu" else x
            else:
                others[name] = (x > 0.5).astype(dtype)
        plain = problem.with_(**others)
        # Class indices are integers.
        kinds = {k: real if x.dtype.kind == "f" or np.dtype(real).kind in "iu" else x.dtype for k, x in others.items()}
        converted = problem.with_(**{k: x.astype(kinds[k]) for k, x in others.items()})
        assert_same_bits(converted.everything(), plain.everything())
        assert_same_bits(converted.everything(reduction="none"), plain.everything(reduction="none"))


@one_of_each
@each_dtype
def test_weights_of_any_real_dtype(case, dtype):
    problem = case.small(dtype)
    for real in REAL:
        weight = np.array([1, 0, 1, 1, 0, 1]) if real == "?" else np.array([1, 0, 2, 3, 0, 5])
        assert_same_bits(
            problem.everything(sample_weight=weight.astype(real)),
            problem.everything(sample_weight=weight.astype(float)),
        )


def test_bits_do_not_depend_on_the_address():
    for case in ONE_OF_EACH:
        problem = case.problem((97, 33) if case.has_axis else (3201,), dtype=np.float32)
        expected = problem.value_and_grad()
        for offset in (1, 2, 3, 5, 9, 15):
            memory = np.empty(problem.pred.size + 16, np.float32)
            pred = memory[offset : offset + problem.pred.size].reshape(problem.pred.shape)
            pred[...] = problem.pred
            out = np.empty(problem.pred.size + 16, np.float32)[16 - offset :][: pred.size].reshape(pred.shape)
            if len(case.differentiable) > 1:
                out = (out, *like(expected[1])[1:])
            assert_same_bits(problem.with_(pred=pred).value_and_grad(out=out), expected)


# ---------------------------------------------------------------------------------------------------------------------
# Stores past the caches


@for_each(ONE_OF_EACH, not_in_batch)
@each_precision
def test_stores_past_the_caches_change_no_bit(case, dtype, monkeypatch):
    shapes = [((5, 7), -1), ((31, 70), 1), ((2, 5, 300), 1)] if case.has_axis else [((17,), -1), ((5003,), -1)]
    if not case.has_axis and not case.takes_any_shape:
        shapes = [((3, 11), -1), ((50, 107), -1)]
    for shape, axis in shapes:
        problem = case.problem(shape, axis, dtype)
        weight = problem.weight()
        expected = problem.grad()
        whole = problem.everything(), problem.everything(sample_weight=weight)
        with monkeypatch.context() as patch:
            patch.setattr(policy, "STREAM_BYTES", 0)  # so that the arrays of a quick test are large enough
            assert_same_bits((problem.everything(), problem.everything(sample_weight=weight)), whole)
            for start in range(5):  # of a line of the cache, in elements
                guarded = Guarded(expected, shift=start, guard=16)
                assert_same_bits(problem.grad(out=guarded.arrays), expected)
                guarded.assert_untouched()
            if not isinstance(expected, tuple):
                out = guarded.arrays
                out[...] = problem.pred
                assert_same_bits(problem.with_(pred=out).grad(out=out), expected)


@for_each(CASES, lambda case: case.family == "vectors")
@pytest.mark.parametrize("length", [36, 45, 128])
def test_large_gradients_of_vectors_go_past_the_caches(case, length):
    """From 16 MB on. The bits are those of a part alone, wherever in a line of the cache a vector begins."""
    small = case.problem((97, length), -1, np.float32)
    repeats = 1_100_000 // (97 * length) + 1
    whole = small.each(lambda x: np.tile(x, (repeats, *[1] * (x.ndim - 1))))
    expected = leaves(small.grad(reduction="sum"))
    for shift in (0, 1, 4):
        guarded = Guarded(whole.differentiated, shift=shift, guard=16)
        outs = leaves(whole.grad(reduction="sum", out=guarded.arrays))
        for out, part in zip(outs, expected, strict=True):
            assert np.all(out.reshape(-1, 97, length) == part)
        guarded.assert_untouched()

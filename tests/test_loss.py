"""Properties of every loss: definition, derivatives, weights, reductions, out, layouts, dtypes, special values."""

import numpy as np
import pytest
from losses import (
    CASES,
    CLASSES,
    ONE_OF_EACH,
    SIGN,
    apart,
    as_tuple,
    assert_close,
    assert_same_bits,
    largest,
    leaves,
    levels,
    like,
)

import fastloss as fl

pytestmark = pytest.mark.filterwarnings("error")

FLOATS = [np.float32, np.float64]
REDUCTIONS = ["mean", "sum", "none"]
each_case = pytest.mark.parametrize("case", CASES, ids=str)
each_apart = pytest.mark.parametrize("case", apart(CASES), ids=str)
one_of_each = pytest.mark.parametrize("case", ONE_OF_EACH, ids=str)
each_dtype = pytest.mark.parametrize("dtype", FLOATS, ids=["float32", "float64"])
REAL = ["?", "b", "B", "h", "H", "i", "I", "l", "L", "q", "Q", "e", "f", "d", "g", ">i2", ">f4", ">f8"]


# ---------------------------------------------------------------------------------------------------------------------
# The definition


@each_case
@each_dtype
def test_value_and_derivatives_are_those_of_the_definition(case, dtype):
    for problem in case.problems(dtype):
        for common in ({}, {"sample_weight": problem.weight()}):
            for reduction in REDUCTIONS:
                problem.assert_as_expected(each_level=True, reduction=reduction, **common)


def slopes(problem, function, h=1e-6):
    """Of each result of `function` of a problem by its own input, at each element: central differences."""
    for k, name in enumerate(problem.case.by):
        x = problem.inputs[name]
        for i in np.ndindex(x.shape):
            step = np.zeros(x.shape)
            step[i] = h
            up, down = (leaves(function(problem.with_(**{name: x + s}))) for s in (step, -step))
            up, down = (y[0] if len(y) == 1 else y[k] for y in (up, down))
            yield name, i, (up - down) / (2 * h)


@each_case
def test_gradient_is_the_slope_of_the_value(case):
    problem = case.small()
    common = {"reduction": "sum", "sample_weight": problem.weight()}
    grad = dict(zip(case.by, as_tuple(problem.grad(**common)), strict=True))
    for name, i, slope in slopes(problem, lambda x: x.value(**common)):
        assert abs(slope - grad[name][i]) < 2e-7 * (1 + abs(slope))


@each_case
def test_hessian_is_the_slope_of_the_gradient(case):
    if case.of_vectors:
        pytest.skip("has no Hessian")
    problem = case.small()
    hess = dict(zip(case.by, as_tuple(problem.grad_and_hess(reduction="sum")[1]), strict=True))

    for name, i, slope in slopes(problem, lambda x: as_tuple(x.grad(reduction="sum"))):
        slope = slope[i]
        assert abs(slope - hess[name][i]) < 2e-7 * (1 + abs(slope))


def with_reductions_and_weights(case, dtype):
    """Small problems, each with every reduction, and with weights and without."""
    for problem in case.problems(dtype):
        for weight in (None, problem.weight()):
            for reduction in REDUCTIONS:
                yield problem, {"reduction": reduction, "sample_weight": weight}


@each_case
@each_dtype
def test_methods_give_the_same_bits(case, dtype):
    for problem, common in with_reductions_and_weights(case, dtype):
        value, grad = problem.value_and_grad(**common)
        assert_same_bits(problem.value(**common), value)
        assert_same_bits(problem.grad(**common), grad)
        assert_same_bits(problem.everything(**common)[1], grad)


@each_case
def test_a_call_changes_no_input(case):
    problem = case.small()
    weight = problem.weight()
    inputs = [x for x in (*problem.inputs.values(), *problem.options.values(), weight) if isinstance(x, np.ndarray)]
    before = [x.copy() for x in inputs]
    for method in case.methods:
        getattr(problem, method)(sample_weight=weight)
    for x, copy in zip(inputs, before, strict=True):
        assert_same_bits(x, copy)


# ---------------------------------------------------------------------------------------------------------------------
# Reductions and the normalizer


@each_case
def test_sum_and_mean_are_those_of_the_losses(case):
    for problem in case.problems():
        losses = problem.value(reduction="none")
        total = problem.value(reduction="sum")
        assert_close(total, np.sum(losses, dtype=float), 100)
        assert_close(problem.value(reduction="mean", normalizer=8.0), total / 8, 4)
        assert_close(problem.grad(reduction="none"), problem.grad(reduction="sum"), 4)
        by_eight, of_sum = problem.grad(reduction="mean", normalizer=8.0), problem.grad(reduction="sum")
        assert_close(tuple(leaves(by_eight)), tuple(x / 8 for x in leaves(of_sum)), 4)


@each_case
def test_normalizer_replaces_the_sum_of_weights(case):
    problem = case.small()
    weight = problem.weight()
    of_sum = problem.everything(sample_weight=weight, reduction="sum")
    by_seven = problem.everything(sample_weight=weight, reduction="mean", normalizer=7)
    for actual, expected in zip(leaves(by_seven), leaves(of_sum), strict=True):
        assert_close(actual, expected / 7, 4, largest(expected))


@each_apart
def test_parts_of_a_batch_accumulate_to_the_whole(case):
    problem = case.small()
    n = float(np.prod(problem.batch))
    parts = [problem.each(lambda x, part=part: x[part]) for part in (slice(0, 2), slice(2, None))]
    whole, *parts = (leaves(x.value_and_grad(reduction="mean", normalizer=n)) for x in (problem, *parts))
    for expected, *actual in zip(whole, *parts, strict=True):
        assert_close(np.concatenate(actual) if np.ndim(expected) else sum(actual), expected)


# ---------------------------------------------------------------------------------------------------------------------
# Sample weights


@each_case
@each_dtype
def test_weights_are_for_the_leading_axes_of_the_loss(case, dtype):
    for problem in case.problems(dtype):
        for ndim in range(1, len(problem.batch)):
            weight = problem.weight(ndim)
            full = np.broadcast_to(weight.reshape(weight.shape + (1,) * (len(problem.batch) - ndim)), problem.batch)
            for reduction in REDUCTIONS:
                problem.assert_as_expected(sample_weight=weight, reduction=reduction)
                actual, expected = (problem.everything(sample_weight=w, reduction=reduction) for w in (weight, full))
                for a, b in zip(leaves(actual), leaves(expected), strict=True):
                    assert_close(a, b, 40, largest(b))


@each_case
def test_equal_weights_cancel_in_the_mean_alone(case):
    problem = case.small()
    for reduction in REDUCTIONS:
        plain = problem.everything(reduction=reduction)
        weighted = problem.everything(reduction=reduction, sample_weight=np.full(problem.batch[:1], 4.0))
        factor = 1 if reduction == "mean" else 4
        for a, b in zip(leaves(weighted), leaves(plain), strict=True):
            assert_close(a, factor * b, 4, largest(factor * b))


@each_case
@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
def test_weight_zero_means_not_there(case, bad):
    """What lies under a weight of 0 is as good as absent, whatever it holds."""
    for dtype in FLOATS:
        problem = case.small(dtype)
        for hidden in (np.array([1, 0, 2.5, 0, 1, 0]), problem.weight(seed=1)):
            dirty = problem.copied()
            for x in dirty.inputs.values():
                if x.dtype.kind == "f" and x.shape[: hidden.ndim] == hidden.shape:
                    x[problem.in_batch(np.nonzero(hidden == 0)) if x.shape == problem.pred.shape else hidden == 0] = bad
            for reduction in REDUCTIONS:
                common = {"sample_weight": hidden, "reduction": reduction}
                actual, clean = dirty.everything(**common), problem.everything(**common)
                for a, b in zip(leaves(actual), leaves(clean), strict=True):
                    assert np.array_equal(a, b)  # 0 and -0 are equal
                assert np.all(leaves(actual[1])[0][problem.in_batch(np.nonzero(hidden == 0))] == 0)


@each_apart
def test_an_integer_weight_is_a_repeated_sample(case):
    problem = case.small()
    times = np.array([1, 0, 3, 2, 0, 1])
    value, *grads = leaves(problem.value_and_grad(sample_weight=times, reduction="mean"))
    repeated = problem.each(lambda x: np.repeat(x, times, axis=0))
    expected_value, *expected_grads = leaves(repeated.value_and_grad(reduction="mean"))
    assert_close(value, expected_value)
    starts = np.cumsum(times) - times
    for grad, expected in zip(grads, expected_grads, strict=True):
        if not grad.ndim:
            assert_close(grad, expected)
            continue
        for i, k in enumerate(times):
            assert_close(grad[i], expected[starts[i] : starts[i] + k].sum(axis=0), scale=largest(grad))


@each_case
@each_dtype
def test_all_weights_zero(case, dtype):
    for problem in case.problems(dtype):
        problem = problem.with_(pred=np.full_like(problem.pred, np.nan))
        for reduction in REDUCTIONS:
            for x in leaves(problem.everything(sample_weight=np.zeros(problem.batch), reduction=reduction)):
                assert np.all(x == 0)


@each_case
def test_scale_of_weights_may_be_extreme(case):
    """The mean does not depend on the unit of the weights."""
    problem = case.small()
    weight = problem.weight()
    expected = problem.everything(sample_weight=weight, reduction="mean")
    for unit in (2.0**-900, 2.0**900):
        assert_close(problem.everything(sample_weight=weight * unit, reduction="mean"), expected, 8)


# ---------------------------------------------------------------------------------------------------------------------
# out


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
        if case.of_vectors:
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

        if case.of_vectors:
            continue
        expected = problem.grad_and_hess(**common)
        for k in (0, 1):
            same = problem.copied()
            outs = [*like(expected)]
            outs[k] = same.differentiated
            assert_same_bits(same.grad_and_hess(out=tuple(outs), **common), expected)


@one_of_each
@each_dtype
def test_out_may_be_the_target_of_an_elementwise_loss(case, dtype):
    if case.has_classes:
        pytest.skip("the target of a loss with a class axis is refused as out: see test_checks.py")
    if "target" not in case.inputs:
        pytest.skip("has no target")
    for problem in case.problems(dtype):
        value, grad = problem.value_and_grad()
        same = problem.copied()
        out = (same.target, *leaves(like(grad))[1:])
        assert_same_bits(same.value_and_grad(out=out if isinstance(grad, tuple) else same.target), (value, grad))
        same = problem.copied()
        outs = same.target, same.pred
        if isinstance(grad, tuple):
            outs = tuple((x, *fresh[1:]) for x, fresh in zip(outs, like((grad, grad)), strict=True))
        assert_same_bits(same.grad_and_hess(out=outs), problem.grad_and_hess())


@one_of_each
def test_out_may_be_what_a_strided_input_lies_in(case):
    """The input is then copied first, and the result is right even though it is written over the original."""
    problem = case.small()
    memory = np.empty(problem.pred.size)
    pred = memory.reshape(problem.pred.shape[::-1]).T
    pred[...] = problem.pred
    out = memory.reshape(problem.pred.shape)
    if len(case.by) > 1:
        out = (out, *like(problem.grad())[1:])
    assert_same_bits(problem.with_(pred=pred).value_and_grad(out=out), problem.value_and_grad())


# ---------------------------------------------------------------------------------------------------------------------
# Layouts and dtypes


def reversed_strides(x):
    return np.ascontiguousarray(x[(slice(None, None, -1),) * x.ndim])[(slice(None, None, -1),) * x.ndim]


def every_other(x):
    wide = np.zeros([2 * n for n in x.shape], x.dtype)
    view = wide[(slice(None, None, 2),) * x.ndim]
    view[...] = x
    return view


def unaligned(x):
    return np.frombuffer(b"x" + x.tobytes(), x.dtype, offset=1).reshape(x.shape)


def on_another_address(x):
    """Aligned for the dtype, but not for a vector register."""
    memory = np.empty(x.size + 1, x.dtype)
    view = memory[1:].reshape(x.shape)
    view[...] = x
    return view


def swapped(x):
    return x.astype(x.dtype.newbyteorder())


def read_only(x):
    x = x.copy()
    x.flags.writeable = False
    return x


class Labelled(np.ndarray):
    """A subclass as others make them."""


LAYOUTS = [np.asfortranarray, reversed_strides, every_other, unaligned, on_another_address, swapped, read_only]
LAYOUTS += [lambda x: x.tolist(), lambda x: x.view(Labelled), lambda x: memoryview(x)]


@one_of_each
@each_dtype
def test_any_layout_gives_the_same_bits(case, dtype):
    problem = case.small(dtype)
    weight = problem.weight()
    expected = problem.everything(sample_weight=weight)
    for layout in LAYOUTS:
        keep_first = isinstance(layout(problem.pred), list) and dtype is np.float32  # a list is float64

        def laid_out(arrays, layout=layout, kept=problem.pred if keep_first else None):
            return {k: layout(x) if np.ndim(x) and x is not kept else x for k, x in arrays.items()}

        options, inputs = laid_out(problem.options), laid_out(problem.inputs)
        actual = problem.with_(options, **inputs).everything(sample_weight=layout(weight))
        assert_same_bits(actual, expected)
        for x in leaves(actual[1:]):
            assert type(x) is np.ndarray and x.flags.c_contiguous


@one_of_each
def test_no_dimensions_and_scalars(case):
    if case.has_classes:
        pytest.skip("needs a class axis")
    one = case.problem((1,))
    if not case.takes_any_shape:
        pytest.skip("has a parameter for each index of the last axis")
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
            elif case.domains.get(name) == SIGN:
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


@one_of_each
def test_pred_is_float32_or_float64(case):
    problem = case.small()
    for dtype in (np.float16, np.longdouble, np.int64, np.bool_, np.complex64, object, "U4", "M8[s]"):
        wrong = problem.with_(pred=np.zeros(problem.pred.shape, dtype))
        for method in case.methods:
            with pytest.raises(TypeError) as error:
                getattr(wrong, method)()
            assert str(error.value) == f"{case.first} must be float32 or float64, not {wrong.pred.dtype}"


@one_of_each
def test_other_inputs_are_real(case):
    problem = case.small()
    for dtype in (np.complex128, object, "U4", "S3", "M8[s]", "m8[s]", [("a", float)]):
        weight = np.zeros(problem.batch, dtype)
        for method in case.methods:
            for name in list(case.inputs)[1:]:
                wrong = np.zeros(problem.inputs[name].shape, dtype)
                with pytest.raises(TypeError) as error:
                    getattr(problem.with_(**{name: wrong}), method)()
                assert str(error.value) == f"{name} must be real (bool, integer or float), not {wrong.dtype}"
            with pytest.raises(TypeError) as error:
                getattr(problem, method)(sample_weight=weight)
            assert str(error.value) == f"sample_weight must be real (bool, integer or float), not {weight.dtype}"


# ---------------------------------------------------------------------------------------------------------------------
# Empty inputs and special values


@one_of_each
@each_dtype
def test_empty(case, dtype):
    shapes = [((0, 3), 1), ((0, 3, 2), 1), ((2, 3, 0), 1)] if case.has_classes else [((0,), -1), ((3, 0), -1)]
    if case.last_axis:
        shapes = shapes[: 1 if case.of_batch else 2]  # the last one is of no classes, then
    for shape, axis in shapes:
        full = case.problem([max(n, 1) for n in shape], axis, dtype)  # a generator of labels needs a class
        nothing = tuple(slice(n) for n in shape)
        behind_classes = nothing[:axis] + nothing[axis + 1 :]
        inputs = {k: x[behind_classes if x.dtype.kind == "i" else nothing[: x.ndim]] for k, x in full.inputs.items()}
        options = {k: v[: shape[-1]] if k == "pos_weight" and np.ndim(v) else v for k, v in full.options.items()}
        problem = full.with_(options, **inputs)
        for weight in (None, np.ones(problem.batch), np.ones(problem.batch[:1])):
            for reduction in REDUCTIONS:
                value, grad, hess = problem.everything(reduction=reduction, sample_weight=weight)
                for derivatives in (grad, hess)[: 1 if case.of_vectors else 2]:
                    for name, x in zip(case.by, as_tuple(derivatives), strict=True):
                        assert x.shape == inputs[name].shape and x.dtype == dtype and np.all(x == 0)
                if reduction == "none":
                    assert value.shape == problem.batch
                else:
                    assert type(value) is float and value == 0.0
        assert problem.value(normalizer=3.0, reduction="mean") == 0.0


@each_apart
@each_dtype
def test_nan_propagates(case, dtype):
    """A NaN in pred makes its own loss and gradient NaN, and no other."""
    if case.sums_terms:
        pytest.skip("a NaN counts where its term does: see test_divergence.py")
    problem = case.problem((50,) if not case.has_classes else (50, 5), dtype=dtype)
    if case.has_classes and not case.of_vectors and problem.target.shape == (50,):
        problem = problem.with_(target=np.clip(problem.target, 1, None))  # none is ignored
    for _ in levels():
        expected = leaves(problem.value_and_grad(reduction="none"))
        for where in (0, 17, 49):
            bad = problem.copied()
            bad.pred[where if not case.has_classes else (where, 2)] = np.nan
            assert np.isnan(bad.value()) and np.isnan(bad.value(reduction="sum"))
            others = np.arange(50) != where
            actual = leaves(bad.value_and_grad(reduction="none"))
            assert np.isnan(actual[0][where]) and np.all(np.isnan(actual[1][where]))
            for a, b in zip(actual, expected, strict=True):
                if a.ndim:  # not a gradient by one number for all
                    assert_same_bits(a[others], b[others])


@each_apart
@each_dtype
def test_special_values_are_those_of_the_definition(case, dtype):
    specials = case.specials(dtype)
    if case.has_classes and not case.sums_terms:
        specials.remove(np.inf)  # see test_classification.py
    # Those among the logits of one sample have an effect on each other.
    for fill in [[x] for x in specials] if case.has_classes else [specials]:
        for k, problem in enumerate(case.problems(dtype)):
            special = problem.copied()
            places = special.pred.reshape(-1)[:: max(1, problem.pred.size // 25)]
            places[:] = np.resize(np.roll(fill, -k), places.shape)
            special.assert_as_expected(each_level=True, reduction="none")


@each_apart
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


@each_apart
def test_float32_sums_are_accumulated_in_float64(case):
    """The mean of many float32 losses is that of float64 accumulation, far below one float32 ulp."""
    n = 100_000
    classes = 1 if case.sums_terms else 3  # one: the terms themselves are in float32
    problem = case.problem((n, classes) if case.has_classes else (n,), dtype=np.float32, seed=3)
    if not case.takes_any_shape and not case.has_classes:
        pytest.skip("has a parameter for each index of the last axis")
    losses = problem.value(reduction="none")
    exact, size = losses.sum(dtype=np.longdouble), np.abs(losses).sum(dtype=float)
    limit = 1e-9 if case.of_vectors else 1e-12  # the losses of vectors are not rounded before they are summed
    assert abs(problem.value(reduction="sum") - exact) <= limit * size


def test_every_loss_is_in_the_list():
    losses = {name for name in fl.__all__ if isinstance(getattr(fl, name), fl.Loss)}
    assert losses == {case.name for case in CASES}
    softmax = {"cross_entropy", "poly1_cross_entropy", "softmax_focal"}
    assert {case.name for case in CLASSES} == softmax | {"multiclass_hinge", "crammer_singer"}


@pytest.mark.parametrize("weight", [1e-300, 1e-60, 1e60, 1e300])
@each_dtype
def test_weights_of_any_size(dtype, weight):
    """They are applied in double precision, whatever the dtype of the loss."""
    pred, target = np.array([1, 3], dtype), np.zeros(2, dtype)
    value, grad = fl.mse.value_and_grad(pred, target, sample_weight=np.full(2, weight))
    assert value == pytest.approx(5, rel=1e-15)
    assert grad.tolist() == pytest.approx([1, 3], rel=1e-15)
    value, grad = fl.cross_entropy.value_and_grad(
        np.zeros((2, 2), dtype), np.array([0, 1]), sample_weight=np.full(2, weight)
    )
    assert value == pytest.approx(np.log(2), rel=1e-7)
    assert grad.ravel().tolist() == pytest.approx([-0.25, 0.25, 0.25, -0.25], rel=1e-15)


def test_weights_that_cannot_be_divided_by():
    with pytest.raises(ValueError, match=r"^the weights add up to inf, which float64 cannot divide by$"):
        fl.mse(np.ones(2), np.zeros(2), sample_weight=[1e308, 1e308])
    with pytest.raises(ValueError, match=r"^the weights add up to 2e-320, which float64 cannot divide by$"):
        fl.mse(np.ones(2), np.zeros(2), sample_weight=[1e-320, 1e-320])


def test_tiny_normalizer_keeps_zero_slopes():
    grad = fl.mse.grad(np.array([1e-20, 0], np.float32), np.zeros(2, np.float32), normalizer=1e-45)
    assert grad.tolist() == [pytest.approx(6.8e18, rel=0.01), 0]


def test_out_over_what_had_to_be_copied_is_not_touched_by_an_error():
    bce = fl.binary_cross_entropy_with_logits
    for given in (lambda b: memoryview(b)[::-1], lambda b: [b[:2], b[2:]], lambda b: b[::-1]):
        b = np.array([1.0, 2, 3, 4])
        target = np.array([0.5, 0.5, 0.5, 9]).reshape(np.shape(given(b)))
        before = b.copy()
        with pytest.raises(ValueError, match=r" = 9.0 is not in \[0, 1\]$"):
            bce.grad(given(b), target, out=b.reshape(target.shape))
        assert b.tolist() == before.tolist()

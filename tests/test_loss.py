"""Properties of every loss: definition, derivatives, weights, reductions, out, layouts, dtypes, special values."""

import numpy as np
import pytest
from losses import CASES, CLASSES, assert_close, assert_same_bits, largest

import fastloss as fl

pytestmark = pytest.mark.filterwarnings("error")

FLOATS = [np.float32, np.float64]
REDUCTIONS = ["mean", "sum", "none"]
METHODS = ["value", "grad", "value_and_grad", "grad_and_hess"]

each_case = pytest.mark.parametrize("case", CASES, ids=str)
each_dtype = pytest.mark.parametrize("dtype", FLOATS, ids=["float32", "float64"])
REAL = ["?", "b", "B", "h", "H", "i", "I", "l", "L", "q", "Q", "e", "f", "d", "g", ">i2", ">f4", ">f8"]
each_real = pytest.mark.parametrize("real", REAL)
each_reduction = pytest.mark.parametrize("reduction", REDUCTIONS)


def assert_as_expected(problem, ulp=16, **common):
    value, grad, hess = problem.everything(**common)
    expected = problem.expected(**common)
    assert grad.dtype == hess.dtype == problem.pred.dtype
    if common.get("reduction") == "none":
        assert value.dtype == problem.pred.dtype
        assert_close(value, expected.value, ulp)
    else:
        assert type(value) is float
        single = problem.pred.dtype == np.float32
        # A float is as exact as the terms that were summed.
        assert_close(value, expected.value, ulp * 2.0**29 if single else ulp)
    assert_close(grad, expected.grad, ulp, expected.scale)
    assert_close(hess, expected.hess, ulp, expected.scale)


# ---------------------------------------------------------------------------------------------------------------------
# The definition


@each_case
@each_dtype
@each_reduction
def test_value_and_derivatives_are_those_of_the_definition(case, dtype, reduction):
    for problem in case.problems(dtype):
        assert_as_expected(problem, reduction=reduction)
        assert_as_expected(problem, reduction=reduction, sample_weight=problem.weight())


@each_case
def test_gradient_is_the_slope_of_the_value(case):
    problem = case.small()
    h = 1e-6
    weight = problem.weight()
    grad = problem.grad(reduction="sum", sample_weight=weight)
    for i in np.ndindex(problem.pred.shape):
        step = np.zeros(problem.pred.shape)
        step[i] = h
        up, down = (
            problem.with_(pred=problem.pred + s).value(reduction="sum", sample_weight=weight) for s in (step, -step)
        )
        assert abs((up - down) / (2 * h) - grad[i]) < 2e-7 * (1 + abs(grad[i]))


@each_case
def test_hessian_is_the_slope_of_the_gradient(case):
    problem = case.small()
    h = 1e-6
    hess = problem.grad_and_hess(reduction="sum")[1]
    for i in np.ndindex(problem.pred.shape):
        step = np.zeros(problem.pred.shape)
        step[i] = h
        up, down = (problem.with_(pred=problem.pred + s).grad(reduction="sum")[i] for s in (step, -step))
        assert abs((up - down) / (2 * h) - hess[i]) < 2e-7 * (1 + abs(hess[i]))


@each_case
@each_dtype
@each_reduction
def test_methods_give_the_same_bits(case, dtype, reduction):
    for problem in case.problems(dtype):
        for weight in (None, problem.weight()):
            common = {"reduction": reduction, "sample_weight": weight}
            value, grad = problem.value_and_grad(**common)
            assert_same_bits(problem.value(**common), value)
            assert_same_bits(problem.grad(**common), grad)
            assert_same_bits(problem.grad_and_hess(**common)[0], grad)


@each_case
def test_a_call_changes_no_input(case):
    problem = case.small()
    weight = problem.weight()
    inputs = [problem.pred, problem.target, weight]
    inputs += [x for x in problem.options.values() if isinstance(x, np.ndarray)]
    before = [x.copy() for x in inputs]
    for method in METHODS:
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
        assert_close(problem.value(normalizer=8.0), total / 8, 4)
        assert_close(problem.grad(reduction="none"), problem.grad(reduction="sum"), 4)
        assert_close(problem.grad(normalizer=8.0), problem.grad(reduction="sum") / 8, 4)


@each_case
def test_normalizer_replaces_the_sum_of_weights(case):
    problem = case.small()
    weight = problem.weight()
    value, grad, hess = problem.everything(sample_weight=weight, reduction="sum")
    by_seven = problem.everything(sample_weight=weight, normalizer=7)
    for actual, expected in zip(by_seven, (value / 7, grad / 7, hess / 7), strict=True):
        assert_close(actual, expected, 4, largest(expected))


@each_case
def test_parts_of_a_batch_accumulate_to_the_whole(case):
    problem = case.small()
    n = float(np.prod(problem.batch))
    value, grad = problem.value_and_grad(normalizer=n)
    parts = [
        problem.with_(pred=problem.pred[part], target=problem.target[part]).value_and_grad(normalizer=n)
        for part in (slice(0, 2), slice(2, None))
    ]
    assert_close(sum(part[0] for part in parts), value)
    assert_close(np.concatenate([part[1] for part in parts]), grad, 1)


# ---------------------------------------------------------------------------------------------------------------------
# Sample weights


@each_case
@each_dtype
@each_reduction
def test_weights_are_for_the_leading_axes_of_the_loss(case, dtype, reduction):
    for problem in case.problems(dtype):
        for ndim in range(1, len(problem.batch) + 1):
            weight = problem.weight(ndim)
            assert_as_expected(problem, sample_weight=weight, reduction=reduction)
            full = np.broadcast_to(weight.reshape(weight.shape + (1,) * (len(problem.batch) - ndim)), problem.batch)
            for a, b in zip(
                problem.everything(sample_weight=weight, reduction=reduction),
                problem.everything(sample_weight=full, reduction=reduction),
                strict=True,
            ):
                assert_close(a, b, 40, largest(b))


@each_case
@each_reduction
def test_equal_weights_cancel_in_the_mean_alone(case, reduction):
    problem = case.small()
    plain = problem.everything(reduction=reduction)
    weighted = problem.everything(reduction=reduction, sample_weight=np.full(problem.batch[:1], 4.0))
    factor = 1 if reduction == "mean" else 4
    for a, b in zip(weighted, plain, strict=True):
        assert_close(a, factor * b, 4)


@each_case
@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
def test_weight_zero_means_not_there(case, bad):
    """What lies under a weight of 0 is as good as absent, whatever it holds."""
    for dtype in FLOATS:
        problem = case.small(dtype)
        for hidden in (np.array([1, 0, 2.5, 0, 1, 0]), problem.weight(seed=1)):
            pred, target = problem.pred.copy(), problem.target.copy()
            pred[problem.in_batch(np.nonzero(hidden == 0))] = bad
            if target.dtype.kind == "f":
                where = problem.in_batch(np.nonzero(hidden == 0))
                target[where if target.shape == pred.shape else hidden == 0] = bad
            dirty = problem.with_(pred=pred, target=target)
            for reduction in REDUCTIONS:
                common = {"sample_weight": hidden, "reduction": reduction}
                actual, clean = dirty.everything(**common), problem.everything(**common)
                for a, b in zip(actual, clean, strict=True):
                    assert np.array_equal(a, b)  # 0 and -0 are equal
                assert np.all(actual[1][problem.in_batch(np.nonzero(hidden == 0))] == 0)


@each_case
def test_an_integer_weight_is_a_repeated_sample(case):
    problem = case.small()
    times = np.array([1, 0, 3, 2, 0, 1])
    repeated = problem.with_(
        pred=np.repeat(problem.pred, times, axis=0), target=np.repeat(problem.target, times, axis=0)
    )
    value, grad = problem.value_and_grad(sample_weight=times)
    expected_value, expected_grad = repeated.value_and_grad()
    assert_close(value, expected_value)
    starts = np.cumsum(times) - times
    for i, k in enumerate(times):
        assert_close(grad[i], expected_grad[starts[i] : starts[i] + k].sum(axis=0), scale=largest(grad))


@each_case
@each_dtype
@each_reduction
def test_all_weights_zero(case, dtype, reduction):
    for problem in case.problems(dtype):
        problem = problem.with_(pred=np.full_like(problem.pred, np.nan))
        value, grad, hess = problem.everything(sample_weight=np.zeros(problem.batch), reduction=reduction)
        assert np.all(value == 0) and np.all(grad == 0) and np.all(hess == 0)


@each_case
def test_scale_of_weights_may_be_extreme(case):
    """The mean does not depend on the unit of the weights."""
    problem = case.small()
    weight = problem.weight()
    expected = problem.everything(sample_weight=weight)
    for unit in (2.0**-900, 2.0**900):
        for a, b in zip(problem.everything(sample_weight=weight * unit), expected, strict=True):
            assert_close(a, b, 8)


# ---------------------------------------------------------------------------------------------------------------------
# out


@each_case
@each_dtype
@each_reduction
def test_out_receives_the_same_bits(case, dtype, reduction):
    for problem in case.problems(dtype):
        for weight in (None, problem.weight()):
            common = {"reduction": reduction, "sample_weight": weight}
            value, grad = problem.value_and_grad(**common)
            _, hess = problem.grad_and_hess(**common)

            out = np.full_like(grad, np.nan)
            assert problem.grad(out=out, **common) is out
            assert_same_bits(out, grad)

            out = np.full_like(grad, np.nan)
            value_too, same = problem.value_and_grad(out=out, **common)
            assert same is out
            assert_same_bits((value_too, out), (value, grad))

            outs = np.full_like(grad, np.nan), np.full_like(grad, np.nan)
            same = problem.grad_and_hess(out=outs, **common)
            assert same[0] is outs[0] and same[1] is outs[1]
            assert_same_bits(outs, (grad, hess))


@each_case
@each_dtype
@each_reduction
def test_out_may_be_pred(case, dtype, reduction):
    for problem in case.problems(dtype):
        for weight in (None, problem.weight()):
            common = {"reduction": reduction, "sample_weight": weight}
            expected = problem.value_and_grad(**common)
            pred = problem.pred.copy()
            value, grad = problem.with_(pred=pred).value_and_grad(out=pred, **common)
            assert grad is pred
            assert_same_bits((value, grad), expected)

            pred = problem.pred.copy()
            assert_same_bits(problem.with_(pred=pred).grad(out=pred, **common), expected[1])

            expected = problem.grad_and_hess(**common)
            for k in (0, 1):
                pred = problem.pred.copy()
                outs = (pred, np.empty_like(pred)) if k == 0 else (np.empty_like(pred), pred)
                assert_same_bits(problem.with_(pred=pred).grad_and_hess(out=outs, **common), expected)


@each_case
@each_dtype
def test_out_may_be_the_target_of_an_elementwise_loss(case, dtype):
    if case.has_classes:
        pytest.skip("the target of a loss with a class axis is refused as out: see test_checks.py")
    for problem in case.problems(dtype):
        expected = problem.value_and_grad()
        target = problem.target.copy()
        assert_same_bits(problem.with_(target=target).value_and_grad(out=target), expected)
        pred, target = problem.pred.copy(), problem.target.copy()
        both = problem.with_(pred=pred, target=target)
        assert_same_bits(both.grad_and_hess(out=(target, pred)), problem.grad_and_hess())


@each_case
def test_out_may_be_what_a_strided_input_lies_in(case):
    """The input is then copied first, and the result is right even though it is written over the original."""
    problem = case.small()
    memory = np.empty(problem.pred.size)
    pred = memory.reshape(problem.pred.shape[::-1]).T
    pred[...] = problem.pred
    out = memory.reshape(problem.pred.shape)
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


@each_case
@pytest.mark.parametrize("layout", LAYOUTS)
def test_any_layout_gives_the_same_bits(case, layout):
    for dtype in FLOATS:
        problem = case.small(dtype)
        weight = problem.weight()
        expected = problem.everything(sample_weight=weight)
        options = {k: layout(v) if isinstance(v, np.ndarray) else v for k, v in problem.options.items()}
        strange = problem.with_(target=layout(problem.target), options=options)
        if not (isinstance(layout(problem.pred), list) and dtype is np.float32):  # a list is float64
            strange = problem.with_(pred=layout(problem.pred))
        actual = strange.everything(sample_weight=layout(weight))
        assert_same_bits(actual, expected)
        assert type(actual[1]) is np.ndarray and actual[1].flags.c_contiguous


@each_case
def test_no_dimensions_and_scalars(case):
    if case.has_classes:
        pytest.skip("needs a class axis")
    one = case.problem((1,))
    if any(isinstance(v, np.ndarray) for v in one.options.values()):
        pytest.skip("has a parameter for each index of the last axis")
    pred, target = one.pred[0], one.target[0]
    for p in (pred, float(pred), np.array(pred)):
        problem = one.with_(pred=p, target=target)
        value, grad = problem.value_and_grad(sample_weight=2.0)
        assert_same_bits(value, one.value())
        assert grad.shape == () and grad == one.grad()[0]
        assert problem.value(reduction="none").shape == ()
    single = one.with_(pred=np.float32(pred), target=target)
    assert single.grad().dtype == np.float32


@each_case
@each_real
def test_target_of_any_real_dtype(case, real):
    """A target is converted: 0 and 1 (or -1 and 1) mean the same in every dtype that holds them."""
    for floating in FLOATS:
        problem = case.small(floating)
        if problem.target.shape != problem.pred.shape:
            if np.dtype(real).kind not in "iu":
                pytest.skip("not for class indices")
            target = np.maximum(problem.target, 0)  # none is ignored: not every dtype holds -100
        else:
            target = (problem.target > 0.5).astype(floating)
            if case.domain and "-1" in case.domain:
                target = np.ones_like(target) if np.dtype(real).kind in "bu" else 2 * target - 1
        problem = problem.with_(target=target)
        converted = problem.with_(target=target.astype(real))
        assert_same_bits(converted.everything(), problem.everything())
        assert_same_bits(converted.everything(reduction="none"), problem.everything(reduction="none"))


@each_case
@each_real
def test_weights_of_any_real_dtype(case, real):
    for floating in FLOATS:
        problem = case.small(floating)
        weight = np.array([1, 0, 1, 1, 0, 1]) if real == "?" else np.array([1, 0, 2, 3, 0, 5])
        assert_same_bits(
            problem.everything(sample_weight=weight.astype(real)),
            problem.everything(sample_weight=weight.astype(float)),
        )


@each_case
@pytest.mark.parametrize("pred", [np.float16, np.longdouble, np.int64, np.bool_, np.complex64, object, "U4", "M8[s]"])
def test_pred_is_float32_or_float64(case, pred):
    problem = case.small()
    wrong = problem.with_(pred=np.zeros(problem.pred.shape, pred))
    for method in METHODS:
        with pytest.raises(TypeError) as error:
            getattr(wrong, method)()
        assert str(error.value) == f"pred must be float32 or float64, not {wrong.pred.dtype}"


@each_case
@pytest.mark.parametrize("dtype", [np.complex128, object, "U4", "S3", "M8[s]", "m8[s]", [("a", float)]], ids=str)
def test_other_inputs_are_real(case, dtype):
    problem = case.small()
    target = np.zeros(problem.target.shape, dtype)
    weight = np.zeros(problem.batch, dtype)
    for method in METHODS:
        with pytest.raises(TypeError) as error:
            getattr(problem.with_(target=target), method)()
        assert str(error.value) == f"target must be real (bool, integer or float), not {target.dtype}"
        with pytest.raises(TypeError) as error:
            getattr(problem, method)(sample_weight=weight)
        assert str(error.value) == f"sample_weight must be real (bool, integer or float), not {weight.dtype}"


# ---------------------------------------------------------------------------------------------------------------------
# Empty inputs and special values


@each_case
@each_dtype
def test_empty(case, dtype):
    shapes = [((0, 3), 1), ((0, 3, 2), 1), ((2, 3, 0), 1)] if case.has_classes else [((0,), -1), ((3, 0), -1)]
    for shape, axis in shapes:
        full = case.problem([max(n, 1) for n in shape], axis, dtype)  # a generator of labels needs a class
        nothing = tuple(slice(n) for n in shape)
        target = full.target[nothing if full.target.shape == full.pred.shape else nothing[:axis] + nothing[axis + 1 :]]
        options = {k: v[: shape[-1]] if k == "pos_weight" and np.ndim(v) else v for k, v in full.options.items()}
        problem = full.with_(pred=full.pred[nothing], target=target, options=options)
        for weight in (None, np.ones(problem.batch), np.ones(problem.batch[:1])):
            for reduction in REDUCTIONS:
                value, grad, hess = problem.everything(reduction=reduction, sample_weight=weight)
                assert grad.shape == hess.shape == shape and grad.dtype == dtype
                if reduction == "none":
                    assert value.shape == problem.batch
                else:
                    assert type(value) is float and value == 0.0
        assert problem.value(normalizer=3.0) == 0.0


@each_case
@each_dtype
@pytest.mark.parametrize("where", [0, 17, -1])
def test_nan_propagates(case, dtype, where):
    """A NaN in pred makes its own loss and gradient NaN, and no other."""
    problem = case.problem((50,) if not case.has_classes else (50, 5), dtype=dtype)
    if problem.target.shape == (50,) and case.has_classes:
        problem = problem.with_(target=np.clip(problem.target, 1, None))  # none is ignored
    pred = problem.pred.copy()
    pred[where if not case.has_classes else (where, 2)] = np.nan
    bad = problem.with_(pred=pred)
    assert np.isnan(bad.value()) and np.isnan(bad.value(reduction="sum"))
    expected, expected_grad = problem.value_and_grad(reduction="none")
    value, grad = bad.value_and_grad(reduction="none")
    assert np.isnan(value[where]) and np.all(np.isnan(grad[where]))
    others = np.arange(50) != np.arange(50)[where]
    assert_same_bits((value[others], grad[others]), (expected[others], expected_grad[others]))


@each_case
@each_dtype
@pytest.mark.parametrize("special", [np.inf, -np.inf, 1e30, -1e30, 1e-40, 0.0, -0.0])
def test_special_values_are_those_of_the_definition(case, dtype, special):
    if special == 1e-40 and dtype is np.float64:
        special = 1e-310
    if case.has_classes and special == np.inf:
        pytest.skip("see test_classification.py")
    for problem in case.problems(dtype):
        pred = problem.pred.copy()
        pred.flat[:: max(1, pred.size // 5)] = special
        special_problem = problem.with_(pred=pred)
        value, grad = special_problem.value_and_grad(reduction="none")
        expected = special_problem.expected(reduction="none")
        with np.errstate(over="ignore"):
            wanted = expected.value.astype(dtype)  # what is beyond the range is inf
        assert_close(value, wanted, 16)
        assert_close(grad, expected.grad, 16, expected.scale)


@each_case
@each_dtype
def test_subnormal_results_survive(case, dtype):
    problem = case.small(dtype)
    tiny = float(np.finfo(dtype).smallest_normal) / 64
    weight = np.full(problem.batch, tiny)
    expected = problem.expected(reduction="none", sample_weight=weight)
    value, grad = problem.value_and_grad(reduction="none", sample_weight=weight)
    below_normal = (np.abs(expected.grad) < np.finfo(dtype).smallest_normal) & (np.abs(expected.grad) > tiny / 100)
    assert below_normal.any() and np.all(grad[below_normal] != 0)
    assert_close(value, expected.value, 20)
    assert_close(grad, expected.grad, 20)


@each_case
def test_float32_sums_are_accumulated_in_float64(case):
    """The mean of many float32 losses is that of float64 accumulation, far below one float32 ulp."""
    n = 100_000
    problem = case.problem((n, 3) if case.has_classes else (n,), dtype=np.float32, seed=3)
    if any(isinstance(v, np.ndarray) and v.shape == (n,) for v in problem.options.values()):
        pytest.skip("has a parameter for each index of the last axis")
    losses = problem.value(reduction="none")
    assert abs(problem.value(reduction="sum") - losses.sum(dtype=np.longdouble)) < 1e-12 * losses.sum(dtype=float)


def test_every_loss_is_in_the_list():
    losses = {name for name in fl.__all__ if isinstance(getattr(fl, name), fl.Loss)}
    assert losses == {case.name for case in CASES}
    assert {case.name for case in CLASSES} == {"cross_entropy"}


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

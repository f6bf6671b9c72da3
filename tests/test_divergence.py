"""Losses that are sums of terms along the class axis: the divergences, nll, categorical_cross_entropy, soft margin."""

import math
from dataclasses import replace

import numpy as np
import pytest
from losses import SUMMED, assert_close, assert_same_bits, largest, leaves, like, raises

import fastloss as fl

INF, NAN = np.inf, np.nan
each_dtype = pytest.mark.parametrize("dtype", [np.float32, np.float64], ids=["float32", "float64"])
each_case = pytest.mark.parametrize("case", SUMMED, ids=str)

DENSE = [case for case in SUMMED if case.target.__name__ != "labels" and "ignored" not in case.target.__name__]
#: One case for each loss and kind of target, the last, which has the most parameters.
KINDS = list({(case.name, *case.inputs.values()): case for case in SUMMED}.values())
each_kind = pytest.mark.parametrize("case", KINDS, ids=str)


def random(*shape, seed=0):
    return np.random.default_rng(seed).standard_normal(shape)


def log_softmax(z, axis=-1):
    return z - np.log(np.exp(z).sum(axis, keepdims=True))


def one_hot(label, classes):
    return np.moveaxis(np.eye(classes)[label], -1, 1)


# ---------------------------------------------------------------------------------------------------------------------
# By hand


@each_dtype
def test_kl_divergence(dtype):
    pred, target = np.log(np.array([[0.25, 0.75], [0.5, 0.5]])).astype(dtype), np.array([[0.5, 0.5], [1, 0]], dtype)
    expected = [0.5 * np.log(2) + 0.5 * np.log(2 / 3), np.log(2)]
    value, grad = fl.kl_divergence.value_and_grad(pred, target, reduction="none")
    assert_close(value, np.array(expected), 8)
    assert grad.tolist() == (-target).tolist()
    assert fl.kl_divergence(pred, target) == pytest.approx(np.mean(expected), rel=1e-6)  # over the batch
    assert not np.any(fl.kl_divergence.grad_and_hess(pred, target)[1])


@each_dtype
def test_kl_divergence_of_nothing(dtype):
    """0 log 0 is 0, against -inf too; what the prediction rules out and the target does not costs inf."""
    pred = np.array([[0, -INF], [0, -INF], [0, -INF]], dtype)
    target = np.array([[1, 0], [0.5, 0.5], [0, 0]])
    with np.errstate(divide="ignore"):
        logs = np.log(target)
    for options in ({"target": target}, {"target": logs, "log_target": True}):
        value, grad = fl.kl_divergence.value_and_grad(pred, reduction="none", **options)
        assert value[0] == 0 and value[1] == INF and value[2] == 0
        assert_close(grad, -target, 2)
    assert np.isnan(fl.kl_divergence(np.array([NAN, 0.0]), [0.5, 0.5]))


@each_dtype
def test_js_divergence(dtype):
    p, t = np.array([0.5, 0.5], dtype), np.array([1.0, 0.0], dtype)
    with np.errstate(divide="ignore"):
        p, t = np.log(p), np.log(t)
    m = np.log([0.75, 0.25])
    value, (by_p, by_t) = fl.js_divergence.value_and_grad(p, t)
    assert value == pytest.approx(0.5 * (0 - m[0]) + 0.25 * (p - m).sum(), rel=1e-6)
    assert_close(by_p, 0.25 * (p - m), 8)
    assert_close(by_t, np.array([-0.5 * m[0], 0]), 8)
    assert_same_bits(fl.js_divergence(t, p), value)  # symmetric
    beta = 0.25
    m = np.log(beta * np.exp(t) + (1 - beta) * np.exp(p))
    expected = beta * (0 - m[0]) + (1 - beta) * 0.5 * (p - m).sum()
    assert fl.js_divergence(p, t, beta=beta) == pytest.approx(expected, rel=1e-6)
    assert fl.js_divergence(t, p, beta=1 - beta) == pytest.approx(expected, rel=1e-6)


@each_dtype
def test_js_divergence_of_disjoint_distributions_is_log_2(dtype):
    p, t = np.array([0, -INF], dtype), np.array([-INF, 0], dtype)
    value, (by_p, by_t) = fl.js_divergence.value_and_grad(p, t)
    assert value == pytest.approx(np.log(2), rel=1e-6)
    assert_close(by_p, np.log([2, 1]) / 2, 4)
    assert_close(by_t, np.log([1, 2]) / 2, 4)
    assert fl.js_divergence(p, p) == 0
    for x in leaves(fl.js_divergence.grad_and_hess(p, p)[0]):
        assert np.all(x == 0)
    for x in leaves(fl.js_divergence.grad_and_hess(p, t)):
        assert np.isfinite(x).all()


def test_js_divergence_of_a_beta_below_float32():
    """It counts as the smallest number: with a weight of 0 the mixture would be 0 where pred is."""
    p, t = np.float32([0, -INF]), np.float32([-INF, 0])
    for x in leaves((fl.js_divergence(p, t, beta=1e-50), *fl.js_divergence.grad_and_hess(p, t, beta=1e-50))):
        assert np.all(np.isfinite(x)) and np.all(np.abs(x) < 1e-35)


@each_dtype
@pytest.mark.parametrize("where", [0, 1])
def test_js_divergence_of_nan_is_nan(dtype, where):
    inputs = [np.zeros((2, 3), dtype), np.zeros((2, 3), dtype)]
    inputs[where][1, 1] = NAN
    value, grads = fl.js_divergence.value_and_grad(*inputs, reduction="none")
    assert value[0] == 0 and np.isnan(value[1])
    for grad in grads:
        assert np.isnan(grad[1, 1]) and np.isfinite(np.delete(grad.ravel(), 4)).all()


@each_dtype
def test_gaussian_kl(dtype):
    mu, log_var = np.array([[1, -2], [0, 0]], dtype), np.array([[0, np.log(2)], [0, 0]], dtype)
    value, (by_mu, by_log_var) = fl.gaussian_kl.value_and_grad(mu, log_var, reduction="none")
    assert_close(value, np.array([0.5 + (2 - 1 - np.log(2) + 4) / 2, 0]), 4)
    assert_close(by_mu, mu, 0)
    assert_close(by_log_var, np.array([[0, 0.5], [0, 0]]), 4)
    hess_mu, hess_log_var = fl.gaussian_kl.grad_and_hess(mu, log_var, reduction="sum")[1]
    assert_close(hess_mu, np.ones((2, 2)), 0)
    assert_close(hess_log_var, np.array([[0.5, 1], [0.5, 0.5]]), 4)
    assert fl.gaussian_kl(dtype([0]), [-INF]) == INF and fl.gaussian_kl(dtype([0]), [INF]) == INF


@each_dtype
def test_nll(dtype):
    pred = np.array([[-1, -2, -3], [-INF, -0.5, -4]], dtype)
    value, grad = fl.nll.value_and_grad(pred, [2, 1], class_weight=[1, 3, 2], reduction="none")
    assert value.tolist() == [6, 1.5]
    assert grad.tolist() == [[0, 0, -2], [0, -3, 0]]
    assert fl.nll(pred, [2, 1], class_weight=[1, 3, 2]) == 7.5 / 5
    assert fl.nll(pred, [0, 0]) == INF
    assert fl.nll(pred, [[0.5, 0.5, 0], [0, 1, 0]], reduction="none").tolist() == [1.5, 0.5]
    assert fl.nll(np.zeros(3, dtype), 1, reduction="none").tobytes() == dtype(0).tobytes()  # not -0


@each_dtype
def test_categorical_cross_entropy(dtype):
    tiny = float(np.finfo(dtype).tiny)
    p = np.array([[0.5, 0.25, 0.25], [0, 1, 0], [1, 0, 0]], dtype)
    value, grad = fl.categorical_cross_entropy.value_and_grad(p, [1, 0, 0], reduction="none")
    assert_close(value, np.array([np.log(4), 100, 0]), 4)
    assert grad.tolist() == [[0, -4, 0], [-1 / tiny, 0, 0], [-1, 0, 0]]
    hess = fl.categorical_cross_entropy.grad_and_hess(p[:1], [1])[1]
    assert hess.tolist() == [[0, 16, 0]]
    smooth = fl.categorical_cross_entropy(p[:1], [1], label_smoothing=0.3)
    assert smooth == pytest.approx(0.8 * np.log(4) + 0.1 * np.log(2) + 0.1 * np.log(4), rel=1e-6)
    # As they are: no sum is divided out.
    assert fl.categorical_cross_entropy(dtype([0.5, 0.5, 0.5]), 0) == pytest.approx(np.log(2), rel=1e-6)


@each_dtype
def test_multilabel_soft_margin(dtype):
    z, t = np.array([[0, 1], [-2, INF]], dtype), np.array([[1, 0], [0.5, 1]])
    by_class = fl.binary_cross_entropy_with_logits(z, t, reduction="none")
    assert_close(fl.multilabel_soft_margin(z, t, reduction="none"), by_class.mean(axis=1), 4)
    weight = np.array([3, 0.5])
    weighted = fl.multilabel_soft_margin(z, t, class_weight=weight, reduction="none")
    assert_close(weighted, (weight * by_class).mean(axis=1), 4)
    # Under "mean", a sample counts as much as its classes do.
    expected = np.average(by_class, weights=np.broadcast_to(weight, (2, 2)))
    assert fl.multilabel_soft_margin(z, t, class_weight=weight) == pytest.approx(expected, rel=1e-6)
    z[:, 1] = NAN
    assert fl.multilabel_soft_margin(z, t, class_weight=[1, 0]) == pytest.approx(by_class[:, 0].mean(), rel=1e-6)


# ---------------------------------------------------------------------------------------------------------------------
# Accuracy close to the minimum


@each_dtype
@pytest.mark.parametrize("beta", [0.5, 0.1, 0.9, 1e-3, 1e-7])
@pytest.mark.parametrize("far", [False, True])
def test_distributions_of_any_distance(dtype, beta, far, level):
    """Where t - p is small, JS is about beta (1 - beta) exp(p) (t - p)^2 / 2: all of its terms nearly cancel."""
    mpmath = pytest.importorskip("mpmath")
    rng = np.random.default_rng(0)
    p = -rng.exponential(2, 60).astype(dtype)
    t = (p * (1 + np.exp2(rng.integers(-21 if dtype is np.float32 else -50, -1, 60)))).astype(dtype)
    if far:
        p, t = p / 8, (p / 8 - np.exp2(rng.uniform(-3, 6, 60))).astype(dtype)
        p, t = np.where(np.arange(60) % 2, (p, t), (t, p))
    value, grads = fl.js_divergence.value_and_grad(p[:, None], t[:, None], beta=beta, reduction="none")
    for i in range(60):
        with mpmath.workdps(100):
            b, x, y = mpmath.mpf(dtype(beta).item()), mpmath.mpf(p[i].item()), mpmath.mpf(t[i].item())
            m = mpmath.log(b * mpmath.exp(y) + (1 - b) * mpmath.exp(x))
            by_p, by_t = (1 - b) * mpmath.exp(x) * (x - m), b * mpmath.exp(y) * (y - m)
            for actual, exact in ((value[i], by_p + by_t), (grads[0][i, 0], by_p), (grads[1][i, 0], by_t)):
                assert abs(mpmath.mpf(actual.item()) / exact - 1) < 8 * float(np.finfo(dtype).eps)


@each_dtype
def test_gaussian_kl_of_tiny_log_var(dtype, level):
    x = np.exp2(-np.arange(1, 60.0)).astype(dtype)
    log_var = np.concatenate([x, -x])
    value = fl.gaussian_kl(np.zeros((118, 1), dtype), log_var[:, None], reduction="none")
    exact = log_var.astype(np.longdouble)
    series = sum(exact**k / math.factorial(k) for k in range(20, 1, -1))
    assert_close(value, series / 2, 4)


# ---------------------------------------------------------------------------------------------------------------------
# Class indices and probabilities

LAYOUTS = pytest.mark.parametrize("shape", [(40, 5), (9, 1030), (3, 5, 30), (3, 600, 3), (2, 30, 70), (2, 2, 5000)])


@LAYOUTS
@each_dtype
@pytest.mark.parametrize("reduction", ["mean", "sum", "none"])
def test_labels_and_one_hot_agree(shape, dtype, reduction):
    rng = np.random.default_rng(0)
    p = rng.uniform(0.01, 1, shape).astype(dtype)
    label = rng.integers(0, shape[1], shape[:1] + shape[2:])
    options = {"axis": 1, "reduction": reduction, "sample_weight": rng.uniform(0, 2, label.shape)}
    weight = {"class_weight": rng.uniform(0, 2, shape[1])}
    for loss, more in [
        (fl.nll, {}),
        (fl.nll, weight),
        (fl.categorical_cross_entropy, {}),
        (fl.categorical_cross_entropy, weight),
        (fl.categorical_cross_entropy, weight | {"label_smoothing": 0.3}),
    ]:
        by_label = loss.value_and_grad(p, label, **options, **more)
        by_hot = loss.value_and_grad(p, one_hot(label, shape[1]), **options, **more)
        assert_close(*(np.asarray(x[0], dtype) for x in (by_hot, by_label)), 4)
        assert_close(by_hot[1], by_label[1], 4)


@LAYOUTS
@pytest.mark.parametrize("weighted", [False, True])
def test_in_place_on_several_threads(shape, weighted):
    rng = np.random.default_rng(0)
    p, t = rng.uniform(0.01, 1, (2, *shape))
    label = rng.integers(0, shape[1], shape[:1] + shape[2:])
    options = {"sample_weight": rng.uniform(0, 2, label.shape)} if weighted else {}
    for loss, target in ((fl.nll, label), (fl.nll, t), (fl.multilabel_soft_margin, t), (fl.kl_divergence, t)):
        fl.set_num_threads(1)
        value, grad = loss.value_and_grad(p, target, axis=1, **options)
        fl.set_num_threads(3)
        pred = p.copy()
        assert_same_bits(loss.value_and_grad(pred, target, axis=1, out=pred, **options)[0], value)
        assert_same_bits(pred, grad)
        losses = loss(p, target, axis=1, reduction="none", **options)
        assert losses.sum() == pytest.approx(loss(p, target, axis=1, reduction="sum", **options), rel=1e-12)


@LAYOUTS
@pytest.mark.parametrize("ignore_index", [-100, -1, 0, 2, 2**62, -(2**63)])
def test_ignored_samples_are_not_there(shape, ignore_index):
    rng = np.random.default_rng(0)
    p = rng.uniform(0.01, 1, shape)
    label = rng.integers(0, shape[1], shape[:1] + shape[2:])
    label[label == ignore_index] = 1
    ignored = rng.random(label.shape) < 0.4
    holes = np.where(ignored, ignore_index, label)
    dirty = np.where(np.expand_dims(ignored, 1), NAN, p)
    weight = rng.uniform(0.5, 2, shape[1])
    for loss in (fl.nll, fl.categorical_cross_entropy):
        for more in ({}, {"class_weight": weight}, {"class_weight": weight, "label_smoothing": 0.2}):
            if loss is fl.nll and "label_smoothing" in more:
                continue
            for reduction in ("mean", "sum", "none"):
                options = {"axis": 1, "reduction": reduction} | more
                expected = loss.value_and_grad(p, label, sample_weight=~ignored, **options)
                actual = loss.value_and_grad(dirty, holes, ignore_index=ignore_index, **options)
                assert_close(actual[0], expected[0], 4)
                assert_close(actual[1], expected[1], 4)
                nothing = np.full_like(label, ignore_index)
                value, grad = loss.value_and_grad(p, nothing, ignore_index=ignore_index, **options)
                assert np.all(value == 0) and np.all(grad == 0)


@each_dtype
def test_a_class_of_weight_zero_is_not_there(dtype):
    p = np.random.default_rng(0).uniform(0.1, 1, (30, 4)).astype(dtype)
    label = np.arange(30) % 4
    weight = np.array([1, 0, 2, 1.0])
    dirty = p.copy()
    dirty[:, 1] = NAN
    for loss in (fl.nll, fl.categorical_cross_entropy):
        expected = loss.value_and_grad(p, label, class_weight=weight, ignore_index=1)
        for target in (label, one_hot(label, 4)):
            value, grad = loss.value_and_grad(dirty, target, class_weight=weight)
            assert_close(value, expected[0], 2**30 if dtype is np.float32 else 4)
            assert_close(grad, expected[1], 4)


def test_only_what_counts_is_read():
    """Of class indices, the element of the label; of probabilities, those of classes with a part in the target."""
    p = np.array([[NAN, 0.5], [0.5, NAN]])
    for loss, expected in ((fl.nll, -0.5), (fl.categorical_cross_entropy, np.log(2))):
        for target in ([1, 0], [[0, 1], [1, 0]]):
            value, grad = loss.value_and_grad(p, target)
            assert value == pytest.approx(expected, rel=1e-15)
            assert np.isfinite(grad).all()
        assert np.isnan(loss(p, [0, 0]))
    assert np.isnan(fl.categorical_cross_entropy(p, [1, 0], label_smoothing=0.1))
    assert fl.categorical_cross_entropy([[0.5, 9.0]], [0]) == np.log(2)


# ---------------------------------------------------------------------------------------------------------------------
# Errors


@LAYOUTS
def test_probabilities_out_of_range_in_pred(shape):
    for place in (0, int(np.prod(shape)) // 2, -1):
        at = tuple(int(i) for i in np.unravel_index(place % np.prod(shape), shape))
        where = ", ".join(map(str, at))
        batch = at[:1] + at[2:]
        label = np.zeros(shape[:1] + shape[2:], int)
        label[batch] = at[1]
        for bad in (1.5, -1e-6, INF):
            p = np.full(shape, 0.5)
            p[at] = bad
            for target, more in ((label, {}), (label, {"label_smoothing": 0.1}), (one_hot(label, shape[1]), {})):
                for out in (None, p):
                    before = p.copy()
                    with raises(ValueError, f"pred[{where}] = {bad!r} is not in [0, 1]"):
                        fl.categorical_cross_entropy.grad(p, target, axis=1, out=out, **more)
                    assert_same_bits(p, before)
                weight = np.ones(label.shape)
                weight[batch] = 0
                fl.categorical_cross_entropy(p, target, axis=1, sample_weight=weight, **more)
            if not more:
                weight = np.ones(shape[1])
                weight[at[1]] = 0
                fl.categorical_cross_entropy(p, label, axis=1, class_weight=weight)


@LAYOUTS
@pytest.mark.parametrize("dtype", ["b", "B", "h", "i", "q", "Q", ">i4"])
def test_labels_out_of_range(shape, dtype):
    classes, pred = shape[1], np.full(shape, 0.5)
    good = np.zeros(shape[:1] + shape[2:], dtype)
    info = np.iinfo(good.dtype)
    for bad in [x for x in (classes, -1, info.min, info.max) if info.min <= x <= info.max and not 0 <= x < classes]:
        for place in (0, good.size - 1):
            label = good.copy()
            label.flat[place] = bad
            index = ", ".join(str(i) for i in np.unravel_index(place, good.shape))
            text = f"target[{index}] = {bad} is not a class index in [0, {classes}) nor ignore_index (-100)"
            for loss in (fl.nll, fl.categorical_cross_entropy):
                out = np.full(shape, 7.0)
                with raises(ValueError, text):
                    loss.grad(pred, label, axis=1, out=out)
                assert np.all(out == 7)
                with raises(ValueError, text):
                    loss(pred, label, axis=1)


def test_shapes_and_types():
    z = np.zeros((3, 4))
    for loss in (fl.kl_divergence, fl.js_divergence, fl.multilabel_soft_margin):
        for shape in [(3,), (4,), (4, 3), (3, 1), (3, 4, 1)]:
            with raises(ValueError, f"target must have the shape of pred, (3, 4), not {shape}"):
                loss.value_and_grad(z, np.zeros(shape))
    with raises(ValueError, "log_var must have the shape of mu, (3, 4), not (4,)"):
        fl.gaussian_kl(z, np.zeros(4))
    with raises(TypeError, "log_var must be real (bool, integer or float), not complex128"):
        fl.gaussian_kl(z, z * 1j)
    for loss in (fl.nll, fl.categorical_cross_entropy):
        with raises(ValueError, "target must have shape (3,) (class indices) or (3, 4) (probabilities), not (4,)"):
            loss(z, np.zeros(4, int))
        with raises(TypeError, "target must hold class indices of an integer dtype in shape (3,), not float64"):
            loss(z, np.zeros(3))
        with raises(ValueError, "ignore_index goes with class indices, and target holds probabilities"):
            loss(z, z, ignore_index=1)
        with raises(ValueError, "class_weight must have shape (4,), not (3,)"):
            loss(z, z, class_weight=np.ones(3))
        assert loss(np.zeros((0, 3)), []) == 0.0
    with raises(ValueError, "class_weight[1] = -1 is not a finite weight >= 0"):
        fl.multilabel_soft_margin(z, z, class_weight=[1, -1, 1, 1])
    with raises(ValueError, "pred must have at least one class, and has shape (3, 0)"):
        fl.kl_divergence(np.zeros((3, 0)), np.zeros((3, 0)))
    with raises(ValueError, "axis must be in [-2, 2), not 2"):
        fl.js_divergence(z, z, axis=2)
    for call in (lambda: fl.nll(1.0, 0), lambda: fl.kl_divergence(1.0, 0)):
        with raises(ValueError, "pred must have a class axis, and is 0-dimensional"):
            call()
    with raises(ValueError, "mu must have an axis, and is 0-dimensional"):
        fl.gaussian_kl(1.0, 0.0)
    with raises(TypeError, "gaussian_kl() got an unexpected keyword argument 'axis'"):
        fl.gaussian_kl(z, z, axis=0)


def test_out_must_not_overlap_labels():
    memory = np.zeros(8)
    labels = memory.view(np.int64)[:4]
    with raises(ValueError, "out overlaps target"):
        fl.nll.grad(np.zeros((4, 1)), labels, out=memory[:4].reshape(4, 1))


@pytest.mark.parametrize("case", [case for case in DENSE if len(case.by) == 1], ids=str)
def test_out_may_be_the_target(case):
    for problem in case.problems():
        expected = problem.value_and_grad()
        same = problem.copied()
        assert_same_bits(same.value_and_grad(out=same.target), expected)


@pytest.mark.parametrize("case", [case for case in DENSE if len(case.by) == 2], ids=str)
def test_out_may_be_the_inputs_the_other_way_round(case):
    for problem in case.problems():
        expected = problem.grad()
        same = problem.copied()
        assert_same_bits(same.grad(out=same.differentiated[::-1]), expected)


# ---------------------------------------------------------------------------------------------------------------------
# Every way through the driver

#: Numbers of classes and of samples side by side, on both sides of every switch in kernels/summed.pyx.
CLASSES = [1, 2, 16, 32, 33, 341, 342, 512, 513, 1024, 1025, 2049]
INNER = [1, 2, 3, 63, 64, 65, 512, 513, 1024, 1025, 2049]


@each_kind
@each_dtype
def test_awkward_sizes(case, dtype):
    case = replace(case, parameters={k: v for k, v in case.parameters.items() if k != "ignore_index"})
    shapes = {(n, c, inner) for n in (1, 3) for c in CLASSES for inner in INNER if n * c * inner <= 5000}
    shapes |= {(n, c, 1) for n in (1023, 1024, 1025, 2049) for c in (1, 2)}
    for shape in sorted(shapes):
        problem = case.problem(shape, 1, dtype, seed=sum(shape))
        problem.assert_as_expected(reduction="none")
        problem.assert_as_expected(sample_weight=problem.weight(2))
        problem.assert_as_expected(sample_weight=problem.weight(1), reduction="none")


@each_kind
def test_many_classes(case):
    for shape in [(2, 66_001), (7, 20_001), (1, 33_000, 2), (1, 4_000, 17)]:
        problem = case.problem(shape, 1, np.float32)
        problem.assert_as_expected(reduction="none", ulp=32)
        problem.assert_as_expected(sample_weight=problem.weight())


@each_kind
@pytest.mark.parametrize("shape", [(257, 3), (3, 97), (2, 5, 17), (2, 513, 3), (255, 96), (1, 1025), (2, 30, 70)])
def test_nothing_is_written_outside(case, shape):
    problem = case.problem(shape, 1, np.float32)
    n = problem.pred.size
    guarded = [np.full(n + 64, 7, np.float32) for _ in range(2 * len(case.by))]
    inside = [x[32 : 32 + n].reshape(problem.pred.shape) for x in guarded]
    pairs = (tuple(inside[: len(case.by)]), tuple(inside[len(case.by) :])) if len(case.by) > 1 else tuple(inside)
    assert_same_bits(problem.grad_and_hess(out=pairs), problem.grad_and_hess())
    for x in guarded:
        assert np.all(x[:32] == 7) and np.all(x[32 + n :] == 7)


@each_case
def test_rows_are_each_on_their_own(case):
    """The loss of a sample does not depend on the others, but for the rounding of where it lies in a vector."""
    problem = case.problem((7, 21), 1)
    value, *grads = leaves(problem.value_and_grad(reduction="none"))
    for i in range(7):
        one = problem.each(lambda x, i=i: x[i : i + 1])
        alone, *grads_alone = leaves(one.value_and_grad(reduction="none"))
        assert_close(alone, value[i : i + 1], 8)
        for a, b in zip(grads_alone, grads, strict=True):
            assert_close(a, b[i : i + 1], 8, largest(b))


def test_many_threads_find_the_bad_element():
    p, label = np.full((9000, 20), 0.5, np.float32), np.zeros(9000, int)
    for place in (0, 5000, 8999):
        p[place, 0] = 2
        for target in (label, one_hot(label, 20)):
            with raises(ValueError, f"pred[{place}, 0] = 2.0 is not in [0, 1]"):
                fl.categorical_cross_entropy.grad(p, target, out=like(p))
        p[place, 0] = 0.5

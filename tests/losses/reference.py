"""Every loss as a plain NumPy definition, to compare with and to read.

An elementwise loss is a function of its inputs, arrays of one shape, and of its parameters. It returns the loss of each
element, its derivative and its second derivative with respect to the first input. A loss with several differentiable
inputs returns tuples of derivatives. A parameter `info` is the np.finfo of the dtype that the loss is for.

A loss with a class axis is a function of pred and target as arrays (samples, classes), of class weights (classes,) and
of the weight (samples, 1) that the target of each sample adds to the denominator of the mean. Its loss has the shape
(samples,). Its `info` and its tuples of derivatives are as above.

A loss of vectors is a function of arrays (samples, length), and of labels (samples,) if it takes any. Its losses have
the shape (samples,). An in-batch loss takes weights too, and returns the derivatives of the weighted sum.

A loss of a linear layer is that of its scores. A loss of alignments is a function of the logits of one sequence
(frames, classes), and of its labels.

`elementwise`, `classes`, `terms`, `vectors`, `batches`, `linear`, `alignments` and `trees` evaluate the definitions of
these families in a wider type (long double for float64, where it is wider). They add what all losses share: weights,
ignored samples, reductions and the normalizer.

A result is expected to be right to some units in its last place, unless its definition says what else to measure by:
`Sized(x, size)` is a result whose error is relative to `size`. Such a result is a difference of numbers of that size, a
power of a rounded number, the exponential of a rounded product, or has a subnormal factor.
"""

import inspect
import math
from typing import Any, NamedTuple

import numpy as np


class Sized(NamedTuple):
    x: np.ndarray
    size: np.ndarray


class Result(NamedTuple):
    value: Any
    grad: Any
    hess: Any
    sizes: tuple  # of value, grad and hess: what their errors are relative to


# ---------------------------------------------------------------------------------------------------------------------
# Regression


def mse(p, t):
    r = p - t
    return r**2, 2 * r, np.full_like(r, 2)


def mae(p, t):
    r = p - t
    return np.abs(r), np.sign(r), np.zeros_like(r)


def huber(p, t, delta=1.0):
    r = p - t
    near = np.abs(r) <= delta
    loss = np.where(near, r**2 / 2, delta * (np.abs(r) - delta / 2))
    return loss, np.where(near, r, delta * np.sign(r)), np.where(near, 1.0, 0.0)


def smooth_l1(p, t, beta=1.0):
    if beta == 0:
        return mae(p, t)
    r = p - t
    near = np.abs(r) < beta
    loss = np.where(near, r**2 / (2 * beta), np.abs(r) - beta / 2)
    return loss, np.where(near, r / beta, np.sign(r)), np.where(near, 1 / beta, 0.0)


def pseudo_huber(p, t, delta=1.0):
    r = p - t
    u = np.abs(r / delta)
    root = np.hypot(1, u)
    # sqrt(1 + u^2) - 1 = u^2 / (1 + sqrt(1 + u^2))
    loss = delta * np.abs(r) * np.where(np.isinf(u), 1, u / (1 + root))
    return loss, delta * np.sign(r) * np.where(np.isinf(u), 1, u / root), root**-3


def log_cosh(p, t):
    r = p - t
    a = np.abs(r)
    e = np.exp(-2 * a)
    hess = 4 * e / (1 + e) ** 2
    small = np.log1p(2 * np.sinh(np.minimum(a, 1) / 2) ** 2)  # cosh r - 1 = 2 sinh(r/2)^2
    return (
        np.where(a < 1, small, a + np.log1p(e) - np.log(a.dtype.type(2))),
        np.tanh(r),
        Sized(hess, (1 + 2 * a) * hess),
    )


def quantile(p, t, q=0.5):
    e, q = t - p, np.asarray(q, p.dtype)
    loss = np.where(e > 0, times(q, e), times(q - 1, e))
    return loss, np.where(e > 0, -q, (1 - q) * np.sign(-e)), np.zeros_like(e)


def expectile(p, t, q=0.5):
    r, q = p - t, np.asarray(q, p.dtype)
    a = np.where(r > 0, 1 - q, q)
    return times(a, r**2), times(2 * a, r), 2 * a


def epsilon_insensitive(p, t, epsilon=0.1):
    r = p - t
    excess, size = np.maximum(np.abs(r) - epsilon, 0), np.maximum(np.abs(r), epsilon)
    return Sized(excess, size), np.sign(excess) * np.sign(r), np.zeros_like(r)


def squared_epsilon_insensitive(p, t, epsilon=0.1):
    r = p - t
    excess, size = np.maximum(np.abs(r) - epsilon, 0), np.maximum(np.abs(r), epsilon)
    return Sized(excess**2, excess * size), Sized(2 * excess * np.sign(r), size), 2 * np.sign(excess)


def msle(p, t):
    # log((1 + p) / (1 + t)), which is 0 where p = t, by the smaller of both: nothing cancels.
    d = np.where(p >= t, np.log1p((p - t) / (1 + t)), -np.log1p((t - p) / (1 + p)))
    d = np.where((p < -1) | (t < -1) | np.isnan(p + t), np.nan, d)
    grad, hess, size = 2 * d / (1 + p), 2 * (1 - d) / (1 + p) ** 2, 2 * (1 + np.abs(d)) / (1 + p) ** 2
    far = (p == np.inf) & np.isfinite(t)
    return Sized(d**2, 2 * d**2), np.where(far, 0, grad), Sized(np.where(far, 0, hess), size)


def mape(p, t, info):
    r, scale = p - t, np.maximum(np.abs(t), info.eps)
    return np.abs(r) / scale, np.sign(r) / scale, np.zeros_like(r)


def poisson_nll(p, t, log_input=True, full=False, eps=1e-8):
    constant = lgamma(t + 1) if full else np.zeros_like(t)
    if log_input:
        e = np.exp(p)
        loss = np.where(p == np.inf, p, e - times(t, p) + constant)
        return Sized(loss, e + np.abs(t * p) + np.abs(constant)), Sized(e - t, e + np.abs(t)), e
    none = (t == 0) & ~np.isnan(p)
    ratio = np.where(none, 0, t / (p + eps))
    log = np.log(p + eps)
    loss = np.where(p == np.inf, p, p - times(t, log) + constant)  # NaN for a negative rate
    size = np.abs(p) + np.abs(t) * (1 + np.abs(log)) + np.abs(constant)
    return Sized(loss, size), Sized(1 - ratio, 1 + np.abs(ratio)), np.where(none, 0, ratio / (p + eps))


def gamma_nll(p, t):
    e = times(t, np.exp(-p))
    return Sized(np.where(np.isinf(e), e, e + p), e + np.abs(p)), Sized(1 - e, 1 + e), e


def tweedie(p, t, power=1.5):
    a, b = power - 1, 2 - power
    down, up = times(t, np.exp(-a * p)), np.exp(b * p)
    of_power, size = 1 + np.abs(p), (1 + np.abs(p)) * (down + up)  # a p and b p are rounded
    loss = down / a + up / b
    return (
        Sized(loss, loss * of_power),
        Sized(up - down, size),
        Sized(a * down + b * up, (a * down + b * up) * of_power),
    )


def gaussian_nll(p, t, var, full=False, eps=1e-6):
    r, v = p - t, np.maximum(var, eps)
    constant = np.log(2 * pi(p)) if full else 0
    square = r * (r / v)
    free = ~(var < eps)
    return (
        Sized((np.log(v) + square + constant) / 2, np.abs(np.log(v)) + square + constant),
        (r / v, Sized(np.where(free | np.isnan(r), (1 - square) / v / 2, 0), (1 + square) / v)),
        (np.broadcast_to(1 / v, r.shape), Sized(np.where(free, (square - 0.5) / v / v, 0), (square + 0.5) / v / v)),
    )


def cauchy(p, t, c=1.0):
    r = p - t
    u = np.abs(r / c)
    w = 1 / (1 + u**2)
    loss = c**2 * np.where(u > 1e10, np.log(u), np.log1p(np.minimum(u, 1e11) ** 2) / 2)
    return nan_stays(r, loss, times(w, r), Sized(w * (2 * w - 1), w))


def welsch(p, t, info, c=1.0):
    r = p - t
    square = (r / c) ** 2
    w = np.exp(-square)
    hess = times(w, 1 - 2 * square)
    size = np.maximum(w, info.smallest_normal) * (1 + 2 * square)
    return -(c**2) / 2 * np.expm1(-square), Sized(times(w, r), np.abs(r) * size), Sized(hess, size * (1 + 2 * square))


def geman_mcclure(p, t, c=1.0):
    r = p - t
    u = np.abs(r / c)
    w = 1 / (1 + u**2)
    loss = np.where(u < 1, r**2 / 2 * w, c**2 / 2 / (1 + 1 / u**2))
    grad, condition = times(w**2, r), 3 - 2 * w
    return nan_stays(r, loss, Sized(grad, np.abs(grad) * condition), Sized(w**2 * (4 * w - 3), 3 * w**2 * condition))


def fair(p, t, c=1.0):
    r = p - t
    u = np.abs(r / c)
    small, series = np.minimum(u, 0.25), 0
    for k in range(40, 1, -1):  # (u - log1p u) / u^2 = 1/2 - u/3 + u^2/4 - ...
        series = u.dtype.type(1) / k - small * series
    loss = c**2 * np.where(u < 0.25, small**2 * series, np.where(np.isinf(u), u, u - np.log1p(u)))
    grad = np.where(np.isinf(r), c * np.sign(r), r / (1 + u))
    return nan_stays(r, loss, grad, (1 + u) ** -2)


def tukey(p, t, c=1.0):
    r = p - t
    square = np.minimum((r / c) ** 2, 1)
    rest = 1 - square
    inside = np.where(rest == 0, 0, r)
    grad, of_grad = inside * rest**2, np.abs(inside) * rest * (rest + 2 * square)
    hess, of_hess = rest * (1 - 5 * square), np.where(rest == 0, 0, 1 + 5 * square)
    return c**2 * square * (3 - 3 * square + square**2) / 6, Sized(grad, of_grad), Sized(hess, of_hess)


# ---------------------------------------------------------------------------------------------------------------------
# Binary: probabilities


def binary_cross_entropy(p, t, info, alpha=None, label_smoothing=0.0):
    t = smooth(t, label_smoothing)
    a, b = balance(t, alpha) * t, balance(t, alpha) * (1 - t)
    q = np.maximum(1 - p, info.smallest_normal)
    p, log_p, log_q = np.maximum(p, info.smallest_normal), np.log(p), np.log1p(-p)
    loss = -a * np.maximum(log_p, -100) - b * np.maximum(log_q, -100)
    return loss, Sized(b / q - a / p, b / q + a / p), b / q / q + a / p / p


def binary_focal(p, t, info, gamma=2.0, alpha=None):
    wrong, side = p * (1 - t) + (1 - p) * t, 2 * t - 1
    cross, slope, bend = binary_cross_entropy(p, t, info)
    a, power, per_wrong = balance(t, alpha), wrong**gamma, np.where(wrong == 0, 1, cross / wrong)
    power_size = np.maximum(power, info.smallest_normal) * focal_condition(t, gamma)
    # The second derivative: with cross / wrong -> 1 where wrong -> 0, its first two terms are gamma (gamma + 1) there.
    first, second = gamma * (gamma - 1) * side**2 * per_wrong, -2 * gamma * side * slope.x
    hess = times(first + second, wrong ** (gamma - 1)) + times(power, bend)
    of_hess = np.abs(first) + 2 * gamma * np.abs(side) * slope.size
    of_hess = of_hess / np.maximum(wrong, info.smallest_normal) + bend
    return (
        Sized(a * power * cross, a * power_size * cross),
        Sized(a * power * (slope.x - side * gamma * per_wrong), a * power_size * (slope.size + gamma * per_wrong)),
        Sized(times(a, hess), a * power_size * of_hess),
    )


def focal_condition(t, gamma):
    """Of (1 - P)^gamma (-log P): a power of what is rounded, and more so for a label that is not 0 or 1."""
    return (1 + gamma / 2) * np.where(t * (1 - t) == 0, 1, 2)


# ---------------------------------------------------------------------------------------------------------------------
# Binary: logits, and labels in [0, 1]


def binary_cross_entropy_with_logits(z, t, pos_weight=None, alpha=None, label_smoothing=0.0):
    t = smooth(t, label_smoothing)
    a = balance(t, alpha) * t * (1.0 if pos_weight is None else pos_weight)  # the weight of -log p
    b = balance(t, alpha) * (1 - t)  # the weight of -log(1 - p)
    # Where a weight is 0, an infinite logit costs nothing.
    loss = times(a, softplus(-z)) + times(b, softplus(z))
    p, q = sigmoid(z), sigmoid(-z)
    return loss, Sized(b * p - a * q, b * p + a * q), (a + b) * p * q


def sigmoid_focal(z, t, info, gamma=2.0, alpha=None):
    p, q = sigmoid(z), sigmoid(-z)
    wrong, side = p * (1 - t) + q * t, 2 * t - 1
    cross, slope, bend = binary_cross_entropy_with_logits(z, t)
    # v: p q / wrong
    v = np.where(t == 1, p, np.where(t == 0, q, p * q / wrong))
    a, cross_v = balance(t, alpha) * wrong**gamma, times(v, cross)
    curve = (gamma - 1) * side * v + p - q
    hess = bend - 2 * gamma * side * v * slope.x + gamma * cross_v * side * curve
    a_size, v = np.maximum(a, info.smallest_normal), np.maximum(v, info.smallest_normal)
    a_size = a_size * (focal_condition(t, gamma) + gamma * np.where(t * (1 - t) == 0, softplus(side * z), 0))
    of_hess = bend + 2 * gamma * v * slope.size + gamma * cross * v * ((gamma + 1) * v + 1)
    return (
        Sized(times(a, cross), a_size * cross),
        Sized(a * (slope.x - side * gamma * cross_v), a_size * (slope.size + gamma * cross * v)),
        Sized(a * hess, a_size * of_hess),
    )


def sigmoid_poly1(z, t, epsilon=1.0):
    bce, slope, curvature = binary_cross_entropy_with_logits(z, t)
    p, q = sigmoid(z), sigmoid(-z)
    wrong, bend = p * (1 - t) + q * t, epsilon * p * q * (1 - 2 * t)
    return (
        Sized(bce + epsilon * wrong, bce + np.abs(epsilon * wrong)),
        Sized(slope.x + bend, slope.size + np.abs(bend)),
        Sized(curvature + bend * (q - p), curvature + np.abs(bend)),
    )


def brier(z, t):
    p, q = sigmoid(z), sigmoid(-z)
    d, size = p * (1 - t) - q * t, p * (1 - t) + q * t
    hess = 2 * p * q * (p * q + d * (q - p))
    return (
        Sized(d**2, 2 * np.abs(d) * size),
        Sized(2 * d * p * q, 4 * p * q * size),
        Sized(hess, 4 * p * q * (p * q + size)),
    )


# ---------------------------------------------------------------------------------------------------------------------
# Binary: scores, and labels -1 and +1


def hinge(z, t, margin=1.0):
    gap = margin - t * z
    grad = np.where(gap > 0, -t, np.where(gap <= 0, 0, gap))  # gap itself: NaN stays NaN
    return np.maximum(0, gap), grad, np.zeros_like(gap)


def margin_ranking(x1, x2, y, margin=0.0):
    gap = margin - y * (x1 - x2)
    grad = np.where(gap > 0, -y, np.where(gap <= 0, 0, gap))  # gap itself: NaN stays NaN
    size = np.abs(margin) + np.abs(x1 - x2)
    return Sized(np.maximum(0, gap), size), (grad, -grad), (np.zeros_like(gap), np.zeros_like(gap))


def hinge_embedding(x, y, margin=1.0):
    gap = margin - x
    loss = np.where(y > 0, x, np.maximum(0, gap))
    grad = np.where(np.isnan(x), x, np.where(y > 0, 1, -np.sign(loss)))
    return Sized(loss, np.abs(x) + np.where(y > 0, 0, np.abs(margin))), grad, np.zeros_like(x)


def squared_hinge(z, t, margin=1.0):
    excess = np.maximum(0, margin - t * z)
    return excess**2, -2 * t * excess, 2 * np.sign(excess)


def modified_huber(z, t):
    a = t * z
    excess = np.maximum(0, 1 - a)
    far = a < -1
    return np.where(far, -4 * a, excess**2), np.where(far, -4, -2 * excess) * t, np.where(far, 0, 2 * np.sign(excess))


def logistic(z, t):
    a = t * z
    return softplus(-a), -t * sigmoid(-a), sigmoid(a) * sigmoid(-a)


def exponential(z, t):
    e = np.exp(-t * z)
    return e, -t * e, e


def perceptron(z, t):
    return hinge(z, t, margin=0.0)


# ---------------------------------------------------------------------------------------------------------------------
# Regularisers


def l1(w, strength=1.0):
    return times(strength, np.abs(w)), strength * np.sign(w), np.zeros_like(w)


def l2(w, strength=1.0):
    return times(strength / 2, w**2), times(strength, w), np.full_like(w, strength)


def elastic_net(w, strength=1.0, l1_ratio=0.5):
    return tuple(a + b for a, b in zip(l1(w, strength * l1_ratio), l2(w, strength * (1 - l1_ratio)), strict=True))


# ---------------------------------------------------------------------------------------------------------------------
# Classes


def cross_entropy(z, t, w, target_weight, label_smoothing=0.0, z_loss=0.0):
    classes = z.shape[1]
    q = w * ((1 - label_smoothing) * t + label_smoothing / classes)
    total = q.sum(axis=1, keepdims=True)
    p, not_p, minus_log_p, lse = softmax(z)
    loss = zero_or(q, minus_log_p).sum(axis=1) + (z_loss * target_weight * lse**2)[:, 0]
    # total p - q, written so that it does not cancel where p is near 1
    grad = (total - q) * p - q * not_p + 2 * z_loss * target_weight * lse * p
    hess = total * p * not_p + 2 * z_loss * target_weight * (lse * p * not_p + p**2)
    if z_loss == 0:
        return loss, grad, hess
    # lse is the sum of the largest logit and of what the others add, which cancel where lse is near 0
    peak = z.max(axis=1, keepdims=True)
    of_lse = 2 * z_loss * target_weight * np.abs(lse) * (np.abs(peak) + np.abs(lse - peak))
    return Sized(loss, loss + of_lse[:, 0]), grad, hess


def poly1_cross_entropy(z, t, w, target_weight, epsilon=1.0, label_smoothing=0.0):
    loss, grad, hess = cross_entropy(z, t, w, target_weight, label_smoothing)
    q = w * ((1 - label_smoothing) * t + label_smoothing / z.shape[1])
    p, not_p, _, _ = softmax(z)
    excess = q * not_p - sum_of_others(q * p)  # q - sum q_c p_c
    more = epsilon * (q * not_p).sum(axis=1)
    return (
        Sized(loss + more, loss + np.abs(more)),
        grad - epsilon * p * excess,
        hess - epsilon * p * excess * (not_p - p),
    )


def softmax_focal(z, t, w, target_weight, gamma=2.0):
    """With A = q f'(log p) and B = q f''(log p): A_k (not p_k) - p_k sum of other A, and so on. Nothing cancels."""
    p, not_p, n, _ = softmax(z)
    q, power = w * t, not_p**gamma
    ratio = np.where(p == 0, 0, np.where(not_p == 0, 1, n / not_p) * p)
    by_not_p = np.where(not_p == 0, 0, gamma * not_p ** (gamma - 1))
    slope = q * -power * (1 + gamma * ratio)
    bend = q * by_not_p * (2 * p + ratio * ((gamma - 1) * p - not_p))
    loss = times(q, times(power, n)).sum(axis=1)
    grad = slope * not_p - p * sum_of_others(slope)
    hess = bend * not_p**2 + p**2 * sum_of_others(bend) - p * not_p * slope.sum(axis=1, keepdims=True)
    condition = 1 + gamma / 2  # of a power of what is rounded
    of_derivatives = np.full_like(z, condition * size_of(grad, hess))
    return Sized(loss, condition * loss), Sized(grad, of_derivatives), Sized(hess, of_derivatives)


def multiclass_hinge(z, t, w, target_weight, margin=1.0, power=1):
    excess, size = excesses(z, t, margin)
    loss, size = excess**power, power * excess ** (power - 1) * size
    slope, bend = (np.sign(excess), 0 * t) if power == 1 else (2 * excess, 2 * np.sign(excess))
    grad = slope - zero_or(t, slope.sum(axis=1, keepdims=True))
    hess = bend + zero_or(t, bend.sum(axis=1, keepdims=True))
    return (
        Sized((target_weight * loss).sum(axis=1), (target_weight * size).sum(axis=1)),
        target_weight * grad,
        target_weight * hess,
    )


def crammer_singer(z, t, w, target_weight, margin=1.0):
    excess, size = excesses(z, t, margin)
    first = np.where(t == 1, -np.inf, z).argmax(axis=1)[:, np.newaxis]
    excess, size = (np.take_along_axis(x, first, axis=1) for x in (excess, size))
    grad = np.sign(excess) * ((np.arange(z.shape[1]) == first) - t)
    return Sized((target_weight * excess)[:, 0], (target_weight * size)[:, 0]), target_weight * grad, np.zeros_like(z)


def excesses(z, t, margin):
    """By how much each wrong class is too close, and the size of the numbers of which that is the difference."""
    r = z - np.take_along_axis(z, t.argmax(axis=1)[:, np.newaxis], axis=1)  # of ignored samples anything
    excess = np.where((t == 1) | (z == -np.inf), 0, np.maximum(0, r + margin))
    excess = np.where(np.isnan(z + excess).any(axis=1, keepdims=True), np.nan, excess)
    return excess, np.where(excess > 0, np.abs(r) + np.abs(margin), 0)


linear_cross_entropy, linear_softmax_focal = cross_entropy, softmax_focal
linear_poly1_cross_entropy, linear_multiclass_hinge = poly1_cross_entropy, multiclass_hinge


# ---------------------------------------------------------------------------------------------------------------------
# Sums of terms, one for each class


def own(x):
    """A result that is right in its own last place."""
    return Sized(x, np.abs(x))


def categorical_cross_entropy(p, t, w, target_weight, info, label_smoothing=0.0):
    q = w * ((1 - label_smoothing) * t + label_smoothing / p.shape[1])
    inverse = 1 / np.maximum(p, info.tiny)
    loss = zero_or(q, -np.maximum(np.log(p), -100)).sum(axis=1)
    return loss, own(zero_or(q, -inverse)), own(zero_or(q, inverse * inverse))


def nll(p, t, w, target_weight):
    terms = zero_or(w * t, -p)
    return Sized(terms.sum(axis=1), np.abs(terms).sum(axis=1)), own(-w * t), own(np.zeros_like(p))


def multilabel_soft_margin(z, t, w, target_weight):
    loss, grad, hess = binary_cross_entropy_with_logits(z, t)
    share = w / z.shape[1]
    grad = Sized(zero_or(share, grad.x), zero_or(share, grad.size))
    return zero_or(share, loss).sum(axis=1), grad, own(zero_or(share, hess))


def kl_divergence(p, t, w, target_weight, log_target=False):
    log_t, t = (t, np.exp(t)) if log_target else (np.log(t), t)
    size = zero_or(t, np.abs(log_t) + np.abs(p)).sum(axis=1)
    return Sized(zero_or(t, log_t - p).sum(axis=1), size), own(-t), own(np.zeros_like(p))


def js_divergence(p, t, w, target_weight, beta=0.5):
    gap = np.where(p == t, 0, t - p)
    of_p, of_t = (1 - beta) * np.exp(p), beta * np.exp(t)
    by_p = zero_or(of_p, -np.log1p(beta * np.expm1(gap)))  # p - m
    by_t = zero_or(of_t, -np.log1p((1 - beta) * np.expm1(-gap)))  # t - m
    share = 1 / (1 + (1 - beta) / beta * np.exp(-gap))  # of t in m
    loss = Sized((by_p + by_t).sum(axis=1), (np.abs(by_p) + np.abs(by_t)).sum(axis=1))
    hess_p = Sized(by_p + of_p * share, np.abs(by_p) + of_p * share)
    hess_t = Sized(by_t + of_t * (1 - share), np.abs(by_t) + of_t * (1 - share))
    grads = (Sized(x, 1.25 * np.abs(x)) for x in (by_p, by_t))  # functions of a difference that is rounded
    return loss, tuple(grads), (hess_p, hess_t)


def gaussian_kl(mu, log_var, w, target_weight):
    rise = np.expm1(log_var)
    loss = (rise - log_var + mu * mu).sum(axis=1) / 2
    return loss, (own(mu), own(rise / 2)), (own(np.ones_like(mu)), own(np.exp(log_var) / 2))


# ---------------------------------------------------------------------------------------------------------------------
# Vectors


def contrastive(x1, x2, same, margin=1.0):
    d, direction = norm(x1, x2)
    pull = np.where(same == 1, d, -np.maximum(0, margin - d))
    grad = chained(pull, pull, direction)
    grad = Sized(grad.x, grad.size + np.where(pull < 0, margin, 0)[:, np.newaxis] * np.abs(direction.x))
    return Sized(pull**2 / 2, np.abs(pull) * (d + margin)), (grad, negative_of(grad))


def triplet(anchor, positive, negative, margin=1.0, p=2.0, eps=1e-6, swap=False):
    (near, to_near), (far, to_far) = norm(anchor, positive, p, eps), norm(anchor, negative, p, eps)
    other, to_other = norm(positive, negative, p, eps)
    share = np.where(far < other, 1, np.where(far > other, 0, 0.5)) if swap else np.ones_like(far)
    least = np.minimum(far, other) if swap else far
    loss = np.maximum(0, near - least + margin)
    active = np.where(loss > 0, 1.0, 0.0)
    by_near, by_far = chained(active, loss, to_near), chained(-active * share, loss, to_far)
    by_other = chained(-active * (1 - share), loss, to_other)
    return Sized(loss, near + least + np.abs(margin)), (
        sum_of(by_near, by_far),
        sum_of(negative_of(by_near), by_other),
        sum_of(negative_of(by_far), negative_of(by_other)),
    )


def cosine_embedding(x1, x2, label, margin=0.0):
    cosine, distance, (by_x1, by_x2) = angle(x1, x2)
    loss = np.where(label > 0, distance, np.maximum(0, cosine - margin))
    slope = np.where(label > 0, -1, np.where(loss > 0, 1, 0))
    size = np.where(label > 0, np.sqrt(distance) + 1e-16, 1)
    return Sized(loss, size), (chained(slope, loss, by_x1), chained(slope, loss, by_x2))


def cosine_distance(p, t):
    _, distance, (by_p, _) = angle(p, t)
    return Sized(distance, np.sqrt(distance) + 1e-16), chained(-np.ones_like(distance), distance, by_p)


def norm(x, y, p=2.0, eps=0.0):
    """The p-norm of x - y + eps, and its derivative with respect to that, which is 0 for a distance of 0."""
    r, size = x - y + eps, np.abs(x) + np.abs(y) + eps
    a = np.abs(r)
    peak = a.max(axis=1, keepdims=True)
    unit = np.where(np.isfinite(peak) & (peak > 0), peak, 1)
    if p == np.inf:
        d, direction = peak, np.sign(r) * (a == peak) / np.sum(a == peak, axis=1, keepdims=True)
        size = np.abs(direction)
    else:
        d = unit * np.sum((a / unit) ** p, axis=1, keepdims=True) ** (1 / r.dtype.type(p))
        some = np.where(d > 0, d, 1)
        direction = np.sign(r) * (a / some) ** (p - 1)
        size = np.abs(direction) if p == 1 else p * size / some
    return d[:, 0], Sized(np.where(d == 0, 0, direction), size)


def angle(x, y):
    """The cosine of the angle between two vectors, 1 - cosine, and the derivatives of the cosine."""
    lengths = [np.sqrt(np.sum(v**2, axis=1, keepdims=True)) for v in (x, y)]
    x, y = (v / np.where(n == 0, 1, n) for v, n in zip((x, y), lengths, strict=True))
    cosine = np.sum(x * y, axis=1, keepdims=True)
    distance = np.where(cosine > 0, np.sum((x - y) ** 2, axis=1, keepdims=True) / 2, 1 - cosine)
    none = (lengths[0] == 0) | (lengths[1] == 0)
    by = [
        Sized(np.where(none, 0, (v - cosine * u) / n), np.where(none, 0, 1 / n) + 0 * v)
        for (u, v), n in zip(((x, y), (y, x)), lengths, strict=True)
    ]
    return cosine[:, 0], np.where(none, 1, distance)[:, 0], by


def chained(slope, loss, direction):
    """The derivative with respect to a vector, of a loss with `slope` with respect to a number that has `direction`."""
    slope, loss = slope[:, np.newaxis], loss[:, np.newaxis]
    grad = np.where(slope == 0, 0, slope * direction.x)
    return Sized(np.where(np.isnan(loss), np.nan, grad), np.abs(slope) * direction.size)


def sum_of(a, b):
    return Sized(a.x + b.x, a.size + b.size)


def negative_of(a):
    return Sized(-a.x, a.size)


# ---------------------------------------------------------------------------------------------------------------------
# In-batch losses: functions of vectors as rows, of labels or numbers, and of weights w. They return the losses, NaN for
# a sample that is not counted, the derivatives of their weighted sum, and what errors are relative to.


def info_nce(query, key, w, temperature=0.07, symmetric=False):
    loss, (by_query, by_key, _), size = clip(query, key, 1 / query.dtype.type(temperature), w, symmetric)
    return loss, (by_query, by_key), size


def clip(image, text, logit_scale, w, symmetric=True):
    s = logit_scale * (image @ text.T)
    loss, slope = tell_positives(s, np.eye(len(s)), w)
    if symmetric:
        other, transposed = tell_positives(s.T, np.eye(len(s)), w)
        loss, slope = (loss + other) / 2, (slope + transposed.T) / 2
    return loss, by_vectors(image, text, logit_scale, slope), rounding_of(logit_scale * sizes_of_terms(image, text))


def siglip(image, text, logit_scale, logit_bias, w):
    sign = 2 * np.eye(len(image)) - 1
    z = -sign * (logit_scale * (image @ text.T) + logit_bias)
    slope = -sign * w[:, np.newaxis] * sigmoid(z)
    size = rounding_of(logit_scale * sizes_of_terms(image, text) + np.abs(logit_bias))
    return softplus(z).sum(axis=1), (*by_vectors(image, text, logit_scale, slope), slope.sum()), size


def nt_xent(z1, z2, w, temperature=0.5):
    n, z = len(z1), np.concatenate([z1, z2])
    peak = np.max(np.abs(z), axis=1, keepdims=True)
    length = peak * np.sqrt(np.sum((z / np.where(peak == 0, 1, peak)) ** 2, axis=1, keepdims=True))
    none = length == 0
    u = np.where(none, 0, z / length)
    s = u @ u.T / z.dtype.type(temperature)
    other_view = np.roll(np.eye(2 * n), n, axis=0)
    loss, slope = tell_positives(s, other_view, np.concatenate([w, w]) / 2, others_than_itself(2 * n))
    by_u = (slope + slope.T) @ u / z.dtype.type(temperature)
    grad = np.where(none, 0, (by_u - np.sum(by_u * u, axis=1, keepdims=True) * u) / length)
    return (loss[:n] + loss[n:]) / 2, (grad[:n], grad[n:]), rounding_of(s, 1 / length[~none])


def supcon(z, labels, w, temperature=0.1):
    s = z @ z.T / z.dtype.type(temperature)
    others = others_than_itself(len(z))
    loss, slope = tell_positives(s, (labels[:, np.newaxis] == labels) & others, w, others)
    size = rounding_of(sizes_of_terms(z, z) / temperature, 1 / temperature)
    return loss, ((slope + slope.T) @ z / z.dtype.type(temperature),), size


def batch_hard_triplet(z, labels, w, margin=1.0, soft=False):
    loss, grad = np.full(len(z), np.nan), np.zeros_like(z)
    for i in range(len(z)):
        distance = np.sqrt(np.sum((z - z[i]) ** 2, axis=1))
        same = labels == labels[i]
        if same.sum() == 1 or same.all():
            continue
        far, near = np.argmax(np.where(same, distance, -1)), np.argmin(np.where(same, np.inf, distance))
        gap = distance[far] - distance[near]
        loss[i] = softplus(gap) if soft else np.maximum(0, gap + margin)
        slope = w[i] * (sigmoid(gap) if soft else gap + margin > 0)
        for j, sign in ((far, 1), (near, -1)):
            pull = sign * slope * (z[i] - z[j]) / distance[j] if distance[j] > 0 else np.zeros_like(z[i])
            grad[i] += pull
            grad[j] -= pull
    return loss, (grad,), rounding_of(z) + margin


def tell_positives(s, positive, w, others=True):
    """Cross-entropy of the positives of each row, and its slope with respect to s; NaN and 0 for rows without any."""
    positive = positive > 0
    counts = positive.sum(axis=1, keepdims=True)
    of_positives, of_negatives = log_sum_exp(s, positive), log_sum_exp(s, ~positive & others)
    gap = np.where(of_negatives == -np.inf, -np.inf, of_negatives - of_positives)
    mean = np.sum(np.where(positive, s, 0), axis=1, keepdims=True) / counts
    loss = np.where(counts == 1, 0, of_positives - mean) + softplus(gap)
    p = np.where(others, np.exp(s - of_positives - softplus(gap)), 0)
    slope = np.where(positive, np.where(counts == 1, -sigmoid(gap), p - 1 / counts), p)
    return np.where(counts > 0, loss, np.nan)[:, 0], np.where(counts > 0, w[:, np.newaxis] * slope, 0)


def log_sum_exp(s, where):
    peak = np.max(s, axis=1, keepdims=True, initial=-np.inf, where=where)
    total = np.sum(np.exp(s - peak), axis=1, keepdims=True, where=where)
    return np.where(where.any(axis=1, keepdims=True), peak + np.log(total), -np.inf)


def by_vectors(x, y, scale, slope):
    return scale * slope @ y, scale * slope.T @ x, np.sum(slope * (x @ y.T))


def others_than_itself(n):
    return ~np.eye(n, dtype=bool)


def rounding_of(s, *factors):
    """What errors are relative to: similarities are rounded before they are exponentiated."""
    return np.max(np.abs(s), initial=1) * np.max(np.concatenate([[1], *map(np.ravel, factors)]))


def sizes_of_terms(x, y):
    """The sum of the magnitudes of the terms of each scalar product, which its error is relative to."""
    return np.abs(x) @ np.abs(y).T


# ---------------------------------------------------------------------------------------------------------------------
# Losses of alignments


def ctc(z, labels, blank=0):
    log_p = -softmax(z)[2]
    states = np.full(2 * len(labels) + 1, blank)
    states[1::2] = labels
    log_p = log_p[:, states]
    skip = np.zeros(len(states), bool)  # whether a way leads from two states before
    skip[2:] = (states[2:] != blank) & (states[2:] != states[:-2])
    forward = log_ways(log_p, skip)
    back = log_ways(log_p[::-1, ::-1], np.append(skip, [False, False])[:1:-1])[::-1, ::-1]
    total = np.logaddexp.reduce(forward[-1, -2:]) if len(z) else z.dtype.type(0 if len(labels) == 0 else -np.inf)
    loss = np.where(np.isnan(z).any(), np.nan, -total)
    occupied, p = np.zeros_like(z), softmax(z)[0]
    np.add.at(occupied.T, states, np.where(log_p == -np.inf, 0, np.exp(forward + back - log_p - total)).T)
    grad = p - occupied if np.isfinite(loss) else np.full_like(z, np.nan)
    # Each frame rounds once or twice.
    return Sized(loss, np.maximum(loss, len(z))), Sized(grad, (p + occupied) * (1 + len(z) / 8))


def log_ways(log_p, skip):
    """The logarithm of the probability of all ways to each state of each frame, that of the frame included."""
    ways = np.full(log_p.shape, -np.inf, log_p.dtype)
    ways[:1, :2] = log_p[:1, :2]
    for t in range(1, len(log_p)):
        before = np.full((2, log_p.shape[1] + 2), -np.inf, log_p.dtype)
        before[:, 2:] = ways[t - 1]
        from_last_label = np.where(skip, before[1, :-2], -np.inf)
        ways[t] = log_p[t] + np.logaddexp(np.logaddexp(before[0, 2:], before[0, 1:-1]), from_last_label)
    return ways


# ---------------------------------------------------------------------------------------------------------------------
# Trees: functions of vectors as rows, of the weights of the inner nodes, of class indices and of the tree. They return
# the losses; and the numbers of samples, the numbers of nodes and the slopes of all decisions.


def hierarchical_cross_entropy(x, node_weight, target, tree):
    codes = tree.codes
    beginnings = sorted({code[:k] for code in codes for k in range(len(code))}, key=lambda text: (len(text), text))
    number = {text: k for k, text in enumerate(beginnings)}
    steps = [(i, number[codes[c][:k]], int(codes[c][k])) for i, c in enumerate(target) for k in range(len(codes[c]))]
    sample, node, bit = np.array(steps, int).reshape(-1, 3).T
    products = x[sample] * node_weight[node]
    sign = np.where(bit == 1, -1, 1)
    z, size = sign * products.sum(axis=1), np.abs(products).sum(axis=1)
    loss, size_of_loss = np.zeros(len(x), x.dtype), np.zeros(len(x), x.dtype)
    np.add.at(loss, sample, softplus(z))
    np.add.at(size_of_loss, sample, softplus(z) + sigmoid(z) * size)
    return Sized(loss, size_of_loss), sample, node, Sized(sign * sigmoid(z), sigmoid(z) * (1 + size))


# ---------------------------------------------------------------------------------------------------------------------
# Losses of chains


def linear_chain_crf(e, tags, a, start, end):
    steps, last = range(1, len(e)), len(e) - 1
    forward, back = np.empty_like(e), np.empty_like(e)  # sums over beginnings and ends, without the emission at t
    forward[0], back[last] = start, end
    for t in steps:
        forward[t] = np.logaddexp.reduce((forward[t - 1] + e[t - 1])[:, np.newaxis] + a, axis=0)
    for t in steps[::-1]:
        back[t - 1] = np.logaddexp.reduce(a + (e[t] + back[t]), axis=1)
    total = np.logaddexp.reduce(forward[last] + e[last] + end)
    p, moves = np.exp(forward + e + back - total), np.zeros_like(a)
    for t in steps:
        moves += np.exp((forward[t - 1] + e[t - 1])[:, np.newaxis] + a + (e[t] + back[t]) - total)
    right, right_moves = path_as_ones(tags, e)
    return total - score_of_path(tags, e, a, start, end), p - right, moves - right_moves


def structured_hinge(e, tags, a, start, end, margin=1.0):
    """The path is found in float64, in which it is defined."""
    right, right_moves = path_as_ones(tags, e)
    double = [np.asarray(x, float) for x in (e, a, start, end)]
    path = best_path(np.where(right == 1, double[0], double[0] + margin), *double[1:])
    best, best_moves = path_as_ones(path, e)
    score, of_tags = (score_of_path(x, e, a, start, end) for x in (path, tags))
    loss = score + e.dtype.type(margin) * np.sum(path != tags) - of_tags
    if np.isnan(e).any() or np.isnan(loss):
        return np.nan, np.full_like(e, np.nan), np.full_like(a, np.nan if len(e) > 1 else 0)
    return max(loss, 0), (best - right) * (loss > 0), (best_moves - right_moves) * (loss > 0)


def best_path(e, a, start, end):
    """The best path, with the smallest last tag; of these, that with the smallest tag before it, and so on."""
    scores = [start + e[0]]
    for t in range(1, len(e)):
        scores.append(np.max(scores[-1][:, np.newaxis] + a, axis=0) + e[t])
    scores[-1] = scores[-1] + end
    path = [np.argmax(scores[-1])]
    for x in scores[-2::-1]:
        path.append(np.argmax(x + a[:, path[-1]]))
    return np.array(path[::-1])


def score_of_path(tags, e, a, start, end):
    return start[tags[0]] + np.sum(e[np.arange(len(e)), tags]) + np.sum(a[tags[:-1], tags[1:]]) + end[tags[-1]]


def path_as_ones(tags, e):
    """The tags of a path and its moves, counted."""
    k = e.shape[1]
    ones = np.eye(k, dtype=e.dtype)[tags]
    return ones, ones[:-1].T @ ones[1:]


# ---------------------------------------------------------------------------------------------------------------------
# What the definitions use


def softmax(z):
    """p, 1 - p and -log p, each accurate where it is small, and log sum exp z."""
    peak = z.max(axis=1, keepdims=True)
    e = np.exp(z - peak)
    others = sum_of_others(e)
    first = z.argmax(axis=1, keepdims=True)
    above = np.log1p(np.take_along_axis(others, first, axis=1))  # lse - peak, accurate for a confident row too
    return e / (e + others), others / (e + others), peak - z + above, peak + above


def sigmoid(z):
    e = np.exp(-np.abs(z))
    return np.where(z >= 0, 1, e) / (1 + e)


def softplus(z):
    return np.maximum(z, 0) + np.log1p(np.exp(-np.abs(z)))


def smooth(t, label_smoothing):
    smoothing = t.dtype.type(label_smoothing)
    return t * (1 - smoothing) + smoothing / 2


def balance(t, alpha):
    return np.ones_like(t) if alpha is None else alpha * t + (1 - alpha) * (1 - t)


def pi(x):
    return 4 * np.arctan(x.dtype.type(1))


def lgamma(x):
    """log abs(gamma(x)) of any real type: Stirling's series, after steps of gamma(x) = gamma(x + 1) / x."""
    product = np.ones_like(x)
    for _ in range(40):
        product, x = np.where(x < 20, product * x, product), np.where(x < 20, x + 1, x)
    bernoulli = [1 / 6, -1 / 30, 1 / 42, -1 / 30, 5 / 66, -691 / 2730, 7 / 6, -3617 / 510, 43867 / 798]
    series = sum(b / (k * (k - 1) * x ** (k - 1)) for k, b in zip(range(2, 20, 2), bernoulli, strict=True))
    return (x - 0.5) * np.log(x) - x + np.log(2 * pi(x)) / 2 + series - np.log(np.abs(product))


def times(a, x):
    """a x, and 0 where one is 0 and the other infinite."""
    return np.where((a == 0) & np.isinf(x) | np.isinf(a) & (x == 0), 0, a * x)


def nan_stays(r, loss, grad, hess):
    """The loss and its derivatives, where selections lose a NaN."""
    grad, *size = grad if isinstance(grad, Sized) else (grad,)
    grad = np.where(np.isnan(r), r, grad)
    return np.where(np.isnan(r), r, loss), Sized(grad, *size) if size else grad, hess


def zero_or(weight, x):
    """weight * x, and 0 where the weight is 0, whatever x is."""
    return np.where(weight == 0, 0, weight * x)


def size_of(*derivatives):
    """The largest of all numbers, and at least 1."""
    return max([1, *(np.max(np.abs(x), initial=0, where=np.isfinite(x)) for x in derivatives)])


def sum_of_others(e):
    """For each class the sum over the other classes: those before it plus those behind it, so nothing cancels."""
    before, behind = np.zeros_like(e), np.zeros_like(e)
    before[:, 1:] = np.cumsum(e[:, :-1], axis=1)
    behind[:, :-1] = np.cumsum(e[:, :0:-1], axis=1)[:, ::-1]
    return before + behind


# ---------------------------------------------------------------------------------------------------------------------
# What all losses share


def elementwise(
    loss, *inputs, differentiable=(0,), ignore_index=None, sample_weight=None, reduction="mean", normalizer=None,
    **parameters,
):  # fmt: skip
    """The inputs have the shape of the first, or of its leading axes. `differentiable` are indices of inputs."""
    first = np.asarray(inputs[0])
    kept = np.ones(first.shape) if ignore_index is None else np.asarray(inputs[1] != ignore_index, float)
    shapes = [np.shape(inputs[k]) for k in differentiable]
    inputs = [match_leading(np.asarray(x, wider(first.dtype)), first.ndim) for x in inputs]
    if "info" in inspect.signature(loss).parameters:
        parameters["info"] = np.finfo(first.dtype)
    with np.errstate(all="ignore"):
        terms = loss(*inputs, **parameters)
        return reduce(*terms, kept, sample_weight, reduction, normalizer, shapes=shapes)


def classes(loss, *inputs, **options):
    """The classes of a sample have an effect on each other: errors are relative to the largest derivative."""
    return class_axis(loss, *inputs, **options)


def terms(loss, *inputs, mean=False, **options):
    """`mean` says that the terms are divided by their number."""
    return class_axis(loss, *inputs, mean=mean, **options)


def class_axis(
    loss, pred, target, *, axis=-1, class_weight=None, ignore_index=-100, mean=False,
    sample_weight=None, reduction="mean", normalizer=None, **parameters,
):  # fmt: skip
    dtype, info = wider(pred.dtype), np.finfo(pred.dtype)
    pred, target = np.asarray(pred, dtype), np.asarray(target)
    n = pred.shape[axis]
    z = np.moveaxis(pred, axis, -1)
    batch = z.shape[:-1]
    if target.shape == pred.shape:
        t = np.moveaxis(target, axis, -1).astype(dtype)
        kept = np.ones(batch)
    else:  # class indices
        t = np.asarray(target[..., np.newaxis] == np.arange(n), dtype)
        kept = np.asarray(target != ignore_index, float)
    w = np.ones(n) if class_weight is None else np.asarray(class_weight, float)
    if "info" in inspect.signature(loss).parameters:
        parameters["info"] = info
    share = w.mean() if mean else t @ w
    target_weight = kept if class_weight is None else kept * share
    if class_weight is not None and not parameters.get("label_smoothing"):
        kept = kept * (target_weight != 0)  # a sample of which no part has a weight is ignored too

    with np.errstate(all="ignore"):
        samples = int(np.prod(batch))
        flat = z.reshape(samples, n), t.reshape(samples, n), w, target_weight.reshape(samples, 1)
        value, grad, hess = loss(*flat, **parameters)
        if not isinstance(grad, tuple):  # of softmax losses: the classes of a sample have an effect on each other
            size = size_of(grad, hess)
            grad, hess = Sized(grad, np.full_like(grad, size)), Sized(hess, np.full_like(hess, size))
        value = like_batch(value, batch)
        grad, hess = like_pred(grad, z.shape, axis), like_pred(hess, z.shape, axis)
        shapes = [pred.shape] * len(grad)
        return reduce(value, grad, hess, kept, sample_weight, reduction, normalizer, target_weight, axis, shapes)


def vectors(loss, *inputs, sample_weight=None, reduction="mean", normalizer=None, **parameters):
    """The inputs are vectors along the last axis, in the shape of the first; or labels, in that without the axis."""
    shape = inputs[0].shape
    inputs = [np.asarray(x, wider(inputs[0].dtype)) for x in inputs]
    flat = [x.reshape(-1, shape[-1]) if x.shape == shape else x.reshape(-1) for x in inputs]
    with np.errstate(all="ignore"):
        value, grad = loss(*flat, **parameters)
        value, grad = like_batch(value, shape[:-1]), like_pred(grad, shape, -1)
        shapes = [shape] * len(grad)
        kept = np.ones(shape[:-1])
        of_loss = reduce(value, grad, grad, kept, sample_weight, reduction, normalizer, axis=-1, shapes=shapes)
    return of_loss._replace(hess=(), sizes=(*of_loss.sizes[:2], ()))


def batches(loss, *inputs, sample_weight=None, reduction="mean", normalizer=None, **parameters):
    """Samples with weight 0 are ignored. Their loss and their gradient are 0."""
    first = inputs[0]
    n, dtype = len(first), wider(first.dtype)
    inputs = [x if x.dtype.kind in "iu" else np.asarray(x, dtype) for x in map(np.asarray, inputs)]
    w = np.ones(n) if sample_weight is None else np.broadcast_to(sample_weight, n).astype(float)
    kept = w != 0
    with np.errstate(all="ignore"):
        values, slopes, size = loss(*(x[kept] if x.ndim else x for x in inputs), w[kept], **parameters)
        counted = ~np.isnan(values)
        value = np.zeros(n, dtype)
        value[kept] = np.where(counted, w[kept] * values, 0)
        scale = 1.0
        if reduction == "mean":
            divisor = w[kept][counted].sum() if normalizer is None else normalizer
            scale = 1 / divisor if divisor else 0.0
        grads = []
        for slope in slopes:
            grads.append(scale * slope)
            if np.ndim(slope):
                grads[-1] = np.zeros(first.shape, dtype)
                grads[-1][kept] = scale * slope
        sizes = tuple(size * np.max(np.abs(x), initial=scale * np.max(w, initial=0)) for x in grads)
        value = value if reduction == "none" else float(value.sum() * scale)
    size_of_value = size * (w if reduction == "none" else scale * w.sum())
    grads, sizes = (tuple(grads), sizes) if len(grads) > 1 else (grads[0], sizes[0])
    return Result(value, grads, (), (size_of_value, sizes, ()))


def linear(loss, x, weight, target, bias=None, *, reduction="mean", chunk_bytes=None, **options):
    """The scores are rounded first, each relative to the sum of the magnitudes of its terms."""
    dtype = wider(x.dtype)
    x, weight = np.asarray(x, dtype), np.asarray(weight, dtype)
    count = 2 if bias is None else 3
    bias = np.zeros(len(weight), dtype) if bias is None else np.asarray(bias, dtype)
    with np.errstate(all="ignore"):
        scores = x @ weight.T + bias
        of_scores = np.max(np.abs(x) @ np.abs(weight.T) + np.abs(bias), axis=-1, initial=1)
        value, slopes, _, (size, of_slopes, _) = classes(loss, scores, target, reduction=reduction, **options)
        steepest = np.max(of_slopes, axis=-1, initial=0)
        more = np.nan_to_num(steepest * of_scores)
        size = size + (more if reduction == "none" else more.sum())
        s, flat = slopes.reshape(-1, len(weight)), x.reshape(-1, x.shape[-1])
        flat = np.where(s.any(axis=1, keepdims=True), flat, 0)  # a sample without any slope is ignored
        of_s = np.broadcast_to(more.reshape(-1, 1), s.shape)
        grads = (s @ weight).reshape(x.shape), s.T @ flat, s.sum(axis=0)
        sizes = (of_s @ np.abs(weight)).reshape(x.shape), of_s.T @ np.abs(flat), of_s.sum(axis=0)
    return Result(value, grads[:count], (), (size, sizes[:count], ()))


def alignments(
    loss, logits, targets, input_lengths, target_lengths, *, zero_infinity=False, sample_weight=None, reduction="mean",
    normalizer=None, **parameters,
):  # fmt: skip
    """`targets` are (N, S), or concatenated; (S,) for one sequence (T, C)."""
    z = np.asarray(logits, wider(logits.dtype))
    batch = z.shape[1:-1]
    z = z.reshape(len(z), math.prod(batch), z.shape[-1])
    lengths = [np.reshape(x, -1).astype(int) for x in (input_lengths, target_lengths)]
    w = np.broadcast_to(1.0 if sample_weight is None else sample_weight, batch).reshape(-1).astype(float)
    starts = np.cumsum(lengths[1]) - lengths[1]
    if np.ndim(targets) == len(batch) + 1:
        starts = np.arange(len(w)) * np.shape(targets)[-1]
    labels = np.reshape(targets, -1)
    value, value_size = np.zeros((2, len(w)), z.dtype)
    grad, size = np.zeros((2, *z.shape), z.dtype)
    for n in np.flatnonzero(w):
        frames, own_labels = lengths[0][n], labels[starts[n] :][: lengths[1][n]]
        with np.errstate(all="ignore"):
            (value[n], value_size[n]), of_frames = loss(z[:frames, n], own_labels, **parameters)
        grad[:frames, n], size[:frames, n] = of_frames
        if zero_infinity and value[n] == np.inf:
            value[n], grad[:, n] = 0, 0
    scale = 1.0
    if reduction == "mean":
        divisor = w.sum() if normalizer is None else normalizer
        scale = 1 / divisor if divisor else 0.0
    value, value_size = (zero_or(w, x).reshape(batch) for x in (value, value_size))
    if reduction != "none":
        value, value_size = (float(x.sum() * scale) if scale else 0.0 for x in (value, value_size))
    grad, size = ((zero_or(w[:, np.newaxis], x) * scale).reshape(logits.shape) for x in (grad, size))
    return Result(value, grad, (), (value_size, size, ()))


def trees(loss, x, node_weight, target, *, sample_weight=None, reduction="mean", normalizer=None, **parameters):
    n, dtype = len(x), wider(x.dtype)
    w = np.ones(n) if sample_weight is None else np.broadcast_to(sample_weight, n).astype(float)
    kept = np.flatnonzero(w)
    all_x, x, node_weight, w = (np.asarray(a, dtype) for a in (x, x[kept], node_weight, w))
    with np.errstate(all="ignore"):
        losses, sample, node, slopes = loss(x, node_weight, np.asarray(target)[kept], **parameters)
        scale = 1.0
        if reduction == "mean":
            divisor = w.sum() if normalizer is None else normalizer
            scale = 1 / divisor if divisor else 0.0
        value, grads = [], []
        for of_loss, slope in zip(losses, slopes, strict=True):  # the results, and what their errors are relative to
            value.append(np.zeros(n, dtype))
            value[-1][kept] = w[kept] * of_loss
            slope = (scale * w[kept][sample] * slope)[:, np.newaxis]
            absolute = np.abs if of_loss is losses.size else np.asarray
            grads.append((np.zeros(all_x.shape, dtype), np.zeros(node_weight.shape, dtype)))
            np.add.at(grads[-1][0], kept[sample], absolute(slope * node_weight[node]))
            np.add.at(grads[-1][1], node, absolute(slope * x[sample]))
        if reduction != "none":
            value = [float(scale * part.sum()) for part in value]
    return Result(value[0], grads[0], (), (value[1], grads[1], ()))


def chains(
    loss, emissions, tags, transitions, *, lengths=None, start=None, end=None, sample_weight=None, reduction="mean",
    normalizer=None, **parameters,
):  # fmt: skip
    """The gradients with respect to `start` and `end` come last, if these are given."""
    dtype, batch = wider(emissions.dtype), emissions.shape[:-2]
    steps, k = emissions.shape[-2:]
    e, y = np.asarray(emissions, dtype).reshape(-1, steps, k), np.reshape(tags, (-1, steps))
    a, first, last = (np.zeros(k, dtype) if x is None else np.asarray(x, dtype) for x in (transitions, start, end))
    length = np.broadcast_to(steps if lengths is None else lengths, batch).reshape(-1)
    w = np.ones(batch) if sample_weight is None else match_leading(np.asarray(sample_weight, float), len(batch))
    w = np.broadcast_to(w, batch).reshape(-1)
    scale = 1.0
    if reduction == "mean":
        divisor = w.sum() if normalizer is None else normalizer
        scale = 1 / divisor if divisor else 0.0
    value, value_size = np.zeros((2, len(e)), dtype)
    grads, sizes = ([np.zeros_like(x) for x in (e, a, first, last)] for _ in range(2))
    # Everything is computed in float64, so float32 results are right to their last place but for cancellation.
    rounding = np.finfo(float).eps / np.finfo(emissions.dtype).eps
    with np.errstate(all="ignore"):
        for i in np.flatnonzero(w * length):
            n, factor = length[i], w[i] * scale
            value[i], of_e, of_a = loss(e[i, :n], y[i, :n], a, first, last, **parameters)
            value[i] *= w[i]
            size = 1 + sum(np.max(np.abs(x), initial=0, where=np.isfinite(x)) for x in (e[i, :n], a, first, last))
            value_size[i] = np.abs(value[i]) + w[i] * rounding * n * size
            for k, x in enumerate((of_e, of_a, of_e[0], of_e[-1])):
                where = grads[k][i, :n] if k == 0 else grads[k]
                where += factor * x
                where = sizes[k][i, :n] if k == 0 else sizes[k]
                where += factor * (np.abs(x) * (1 if k == 0 else rounding) + rounding * n * size)
    value, value_size = (x.reshape(batch) for x in (value, value_size))
    if reduction != "none":
        value, value_size = (float(x.sum() * scale) if scale else 0.0 for x in (value, value_size))
    grads[0], sizes[0] = grads[0].reshape(emissions.shape), sizes[0].reshape(emissions.shape)
    given = [True, True, start is not None, end is not None]
    grads, sizes = (tuple(x for x, kept in zip(xs, given, strict=True) if kept) for xs in (grads, sizes))
    return Result(value, grads, (), (value_size, sizes, ()))


def like_batch(value, batch):
    return Sized(*(x.reshape(batch) for x in value)) if isinstance(value, Sized) else value.reshape(batch)


def like_pred(derivative, shape, axis):
    """A derivative of the samples, or a tuple of these, with its axes where those of pred are."""
    if type(derivative) is tuple:
        return tuple(like_pred(x, shape, axis) for x in derivative)
    return Sized(*(np.moveaxis(x.reshape(shape), -1, axis) for x in derivative))


def reduce(loss, grad, hess, kept, sample_weight, reduction, normalizer, target_weight=1.0, axis=None, shapes=()):
    """Apply the weights and the reduction.

    `kept` is 0 where an element of the loss is ignored. `target_weight` is the weight that it adds to the denominator
    of the mean, besides its sample weight. `loss` and its derivatives contain the class weights already. `axis` is the
    axis that the derivatives have and the loss has not. `shapes` are those of the derivatives with respect to several
    inputs.
    """
    w = np.asarray(kept, float)
    if sample_weight is not None:
        w = w * match_leading(np.asarray(sample_weight, float), w.ndim)
    scale = 1.0
    if reduction == "mean":
        divisor = np.sum(w * target_weight) if normalizer is None else normalizer
        scale = 1 / divisor if divisor else 0.0
    value = weighed(loss, w)
    if reduction != "none":
        value = Sized(*(float(x.sum() * scale) if scale else 0.0 for x in value))
    factor = (w if axis is None else np.expand_dims(w, axis)) * scale
    if type(grad) is tuple:
        grad, hess = ([weighed(x, factor, n) for x, n in zip(d, shapes, strict=True)] for d in (grad, hess))
        (grad, of_grad), (hess, of_hess) = (tuple(zip(*x, strict=True)) for x in (grad, hess))
    else:
        (grad, of_grad), (hess, of_hess) = weighed(grad, factor), weighed(hess, factor)
    return Result(value.x, grad, hess, (value.size, of_grad, of_hess))


def weighed(x, factor, shape=None):
    """x times the factor, summed over the trailing axes that `shape` has not; and what its errors are relative to."""
    x, size = x if isinstance(x, Sized) else (x, np.abs(x))
    x, size = zero_or(factor, x), zero_or(factor, size)
    behind = tuple(range(x.ndim if shape is None else len(shape), x.ndim))
    return Sized(x.sum(behind), np.where(np.isfinite(size), size, 0).sum(behind))


def wider(dtype):
    return np.longdouble if dtype == np.float64 else np.result_type(dtype, float)


def match_leading(weight, ndim):
    """weight with axes of size 1 behind its own, for broadcasting along the trailing axes."""
    return weight.reshape(weight.shape + (1,) * (ndim - weight.ndim))

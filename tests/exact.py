"""Every loss of one element or one sample as its formula, in as many digits as it takes (mpmath): slow, naive, right.

No stable form is used here. A formula that loses digits is evaluated with more of them, until the result stands. Where
a loss is a sum of terms that may cancel, the function returns the terms: their size says how far off a sum of rounded
terms may be. Not asked are infinite inputs, derivatives at kinks, and probabilities of exactly 0 and 1.

An input of a loss with a class axis is a row, the tuple of its classes; class indices become one-hot rows (`points`).
"""

import numpy as np
from mpmath import cosh, exp, inf, log, loggamma, mp, mpf, pi, sqrt

FIRST_DIGITS, MOST_DIGITS = 60, 1500
NOTHING = mpf(10) ** -400  # below the smallest number of any dtype
AGREEMENT = mpf(10) ** -30  # relative; far below the rounding error of a double


def value(name, *inputs, **parameters):
    return _settle(lambda: sum(_terms(name, inputs, parameters)))


def slope(name, k, *inputs, **parameters):
    """The derivative in place k: by an input, or where inputs are rows, by an input and a class."""
    return _settle(lambda: sum(_slopes(name, k, inputs, parameters)))


def size(name, *inputs, **parameters):
    """The sum of the magnitudes of the terms: larger than the value where they cancel."""
    return _settle(lambda: sum(map(abs, _terms(name, inputs, parameters))))


def size_of_slope(name, k, *inputs, **parameters):
    return _settle(lambda: sum(map(abs, _slopes(name, k, inputs, parameters))))


def _terms(name, inputs, parameters):
    parameters = {k: mpf(v) if type(v) in (int, float) else v for k, v in parameters.items()}
    result = globals()[name](*(tuple(map(mpf, x)) if isinstance(x, tuple) else mpf(x) for x in inputs), **parameters)
    return result if isinstance(result, tuple) else (result,)


def _slopes(name, k, inputs, parameters):
    """The derivative of each term in place k, as a difference quotient."""
    if name in CLAMPED:  # their gradient is that of the logarithm itself, so that training goes on
        parameters = parameters | {"floor": -inf}
    x = mpf(inputs[k[0]][k[1]] if isinstance(k, tuple) else inputs[k])
    h = (abs(x) or 1) * mpf(10) ** (-mp.dps // 3)  # the quotient's error and noise are of the order h^2
    above, below = (_terms(name, replaced(inputs, k, y), parameters) for y in (x + h, x - h))
    return [(a - b) / (2 * h) for a, b in zip(above, below, strict=True)]


def replaced(inputs, k, x):
    """The inputs with x in place k."""
    if isinstance(k, tuple):
        k, x = k[0], replaced(inputs[k[0]], k[1], x)
    return (*inputs[:k], x, *inputs[k + 1 :])


def _settle(compute):
    """The number that `compute` gives with so many digits that twice as many do not change it."""
    digits, previous = FIRST_DIGITS, None
    while True:
        with mp.workdps(digits):
            result = compute()
            if previous is not None and result and abs(result - previous) <= AGREEMENT * abs(result):
                return result
        if digits > MOST_DIGITS:
            assert max(abs(result), abs(previous)) < NOTHING, "more digits are needed"
            return mpf(0)  # so many digits of nothing: it is 0, not a result that got lost
        digits, previous = 2 * digits, result


# ---------------------------------------------------------------------------------------------------------------------
# Regression


def mse(p, t):
    return (p - t) ** 2


def mae(p, t):
    return abs(p - t)


def huber(p, t, delta=1):
    r = abs(p - t)
    return r**2 / 2 if r <= delta else delta * (r - delta / 2)


def smooth_l1(p, t, beta=1):
    r = abs(p - t)
    return r**2 / (2 * beta) if r < beta else r - beta / 2


def pseudo_huber(p, t, delta=1):
    return delta**2 * (sqrt(1 + ((p - t) / delta) ** 2) - 1)


def log_cosh(p, t):
    return log(cosh(p - t))


def quantile(p, t, q=0.5):
    return max(q * (t - p), (q - 1) * (t - p))


def expectile(p, t, q=0.5):
    return abs(q - (t < p)) * (p - t) ** 2


def epsilon_insensitive(p, t, epsilon=0.1):
    return max(0, abs(p - t) - epsilon)


def squared_epsilon_insensitive(p, t, epsilon=0.1):
    return epsilon_insensitive(p, t, epsilon) ** 2


def msle(p, t):
    return (log(1 + p) - log(1 + t)) ** 2


def mape(p, t, eps):
    """eps: the machine epsilon of the dtype."""
    return abs(p - t) / max(abs(t), eps)


def poisson_nll(p, t, log_input=True, full=False, eps=1e-8):
    logarithm = p if log_input else log(p + mpf(eps))
    return exp(p) if log_input else p, -t * logarithm if t else 0, loggamma(t + 1) if full else 0


def gamma_nll(p, t):
    return t * exp(-p), p


def tweedie(p, t, power=1.5):
    return -t * exp((1 - power) * p) / (1 - power), exp((2 - power) * p) / (2 - power)


def gaussian_nll(p, t, var, full=False, eps=1e-6):
    v = max(var, eps)
    return log(v) / 2, (p - t) ** 2 / v / 2, log(2 * pi) / 2 if full else 0


def cauchy(p, t, c=1):
    return c**2 / 2 * log(1 + ((p - t) / c) ** 2)


def welsch(p, t, c=1):
    return c**2 / 2 * (1 - exp(-(((p - t) / c) ** 2)))


def geman_mcclure(p, t, c=1):
    return (p - t) ** 2 / 2 / (1 + ((p - t) / c) ** 2)


def fair(p, t, c=1):
    u = abs(p - t) / c
    return c**2 * (u - log(1 + u))


def tukey(p, t, c=1):
    u = (p - t) / c
    return c**2 / 6 * (1 - (1 - u**2) ** 3) if abs(u) <= 1 else c**2 / 6


# ---------------------------------------------------------------------------------------------------------------------
# Binary: probabilities


def binary_cross_entropy(p, t, alpha=None, label_smoothing=0, floor=-100):
    t = _smooth(t, label_smoothing)
    a = _balance(t, alpha)
    return -a * t * max(log(p), floor) if t else 0, -a * (1 - t) * max(log(1 - p), floor) if t != 1 else 0


def binary_focal(p, t, gamma=2, alpha=None, floor=-100):
    right = p * t + (1 - p) * (1 - t)
    return -_balance(t, alpha) * (1 - right) ** gamma * max(log(right), floor)


CLAMPED = {"binary_cross_entropy", "binary_focal", "categorical_cross_entropy"}


# ---------------------------------------------------------------------------------------------------------------------
# Binary: logits and labels 0, 1


def binary_cross_entropy_with_logits(z, t, pos_weight=1, alpha=None, label_smoothing=0):
    t = _smooth(t, label_smoothing)
    a = _balance(t, alpha)
    return a * pos_weight * t * log(1 + exp(-z)), a * (1 - t) * log(1 + exp(z))


def sigmoid_focal(z, t, gamma=2, alpha=None):
    return binary_focal(_sigmoid(z), t, gamma, alpha, floor=-inf)


def sigmoid_poly1(z, t, epsilon=1):
    p = _sigmoid(z)
    return *binary_cross_entropy_with_logits(z, t), epsilon * (p * (1 - t) + (1 - p) * t)


def brier(z, t):
    return (_sigmoid(z) - t) ** 2


# ---------------------------------------------------------------------------------------------------------------------
# Binary: scores and labels -1, 1


def hinge(z, t, margin=1):
    return max(0, margin - t * z)


def margin_ranking(x1, x2, t, margin=0):
    return max(0, margin - t * (x1 - x2))


def hinge_embedding(x, t, margin=1):
    return x if t > 0 else max(0, margin - x)


def squared_hinge(z, t, margin=1):
    return hinge(z, t, margin) ** 2


def modified_huber(z, t):
    return max(0, 1 - t * z) ** 2 if t * z >= -1 else -4 * t * z


def logistic(z, t):
    return log(1 + exp(-t * z))


def exponential(z, t):
    return exp(-t * z)


def perceptron(z, t):
    return max(0, -t * z)


# ---------------------------------------------------------------------------------------------------------------------
# Regularisers


def l1(w, strength=1):
    return strength * abs(w)


def l2(w, strength=1):
    return strength / 2 * w**2


def elastic_net(w, strength=1, l1_ratio=0.5):
    return strength * (l1_ratio * abs(w) + (1 - l1_ratio) / 2 * w**2)


# ---------------------------------------------------------------------------------------------------------------------
# Classes: rows of logits or scores, probabilities, log-probabilities


def cross_entropy(z, t, class_weight=None, label_smoothing=0, z_loss=0):
    total = log(sum(map(exp, z)))
    mass = sum(_weighted(t, class_weight))
    q = _weighted(_smooth_classes(t, label_smoothing), class_weight)
    return *(qc * (total - zc) for qc, zc in zip(q, z, strict=True)), z_loss * mass * total**2


def poly1_cross_entropy(z, t, epsilon=1, class_weight=None, label_smoothing=0):
    q = _weighted(_smooth_classes(t, label_smoothing), class_weight)
    gain = epsilon * sum(qc * (1 - pc) for qc, pc in zip(q, _softmax(z), strict=True))
    return *cross_entropy(z, t, class_weight, label_smoothing), gain


def softmax_focal(z, t, gamma=2, class_weight=None):
    right = sum(tc * pc for tc, pc in zip(t, _softmax(z), strict=True))
    return -sum(_weighted(t, class_weight)) * (1 - right) ** gamma * log(right)


def multiclass_hinge(z, t, margin=1, power=1, class_weight=None):
    y = t.index(1)
    w = 1 if class_weight is None else class_weight[y]
    return w * sum(max(0, zj - z[y] + margin) ** power for j, zj in enumerate(z) if j != y)


def crammer_singer(z, t, margin=1, class_weight=None):
    y = t.index(1)
    w = 1 if class_weight is None else class_weight[y]
    return w * max(max(0, zj - z[y] + margin) for j, zj in enumerate(z) if j != y)


def categorical_cross_entropy(p, t, class_weight=None, label_smoothing=0, floor=-100):
    q = _weighted(_smooth_classes(t, label_smoothing), class_weight)
    return -sum(qc * max(log(pc), floor) for qc, pc in zip(q, p, strict=True) if qc)


def nll(p, t, class_weight=None):
    return tuple(-q * pc for q, pc in zip(_weighted(t, class_weight), p, strict=True))


def multilabel_soft_margin(z, t, class_weight=None):
    terms = (sum(binary_cross_entropy_with_logits(zc, tc)) for zc, tc in zip(z, t, strict=True))
    return sum(_weighted(terms, class_weight)) / len(z)


def kl_divergence(p, t, log_target=False):
    if log_target:
        return tuple(exp(tc) * (tc - pc) for pc, tc in zip(p, t, strict=True))
    return tuple(x for pc, tc in zip(p, t, strict=True) for x in ((tc * log(tc), -tc * pc) if tc else (0, 0)))


def js_divergence(p, t, beta=0.5):
    m = [log(beta * exp(tc) + (1 - beta) * exp(pc)) for pc, tc in zip(p, t, strict=True)]
    return beta * _kl(t, m) + (1 - beta) * _kl(p, m)


def gaussian_kl(mu, log_var):
    return sum(exp(v) + m**2 - 1 - v for m, v in zip(mu, log_var, strict=True)) / 2


# ---------------------------------------------------------------------------------------------------------------------
# What the formulas share


def _sigmoid(z):
    return 1 / (1 + exp(-z))


def _smooth(t, amount):
    return t * (1 - amount) + amount / 2


def _balance(t, alpha):
    return 1 if alpha is None else alpha * t + (1 - alpha) * (1 - t)


def _softmax(z):
    total = sum(map(exp, z))
    return [exp(zc) / total for zc in z]


def _smooth_classes(t, amount):
    return [tc * (1 - amount) + amount / len(t) for tc in t]


def _weighted(x, weight):
    return list(x) if weight is None else [w * xc for w, xc in zip(weight, x, strict=True)]


def _kl(p, q):
    """Of log-probabilities."""
    return sum(exp(pc) * (pc - qc) for pc, qc in zip(p, q, strict=True))


# ---------------------------------------------------------------------------------------------------------------------
# Inputs to compare on: a function of a random generator, their number and dtype, and whether they are to be extreme


def inputs(name, n, dtype, extreme=False, seed=0):
    """The arrays that the loss takes."""
    arrays = INPUTS.get(name, pairs)(np.random.default_rng(seed), n, dtype, extreme)
    return tuple(np.asarray(x, dtype if np.ndim(x) == arrays[0].ndim else None) for x in arrays)  # class indices stay


def points(*arrays):
    """The inputs of each element, or of each sample, as the formulas take them."""
    if arrays[0].ndim == 2:
        arrays = [x if x.ndim == 2 else np.eye(arrays[0].shape[1])[x] for x in arrays]
        return [tuple(map(tuple, rows)) for rows in zip(*(x.tolist() for x in arrays), strict=True)]
    return list(zip(*(x.tolist() for x in arrays), strict=True))


def parameters(name, dtype):
    """What a formula has to be told about the dtype."""
    return {"eps": float(np.finfo(dtype).eps)} if name == "mape" else {}


def real(rng, n, dtype, extreme):
    """Any number; extreme ones have magnitudes from 1e-30 to 1e30."""
    return rng.choice([-1, 1], n) * 10 ** rng.uniform(-30, 30, n) if extreme else 2 * rng.standard_normal(n)


def positive(rng, n, dtype, extreme):
    return 10 ** rng.uniform(-30, 30, n) if extreme else rng.gamma(2, size=n)


def pairs(rng, n, dtype, extreme):
    """Predictions and targets; extreme ones are nearly equal, or differ by amounts from 1e-30 to 1e30."""
    pred, target = real(rng, n, dtype, extreme), real(rng, n, dtype, extreme)
    if extreme:
        target[::3] = 0
        pred[1::6] = 10 ** rng.uniform(-6, 1, len(pred[1::6]))  # where small and large differences meet
        target[1::6] = 0
        target[2::3] = 10 ** rng.uniform(-3, 3, len(target[2::3]))
        target = target.astype(dtype)
        pred[2::3] = target[2::3] * (1 + rng.integers(1, 50, len(target[2::3])) * np.finfo(dtype).eps)
    return pred, target


def pairs_above_minus_one(rng, n, dtype, extreme):
    pred, target = pairs(rng, n, dtype, extreme)
    return np.abs(pred) - 0.5 * (np.abs(pred) < 1e-3), np.abs(target) - 0.25 * (np.abs(pred) < 1e-3)


def positive_pairs(rng, n, dtype, extreme):
    return positive(rng, n, dtype, extreme), rng.poisson(3, n)


def log_means(rng, n, dtype, extreme):
    """Logarithms of predicted means, and positive targets that an extreme one of them may fit badly."""
    pred = rng.uniform(-60, 60, n) if extreme else rng.standard_normal(n)
    return pred, 10 ** rng.uniform(-10, 10, n) if extreme else positive(rng, n, dtype, extreme)


def log_means_of_counts(rng, n, dtype, extreme):
    pred, _ = log_means(rng, n, dtype, extreme)
    return pred, rng.poisson(rng.choice([0.5, 3, 1000]) if extreme else 3, n)


def pairs_with_variance(rng, n, dtype, extreme):
    return *pairs(rng, n, dtype, extreme), positive(rng, n, dtype, extreme)


def probabilities(rng, n, dtype, extreme):
    """Probabilities, extreme ones near 0 and 1, and labels 0 and 1."""
    p = rng.uniform(0.01, 0.99, n)
    if extreme:
        p = 10 ** rng.uniform(-30, -1, n)
        p[::2] = 1 - rng.integers(1, 1000, len(p[::2])) * np.finfo(dtype).eps / 2
    return p, rng.integers(0, 2, n)


def logits(rng, n, dtype, extreme):
    """Logits, extreme ones saturated or nearly 0, and labels 0 and 1."""
    z = rng.uniform(15, 85, n) * rng.choice([-1, 1], n) if extreme else 3 * rng.standard_normal(n)
    if extreme:
        z[::5] = real(rng, n, dtype, extreme)[::5].clip(-85, 85)
    return z, rng.integers(0, 2, n)


def scores(rng, n, dtype, extreme):
    """Scores, extreme ones with magnitudes from 1e-30 to 1e30, and labels -1 and 1."""
    return real(rng, n, dtype, extreme), rng.choice([-1, 1], n)


def ranked_pairs(rng, n, dtype, extreme):
    return *pairs(rng, n, dtype, extreme), rng.choice([-1, 1], n)


def saturated_scores(rng, n, dtype, extreme):
    z, t = logits(rng, n, dtype, extreme)
    return z, 2 * t - 1


def weights(rng, n, dtype, extreme):
    return (real(rng, n, dtype, extreme),)


def rows_of_logits(rng, n, dtype, extreme):
    """Rows of logits, extreme ones far apart, close together at a large value, or tiny; and class indices."""
    z = 3 * rng.standard_normal((n, CLASSES))
    if extreme:
        z[::3] *= rng.uniform(3, 12, (len(z[::3]), 1))
        z[1::3] = 1e4 + rng.integers(-3, 4, (len(z[1::3]), CLASSES)) / 128
        z[2::6] = 1e-20 * z[2::6]
        z[5::6, 1:] -= rng.uniform(15, 80, (len(z[5::6]), 1))
    return z, rng.integers(0, CLASSES, n)


def rows_of_scores(rng, n, dtype, extreme):
    return real(rng, (n, CLASSES), dtype, extreme), rng.integers(0, CLASSES, n)


def rows_of_labels(rng, n, dtype, extreme):
    """Logits, and as many labels 0 and 1."""
    z, t = logits(rng, n * CLASSES, dtype, extreme)
    return z.reshape(n, CLASSES), t.reshape(n, CLASSES)


def rows_of_probabilities(rng, n, dtype, extreme):
    p, _ = probabilities(rng, n * CLASSES, dtype, extreme)
    return p.reshape(n, CLASSES), rng.integers(0, CLASSES, n)


def log_softmax_rows(rng, n, dtype, extreme):
    z, label = rows_of_logits(rng, n, dtype, extreme)
    z = z - z.max(axis=1, keepdims=True)
    return np.maximum(z - np.log(np.exp(z).sum(axis=1, keepdims=True)), -80), label


def two_distributions(rng, n, dtype, extreme):
    """Logarithms of two distributions, extreme ones nearly equal every other time."""
    p, t = (log_softmax_rows(rng, n, dtype, extreme)[0] for _ in range(2))
    if extreme:
        p = p.astype(dtype)
        t[::2] = p[::2] * (1 + rng.integers(1, 1000, p[::2].shape) * np.finfo(dtype).eps)
    return p, t


def distribution_and_probabilities(rng, n, dtype, extreme):
    p, t = two_distributions(rng, n, dtype, extreme)
    return p, np.exp(np.minimum(t, 0))


def latent_gaussians(rng, n, dtype, extreme):
    mu, log_var = (real(rng, (n, CLASSES), dtype, extreme) for _ in range(2))
    return mu.clip(-1e10, 1e10), log_var.clip(-80, 80)


CLASSES = 4
INPUTS = {
    "msle": pairs_above_minus_one,
    "poisson_nll": log_means_of_counts,
    "gamma_nll": log_means,
    "tweedie": log_means,
    "gaussian_nll": pairs_with_variance,
    "binary_cross_entropy": probabilities,
    "binary_focal": probabilities,
    "binary_cross_entropy_with_logits": logits,
    "sigmoid_focal": logits,
    "sigmoid_poly1": logits,
    "brier": logits,
    "hinge": scores,
    "squared_hinge": scores,
    "margin_ranking": ranked_pairs,
    "hinge_embedding": scores,
    "modified_huber": scores,
    "logistic": saturated_scores,
    "exponential": saturated_scores,
    "perceptron": scores,
    "l1": weights,
    "l2": weights,
    "elastic_net": weights,
    "cross_entropy": rows_of_logits,
    "softmax_focal": rows_of_logits,
    "poly1_cross_entropy": rows_of_logits,
    "multiclass_hinge": rows_of_scores,
    "crammer_singer": rows_of_scores,
    "categorical_cross_entropy": rows_of_probabilities,
    "nll": log_softmax_rows,
    "multilabel_soft_margin": rows_of_labels,
    "kl_divergence": distribution_and_probabilities,
    "js_divergence": two_distributions,
    "gaussian_kl": latent_gaussians,
}  # of all others: pairs
#: The losses with a class axis.
OF_ROWS = tuple(INPUTS)[-11:]

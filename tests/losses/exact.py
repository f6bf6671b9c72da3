"""The formula of every loss of one element or one sample, in as many digits as it needs (mpmath): slow, naive, right.

No stable form is used here. A formula that loses digits is evaluated with more of them, until the result stands. If a
loss is a sum of terms that may cancel, its function returns the terms: their size says how large the error of a sum of
rounded terms may be. Infinite inputs, derivatives at kinks, and probabilities of exactly 0 and 1 are left out.

An input of a loss with a class axis is a row, the tuple of its classes. Class indices become one-hot rows (`points`).

To add a loss, write its formula and, above it, `@formula(inputs, *examples)`: a function of exact_inputs.py, and what
to compare on, `given(...)`. The benchmarks read inputs and formulas from here too.
"""

import inspect
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from mpmath import cosh, exp, inf, log, loggamma, mp, mpf, pi, sqrt

import fastloss as fl

from . import exact_inputs
from .exact_inputs import CLASSES

WEIGHTS = (0.5, 2.0, 1.25, 3.0)
FIRST_DIGITS, MOST_DIGITS = 60, 1500
NOTHING = mpf(10) ** -400  # below the smallest number of any dtype
AGREEMENT = mpf(10) ** -30  # relative; far below the rounding error of a double


@dataclass(frozen=True)
class Example:
    """Parameters to compare a loss with its formula on.

    `rounded` are the quantities that no formula in working precision has without a rounding error: indices of inputs,
    and "r" for the difference of the first two. The parameters are always among them.
    """

    parameters: dict[str, Any]
    rounded: tuple[Any, ...] = ()
    #: Whether labels are between 0 and 1. They take two roundings as well.
    soft: bool = False
    #: Other inputs than those of the formula.
    inputs: Callable[..., Any] | None = None
    #: Whether extreme inputs make sense.
    extreme: bool = True
    #: Roundings besides those of the parameters.
    roundings: int = 0
    name: str = ""

    def __str__(self):
        return f"{self.name}({', '.join([f'{k}={v}' for k, v in self.parameters.items()] + ['soft'] * self.soft)})"

    def arrays(self, n, dtype, extreme):
        """The arrays that the loss takes, for n elements, or fewer samples."""
        arrays = inputs(self.name, n, dtype, extreme, generator=self.inputs)
        if self.soft and has_rows(self.name):
            hot = np.eye(CLASSES)[arrays[1]]
            return arrays[0], (hot * 0.875 + 0.125 / CLASSES).astype(dtype)
        if self.soft:
            return arrays[0], np.asarray(arrays[1] * 0.875 + 0.0625, dtype)
        return arrays


def given(*, rounded=(), soft=False, inputs=None, extreme=True, roundings=0, **parameters):
    return Example(parameters, rounded, soft, inputs, extreme, roundings)


SOFT = given(rounded=(1,), soft=True)
FORMULAS: dict[str, Callable[..., Any]] = {}
INPUTS: dict[str, Callable[..., Any]] = {}
EXAMPLES: list[Example] = []


def formula(inputs, *examples):
    """Register the formula of a loss, with its inputs and with examples: one without parameters, if none is given."""

    def register(function):
        FORMULAS[function.__name__] = function
        INPUTS[function.__name__] = inputs
        EXAMPLES.extend(replace(example, name=function.__name__) for example in examples or [given()])
        return function

    return register


def has_rows(name):
    """Whether the inputs of a loss have a class axis."""
    return getattr(fl, name).declaration.family in ("classes", "terms")


def differentiable(name):
    """The indices of the inputs that have a gradient."""
    return tuple(k for k, x in enumerate(getattr(fl, name).declaration.inputs) if x.differentiable)


def inputs(name, n, dtype, extreme=False, seed=0, generator=None):
    """The arrays that a loss takes. Class indices stay integers, and other arrays get the dtype."""
    arrays = (generator or INPUTS[name])(np.random.default_rng(seed), n, dtype, extreme)
    return tuple(np.asarray(x, dtype if np.ndim(x) == arrays[0].ndim else None) for x in arrays)


def points(*arrays):
    """The inputs of each element, or of each sample, as the formulas take them."""
    if arrays[0].ndim == 2:
        arrays = [x if x.ndim == 2 else np.eye(arrays[0].shape[1])[x] for x in arrays]
        return [tuple(map(tuple, rows)) for rows in zip(*(x.tolist() for x in arrays), strict=True)]
    return list(zip(*(x.tolist() for x in arrays), strict=True))


def parameters(name, dtype):
    """What a formula needs to know about the dtype: the machine epsilon, if it has none of its own."""
    eps = inspect.signature(FORMULAS[name]).parameters.get("eps")
    return {"eps": float(np.finfo(dtype).eps)} if eps is not None and eps.default is eps.empty else {}


def value(name, *inputs, **parameters):
    return _settle(lambda: sum(_terms(name, inputs, parameters)))


def slope(name, k, *inputs, **parameters):
    """The derivative with respect to input k, or if inputs are rows, to class c of input i for k = (i, c)."""
    return _settle(lambda: sum(_slopes(name, k, inputs, parameters)))


def size(name, *inputs, **parameters):
    """The sum of the magnitudes of the terms: larger than the value where they cancel."""
    return _settle(lambda: sum(map(abs, _terms(name, inputs, parameters))))


def size_of_slope(name, k, *inputs, **parameters):
    return _settle(lambda: sum(map(abs, _slopes(name, k, inputs, parameters))))


def _terms(name, inputs, parameters):
    parameters = {k: mpf(v) if type(v) in (int, float) else v for k, v in parameters.items()}
    result = FORMULAS[name](*(tuple(map(mpf, x)) if isinstance(x, tuple) else mpf(x) for x in inputs), **parameters)
    return result if isinstance(result, tuple) else (result,)


def _slopes(name, k, inputs, parameters):
    """The derivative of each term in place k, as a difference quotient."""
    if "floor" in inspect.signature(FORMULAS[name]).parameters:  # the gradient is that of the logarithm itself
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

R = ("r",)
ROBUST = [given(rounded=R), given(c=3.0, rounded=R), given(c=0.3, rounded=R)]
OF_RATE = {"log_input": False, "rounded": (0,), "inputs": exact_inputs.rates_of_counts}


@formula(exact_inputs.predictions)
def mse(p, t):
    return (p - t) ** 2


@formula(exact_inputs.predictions)
def mae(p, t):
    return abs(p - t)


@formula(exact_inputs.predictions, given(rounded=R), given(delta=0.3, rounded=R))
def huber(p, t, delta=1):
    r = abs(p - t)
    return r**2 / 2 if r <= delta else delta * (r - delta / 2)


@formula(exact_inputs.predictions, given(rounded=R), given(beta=0.3, rounded=R), given(beta=0.0, rounded=R))
def smooth_l1(p, t, beta=1):
    r = abs(p - t)
    return r**2 / (2 * beta) if r < beta else r - beta / 2


@formula(exact_inputs.predictions, given(rounded=R), given(delta=0.3, rounded=R))
def pseudo_huber(p, t, delta=1):
    return delta**2 * (sqrt(1 + ((p - t) / delta) ** 2) - 1)


@formula(exact_inputs.predictions, given(rounded=R))
def log_cosh(p, t):
    return log(cosh(p - t))


@formula(exact_inputs.predictions, given(), given(q=0.9))
def quantile(p, t, q=0.5):
    return max(q * (t - p), (q - 1) * (t - p))


@formula(exact_inputs.predictions, given(), given(q=0.9))
def expectile(p, t, q=0.5):
    return abs(q - (t < p)) * (p - t) ** 2


@formula(exact_inputs.predictions, given(rounded=R), given(epsilon=0.5, rounded=R))
def epsilon_insensitive(p, t, epsilon=0.1):
    return max(0, abs(p - t) - epsilon)


@formula(exact_inputs.predictions, given(rounded=R), given(epsilon=0.5, rounded=R))
def squared_epsilon_insensitive(p, t, epsilon=0.1):
    return epsilon_insensitive(p, t, epsilon) ** 2


@formula(exact_inputs.above_minus_one)
def msle(p, t):
    return (log(1 + p) - log(1 + t)) ** 2


@formula(exact_inputs.predictions)
def mape(p, t, eps):
    """eps: the machine epsilon of the dtype."""
    return abs(p - t) / max(abs(t), eps)


@formula(exact_inputs.log_means_of_counts, given(), given(full=True), given(**OF_RATE), given(full=True, **OF_RATE))
def poisson_nll(p, t, log_input=True, full=False, eps=1e-8):
    logarithm = p if log_input else log(p + mpf(eps))
    return exp(p) if log_input else p, -t * logarithm if t else 0, loggamma(t + 1) if full else 0


@formula(exact_inputs.log_means)
def gamma_nll(p, t):
    return t * exp(-p), p


@formula(exact_inputs.log_means, given(rounded=(0,)), given(power=1.3, rounded=(0,)))
def tweedie(p, t, power=1.5):
    return -t * exp((1 - power) * p) / (1 - power), exp((2 - power) * p) / (2 - power)


@formula(exact_inputs.predictions_with_variance, given(rounded=("r", 2)), given(full=True, eps=0.01, rounded=("r", 2)))
def gaussian_nll(p, t, var, full=False, eps=1e-6):
    v = max(var, eps)
    return log(v) / 2, (p - t) ** 2 / v / 2, log(2 * pi) / 2 if full else 0


@formula(exact_inputs.predictions, *ROBUST)
def cauchy(p, t, c=1):
    return c**2 / 2 * log(1 + ((p - t) / c) ** 2)


@formula(exact_inputs.predictions, *ROBUST)
def welsch(p, t, c=1):
    return c**2 / 2 * (1 - exp(-(((p - t) / c) ** 2)))


@formula(exact_inputs.predictions, *ROBUST)
def geman_mcclure(p, t, c=1):
    return (p - t) ** 2 / 2 / (1 + ((p - t) / c) ** 2)


@formula(exact_inputs.predictions, *ROBUST)
def fair(p, t, c=1):
    u = abs(p - t) / c
    return c**2 * (u - log(1 + u))


@formula(exact_inputs.predictions, *ROBUST)
def tukey(p, t, c=1):
    u = (p - t) / c
    return c**2 / 6 * (1 - (1 - u**2) ** 3) if abs(u) <= 1 else c**2 / 6


# ---------------------------------------------------------------------------------------------------------------------
# Binary: probabilities

FOCAL = [{}, {"gamma": 0.5}, {"gamma": 2.5, "alpha": 0.25}, {"gamma": 0.0}]
SOFT_FOCAL = [given(**p, rounded=(1,), soft=True) for p in ({"gamma": 0.5}, {"gamma": 2.7, "alpha": 0.25})]


@formula(exact_inputs.probabilities, given(), given(alpha=0.25), given(label_smoothing=0.1, rounded=(1,)), SOFT)
def binary_cross_entropy(p, t, alpha=None, label_smoothing=0, floor=-100):
    t = _smooth(t, label_smoothing)
    a = _balance(t, alpha)
    return -a * t * max(log(p), floor) if t else 0, -a * (1 - t) * max(log(1 - p), floor) if t != 1 else 0


@formula(exact_inputs.probabilities, *(given(**p) for p in FOCAL), SOFT, *SOFT_FOCAL)
def binary_focal(p, t, gamma=2, alpha=None, floor=-100):
    wrong = p * (1 - t) + (1 - p) * t
    return tuple(_balance(t, alpha) * wrong**gamma * x for x in binary_cross_entropy(p, t, floor=floor))


# ---------------------------------------------------------------------------------------------------------------------
# Binary: logits and labels 0, 1


@formula(
    exact_inputs.logits,
    given(),
    given(alpha=0.25),
    given(pos_weight=2.5),
    given(label_smoothing=0.1, rounded=(1,)),
    SOFT,
)
def binary_cross_entropy_with_logits(z, t, pos_weight=1, alpha=None, label_smoothing=0):
    t = _smooth(t, label_smoothing)
    a = _balance(t, alpha)
    return a * pos_weight * t * log(1 + exp(-z)), a * (1 - t) * log(1 + exp(z))


@formula(exact_inputs.logits, *(given(**p, rounded=(0,)) for p in FOCAL), SOFT, *SOFT_FOCAL)
def sigmoid_focal(z, t, gamma=2, alpha=None):
    return binary_focal(_sigmoid(z), t, gamma, alpha, floor=-inf)


@formula(exact_inputs.logits, given(), given(epsilon=-0.5), SOFT)
def sigmoid_poly1(z, t, epsilon=1):
    p = _sigmoid(z)
    return *binary_cross_entropy_with_logits(z, t), epsilon * (p * (1 - t) + (1 - p) * t)


@formula(exact_inputs.logits, given(rounded=(0,)), SOFT)
def brier(z, t):
    return (_sigmoid(z) - t) ** 2


# ---------------------------------------------------------------------------------------------------------------------
# Binary: scores and labels -1, 1


@formula(exact_inputs.scores, given(rounded=(0,)), given(margin=0.3, rounded=(0,)))
def hinge(z, t, margin=1):
    return max(0, margin - t * z)


@formula(exact_inputs.ranked, given(rounded=R), given(margin=0.3, rounded=R))
def margin_ranking(x1, x2, t, margin=0):
    return max(0, margin - t * (x1 - x2))


@formula(exact_inputs.scores, given(rounded=(0,)), given(margin=0.3, rounded=(0,)))
def hinge_embedding(x, t, margin=1):
    return x if t > 0 else max(0, margin - x)


@formula(exact_inputs.scores, given(rounded=(0,)), given(margin=0.3, rounded=(0,)))
def squared_hinge(z, t, margin=1):
    return hinge(z, t, margin) ** 2


@formula(exact_inputs.scores, given(rounded=(0,)))
def modified_huber(z, t):
    return max(0, 1 - t * z) ** 2 if t * z >= -1 else -4 * t * z


@formula(exact_inputs.saturated_scores)
def logistic(z, t):
    return log(1 + exp(-t * z))


@formula(exact_inputs.saturated_scores)
def exponential(z, t):
    return exp(-t * z)


@formula(exact_inputs.scores)
def perceptron(z, t):
    return max(0, -t * z)


# ---------------------------------------------------------------------------------------------------------------------
# Regularisers


@formula(exact_inputs.penalized, given(), given(strength=0.3))
def l1(w, strength=1):
    return strength * abs(w)


@formula(exact_inputs.penalized, given(), given(strength=0.3))
def l2(w, strength=1):
    return strength / 2 * w**2


@formula(exact_inputs.penalized, given(), given(strength=0.3), given(l1_ratio=0.9))
def elastic_net(w, strength=1, l1_ratio=0.5):
    return strength * (l1_ratio * abs(w) + (1 - l1_ratio) / 2 * w**2)


# ---------------------------------------------------------------------------------------------------------------------
# Classes: rows of logits or scores, probabilities, log-probabilities


@formula(
    exact_inputs.rows_of_logits,
    given(),
    given(class_weight=WEIGHTS),
    given(label_smoothing=0.1, rounded=(1,)),
    given(class_weight=WEIGHTS, label_smoothing=0.1, rounded=(1,)),
    given(z_loss=0.01, rounded=(0, 1)),
    SOFT,
    given(class_weight=WEIGHTS, rounded=(1,), soft=True),
)
def cross_entropy(z, t, class_weight=None, label_smoothing=0, z_loss=0):
    total = log(sum(map(exp, z)))
    mass = sum(_weighted(t, class_weight))
    q = _weighted(_smooth_classes(t, label_smoothing), class_weight)
    return *(qc * (total - zc) for qc, zc in zip(q, z, strict=True)), z_loss * mass * total**2


@formula(
    exact_inputs.rows_of_logits,
    given(),
    given(epsilon=-0.5, class_weight=WEIGHTS),
    given(label_smoothing=0.1, rounded=(1,)),
    given(rounded=(1, 1), soft=True),
)
def poly1_cross_entropy(z, t, epsilon=1, class_weight=None, label_smoothing=0):
    q = _weighted(_smooth_classes(t, label_smoothing), class_weight)
    gain = epsilon * sum(qc * (1 - pc) for qc, pc in zip(q, _softmax(z), strict=True))
    return *cross_entropy(z, t, class_weight, label_smoothing), gain


@formula(
    exact_inputs.rows_of_logits,
    given(roundings=2),
    given(gamma=0.5, roundings=2),
    given(gamma=2.7, class_weight=WEIGHTS, roundings=2),
    given(gamma=0.0, roundings=2),
    given(rounded=(0, 1), soft=True, roundings=2),
    given(gamma=0.5, class_weight=WEIGHTS, rounded=(0, 1), soft=True, roundings=2),
)
def softmax_focal(z, t, gamma=2, class_weight=None):
    return tuple(-q * (1 - p) ** gamma * log(p) for q, p in zip(_weighted(t, class_weight), _softmax(z), strict=True))


@formula(
    exact_inputs.rows_of_scores,
    given(rounded=(0,)),
    given(margin=0.3, rounded=(0,)),
    given(power=2, rounded=(0,)),
    given(class_weight=WEIGHTS, rounded=(0,)),
)
def multiclass_hinge(z, t, margin=1, power=1, class_weight=None):
    y = t.index(1)
    w = 1 if class_weight is None else class_weight[y]
    return w * sum(max(0, zj - z[y] + margin) ** power for j, zj in enumerate(z) if j != y)


@formula(
    exact_inputs.rows_of_scores,
    given(rounded=(0,)),
    given(margin=0.3, rounded=(0,)),
    given(class_weight=WEIGHTS, rounded=(0,)),
)
def crammer_singer(z, t, margin=1, class_weight=None):
    y = t.index(1)
    w = 1 if class_weight is None else class_weight[y]
    return w * max(max(0, zj - z[y] + margin) for j, zj in enumerate(z) if j != y)


@formula(
    exact_inputs.rows_of_probabilities,
    given(),
    given(class_weight=WEIGHTS),
    given(label_smoothing=0.1, rounded=(1,)),
    SOFT,
)
def categorical_cross_entropy(p, t, class_weight=None, label_smoothing=0, floor=-100):
    q = _weighted(_smooth_classes(t, label_smoothing), class_weight)
    return -sum(qc * max(log(pc), floor) for qc, pc in zip(q, p, strict=True) if qc)


@formula(exact_inputs.log_softmax_rows, given(), given(class_weight=WEIGHTS), SOFT)
def nll(p, t, class_weight=None):
    return tuple(-q * pc for q, pc in zip(_weighted(t, class_weight), p, strict=True))


@formula(exact_inputs.rows_of_labels, given(), given(class_weight=WEIGHTS))
def multilabel_soft_margin(z, t, class_weight=None):
    terms = (sum(binary_cross_entropy_with_logits(zc, tc)) for zc, tc in zip(z, t, strict=True))
    return sum(_weighted(terms, class_weight)) / len(z)


@formula(exact_inputs.distribution_and_probabilities, given(), given(log_target=True))
def kl_divergence(p, t, log_target=False):
    if log_target:
        return tuple(exp(tc) * (tc - pc) for pc, tc in zip(p, t, strict=True))
    return tuple(x for pc, tc in zip(p, t, strict=True) for x in ((tc * log(tc), -tc * pc) if tc else (0, 0)))


@formula(exact_inputs.two_distributions, given(), given(beta=0.1))
def js_divergence(p, t, beta=0.5):
    m = [log(beta * exp(tc) + (1 - beta) * exp(pc)) for pc, tc in zip(p, t, strict=True)]
    return beta * _kl(t, m) + (1 - beta) * _kl(p, m)


@formula(exact_inputs.latent_gaussians)
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

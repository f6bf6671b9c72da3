"""Inputs on which losses are compared with their formulas.

Functions of a random generator, a number of elements or samples, a dtype, and whether the inputs are to be extreme. An
input with a class axis is rows.
"""

import numpy as np

#: The number of classes of each row.
CLASSES = 4


def real(rng, n, dtype, extreme):
    """Any number. Extreme ones have magnitudes from 1e-30 to 1e30."""
    return rng.choice([-1, 1], n) * 10 ** rng.uniform(-30, 30, n) if extreme else 2 * rng.standard_normal(n)


def positive(rng, n, dtype, extreme):
    return 10 ** rng.uniform(-30, 30, n) if extreme else rng.gamma(2, size=n)


def predictions(rng, n, dtype, extreme):
    """Predictions and targets. Extreme ones are nearly equal, or differ by amounts from 1e-30 to 1e30."""
    pred, target = real(rng, n, dtype, extreme), real(rng, n, dtype, extreme)
    if extreme:
        target[::3] = 0
        pred[1::6] = 10 ** rng.uniform(-6, 1, len(pred[1::6]))  # where small and large differences meet
        target[1::6] = 0
        target[2::3] = 10 ** rng.uniform(-3, 3, len(target[2::3]))
        target = target.astype(dtype)
        pred[2::3] = target[2::3] * (1 + rng.integers(1, 50, len(target[2::3])) * np.finfo(dtype).eps)
    return pred, target


def above_minus_one(rng, n, dtype, extreme):
    pred, target = predictions(rng, n, dtype, extreme)
    return np.abs(pred) - 0.5 * (np.abs(pred) < 1e-3), np.abs(target) - 0.25 * (np.abs(pred) < 1e-3)


def rates_of_counts(rng, n, dtype, extreme):
    return positive(rng, n, dtype, extreme), rng.poisson(3, n)


def log_means(rng, n, dtype, extreme):
    """Logarithms of predicted means, and positive targets. Extreme means may fit them badly."""
    pred = rng.uniform(-60, 60, n) if extreme else rng.standard_normal(n)
    return pred, 10 ** rng.uniform(-10, 10, n) if extreme else positive(rng, n, dtype, extreme)


def log_means_of_counts(rng, n, dtype, extreme):
    pred, _ = log_means(rng, n, dtype, extreme)
    return pred, rng.poisson(rng.choice([0.5, 3, 1000]) if extreme else 3, n)


def predictions_with_variance(rng, n, dtype, extreme):
    return *predictions(rng, n, dtype, extreme), positive(rng, n, dtype, extreme)


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


def ranked(rng, n, dtype, extreme):
    return *predictions(rng, n, dtype, extreme), rng.choice([-1, 1], n)


def saturated_scores(rng, n, dtype, extreme):
    z, t = logits(rng, n, dtype, extreme)
    return z, 2 * t - 1


def penalized(rng, n, dtype, extreme):
    return (real(rng, n, dtype, extreme),)


def rows_of_logits(rng, n, dtype, extreme):
    """Rows of logits and class indices. Extreme logits are far apart, close together at a large value, or tiny."""
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

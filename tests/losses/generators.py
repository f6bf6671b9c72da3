"""Random inputs of the losses: functions of a random generator, a shape, and the class axis of the first input.

The shape is that of the input itself. For class indices, and for parameters, it is the shape of the first input.
"""

import numpy as np

from fastloss._core.request.domains import Domain


def real(rng, shape, axis):
    return 2 * rng.standard_normal(shape)


def unit(rng, shape, axis):
    """Numbers in [0, 1]; a third of them 0, a third 1."""
    return rng.choice([0.0, 1.0, 0.5], shape) * rng.choice([1.0, rng.random()], shape)


def unit_some_ignored(rng, shape, axis):
    """The same, a third of them 255."""
    return np.where(rng.random(shape) < 0.3, 255.0, unit(rng, shape, axis))


def inside_unit(rng, shape, axis):
    return rng.uniform(0.02, 0.98, shape)


def signs(rng, shape, axis):
    return rng.choice([-1.0, 1.0], shape)


def positive(rng, shape, axis):
    return rng.uniform(0.2, 5, shape)


def above_minus_one(rng, shape, axis):
    return rng.exponential(2, shape) - 0.8


def counts(rng, shape, axis):
    return rng.poisson(1.5, shape).astype(float)


def amounts(rng, shape, axis):
    """Numbers >= 0, a third of them 0."""
    return rng.exponential(2, shape) * rng.choice([0, 1, 1], shape)


def variance(rng, shape, axis):
    return rng.uniform(0.3, 4, shape)


def labels(rng, shape, axis):
    return rng.integers(0, shape[axis], np.delete(shape, axis))


def labels_some_ignored(rng, shape, axis):
    return np.where(rng.random(np.delete(shape, axis)) < 0.3, -100, labels(rng, shape, axis))


def probabilities(rng, shape, axis):
    t = rng.random(shape) * (rng.random(shape) < 0.7)
    return t / np.maximum(t.sum(axis, keepdims=True), 1e-3)


def log_probabilities(rng, shape, axis):
    z = 2 * rng.standard_normal(shape)
    return z - np.log(np.exp(z).sum(axis, keepdims=True))


def weight_per_class(rng, shape, axis):
    return rng.choice([0.5, 1.0, 2.0, 3.5], shape[axis])


def real_for_last_axis(rng, shape, axis):
    """A number for each place but along the last axis."""
    return real(rng, shape[:-1], axis)


def level_of_last_axis(rng, shape, axis):
    """Numbers in [0, 1]; both ends among them, if there is room."""
    return rng.permutation(np.linspace(0, 1, shape[-1])) if shape[-1] > 1 else np.array([0.7])


def weight_of_last_axis(rng, shape, axis):
    return rng.uniform(0.5, 4, shape[-1:])


def variance_of_samples(rng, shape, axis):
    return variance(rng, shape[:1], None)


def variance_of_all(rng, shape, axis):
    return variance(rng, (), None)


def zeros_and_ones(rng, shape, axis):
    return rng.choice([0.0, 1.0], shape)


def labels_in_batch(rng, shape, axis):
    """Labels with about five samples of each class."""
    return rng.integers(0, 1 + shape[0] // 5, shape)


def scale(rng, shape, axis):
    return rng.uniform(0.5, 2, shape)


def bias(rng, shape, axis):
    return rng.uniform(-3, 3, shape)


def frames(rng, shape, axis):
    """Numbers of frames of the sequences of logits (T, N, C), from T / 2 to T; one number for (T, C)."""
    return rng.integers((shape[0] + 1) // 2, shape[0] + 1, shape[1:-1])


def most_labels(shape):
    """For any number of frames, so many labels have an alignment, even if they are all the same class."""
    return min(12, ((shape[0] + 1) // 2 + 1) // 2) if shape[-1] > 1 else 0


def sequences_of_labels(rng, shape, axis):
    """Padded targets (N, S), or (S,), with blank 0."""
    return rng.integers(1, max(shape[-1], 2), (*shape[1:-1], most_labels(shape)))


def numbers_of_labels(rng, shape, axis):
    return rng.integers(0, most_labels(shape) + 1, shape[1:-1])


def nodes(rng, shape, axis):
    """A row of weights for each inner node of a tree of nine classes."""
    return rng.standard_normal((8, shape[axis]))


def classes_of_tree(rng, shape, axis):
    """Class indices of the same tree."""
    return rng.integers(0, 9, np.delete(shape, axis))


def tags(rng, shape, axis):
    """A class for each step of the sequences (..., T, K)."""
    return rng.integers(0, shape[-1], shape[:-1])


def lengths(rng, shape, axis):
    """Numbers of steps of the sequences, one of which may be 0."""
    return rng.integers(0, shape[-2] + 1, shape[:-2])


def moves(rng, shape, axis):
    return real(rng, (shape[-1], shape[-1]), None)


def tags_that_rise(rng, shape, axis):
    return np.sort(tags(rng, shape, axis), axis=-1)


def moves_that_rise(rng, shape, axis):
    """No smaller tag may follow a tag."""
    return np.where(np.tri(shape[-1], k=-1), -np.inf, moves(rng, shape, axis))


def moves_far_apart(rng, shape, axis):
    """Scores whose exponentials are beyond the range of float64."""
    return 500 * moves(rng, shape, axis)


def score_of_tag(rng, shape, axis):
    return real(rng, shape[-1:], None)


BY_DOMAIN = {
    Domain.ANY: real,
    Domain.UNIT_INTERVAL: unit,
    Domain.PROBABILITY: inside_unit,
    Domain.NOT_NEGATIVE: variance,
    Domain.SIGN: signs,
    Domain.ZERO_OR_ONE: zeros_and_ones,
}


def generator_of(declared):
    """The generator of an input whose case names none."""
    if declared.shape == "classes":
        return labels
    if declared.shape == "number":
        return scale
    if declared.shape == "nodes":
        return nodes
    if declared.shape == "batch" and declared.domain == Domain.ANY:
        return labels_in_batch
    return BY_DOMAIN[declared.domain]


def shape_of(declared, shape, axis):
    """The shape that a generator is called with, from the shape of the first input."""
    if declared.shape == "number":
        return ()
    return tuple(np.delete(shape, axis).tolist()) if declared.shape == "batch" else shape


LENGTH = 3  # of the vectors that a linear layer takes


def shape_of_layer(declared, shape, axis):
    """The same for an input of a linear layer, from the shape of its scores, whose last axis is that of the classes."""
    shapes = {"pred": (*shape[:-1], LENGTH), "rows of classes": (shape[-1], LENGTH), "each class": shape[-1:]}
    return shapes.get(declared.shape, shape)

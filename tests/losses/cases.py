"""The cases that the property tests run over: every loss with parameters, and with inputs from its domains.

To add a loss, write its definition in reference.py and its formula in exact.py, and append its cases here. The inputs
are random numbers of their declared domains, unless a case names other generators.
"""

import numpy as np

import fastloss as fl

from .generators import (
    above_minus_one,
    amounts,
    bias,
    classes_of_tree,
    counts,
    frames,
    generator_of,
    labels,
    labels_some_ignored,
    lengths,
    level_of_last_axis,
    log_probabilities,
    moves,
    moves_far_apart,
    moves_that_rise,
    numbers_of_labels,
    positive,
    probabilities,
    real,
    real_for_last_axis,
    score_of_tag,
    sequences_of_labels,
    tags,
    tags_that_rise,
    unit_some_ignored,
    variance_of_all,
    variance_of_samples,
    weight_of_last_axis,
    weight_per_class,
)
from .problem import Case


def cases(name, *parameters, exact_derivatives=False, own_loss_alone=False, **named):
    """A case for each set of parameters, or one without any. `named` are generators of inputs.

    Optional inputs that are not named are left out.
    """
    declared = [x for x in getattr(fl, name).declaration.inputs if x.name in named or not x.optional]
    inputs = {x.name: named[x.name] if x.name in named else generator_of(x) for x in declared}
    assert named.keys() <= inputs.keys()
    return [Case(name, inputs, each, exact_derivatives, own_loss_alone) for each in parameters or [{}]]


def cases_of_targets(name, targets, *parameters, **more):
    """The same for several generators of `target`."""
    return [case for target in targets for case in cases(name, *parameters, target=target, **more)]


FOCAL = [{"gamma": 0}, {"gamma": 0.5}, {"gamma": 1.0}, {}, {"gamma": 2.7}, {"gamma": 5.0}]
FOCAL += [{"gamma": 1.5, "alpha": 0.25}]

REGRESSION = [
    *cases("mse"),
    *cases("mae"),
    *cases("huber", {}, {"delta": 0.3}),
    *cases("smooth_l1", {}, {"beta": 0}, {"beta": 0.3}),
    *cases("pseudo_huber", {}, {"delta": 0.3}),
    *cases("log_cosh"),
    *cases("quantile", {"q": level_of_last_axis}, target=real_for_last_axis),
    *cases("quantile", {}, {"q": 0.0}, {"q": 0.9}),
    *cases("expectile", {"q": level_of_last_axis}, target=real_for_last_axis),
    *cases("expectile", {}, {"q": 1.0}, {"q": 0.1}),
    *cases("epsilon_insensitive", {}, {"epsilon": 0.0}, {"epsilon": 0.7}),
    *cases("squared_epsilon_insensitive", {}, {"epsilon": 0.7}),
    *cases("msle", pred=above_minus_one, target=above_minus_one),
    *cases("mape"),
    *cases("poisson_nll", {}, {"full": True}, target=counts),
    *cases("poisson_nll", {"log_input": False}, pred=positive, target=amounts),
    *cases("poisson_nll", {"log_input": False, "full": True, "eps": 0.1}, pred=positive, target=amounts),
    *cases("gamma_nll", target=amounts),
    *cases("tweedie", {}, {"power": 1.1}, {"power": 1.9}, target=amounts),
    *cases("gaussian_nll", {}, {"full": True, "eps": 1.5}),
    *cases("gaussian_nll", {"eps": 0.5}, var=variance_of_samples),
    *cases("gaussian_nll", {"full": True}, var=variance_of_all),
    *cases("cauchy", {}, {"c": 2.3}),
    *cases("welsch", {}, {"c": 2.3}),
    *cases("geman_mcclure", {}, {"c": 2.3}),
    *cases("fair", {}, {"c": 2.3}),
    *cases("tukey", {}, {"c": 2.3}),
]

#: Losses of labels 0 and 1 with some of their parameters.
IGNORING = [
    ("binary_cross_entropy", {"alpha": 0.7, "label_smoothing": 0.2}),
    ("binary_cross_entropy_with_logits", {}, {"pos_weight": weight_of_last_axis, "alpha": 0.7}),
    ("binary_focal", {"gamma": 0.5}),
    ("sigmoid_focal", {}),
    ("sigmoid_poly1", {}),
    ("brier", {}),
]
IGNORED = {"ignore_index": 255}
SOME_IGNORED = {"target": unit_some_ignored}

BINARY = [
    *cases(
        "binary_cross_entropy",
        {},
        {"alpha": 0.25},
        {"label_smoothing": 0.1},
        {"alpha": 0.7, "label_smoothing": 0.2},
    ),
    *cases(
        "binary_cross_entropy_with_logits",
        {},
        {"pos_weight": 2.5},
        {"pos_weight": weight_of_last_axis},
        {"alpha": 0.25},
        {"label_smoothing": 0.1},
        {"pos_weight": weight_of_last_axis, "alpha": 0.7, "label_smoothing": 0.2},
    ),
    *cases("binary_focal", *FOCAL),
    *cases("sigmoid_focal", *FOCAL),
    *cases("sigmoid_poly1", {}, {"epsilon": -0.5}),
    *cases("brier"),
    *(case for name, *more in IGNORING for case in cases(name, *({**x, **IGNORED} for x in more), **SOME_IGNORED)),
    *cases("hinge", {}, {"margin": 0.25}),
    *cases("squared_hinge", {}, {"margin": 0.25}),
    *cases("modified_huber"),
    *cases("logistic"),
    *cases("exponential"),
    *cases("perceptron"),
]

REGULARIZATION = [
    *cases("l1", {}, {"strength": 0.3}),
    *cases("l2", {}, {"strength": 0.3}),
    *cases("elastic_net", {}, {"strength": 0.3, "l1_ratio": 0.9}),
]

RANKING = [
    *cases("margin_ranking", {}, {"margin": 0.7}),
    *cases("hinge_embedding", {}, {"margin": 0.3}),
]

WEIGHTED = {"class_weight": weight_per_class}
SMOOTHED = {"label_smoothing": 0.1}
BOTH = WEIGHTED | {"label_smoothing": 0.2}
SOFTMAX_FOCAL = [{"gamma": 0}, {"gamma": 0.5}, {"gamma": 1.0}, {}, {"gamma": 2.7} | WEIGHTED]
POLY1 = [{}, {"epsilon": -0.5} | WEIGHTED]
POLY1_SMOOTH = {"epsilon": 2.5} | BOTH

SOFTMAX = [
    *cases("cross_entropy", {}, {"ignore_index": 0}, WEIGHTED, SMOOTHED, {"z_loss": 0.01}, exact_derivatives=True),
    *cases("cross_entropy", BOTH | {"z_loss": 0.1}, target=labels_some_ignored, exact_derivatives=True),
    *cases("cross_entropy", {}, WEIGHTED, BOTH | {"z_loss": 0.1}, target=probabilities, exact_derivatives=True),
    *cases("softmax_focal", {"gamma": 5.0}, target=labels_some_ignored),
    *cases_of_targets("softmax_focal", (labels, probabilities), *SOFTMAX_FOCAL),
    *cases("poly1_cross_entropy", POLY1_SMOOTH, target=labels_some_ignored),
    *cases("poly1_cross_entropy", *POLY1),
    *cases("poly1_cross_entropy", *POLY1, POLY1_SMOOTH, target=probabilities),
]

SQUARED = {"power": 2}
MARGINS = [
    *cases("multiclass_hinge", {}, {"ignore_index": 0}, {"margin": 0.25} | SQUARED | WEIGHTED, exact_derivatives=True),
    *cases("multiclass_hinge", SQUARED, target=labels_some_ignored, exact_derivatives=True),
    *cases("crammer_singer", {}, {"ignore_index": 0}, {"margin": 0.25} | WEIGHTED, exact_derivatives=True),
    *cases("crammer_singer", target=labels_some_ignored, exact_derivatives=True),
]

OF_LOGARITHMS = {"pred": log_probabilities}
TERMS = [
    *cases("categorical_cross_entropy", {"ignore_index": 0}),
    *cases_of_targets(
        "categorical_cross_entropy", (labels, labels_some_ignored, probabilities), {}, WEIGHTED, SMOOTHED, BOTH
    ),
    *cases("nll", {"ignore_index": 0}, **OF_LOGARITHMS),
    *cases_of_targets("nll", (labels, labels_some_ignored, probabilities), {}, WEIGHTED, **OF_LOGARITHMS),
    *cases("multilabel_soft_margin", {}, WEIGHTED),
    *cases("kl_divergence", **OF_LOGARITHMS, target=probabilities),
    *cases("kl_divergence", {"log_target": True}, **OF_LOGARITHMS, target=log_probabilities),
    *cases("js_divergence", {}, {"beta": 0.1}, **OF_LOGARITHMS, target=log_probabilities),
    *cases("gaussian_kl"),
]

VECTORS = [
    *cases("contrastive", {}, {"margin": 6.0}),
    *cases("triplet", {"p": 1.0}, {"p": np.inf}, {"p": 3.5, "swap": True}, {"p": np.inf, "swap": True}),
    *cases("triplet", {"eps": 0.0}, {"margin": 2.0, "swap": True}, {}),
    *cases("cosine_embedding", {}, {"margin": 0.3}),
    *cases("cosine_distance"),
]

IN_BATCH = [
    *cases("info_nce", {}, {"temperature": 1.0}, own_loss_alone=True),
    *cases("info_nce", {"symmetric": True}),
    *cases("clip"),
    *cases("siglip", logit_bias=bias, own_loss_alone=True),
    *cases("nt_xent", {}, {"temperature": 0.1}),
    *cases("supcon", {}, {"temperature": 2.0}),
    *cases("batch_hard_triplet", {}, {"soft": True}, {"margin": 0.3}),
]

CHUNKED = {"chunk_bytes": 2000}
LINEAR = [
    *cases("linear_cross_entropy", {}, {"ignore_index": 0} | CHUNKED, WEIGHTED),
    *cases("linear_cross_entropy", BOTH | {"z_loss": 0.1} | CHUNKED, target=labels_some_ignored, bias=real),
    *cases("linear_cross_entropy", SMOOTHED | CHUNKED, BOTH | {"z_loss": 0.1}, target=probabilities, bias=real),
    *cases("linear_softmax_focal", {"gamma": 0.5} | CHUNKED, {"gamma": 2.7} | WEIGHTED, bias=real),
    *cases("linear_softmax_focal", {} | CHUNKED, target=probabilities),
    *cases("linear_poly1_cross_entropy", {}, POLY1_SMOOTH | CHUNKED, target=labels_some_ignored, bias=real),
    *cases("linear_poly1_cross_entropy", POLY1_SMOOTH, target=probabilities),
    *cases("linear_multiclass_hinge", {}, {"margin": 0.25} | SQUARED | WEIGHTED | CHUNKED, bias=real),
    *cases("linear_multiclass_hinge", SQUARED | CHUNKED, target=labels_some_ignored),
]
OF_SEQUENCES = {"targets": sequences_of_labels, "input_lengths": frames, "target_lengths": numbers_of_labels}
ALIGNMENTS = [*cases("ctc", {}, {"zero_infinity": True}, **OF_SEQUENCES)]
TREES = [*cases("hierarchical_cross_entropy", {"tree": fl.HuffmanTree(range(9))}, target=classes_of_tree)]
ENDS = {"start": score_of_tag, "end": score_of_tag}
CHAINS = [
    *cases("linear_chain_crf", tags=tags, transitions=moves),
    *cases("linear_chain_crf", tags=tags, transitions=moves_far_apart, lengths=lengths),
    *cases("linear_chain_crf", tags=tags_that_rise, transitions=moves_that_rise, lengths=lengths, **ENDS),
    *cases("structured_hinge", tags=tags, transitions=moves),
    *cases("structured_hinge", {"margin": 0.3}, tags=tags, transitions=moves, lengths=lengths, **ENDS),
]

CASES = REGRESSION + BINARY + REGULARIZATION + RANKING + SOFTMAX + MARGINS + TERMS + VECTORS + IN_BATCH
CASES += LINEAR + ALIGNMENTS + TREES + CHAINS


# ---------------------------------------------------------------------------------------------------------------------
# What the numbers among the parameters have to be


#: What an error says that a number must be, and some numbers that are not.
NUMBERS = {
    "finite": [np.inf, -np.inf, np.nan],
    "finite and > 0": [0, -1, np.inf, np.nan, -0.0],
    "finite and >= 0": [-1e-9, np.inf, np.nan],
    "in [0, 1]": [-0.1, 1.5, np.nan, np.inf],
    "in [-1, 1]": [-1.5, 1.001, np.nan, np.inf],
    "in (1, 2)": [1, 2.0, 0, np.nan, np.inf],
    "in (0, 1)": [0, 1.0, -0.5, np.nan, np.inf],
    ">= 0, or inf": [-1e-9, -np.inf, np.nan],
    ">= 1, or inf": [0.999, -np.inf, np.nan],
}

#: The limits of a parameter, by its name, or by the names of loss and parameter where a loss has its own. Those of
#: None have other rules, and their own tests in families/.
LIMITS = {
    "alpha": "in [0, 1]",
    "beta": ">= 0, or inf",
    "blank": None,
    ("js_divergence", "beta"): "in (0, 1)",
    "c": ">= 0, or inf",
    "delta": ">= 0, or inf",
    "eps": "finite and >= 0",
    ("gaussian_nll", "eps"): "finite and > 0",
    "epsilon": "finite and >= 0",
    ("sigmoid_poly1", "epsilon"): "finite",
    ("poly1_cross_entropy", "epsilon"): "finite",
    ("linear_poly1_cross_entropy", "epsilon"): "finite",
    "gamma": "finite and >= 0",
    "l1_ratio": "in [0, 1]",
    "label_smoothing": "in [0, 1]",
    "margin": "finite",
    ("contrastive", "margin"): "finite and >= 0",
    ("cosine_embedding", "margin"): "in [-1, 1]",
    ("batch_hard_triplet", "margin"): "finite and >= 0",
    ("triplet", "p"): ">= 1, or inf",
    "power": "in (1, 2)",
    ("multiclass_hinge", "power"): None,
    ("linear_multiclass_hinge", "power"): None,
    "q": None,
    "strength": "finite and >= 0",
    "temperature": "finite and > 0",
    "z_loss": "finite and >= 0",
}


def limits(loss, parameter):
    return LIMITS[(loss, parameter) if (loss, parameter) in LIMITS else parameter]

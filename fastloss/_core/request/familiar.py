"""Names that other libraries use for what fastloss calls otherwise: errors point from these to ours."""

from __future__ import annotations

import re
from collections.abc import Iterable

#: Names of losses elsewhere (PyTorch, Keras, optax, scikit-learn, torchvision), and ours. Names of classes are looked
#: up in the form `snake_case`, with the ending `_loss` and without it.
NAMES = {
    "absolute_error": "mae",
    "bce": "binary_cross_entropy",
    "bce_with_logits": "binary_cross_entropy_with_logits",
    "binary_crossentropy": "binary_cross_entropy",
    "binary_focal_crossentropy": "binary_focal",
    "categorical_crossentropy": "categorical_cross_entropy",
    "categorical_focal_crossentropy": "softmax_focal",
    "categorical_hinge": "crammer_singer",
    "cosine_similarity": "cosine_distance",
    "cross_entropy_with_logits": "cross_entropy",
    "focal": "sigmoid_focal",
    "half_binomial": "binary_cross_entropy_with_logits",
    "half_gamma": "gamma_nll",
    "half_multinomial": "cross_entropy",
    "half_poisson": "poisson_nll",
    "half_squared_error": "mse",
    "half_tweedie": "tweedie",
    "hierarchical_softmax": "hierarchical_cross_entropy",
    "infonce": "info_nce",
    "kl_div": "kl_divergence",
    "kld": "kl_divergence",
    "l1_loss": "mae",
    "l2_loss": "mse",
    "log_loss": "binary_cross_entropy",
    "logcosh": "log_cosh",
    "mean_absolute_error": "mae",
    "mean_absolute_percentage_error": "mape",
    "mean_gamma_deviance": "gamma_nll",
    "mean_pinball_loss": "quantile",
    "mean_poisson_deviance": "poisson_nll",
    "mean_squared_error": "mse",
    "mean_squared_log_error": "msle",
    "mean_squared_logarithmic_error": "msle",
    "mean_tweedie_deviance": "tweedie",
    "multi_label_soft_margin": "multilabel_soft_margin",
    "multi_margin": "multiclass_hinge",
    "ntxent": "nt_xent",
    "pinball": "quantile",
    "poisson": "poisson_nll",
    "poly_loss_cross_entropy": "poly1_cross_entropy",
    "sig_lip": "siglip",
    "sigmoid_binary_cross_entropy": "binary_cross_entropy_with_logits",
    "sigmoid_cross_entropy_with_logits": "binary_cross_entropy_with_logits",
    "soft_margin": "logistic",
    "softmax_cross_entropy": "cross_entropy",
    "softmax_cross_entropy_with_integer_labels": "cross_entropy",
    "softmax_cross_entropy_with_logits": "cross_entropy",
    "sparse_categorical_crossentropy": "categorical_cross_entropy",
    "squared_error": "mse",
    "sup_con": "supcon",
    "triplet_margin": "triplet",
}

#: Keyword arguments elsewhere, and ours. An error names those that the loss has.
KEYWORDS = {
    "class_weights": ("class_weight",),
    "dim": ("axis",),
    "ignore_class": ("ignore_index",),
    "ignore_label": ("ignore_index",),
    "l1_wt": ("l1_ratio",),
    "label_smooth": ("label_smoothing",),
    "p": ("power",),
    "pos_weights": ("pos_weight",),
    "quantile": ("q",),
    "reduce": ("reduction",),
    "sample_weights": ("sample_weight",),
    "size_average": ("reduction",),
    "smoothing": ("label_smoothing",),
    "tau": ("temperature", "q"),
    "temperature": ("logit_scale",),
    "weight": ("class_weight", "sample_weight"),
    "weight_decay": ("strength",),
    "weights": ("class_weight", "sample_weight"),
}

#: The parameters of each loss, by its name. `Loss` adds them.
PARAMETERS: dict[str, tuple[str, ...]] = {}


def our_name(name: str, ours: Iterable[str]) -> str | None:
    """Our name for a loss of another library: from the table, or what is left without the ending `_loss`."""
    snake = re.sub(r"(?<=[a-z0-9])(?=[A-Z])|(?<=[A-Z])(?=[A-Z][a-z])", "_", name).lower()
    names = snake, snake.removesuffix("_loss")
    return next((NAMES.get(x, x) for x in names if x in NAMES or x in ours), None)


def keyword_hint(loss: str, name: str) -> str:
    """What an error about an unknown keyword adds: "", or our names for it that the loss has."""
    ours = [x for x in KEYWORDS.get(name, ()) if x in PARAMETERS.get(loss, ())]
    return f": {loss} has {' and '.join(ours)}" if ours else ""

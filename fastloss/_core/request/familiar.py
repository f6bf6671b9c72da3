"""Names that other libraries use for what fastloss calls otherwise: errors point from these to ours."""

from __future__ import annotations

#: Names of losses elsewhere (PyTorch, Keras, optax, scikit-learn, torchvision), and ours.
NAMES = {
    "absolute_error": "mae",
    "bce": "binary_cross_entropy",
    "bce_loss": "binary_cross_entropy",
    "bce_with_logits_loss": "binary_cross_entropy_with_logits",
    "binary_crossentropy": "binary_cross_entropy",
    "binary_focal_crossentropy": "binary_focal",
    "categorical_crossentropy": "categorical_cross_entropy",
    "categorical_hinge": "crammer_singer",
    "cosine_similarity": "cosine_distance",
    "focal_loss": "sigmoid_focal",
    "half_squared_error": "mse",
    "infonce": "info_nce",
    "kl_div": "kl_divergence",
    "kld": "kl_divergence",
    "l1_loss": "mae",
    "l2_loss": "mse",
    "log_loss": "binary_cross_entropy",
    "logcosh": "log_cosh",
    "mean_absolute_error": "mae",
    "mean_absolute_percentage_error": "mape",
    "mean_squared_error": "mse",
    "mean_squared_logarithmic_error": "msle",
    "multi_margin_loss": "multiclass_hinge",
    "multilabel_soft_margin_loss": "multilabel_soft_margin",
    "ntxent": "nt_xent",
    "pinball_loss": "quantile",
    "poly_loss_cross_entropy": "poly1_cross_entropy",
    "sigmoid_binary_cross_entropy": "binary_cross_entropy_with_logits",
    "sigmoid_focal_loss": "sigmoid_focal",
    "soft_margin_loss": "logistic",
    "softmax_cross_entropy": "cross_entropy",
    "softmax_cross_entropy_with_integer_labels": "cross_entropy",
    "sparse_categorical_crossentropy": "cross_entropy",
    "squared_error": "mse",
    "triplet_margin_loss": "triplet",
}

#: Keyword arguments elsewhere, and ours.
KEYWORDS = {
    "class_weights": ("class_weight",),
    "dim": ("axis",),
    "ignore_class": ("ignore_index",),
    "reduce": ("reduction",),
    "sample_weights": ("sample_weight",),
    "size_average": ("reduction",),
    "smoothing": ("label_smoothing",),
    "weight": ("class_weight", "sample_weight"),
    "weights": ("class_weight", "sample_weight"),
}


def our_name(name: str, ours: list[str]) -> str | None:
    """Our name for a loss of another library: from the table, or what is left without a suffix."""
    plain = name.removesuffix("_loss").removesuffix("_with_logits")
    return NAMES.get(name) or next((x for x in (name.removesuffix("_loss"), plain) if x in ours), None)


def keyword_hint(name: str) -> str:
    """What an error about an unknown keyword adds: "", or our names for it."""
    return f": fastloss has {' and '.join(KEYWORDS[name])}" if name in KEYWORDS else ""

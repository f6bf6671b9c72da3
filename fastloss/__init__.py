"""Loss functions and their gradients for NumPy arrays, fused into one pass on the CPU."""

from fastloss._cpu import get_num_threads, set_num_threads, show_config
from fastloss._loss import Loss
from fastloss.classification import binary_cross_entropy_with_logits, cross_entropy, hinge
from fastloss.regression import huber, mae, mse
from fastloss.regularization import dropout, max_norm

__version__ = "0.1.0"

__all__ = [
    "Loss",
    "binary_cross_entropy_with_logits",
    "cross_entropy",
    "dropout",
    "get_num_threads",
    "hinge",
    "huber",
    "mae",
    "max_norm",
    "mse",
    "set_num_threads",
    "show_config",
]

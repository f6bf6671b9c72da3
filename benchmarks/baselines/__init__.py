"""Every loss as a good NumPy user writes it: vectorised, stable in the tails, in place where that is natural.

Each takes its inputs, its parameters and `out`, and returns the mean loss (the sum, of a regulariser) and its gradient.
They serve three times: as what fastloss is compared with, as the plain half of the training runs, and, called with a
wider dtype, as the reference that the timed calls are checked against. They may assume ordinary finite input.
"""

from collections.abc import Callable
from typing import Any

from . import batches, binary, classes, divergence, embedding, regression, regularization


def find(loss: str) -> Callable[..., tuple[float, Any]]:
    """The function of this name, in whichever module it is."""
    modules = (regression, binary, classes, divergence, embedding, batches, regularization)
    return next(vars(module)[loss] for module in modules if loss in vars(module))

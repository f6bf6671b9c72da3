"""Loss functions and their gradients for NumPy arrays, computed in one call on the CPU.

Call a loss for its value. Its methods ``grad``, ``value_and_grad`` and ``grad_and_hess`` compute derivatives.
``normalizer`` returns what the mean divides by. `fastloss.Loss` explains the arguments that all losses share.

{modules}
Threads and configuration: `get_num_threads`, `set_num_threads`, `show_config`.

Examples
--------
>>> import numpy as np, fastloss as fl
>>> logits, labels = np.array([[2.0, 0.0], [0.0, 1.0]]), np.array([0, 1])
>>> value, grad = fl.cross_entropy.value_and_grad(logits, labels)
>>> round(value, 4), grad.round(4)
(0.2201, array([[-0.0596,  0.0596],
       [ 0.1345, -0.1345]]))
"""

from typing import TYPE_CHECKING, Any

from fastloss import (
    binary,
    divergence,
    embedding,
    in_batch,
    likelihood,
    linear,
    margin,
    multiclass,
    regression,
    regularization,
    robust,
    structured,
)
from fastloss._core.calls.kernels import show_config
from fastloss._core.cpu.threads import get_num_threads, set_num_threads
from fastloss._core.request.familiar import our_name as _our_name
from fastloss._loss import Loss
from fastloss._version import __version__ as __version__
from fastloss.binary import *
from fastloss.divergence import *
from fastloss.embedding import *
from fastloss.in_batch import *
from fastloss.in_batch import clip as clip
from fastloss.likelihood import *
from fastloss.linear import *
from fastloss.margin import *
from fastloss.multiclass import *
from fastloss.regression import *
from fastloss.regularization import *
from fastloss.robust import *
from fastloss.structured import *

_MODULES = (
    regression, robust, likelihood, binary, margin, multiclass, divergence, embedding, in_batch, linear, structured,
    regularization,
)  # fmt: skip

__all__ = ["Loss", "get_num_threads", "set_num_threads", "show_config"]
__all__ += regression.__all__ + robust.__all__ + likelihood.__all__ + binary.__all__ + margin.__all__
__all__ += multiclass.__all__ + divergence.__all__ + embedding.__all__ + in_batch.__all__ + linear.__all__
__all__ += structured.__all__ + regularization.__all__

if __doc__:  # python -OO drops docstrings
    # Each module says what its losses are for and what their inputs hold, before it comes to the common arguments.
    _about = [f"{m.__name__}:\n\n{(m.__doc__ or '').partition('The arguments')[0]}" for m in _MODULES]
    __doc__ = __doc__.format(modules="".join(_about).rstrip() + "\n")

if not TYPE_CHECKING:  # a type checker would take it that every name exists

    def __getattr__(name: str) -> Any:
        """Raise AttributeError, and name our loss if another library uses the given name."""
        ours = _our_name(name, __all__)
        hint = f": see fastloss.{ours}" if ours else ""
        raise AttributeError(f"module 'fastloss' has no attribute {name!r}{hint}", name=name)

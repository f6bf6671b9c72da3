"""The libraries that are compared, one module each, behind one function: `bind(case, inputs, threads)` returns a call.

The call takes no arguments and returns the mean loss and its gradient, or a tuple of gradients. `bind` is not timed: it
converts the inputs to the library's own arrays, compiles, and allocates what can be reused. It returns None if the
library has no such loss. A module raises ImportError if its library is not installed.

A module is named after its library, in lower case. It has an underscore at its end if it would else have the name of
the package that it imports.
"""

from collections.abc import Callable
from dataclasses import dataclass
from importlib import import_module

from ..case import Case
from ..shared_types import Arrays, Call

Bind = Callable[[Case, Arrays, int], Call | None]  # the last argument is the number of threads

OURS, BASELINE = "fastloss", "NumPy"
MODULES = {
    OURS: "fastloss_",
    BASELINE: "numpy_",
    "PyTorch": "pytorch",
    "torch.compile": "torch_compile",
    "JAX": "jax_",
    "scikit-learn": "scikit_learn",
    "numba": "numba_",
    "numexpr": "numexpr_",
}
#: The losses that torch.compile compiles; numba and numexpr have most of them too. They are shown by thread count.
REPRESENTATIVE = ("mse", "huber", "log_cosh", "poisson_nll", "binary_cross_entropy_with_logits", "cross_entropy")
#: The libraries that have only these losses.
FEW = ("torch.compile", "numba", "numexpr")
#: The libraries whose compiler takes half a minute to start.
SLOW_TO_START = ("torch.compile",)


@dataclass(frozen=True)
class Library:
    name: str
    version: str
    threads: int
    _bind: Bind

    def bind(self, case: Case, inputs: Arrays) -> Call | None:
        return self._bind(case, inputs, self.threads)


def load(name: str, threads: int) -> Library:
    """Return one library, set to this number of threads. Raise ImportError if it is not installed."""
    module = import_module(f".{MODULES[name]}", __name__)
    return Library(name, module.VERSION, threads, module.bind)


def load_installed(threads: int, quick: bool = False) -> tuple[list[Library], list[str]]:
    """Return the libraries that are installed, and the names of the others with the reason."""
    found: list[Library] = []
    missing: list[str] = []
    for name in MODULES:
        if quick and name in SLOW_TO_START:
            missing.append(f"{name} (quick run)")
            continue
        try:
            found.append(load(name, threads))
        except ImportError:
            missing.append(f"{name} (not installed)")
    return found, missing

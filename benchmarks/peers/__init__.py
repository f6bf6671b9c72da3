"""Everything that is compared, behind one shape: a contender binds a case to its data and returns a call.

The call takes no arguments and returns the mean loss and its gradient (gradients, where several inputs have one).
Converting the inputs into a library's own arrays, compiling and allocating what can be reused happen in `bind`, which
is not timed. A contender that has no such loss returns None. A library that is not installed is left out by name.
"""

from collections.abc import Callable
from dataclasses import dataclass
from importlib import import_module

from ..cases import Case
from ..types import Array, Call

Bind = Callable[[Case, tuple[Array, ...], int], Call | None]  # the last is the number of threads

# Each module has VERSION and `bind`.
MODULES = {
    "fastloss": "ours",
    "NumPy": "plain",
    "PyTorch": "pytorch",
    "torch.compile": "torch_compile",
    "JAX": "google_jax",
    "scikit-learn": "scikit_learn",
    "numba": "numba_jit",
    "numexpr": "numexpr_evaluate",
}
FEW = ("torch.compile", "numba", "numexpr")  # these have only the losses of cases.REPRESENTATIVE, or fewer
SLOW_TO_START = ("torch.compile",)  # half a minute until its compiler has begun


@dataclass(frozen=True)
class Contender:
    name: str
    version: str
    threads: int
    _bind: Bind

    def bind(self, case: Case, inputs: tuple[Array, ...]) -> Call | None:
        return self._bind(case, inputs, self.threads)


def load(name: str, threads: int) -> Contender:
    """One contender, set to this number of threads; ImportError if it is not installed."""
    module = import_module(f".{MODULES[name]}", __name__)
    return Contender(name, module.VERSION, threads, module.bind)


def load_installed(threads: int, quick: bool = False) -> tuple[list[Contender], list[str]]:
    """The contenders that are installed, and the names of those that are left out, with the reason."""
    found: list[Contender] = []
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

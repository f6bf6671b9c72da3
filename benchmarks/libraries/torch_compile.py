"""PyTorch through torch.compile: a few losses in float32, since the C++ compiler takes seconds for each shape."""

import shutil
from functools import lru_cache
from typing import Any

import torch

from ..case import Case
from ..shared_types import Arrays, Call
from . import REPRESENTATIVE, pytorch

if not any(map(shutil.which, ("c++", "g++", "clang++"))):
    raise ImportError("torch.compile needs a C++ compiler")

VERSION = torch.__version__
torch._dynamo.config.recompile_limit = 64


def bind(case: Case, inputs: Arrays, threads: int) -> Call | None:
    if case.loss not in REPRESENTATIVE or case.dtype != "float32":
        return None
    return pytorch.bind(case, inputs, threads, _compile)


@lru_cache(maxsize=1)  # cases of a loss follow each other
def _compile(function: Any) -> Any:
    torch.compiler.reset()  # all losses count as one function, and one with too many shapes runs eagerly
    return torch.compile(function)

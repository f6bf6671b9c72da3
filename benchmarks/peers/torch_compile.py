"""PyTorch through torch.compile: a few losses in float32, since each shape takes seconds of a C++ compiler."""

import shutil
from functools import lru_cache
from typing import Any

import torch

from ..cases import REPRESENTATIVE, Case
from ..types import Arrays, Call
from . import pytorch

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
    torch.compiler.reset()  # all losses count as one function: past its limit of shapes, that runs eagerly
    return torch.compile(function)

"""PyTorch through torch.compile: a few losses in float32, since each shape takes seconds of a C++ compiler."""

import shutil
from functools import cache
from typing import Any

import torch

from ..cases import REPRESENTATIVE, Case
from ..types import Arrays, Call
from . import pytorch

if not any(map(shutil.which, ("c++", "g++", "clang++"))):
    raise ImportError("torch.compile needs a C++ compiler")

VERSION = torch.__version__


def bind(case: Case, inputs: Arrays, threads: int) -> Call | None:
    if case.loss not in REPRESENTATIVE or case.dtype != "float32":
        return None
    return pytorch.bind(case, inputs, threads, _compile)


@cache
def _compile(function: Any) -> Any:
    return torch.compile(function)

"""`pytest benchmarks`: every loss beside its NumPy baseline, in pytest-benchmark's tables. See README.md."""

from functools import lru_cache
from typing import Any

import pytest

import fastloss

from ..case import Case
from ..libraries import load
from ..shared_types import Arrays
from .cases import grid

LIBRARIES = {name: load(name, fastloss.get_num_threads()) for name in ("fastloss", "NumPy")}


def name(case: Case) -> str:
    return f"{case.loss}-{case.scale}-{'x'.join(map(str, case.shape))}-{case.dtype}"


@lru_cache(maxsize=1)  # the libraries of a case follow each other
def data(case: str) -> Arrays:
    return CASES[case].data()


CASES = {name(case): case for case in grid()}


@pytest.mark.parametrize("library", LIBRARIES)
@pytest.mark.parametrize("case", CASES)
@pytest.mark.benchmark(min_time=1e-3, max_time=0.2, min_rounds=3, disable_gc=True)
def test_value_and_grad(benchmark: Any, case: str, library: str) -> None:
    benchmark.group = CASES[case].name
    benchmark.name = library
    benchmark(LIBRARIES[library].bind(CASES[case], data(case)))

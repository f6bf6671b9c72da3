"""`pytest benchmarks`: every loss beside its NumPy baseline, in pytest-benchmark's tables. See README.md."""

from functools import lru_cache
from typing import Any

import pytest

import fastloss

from .cases import Case, grid
from .peers import load
from .types import Arrays

CONTENDERS = {name: load(name, fastloss.get_num_threads()) for name in ("fastloss", "NumPy")}


def name(case: Case) -> str:
    scale = "small" if case.size <= 1000 else "large" if case.large else "medium"
    return f"{case.loss}-{scale}-{'x'.join(map(str, case.shape))}-{case.dtype}"


@lru_cache(maxsize=1)  # both contenders of a case follow each other
def data(case: str) -> Arrays:
    return CASES[case].data()


CASES = {name(case): case for case in grid()}


@pytest.mark.parametrize("contender", CONTENDERS)
@pytest.mark.parametrize("case", CASES)
@pytest.mark.benchmark(min_time=1e-3, max_time=0.2, min_rounds=3, disable_gc=True)
def test_value_and_grad(benchmark: Any, case: str, contender: str) -> None:
    benchmark.group = f"{CASES[case].loss} {CASES[case].label}"
    benchmark.name = contender
    benchmark(CONTENDERS[contender].bind(CASES[case], data(case)))

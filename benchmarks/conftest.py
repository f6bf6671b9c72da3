"""What `pytest benchmarks` collects, and the columns of its tables."""

from pathlib import Path

import pytest


def pytest_ignore_collect(collection_path: Path) -> bool | None:
    """Doctests are collected from every module; here they would import the peers, installed or not."""
    return True if collection_path.suffix == ".py" and not collection_path.name.startswith("test_") else None


@pytest.hookimpl(tryfirst=True)  # before pytest-benchmark reads it
def pytest_configure(config: pytest.Config) -> None:
    if getattr(config.option, "benchmark_columns", ...) is None:
        config.option.benchmark_columns = ["min", "median", "iqr", "rounds", "iterations"]

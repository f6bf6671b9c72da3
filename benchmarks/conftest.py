"""What `pytest benchmarks` collects, and the columns of its tables."""

from pathlib import Path

import pytest


def pytest_ignore_collect(collection_path: Path) -> bool | None:
    """Ignore all modules but the tests. Doctest would import the modules of libraries that are not installed."""
    return True if collection_path.suffix == ".py" and not collection_path.name.startswith("test_") else None


@pytest.hookimpl(tryfirst=True)  # before pytest-benchmark reads it
def pytest_configure(config: pytest.Config) -> None:
    if getattr(config.option, "benchmark_columns", ...) is None:
        config.option.benchmark_columns = ["min", "median", "iqr", "rounds", "iterations"]

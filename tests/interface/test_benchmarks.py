"""The command line of `python -m benchmarks`. What it measures is checked by itself, against the NumPy losses."""

from pathlib import Path

import pytest

command = pytest.importorskip("benchmarks.__main__", reason="needs the repository's root on the path")


@pytest.mark.parametrize("line", ["--quick --threads 1 --output x report", "report --quick --threads 1 --output x"])
def test_options_count_before_and_after_the_command(monkeypatch, line):
    monkeypatch.setattr("sys.argv", ["benchmarks", *line.split()])
    args = command.arguments()
    assert (args.quick, args.threads, args.output, args.command) == (True, 1, Path("x"), "report")


FOLDERS = {"": "benchmarks/results", "report": "benchmarks/results", "curves": "docs/curves", "--output x curves": "x"}


@pytest.mark.parametrize("line, folder", FOLDERS.items())
def test_default_folders(monkeypatch, line, folder):
    monkeypatch.setattr("sys.argv", ["benchmarks", *line.split()])
    args = command.arguments()
    assert args.output == Path(folder)
    assert not args.quick and args.threads is None

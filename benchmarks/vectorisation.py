"""`python -m benchmarks.vectorisation`: which loops of the losses GCC does not vectorise. Builds everything: minutes.

Each loss has functions of its own for float and double, `..._loops` or `..._settle`. Of these the compiler's notes are
read; loops that the drivers share are not looked at.
"""

import os
import re
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

from rich.console import Console

from .tables import Table

FUNCTION = re.compile(r";; Function __pyx_fuse_([01])__pyx_f_\S*?kernels_\d+[a-z]+_(\w+?)_(?:loops|settle)\b")
NOTE = re.compile(r"(\S+\.c:\d+):\d+: (optimized: +loop vectorized|missed: +couldn't vectorize loop)")


def compile_all(folder: Path) -> list[Path]:
    """Build the extensions elsewhere, with the notes of GCC's vectoriser beside the objects."""
    command = [sys.executable, "setup.py", "build_ext", "--force", f"--build-temp={folder}", f"--build-lib={folder}"]
    flags = f"{os.environ.get('CFLAGS', '')} -w -fdump-tree-vect-optimized-missed"
    subprocess.run(command, check=True, stdout=subprocess.DEVNULL, env=os.environ | {"CFLAGS": flags})
    return sorted(folder.rglob("*.vect"))


def loops(notes: Path) -> Iterator[tuple[str, str, int, list[str]]]:
    """Of each loss: its name, its dtype, how many loops it has, and where those are that are not vectorised."""
    for part in re.split(r"(?=^;; Function )", notes.read_text(), flags=re.MULTILINE):
        if head := FUNCTION.match(part):
            found: dict[str, bool] = {}  # a loop may be vectorised in one of several versions, which is enough
            for place, note in NOTE.findall(part):
                found[place] = found.get(place, False) or note.startswith("optimized")
            missed = [place for place, vectorised in found.items() if not vectorised]
            yield head[2], ("float32", "float64")[int(head[1])], len(found), missed


def source(place: str) -> str:
    """The file and line of Cython that Cython names in the comment above a line of C."""
    path, _, number = place.partition(":")
    above = "\n".join(Path(path).read_text().splitlines()[: int(number)])
    origin = re.findall(r'/\* "(\S+):(\d+)', above.replace('":', ":"))
    return f"{Path(origin[-1][0]).name}:{origin[-1][1]}" if origin else place


def main() -> None:
    table = Table("Loops that are not vectorised", ("loss", "dtype", "loops", "missed", "where"))
    total = 0
    with tempfile.TemporaryDirectory() as folder:
        for notes in compile_all(Path(folder)):
            unit = notes.name.partition(".")[0]
            for loss, dtype, number, missed in loops(notes):
                total += number
                if missed:
                    where = ", ".join(sorted(set(map(source, missed))))
                    table.add((loss, dtype, str(number), str(len(missed)), where), unit)
    table.notes.append(f"Of {total} loops.")
    table.show(Console())


if __name__ == "__main__":
    main()

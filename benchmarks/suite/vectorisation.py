"""Which loops of the losses GCC does not vectorise. It builds everything, which takes minutes.

The compiled functions of a loss begin with its name, once for float and once for double. GCC's notes about these are
read, in whatever module they are. Loops that the drivers share are not looked at.
"""

import os
import re
import subprocess
import sys
import tempfile
from collections import Counter
from collections.abc import Iterator, Sequence
from pathlib import Path

from rich.console import Console

from ..case import LOSSES
from ..output.report import progress
from ..output.tables import Table

#: The name of a function, its dtype, its number of loops, and the places of those that are not vectorised.
Function = tuple[str, str, int, set[str]]

DTYPES = ("float32", "float64")  # in the order in which Cython numbers the versions of a function
FUNCTION = re.compile(r";; Function __pyx_fuse_([01])__pyx_f_(\w+)")
LOSS = re.compile(rf"({'|'.join(sorted(LOSSES, key=len, reverse=True))})(?:_|$)")
NOTE = re.compile(r"(\S+\.c:\d+):\d+: (optimized: +loop vectorized|missed: +couldn't vectorize loop)")


def run(console: Console) -> None:
    table = Table("Loops that are not vectorised", ("function", "dtype", "loops", "missed", "where"))
    total = 0
    with tempfile.TemporaryDirectory() as folder:
        console.print("Building with the notes of GCC's vectoriser ...")
        compile_all(Path(folder))
        with progress(console) as bars:
            for notes in bars.track(sorted(Path(folder).rglob("*.vect")), description="notes"):
                bars.refresh()
                functions = list(loops(notes.read_text()))
                total += sum(number for _, _, number, _ in functions)
                module = notes.name.partition(".c.")[0].removeprefix("fastloss._core.kernels.")
                for row in rows(functions):
                    table.add(row, module)
    table.notes.append(f"Of {total} loops.")
    table.show(console)


def rows(functions: Sequence[Function]) -> Iterator[tuple[str, ...]]:
    """Yield the functions with loops that are not vectorised. A loop that most functions share has one row for all."""
    count = Counter(place for *_, missed in functions for place in missed)
    shared = {place for place, n in count.items() if n > max(len(functions) / 2, 2)}
    if shared:
        yield "most functions", "", "", str(len(shared)), ", ".join(sorted(shared))
    for name, dtype, number, missed in functions:
        if own := missed - shared:
            yield name, dtype, str(number), str(len(own)), ", ".join(sorted(own))


def compile_all(folder: Path) -> None:
    """Build the extensions in another folder, with the notes of GCC's vectoriser beside the objects."""
    command = [sys.executable, "setup.py", "build_ext", "--force", f"--build-temp={folder}", f"--build-lib={folder}"]
    flags = f"{os.environ.get('CFLAGS', '')} -w -fdump-tree-vect-optimized-missed"
    subprocess.run(command, check=True, stdout=subprocess.DEVNULL, env=os.environ | {"CFLAGS": flags})


def loops(notes: str) -> Iterator[Function]:
    """Yield every function of a loss."""
    for part in re.split(r"(?=^;; Function )", notes, flags=re.MULTILINE):
        head = FUNCTION.match(part)
        if head and LOSS.match(function := unqualified(head[2])):
            found: dict[str, bool] = {}  # one vectorised version of a loop is enough
            for place, note in NOTE.findall(part):
                found[place] = found.get(place, False) or note.startswith("optimized")
            missed = {source(place) for place, vectorised in found.items() if not vectorised}
            yield function, DTYPES[int(head[1])], len(found), missed


def unqualified(name: str) -> str:
    """Remove the packages and the module in front of a name, which Cython writes as 8fastloss_5_core_..."""
    while length := re.match(r"\d+", name):
        name = name[length.end() + int(length[0]) + 1 :]
    return name


def source(place: str) -> str:
    """Return the file and line of Cython, which Cython names in the comment above a line of C."""
    path, _, number = place.partition(":")
    above = "\n".join(Path(path).read_text().splitlines()[: int(number)])
    origin = re.findall(r'/\* "(\S+):(\d+)', above.replace('":', ":"))
    return f"{Path(origin[-1][0]).name}:{origin[-1][1]}" if origin else place

"""A report: the tables, data and pictures of a run, shown on the console and saved in a folder."""

import json
import re
import shutil
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from matplotlib.figure import Figure
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from .drawing import save
from .tables import Table

#: Where the latest report is kept in the repository.
LATEST = Path(__file__).parents[1] / "report"


@dataclass(frozen=True)
class Report:
    """Where the results of a run go, and what the user asked for."""

    console: Console
    folder: Path
    machine: str
    threads: int
    quick: bool
    sections: list[str] = field(default_factory=list)

    def publish(self, name: str, table: Table, data: Any) -> None:
        """Show the table. Save it as `name`.md and its data as `name`.json."""
        table.show(self.console)
        self.sections.append(table.markdown())
        (self.folder / f"{name}.md").write_text(f"{table.markdown()}\n{self._machine}", encoding="utf-8")
        document = {"machine": self.machine, "threads": self.threads, "data": data}
        (self.folder / f"{name}.json").write_text(json.dumps(document, indent=1, default=str) + "\n", encoding="utf-8")

    def picture(self, name: str, title: str, figure: Figure) -> None:
        save(figure, self.folder, name)
        self.sections.append(f"![{title}]({name}.png)\n")
        self.console.print(f"{title}: {self.folder / name}.png and .svg")

    def page(self) -> str:
        """Save everything that was published as `report.md`, and return it."""
        text = "\n".join(["# Benchmark report\n", self._machine, *self.sections])
        (self.folder / "report.md").write_text(text, encoding="utf-8")
        return text

    def keep(self) -> None:
        """Replace the latest report in the repository by this one."""
        text = self.page()
        shutil.rmtree(LATEST, ignore_errors=True)
        LATEST.mkdir()
        (LATEST / "README.md").write_text(text, encoding="utf-8")
        for picture in re.findall(r"\]\((.*\.png)\)", text):
            shutil.copy(self.folder / picture, LATEST)

    @property
    def _machine(self) -> str:
        return f"```\n{self.machine}\n```\n"


def progress(console: Console) -> Progress:
    """Return a progress bar. It is redrawn only on request, so no thread draws it during a timing."""
    columns = (TextColumn("{task.description:<58}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    return Progress(*columns, console=console, auto_refresh=False)

"""What a run leaves behind: tables, on the console and as Markdown, their data as JSON, pictures, and all in a page."""

import json
import re
import shutil
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

from matplotlib.figure import Figure
from rich import box
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn
from rich.table import Table as RichTable

from .drawing import save

README, PICTURES = Path(__file__).with_name("README.md"), Path(__file__).with_name("pictures")
BEGIN, END = "<!-- report: begin -->\n", "<!-- report: end -->\n"

Row = Sequence[str]


@dataclass
class Table:
    """The rows come in named groups; a single group may be called ""."""

    title: str
    columns: Row
    groups: dict[str, list[Row]] = field(default_factory=dict)
    notes: list[str] = field(default_factory=list)

    def add(self, row: Row, group: str = "") -> None:
        self.groups.setdefault(group, []).append(row)

    def show(self, console: Console) -> None:
        console.print(f"\n[bold]{self.title}[/bold]")
        rows_of_all = [self.columns, *(row for rows in self.groups.values() for row in rows)]
        widths = [max(len(row[i]) for row in rows_of_all) for i in range(len(self.columns))]
        fits = sum(widths) + 2 * len(widths) <= console.width
        for name, rows in self.groups.items():
            table = RichTable(box=box.SIMPLE_HEAD, padding=(0, 1, 0, 0), title=name or None, title_justify="left")
            for i, (column, width) in enumerate(zip(self.columns, widths, strict=True)):
                justify: Literal["left", "right"] = "right" if i else "left"
                # one width for all groups, so that they line up; on a narrow console cells are folded instead
                table.add_column(column, justify=justify, overflow="fold", min_width=width if fits else None)
            for row in rows:
                table.add_row(*row)
            console.print(table)
        for note in self.notes:
            console.print(note, highlight=False)

    def markdown(self) -> str:
        """One table; the first row of a group names it."""
        grouped = any(self.groups)
        columns = ["", *self.columns] if grouped else self.columns
        lines = [f"## {self.title}", "", _line(columns), _line([":--"] + ["--:"] * (len(columns) - 1))]
        for name, rows in self.groups.items():
            for i, row in enumerate(rows):
                head = f"`{name}`" if i == 0 else ""
                lines.append(_line([head, *row] if grouped else row))
        return "\n".join([*lines, "", *(f"* {note}" for note in self.notes), ""])


@dataclass(frozen=True)
class Report:
    """Where the results of a run go, and what was asked of it."""

    console: Console
    folder: Path
    machine: str
    threads: int
    quick: bool
    sections: list[str] = field(default_factory=list)

    def publish(self, name: str, table: Table, data: Any) -> None:
        """Show the table; save it and its data as `name`.md and `name`.json."""
        table.show(self.console)
        self.sections.append(table.markdown())
        (self.folder / f"{name}.md").write_text(f"{table.markdown()}\n{self._machine}", encoding="utf-8")
        document = {"machine": self.machine, "threads": self.threads, "data": data}
        (self.folder / f"{name}.json").write_text(json.dumps(document, indent=1) + "\n", encoding="utf-8")

    def picture(self, name: str, title: str, figure: Figure) -> None:
        save(figure, self.folder, name)
        self.sections.append(f"![{title}]({name}.svg)\n")
        self.console.print(f"{title}: {self.folder / name}.png and .svg")

    def page(self) -> None:
        """Everything that was published, as `report.md`."""
        text = "\n".join([self._machine, *self.sections])
        (self.folder / "report.md").write_text(text, encoding="utf-8")

    def update_readme(self) -> None:
        """Everything that was published, between the two markers in README.md, with the pictures beside it."""
        text = "\n".join(["", self._machine, *self.sections, ""])
        text = re.sub("^## ", "### ", text, flags=re.MULTILINE)
        for name in re.findall(r"\]\((.*\.svg)\)", text):
            PICTURES.mkdir(exist_ok=True)
            shutil.copy(self.folder / name, PICTURES)
        text = re.sub(r"(!\[.*\]\()", rf"\1{PICTURES.name}/", text)
        before, rest = README.read_text(encoding="utf-8").split(BEGIN)
        README.write_text(before + BEGIN + text + END + rest.split(END)[1], encoding="utf-8")

    @property
    def _machine(self) -> str:
        return f"```\n{self.machine}\n```\n"


def progress(console: Console) -> Progress:
    """A bar with the time left. It is drawn when it is told to: not from a thread, in the middle of what is timed."""
    columns = (TextColumn("{task.description:<58}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    return Progress(*columns, console=console, auto_refresh=False)


def _line(cells: Row) -> str:
    return "| " + " | ".join(cells) + " |"


def seconds(t: float) -> str:
    """Three digits and a unit."""
    for unit, scale in (("s", 1.0), ("ms", 1e-3), ("us", 1e-6)):
        if t >= scale or unit == "us":
            digits = 2 if t < 10 * scale else 1 if t < 100 * scale else 0
            return f"{t / scale:.{digits}f} {unit}"
    raise AssertionError

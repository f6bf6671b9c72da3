"""Tables, on the console and as Markdown."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Literal

from rich import box
from rich.console import Console
from rich.table import Table as RichTable
from rich.text import Text

Row = Sequence[str]
BOLD = "**"  # at both ends of a cell, as in Markdown


@dataclass
class Table:
    """The rows are in named groups. If there is only one group, its name may be empty."""

    title: str
    columns: Row
    groups: dict[str, list[Row]] = field(default_factory=dict)
    notes: list[str] = field(default_factory=list)

    def add(self, row: Row, group: str = "") -> None:
        self.groups.setdefault(group, []).append(row)

    def show(self, console: Console) -> None:
        console.print(f"\n[bold]{self.title}[/bold]")
        rows_of_all = [self.columns, *(row for rows in self.groups.values() for row in rows)]
        widths = [max(len(_text(row[i])) for row in rows_of_all) for i in range(len(self.columns))]
        fits = sum(widths) + 2 * len(widths) <= console.width
        for name, rows in self.groups.items():
            table = RichTable(box=box.SIMPLE_HEAD, padding=(0, 1, 0, 0), title=name or None, title_justify="left")
            for i, (column, width) in enumerate(zip(self.columns, widths, strict=True)):
                justify: Literal["left", "right"] = "right" if i else "left"
                # All groups have the same widths, so that they line up. A narrow console folds cells instead.
                table.add_column(column, justify=justify, overflow="fold", min_width=width if fits else None)
            for row in rows:
                table.add_row(*map(_text, row))
            console.print(table)
        for note in self.notes:
            console.print(note, highlight=False)

    def markdown(self) -> str:
        """Return one table, in which the first row of a group has the group's name."""
        grouped = any(self.groups)
        columns = ["", *self.columns] if grouped else self.columns
        lines = [f"## {self.title}", "", _line(columns), _line([":--"] + ["--:"] * (len(columns) - 1))]
        for name, rows in self.groups.items():
            for i, row in enumerate(rows):
                head = f"`{name}`" if i == 0 else ""
                lines.append(_line([head, *row] if grouped else row))
        return "\n".join([*lines, "", *(f"* {note}" for note in self.notes), ""])


def times(best: Mapping[str, float], names: Iterable[str]) -> list[str]:
    """Return one cell for each name, with a "-" for a library that has no time. The fastest in `best` is bold."""
    fastest = min(best, key=best.__getitem__)
    return [bold(seconds(best[name]), name == fastest) if name in best else "-" for name in names]


def bold(cell: str, condition: bool) -> str:
    return f"{BOLD}{cell}{BOLD}" if condition else cell


def against_best(best: Mapping[str, float], ours: str) -> str:
    """Return a cell with the time of the fastest other library over ours, and its name; bold if the other is faster."""
    other = min((name for name in best if name != ours), key=best.__getitem__)
    ratio = best[other] / best[ours]
    return bold(f"{ratio:.3g}x {other}", ratio < 1)


def seconds(t: float) -> str:
    """Return three digits and a unit."""
    for unit, scale in (("s", 1.0), ("ms", 1e-3), ("us", 1e-6)):
        if t >= scale or unit == "us":
            digits = 2 if t < 10 * scale else 1 if t < 100 * scale else 0
            return f"{t / scale:.{digits}f} {unit}"
    raise AssertionError


def _line(cells: Row) -> str:
    return "| " + " | ".join(cells) + " |"


def _text(cell: str) -> Text:
    is_bold = cell.startswith(BOLD)
    return Text(cell.strip("*"), style="bold" if is_bold else "")

"""The charts of the report. They know libraries and losses by name only."""

from collections.abc import Collection, Iterable, Mapping, Sequence
from typing import Any

import numpy as np
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.patches import Patch
from matplotlib.ticker import LogLocator, NullFormatter

from .drawing import BLACK, BLUE, GREEN, ORANGE, PINK, RED, SKY, YELLOW, style

COLOURS = {
    "fastloss": BLUE,
    "NumPy": ORANGE,
    "PyTorch": RED,
    "torch.compile": PINK,
    "JAX": GREEN,
    "scikit-learn": SKY,
    "numba": BLACK,
    "numexpr": YELLOW,
}
MARKERS = dict(zip(COLOURS, "osDP^vX*", strict=True))

#: The x and y of each library.
Series = Mapping[str, tuple[Sequence[float], Sequence[float]]]


def bars(panels: Mapping[str, Mapping[str, tuple[float, str]]], losses: Sequence[str]) -> Figure:
    """Draw the speed-up of each loss over the fastest other library. A panel has a title, and a speed-up and that name.

    Bars on the left of 1 are those where the other library is faster.
    """
    figure = Figure(figsize=(4.2 * len(panels) + 2, 0.22 * len(losses) + 1.5), layout="constrained")
    all_axes = figure.subplots(1, len(panels), sharey=True, squeeze=False)[0]
    for axes, (title, speedups) in zip(all_axes, panels.items(), strict=True):
        for y, loss in enumerate(losses):
            if loss in speedups:
                ratio, library = speedups[loss]
                axes.barh(y, ratio - 1, left=1, color=COLOURS[library])
                weight = "normal" if ratio >= 1 else "bold"
                axes.text(max(ratio, 1) * 1.05, y, f"{ratio:.3g}", va="center", fontsize=7, fontweight=weight)
        axes.axvline(1, color=BLACK, linewidth=1)
        _loss_axis(axes, losses)
        axes.margins(x=0.12)
        style(axes, "time of the fastest other / time of fastloss", "", title)
        axes.grid(visible=False, axis="y")
    others = {library for speedups in panels.values() for _, library in speedups.values()}
    handles = [Patch(color=colour, label=name) for name, colour in COLOURS.items() if name in others]
    figure.legend(handles=handles, title="the fastest other", loc="outside upper center", ncols=4, frameon=False)
    return figure


def dots(
    rates: Mapping[str, Mapping[str, float]], limits: Mapping[str, float], xlabel: str, limit_label: str
) -> Figure:
    """Draw a row for each loss, with one mark for each library and a line for the limit."""
    losses = list(rates)
    figure = Figure(figsize=(9, 0.22 * len(losses) + 1.5), layout="constrained")
    axes = figure.subplots()
    for y, loss in enumerate(losses):
        for name, rate in reversed(list(rates[loss].items())):  # the first library is drawn last, on top of the others
            size = 70 if name == "fastloss" else 28
            axes.scatter(rate, y, s=size, color=COLOURS[name], marker=MARKERS[name], zorder=3)
        axes.scatter(limits[loss], y, color=BLACK, marker="|", s=160, zorder=4)
    _loss_axis(axes, losses)
    style(axes, xlabel, "")
    limit = Line2D([], [], color=BLACK, marker="|", markersize=12, linestyle="", label=limit_label)
    seen = {name for of_loss in rates.values() for name in of_loss}
    figure.legend(handles=[limit, *_handles(seen)], loc="outside upper center", ncols=5, frameon=False)
    return figure


def lines(panels: Mapping[str, Series], xlabel: str, ylabel: str, columns: int, log: bool, ideal: bool) -> Figure:
    """Draw one panel for each title and one line for each library. `ideal` adds the line y = x."""
    rows = -(-len(panels) // columns)
    figure = Figure(figsize=(3.6 * columns, 3 * rows + 0.5), layout="constrained")
    for i, (title, series) in enumerate(panels.items()):
        axes = figure.add_subplot(rows, columns, i + 1)
        for name, (x, y) in reversed(list(series.items())):
            axes.plot(x, y, color=COLOURS[name], marker=MARKERS[name], markersize=4, linewidth=1.5)
        if ideal:
            ticks = next(iter(series.values()))[0]
            axes.plot(ticks, ticks, color="grey", linestyle=":")
            axes.set_xticks(ticks)
        if log:
            axes.set(xscale="log", yscale="log")
        style(axes, xlabel, ylabel, title)
        axes.title.set_fontsize(9)
    seen = {name for series in panels.values() for name in series}
    figure.legend(handles=_handles(seen), loc="outside upper center", ncols=min(len(seen), 2 * columns), frameon=False)
    return figure


def _loss_axis(axes: Any, losses: Sequence[str]) -> None:
    axes.set_yticks(np.arange(len(losses)), losses, fontsize=8)
    axes.set_ylim(len(losses) - 0.4, -0.6)  # downwards, as in the table
    axes.set_xscale("log")
    axes.xaxis.set_major_locator(LogLocator(subs=(1, 2, 5)))
    axes.xaxis.set_major_formatter("{x:g}")
    axes.xaxis.set_minor_formatter(NullFormatter())


def _handles(names: Collection[str]) -> Iterable[Line2D]:
    shown = [name for name in COLOURS if name in names]
    return [Line2D([], [], color=COLOURS[name], marker=MARKERS[name], label=name) for name in shown]

"""The pictures of the report."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.patches import Patch
from matplotlib.ticker import LogLocator, NullFormatter

from .drawing import BLACK, BLUE, GREEN, ORANGE, PINK, RED, SKY, YELLOW, style

if TYPE_CHECKING:
    from .kernels import Result

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
SCALES = ("small", "medium", "large")
Series = Mapping[str, tuple[Sequence[float], Sequence[float]]]  # by contender: x, y


def speedups(results: Sequence[Result]) -> Figure:
    """By loss and size, the fastest other's time over fastloss's; bars to the left of 1 are losses of fastloss."""
    chosen = _by_scale(results)
    scales = [scale for scale in SCALES if chosen[scale]]
    losses = list(dict.fromkeys(r.case.loss for r in results if r.case.dtype == "float32"))
    figure = Figure(figsize=(4.2 * len(scales) + 2, 0.22 * len(losses) + 1.5), layout="constrained")
    panels = figure.subplots(1, len(scales), sharey=True, squeeze=False)[0]
    for axes, scale in zip(panels, scales, strict=True):
        for y, loss in enumerate(losses):
            if r := chosen[scale].get(loss):
                weight = "normal" if r.ratio >= 1 else "bold"
                axes.barh(y, r.ratio - 1, left=1, color=COLOURS[r.best_peer])
                axes.text(max(r.ratio, 1) * 1.05, y, f"{r.ratio:.3g}", va="center", fontsize=7, fontweight=weight)
        axes.axvline(1, color=BLACK, linewidth=1)
        _loss_axis(axes, losses)
        axes.margins(x=0.12)
        style(axes, "time of the fastest other / time of fastloss", "", f"{scale}: {_shapes(chosen[scale].values())}")
        axes.grid(visible=False, axis="y")
    others = sorted({r.best_peer for of in chosen.values() for r in of.values()}, key=list(COLOURS).index)
    handles = [Patch(color=COLOURS[name], label=name) for name in others]
    figure.legend(handles=handles, title="the fastest other", loc="outside upper center", ncols=4, frameon=False)
    return figure


def roofline(results: Sequence[Result]) -> Figure:
    """Of every loss at a large float32 size, the bytes per second of each contender, and of the plain loop."""
    chosen = {loss: r for loss, r in _by_scale(results)["large"].items() if r.loops}
    losses = list(chosen)
    figure = Figure(figsize=(9, 0.22 * len(losses) + 1.5), layout="constrained")
    axes = figure.subplots()
    seen = set()
    for y, r in enumerate(chosen.values()):
        for name, timing in reversed(r.timings.items()):  # fastloss on top
            seen.add(name)
            size = 70 if name == "fastloss" else 28
            rate = r.bytes / timing.best / 1e9
            axes.scatter(rate, y, s=size, color=COLOURS[name], marker=MARKERS[name], zorder=3)
        axes.scatter(r.loop_rate / 1e9, y, color=BLACK, marker="|", s=160, zorder=4)
    _loss_axis(axes, losses)
    style(axes, "GB/s that a call moves at least, best of all rounds", "")
    limit = Line2D(
        [], [], color=BLACK, marker="|", markersize=12, linestyle="", label="plain loop c = a - b, same rounds"
    )
    figure.legend(handles=[limit, *_handles(seen)], loc="outside upper center", ncols=5, frameon=False)
    return figure


def lines(panels: Mapping[str, Series], xlabel: str, ylabel: str, columns: int, log: bool, ideal: bool) -> Figure:
    """One panel each, one line a contender; `ideal` is y = x."""
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


def _by_scale(results: Iterable[Result]) -> dict[str, dict[str, Result]]:
    """One float32 result of each loss and scale: the first in the table."""
    chosen: dict[str, dict[str, Result]] = {scale: {} for scale in SCALES}
    for r in results:
        if r.case.dtype == "float32":
            chosen[r.scale].setdefault(r.case.loss, r)
    return chosen


def _shapes(results: Iterable[Result]) -> str:
    """As many elements as the rows have: "100 to 1 000"."""
    sizes = [r.case.size for r in results]
    ends = [f"{size:,}".replace(",", " ") for size in (min(sizes), max(sizes))]
    return f"{' to '.join(dict.fromkeys(ends))} float32"


def _loss_axis(axes: Any, losses: Sequence[str]) -> None:
    axes.set_yticks(np.arange(len(losses)), losses, fontsize=8)
    axes.set_ylim(len(losses) - 0.4, -0.6)  # from the top down, as in the table
    axes.set_xscale("log")
    axes.xaxis.set_major_locator(LogLocator(subs=(1, 2, 5)))
    axes.xaxis.set_major_formatter("{x:g}")
    axes.xaxis.set_minor_formatter(NullFormatter())


def _handles(names: Iterable[str]) -> list[Line2D]:
    shown = [name for name in COLOURS if name in names]
    return [Line2D([], [], color=COLOURS[name], marker=MARKERS[name], label=name) for name in shown]

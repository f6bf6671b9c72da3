"""What all pictures share: colours, grids, and small files that come out the same every time."""

import io
import re
from pathlib import Path
from typing import Any

import matplotlib
from matplotlib.figure import Figure
from PIL import Image

# The colours of Okabe and Ito, which people with colour blindness can tell apart.
BLUE, ORANGE, GREEN, RED = "#0072B2", "#E69F00", "#009E73", "#D55E00"
PINK, SKY, YELLOW, BLACK = "#CC79A7", "#56B4E9", "#F0E442", "#000000"
COLOURS = (BLUE, ORANGE, GREEN, RED, PINK, SKY, BLACK)

# Text stays text, which is short and can be searched, instead of outlines. Verdana is as wide as DejaVu Sans.
SMALL_SVG: Any = {
    "svg.fonttype": "none",
    "font.sans-serif": ["DejaVu Sans", "Verdana"],
    "path.simplify_threshold": 0.3,
}


def style(axes: Any, xlabel: str, ylabel: str, title: str = "") -> None:
    axes.set(xlabel=xlabel, ylabel=ylabel, title=title)
    axes.grid(alpha=0.3, which="major")
    axes.spines[["top", "right"]].set_visible(False)


def save(figure: Figure, folder: Path, name: str) -> None:
    """Save the figure as SVG and as PNG. They contain no date and constant ids: the same picture is the same file."""
    folder.mkdir(parents=True, exist_ok=True)
    svg, png = io.StringIO(), io.BytesIO()
    with matplotlib.rc_context(SMALL_SVG | {"svg.hashsalt": name}):
        figure.savefig(svg, format="svg", metadata={"Date": None, "Creator": None}, dpi=72)
        figure.savefig(png, format="png", dpi=100)
    (folder / f"{name}.svg").write_text(shortened(svg.getvalue()), encoding="utf-8")
    # A palette costs a third of the bytes of full colours, and nothing that one can see.
    Image.open(png).convert("RGB").quantize(256, dither=Image.Dither.NONE).save(folder / f"{name}.png", optimize=True)


def shortened(svg: str) -> str:
    """Drop metadata, comments and indentation, and round the coordinates of paths to a hundredth of a point."""
    svg = re.sub(r"<metadata>.*?</metadata>|<!-- .*? -->|(?<=\n) +", "", svg, flags=re.DOTALL)
    svg = re.sub(r' d="[^"]*"', lambda path: re.sub(r"(\.\d\d)\d+", r"\1", path[0]).replace(" \n", " "), svg)
    return re.sub(r"\n+", "\n", svg)

"""How figures look, and how they are saved: a paper's column, the same bytes in every process.

Sizes are tueplots' for ICML. Fonts are those that travel with matplotlib, so that a figure does
not depend on the machine's; colours are those of Okabe and Ito, told apart by colour-blind
readers, and every line has a second mark (dash, marker) besides its colour.
"""

from __future__ import annotations

import functools
import io
from collections.abc import Callable
from typing import Any, Literal, ParamSpec, TypeVar, cast

import matplotlib as mpl
from cycler import cycler
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from tueplots import figsizes, fontsizes

P = ParamSpec("P")
R = TypeVar("R")

BLUE, VERMILLION, GREEN, PURPLE = "#0072B2", "#D55E00", "#009E73", "#CC79A7"
ORANGE, SKY, BLACK, GREY = "#E69F00", "#56B4E9", "#000000", "#7F7F7F"
COLOURS = (BLUE, VERMILLION, GREEN, PURPLE, ORANGE, SKY, BLACK)
DASHES = ("-", "--", "-.", ":", (0, (5, 1)), (0, (3, 1, 1, 1)), (0, (1, 1)))
MARKERS = ("o", "s", "^", "D", "v", "P", "X")

# How critical points are drawn, everywhere: kind -> marker, colour.
POINTS = {
    "minimum": ("v", GREEN),
    "maximum": ("^", VERMILLION),
    "saddle": ("X", PURPLE),
    "degenerate": ("D", ORANGE),
    "plateau": ("s", SKY),
    "cycle": ("P", BLUE),
    "diverged": ("1", BLACK),
    "not_critical": ("x", GREY),
    "undecided": ("+", GREY),
}

PAPER: Any = {
    **{k: v for k, v in figsizes.icml2024_half().items() if k.startswith(("figure.", "savefig."))},
    **fontsizes.icml2024(),
    "legend.fontsize": 7,
    "xtick.labelsize": 7,
    "ytick.labelsize": 7,
    "font.family": "STIXGeneral",
    "mathtext.fontset": "stix",
    "axes.formatter.limits": (-4, 5),
    "axes.linewidth": 0.6,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.titlepad": 4.0,
    "axes.labelpad": 2.0,
    "axes.axisbelow": True,
    "axes.prop_cycle": cycler(color=COLOURS, linestyle=DASHES),
    "lines.linewidth": 1.1,
    "lines.markersize": 4.0,
    "patch.linewidth": 0.6,
    "xtick.major.width": 0.6,
    "ytick.major.width": 0.6,
    "xtick.minor.width": 0.4,
    "ytick.minor.width": 0.4,
    "xtick.major.size": 2.5,
    "ytick.major.size": 2.5,
    "xtick.minor.size": 1.5,
    "ytick.minor.size": 1.5,
    "legend.frameon": True,
    "legend.framealpha": 0.85,
    "legend.edgecolor": "none",
    "legend.borderpad": 0.25,
    "legend.handlelength": 1.8,
    "legend.labelspacing": 0.3,
    "grid.linewidth": 0.3,
    "grid.color": "#D0D0D0",
    "savefig.dpi": 300,
    "figure.dpi": 100,
    "pdf.fonttype": 42,
    "svg.fonttype": "path",
    "svg.hashsalt": "gdlab",
    "path.simplify": True,
}

# Nothing of when and where: CreationDate and Date would differ from one run to the next.
METADATA: dict[str, dict[str, Any]] = {
    "pdf": {"CreationDate": None, "ModDate": None},
    "svg": {"Date": None},
    "png": {},
}


def styled(draw: Callable[P, R]) -> Callable[P, R]:
    """Makes `draw` work in the paper's style, whatever the caller's settings are."""

    @functools.wraps(draw)
    def in_style(*args: P.args, **kwargs: P.kwargs) -> R:
        if mpl.rcParams["svg.hashsalt"] == PAPER["svg.hashsalt"]:  # in the style already
            return draw(*args, **kwargs)
        with mpl.rc_context():
            mpl.rcdefaults()
            mpl.rcParams.update(PAPER)
            return draw(*args, **kwargs)

    return in_style


@styled
def figure(
    nrows: int = 1,
    ncols: int = 1,
    *,
    width: Literal["half", "full"] = "half",
    ratio: float = 0.62,
    layout: Literal["constrained", "none"] = "constrained",
    **grid: Any,
) -> tuple[Figure, Any]:
    """An empty figure of a paper's size, and its axes as `Figure.subplots` gives them.

    Args:
        nrows, ncols: of panels.
        width: `half` for one column (3.25 in), `full` for both (6.75 in).
        ratio: height of one panel over its width.
        layout: matplotlib's layout engine; `none` where margins are fixed by hand.
        grid: further arguments of `Figure.subplots`.
    """
    size = figsizes.icml2024_half if width == "half" else figsizes.icml2024_full
    inches = size(nrows=nrows, ncols=ncols, height_to_width_ratio=ratio)["figure.figsize"]
    made = Figure(figsize=inches, layout=cast(Any, layout))
    FigureCanvasAgg(made)
    return made, made.subplots(nrows, ncols, **grid)


@styled
def rendered(made: Figure, form: str = "png", *, dpi: int | None = None, title: str = "") -> bytes:
    """The figure as the bytes of a PDF, PNG or SVG: equal figures give equal bytes.

    Args:
        form: `pdf`, `png` or `svg`.
        dpi: dots per inch of a PNG (default 300).
        title: kept in the file's metadata.
    """
    buffer = io.BytesIO()
    metadata = METADATA[form] | ({"Title": title} if title else {})
    made.savefig(buffer, format=form, dpi=dpi or PAPER["savefig.dpi"], metadata=metadata)
    return buffer.getvalue()


def panel_letters(axes: Any) -> None:
    """(a), (b), ... in front of the panels' titles."""
    for letter, ax in zip("abcdefghijklmnopqrstuvwxyz", axes):
        ax.set_title(f"({letter}) {ax.get_title()}".strip())


def legend(ax: Axes, **options: Any) -> None:
    """A legend if there is something to name; beside the panel where it has many entries."""
    handles, labels = ax.get_legend_handles_labels()
    if not handles:
        return
    if len(handles) > 6:
        options = {"loc": "center left", "bbox_to_anchor": (1.01, 0.5)} | options
    ax.legend(handles, labels, **options)

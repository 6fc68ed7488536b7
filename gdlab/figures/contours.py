"""Landscapes with descents on them: contours in two dimensions, the graph of f in one."""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from typing import Any

import numpy as np
from jaxtyping import Float
from matplotlib.axes import Axes
from matplotlib.colors import LinearSegmentedColormap
from matplotlib.patches import FancyArrowPatch

from gdlab.figures import style

# Light enough for a path to be seen on it; lower is darker.
GROUND = LinearSegmentedColormap.from_list("ground", ["#B9CFE0", "#DDE8F0", "#F8FAFC"])


@style.styled
def draw_contours(
    ax: Axes,
    x: Float[np.ndarray, " m"],
    y: Float[np.ndarray, " k"],
    f: Float[np.ndarray, "m k"],
    levels: int | Sequence[float] = 14,
    equal: bool = True,
) -> None:
    """Contours of f over a plane, levels at its quantiles: each band holds the same area.

    Args:
        x, y: coordinates of the grid.
        f: values, `f[i, j]` at (x[i], y[j]); what is not finite stays white.
        levels: how many, or the values themselves.
        equal: whether the axes have the same scale.
    """
    values = np.ma.masked_invalid(f.T)
    if isinstance(levels, int):
        heights = np.unique(np.quantile(values.compressed(), np.linspace(0, 1, levels + 2)))
    else:
        heights = np.unique(np.asarray(levels, float))
    if len(heights) < 2:  # f is constant here
        heights = heights[0] + np.array([-0.5, 0.5])
    # Bands are coloured by rank, or a few high values would leave all others one colour.
    middle = np.linspace(0, 1, len(heights) - 1)
    ax.contourf(x, y, values, heights, colors=[GROUND(c) for c in middle])
    ax.contour(x, y, values, heights[1:-1], colors="#7C93A6", linewidths=0.4, linestyles="solid")
    if equal:
        ax.set_aspect("equal")
    ax.set_xlim(x[0], x[-1])
    ax.set_ylim(y[0], y[-1])
    ax.set_xlabel("$x_1$")
    ax.set_ylabel("$x_2$")


@style.styled
def draw_path(
    ax: Axes,
    path: Float[np.ndarray, "T 2"],
    colour: str = style.VERMILLION,
    label: str | None = None,
    arrows: int = 0,
    marks: bool = True,
) -> None:
    """A descent in the plane: its start hollow, its steps dots, its end a full circle.

    Args:
        path: the points, in order.
        arrows: how many of the first steps become arrows.
        marks: whether start and end are marked.
    """
    path = path[np.isfinite(path).all(axis=1)]
    if not len(path):
        return
    dots: dict[str, Any] = {"marker": ".", "markersize": 2.5} if len(path) <= 60 else {}
    ax.plot(path[:, 0], path[:, 1], "-", color=colour, linewidth=0.9, label=label, zorder=3, **dots)
    for a, b in itertools.pairwise(path[: arrows + 1]):
        arrow(ax, a, b, colour)
    if marks:
        ax.plot(*path[0], "o", mfc="white", mec=colour, mew=0.9, markersize=4.5, zorder=4)
        ax.plot(*path[-1], "o", color=colour, markersize=3.5, zorder=4)


def arrow(
    ax: Axes,
    start: Sequence[float] | np.ndarray,
    end: Sequence[float] | np.ndarray,
    colour: str = style.VERMILLION,
    bend: float = 0.0,
) -> None:
    """An arrow between two points of the data; `bend` curves it."""
    ax.add_patch(
        FancyArrowPatch(
            tuple(start),
            tuple(end),
            arrowstyle="-|>",
            mutation_scale=6,
            shrinkA=0,
            shrinkB=1.5,
            color=colour,
            linewidth=0.8,
            connectionstyle=f"arc3,rad={bend}",
            zorder=5,
        )
    )


@style.styled
def draw_points(
    ax: Axes,
    x: Float[np.ndarray, "k 2"],
    kinds: Sequence[str],
    legend: bool = True,
    size: float = 5.0,
) -> None:
    """Critical points by kind, with the marks that all figures share.

    Args:
        x: where, in the figure's coordinates (for a graph of f in one dimension: x and f).
        kinds: of `types.KINDS`, one a point.
    """
    for kind in dict.fromkeys(kinds):
        marker, colour = style.POINTS[kind]
        here = np.array([k == kind for k in kinds])
        ax.plot(
            x[here, 0],
            x[here, 1],
            marker,
            linestyle="none",
            color=colour,
            mec="white",
            mew=0.6,
            markersize=size,
            label=kind.replace("_", " ") if legend else None,
            zorder=6,
        )


@style.styled
def draw_graph(
    ax: Axes,
    x: Float[np.ndarray, " m"],
    f: Float[np.ndarray, " m"],
    label: str | None = None,
    colour: str = style.BLUE,
) -> None:
    """The graph of f in one dimension."""
    ax.plot(x, f, "-", color=colour, linewidth=1.2, label=label, zorder=2)
    ax.set_xlim(x[0], x[-1])
    ax.set_xlabel("$x$")
    ax.set_ylabel("$f(x)$")


@style.styled
def draw_steps(
    ax: Axes,
    x: Float[np.ndarray, " T"],
    f: Float[np.ndarray, " T"],
    colour: str = style.VERMILLION,
    label: str | None = None,
    arrows: int = 0,
) -> None:
    """A descent on the graph of f: points (x_t, f_t); the first steps as arrows."""
    keep = np.isfinite(x) & np.isfinite(f)
    draw_path(ax, np.column_stack([x, f])[keep], colour, label, arrows)


@style.styled
def solid_axes(
    ax: Axes,
    x: Float[np.ndarray, " m"],
    y: Float[np.ndarray, " k"],
    f: Float[np.ndarray, "m k"],
    view: tuple[float, float] = (28, -58),
) -> Any:
    """Puts the surface of f in the place of a panel, and returns its axes in three dimensions."""
    figure, spec = ax.figure, ax.get_subplotspec()
    ax.remove()
    solid: Any = figure.add_subplot(spec, projection="3d")
    look: dict[str, Any] = {"cmap": GROUND, "linewidth": 0.2, "edgecolor": "#7C93A6"}
    solid.plot_surface(x[:, None], y[None], f, rstride=4, cstride=4, **look)
    solid.set_xlabel("$x_1$", labelpad=-12)
    solid.set_ylabel("$x_2$", labelpad=-12)
    solid.tick_params(labelsize=6, pad=-5)
    solid.view_init(*view)
    return solid

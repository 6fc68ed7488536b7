"""Pictures of critical points: basins, the disconnectivity graph, the graph over contours."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import pandas as pd
from jaxtyping import Float, Int
from matplotlib.axes import Axes
from matplotlib.colors import ListedColormap, to_rgb
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from gdlab.figures import contours, style

# Light tones for basins, so that the points can be seen on them.
TONES = ("#A6CEE3", "#FDD0A2", "#B8E0C2", "#E2C6E3", "#FFF0A5", "#C7D3EE", "#F4C2C2", "#D9D9B0")
OTHER = {-1: "#3B3B3B", -2: "#9C9C9C", -3: "#E6E6E6"}
NAMES = {-1: "diverged", -2: "not converged", -3: "plateau"}


@style.styled
def draw_basins(
    ax: Axes,
    x: Float[np.ndarray, " r"],
    y: Float[np.ndarray, " s"],
    label: Int[np.ndarray, "r s"],
    points: pd.DataFrame | None = None,
) -> None:
    """Each start in the colour of where it goes; critical points marked by kind.

    Args:
        x, y: coordinates of the starts.
        label: where start (x[i], y[j]) goes: a number from 0, or -1 diverged, -2 not converged,
            -3 plateau.
        points: `x0`, `x1`, `kind` of points to mark.
    """
    most = max(int(label.max()), 0)
    colours = [OTHER[k] for k in (-3, -2, -1)] + [TONES[k % len(TONES)] for k in range(most + 1)]
    hx, hy = (x[1] - x[0]) / 2, (y[1] - y[0]) / 2
    ax.imshow(
        label.T + 3, origin="lower", extent=(x[0] - hx, x[-1] + hx, y[0] - hy, y[-1] + hy),
        cmap=ListedColormap([to_rgb(c) for c in colours]), vmin=-0.5, vmax=most + 3.5,
        interpolation="nearest", aspect="equal",
    )  # fmt: skip
    ax.set_xlim(x[0] - hx, x[-1] + hx)
    ax.set_ylim(y[0] - hy, y[-1] + hy)
    ax.set_xlabel("$x_1$")
    ax.set_ylabel("$x_2$")
    handles = [
        Line2D([], [], marker="s", linestyle="", markersize=5, color=OTHER[k], label=NAMES[k])
        for k in (-1, -2, -3)
        if (label == k).any()
    ]
    if points is not None:
        handles += draw_points(ax, points)
    if handles:
        ax.legend(handles=handles, loc="upper left", bbox_to_anchor=(1.02, 1), borderaxespad=0)


@style.styled
def draw_points(ax: Axes, points: pd.DataFrame, size: float = 22) -> list[Line2D]:
    """Marks points `x0`, `x1` by `kind`; returns handles for a legend."""
    handles = []
    for kind, (marker, colour) in style.POINTS.items():
        here = points[points["kind"].str.startswith(kind)]
        if len(here):
            ax.scatter(
                here["x0"], here["x1"], s=size, marker=marker, color=colour, edgecolors="white",
                linewidths=0.5, zorder=5,
            )  # fmt: skip
            handles.append(
                Line2D([], [], marker=marker, linestyle="", color=colour, label=kind,
                       markeredgecolor="white", markeredgewidth=0.5, markersize=5)
            )  # fmt: skip
    return handles


@style.styled
def draw_disconnectivity(ax: Axes, minima: pd.DataFrame, merges: pd.DataFrame) -> None:
    """The disconnectivity graph: each minimum a line up from its f, joined at the saddles' heights.

    Args:
        minima: `minimum`, `f`.
        merges: `height`, `a`, `b`, `into`, lowest first, as `Landscape.disconnectivity` gives.
    """
    n = len(minima)
    rows = merges.to_dict("records")
    children = {int(row["into"]): (int(row["a"]), int(row["b"])) for row in rows}
    height = dict(enumerate(minima["f"].to_numpy(float)))
    height |= {int(row["into"]): float(row["height"]) for row in rows}
    tops = [k for k in height if not any(k in pair for pair in children.values())]
    place: dict[int, float] = {}

    def arrange(node: int) -> None:
        if node < n:
            place[node] = float(len([k for k in place if k < n]))
            return
        a, b = children[node]
        for child in sorted((a, b), key=lambda k: -_lowest(k, children, height)):
            arrange(child)
        place[node] = (place[a] + place[b]) / 2

    for node in tops:
        arrange(node)
    low, high = min(height.values()), max(height.values())
    margin = 0.08 * ((high - low) or 1.0)
    for node, (a, b) in children.items():
        for child in (a, b):
            ax.plot([place[child]] * 2, [height[child], height[node]], color=style.BLUE, ls="-")
        ax.plot([place[a], place[b]], [height[node]] * 2, color=style.BLUE, ls="-")
    for node in tops:
        ax.plot([place[node]] * 2, [height[node], high + margin], color=style.BLUE, ls="-")
    marker, colour = style.POINTS["minimum"]
    ax.plot([place[k] for k in range(n)], [height[k] for k in range(n)], marker, color=colour)
    for k in range(n):
        ax.annotate(
            str(k), (place[k], height[k]), (0, -9), textcoords="offset points", ha="center",
            fontsize=7,
        )  # fmt: skip
    ax.set_xlim(-0.6, max(n - 1, 0) + 0.6)
    ax.set_ylim(low - 2 * margin, high + margin)
    ax.set_xticks([])
    ax.spines["bottom"].set_visible(False)
    ax.set_xlabel("minima")
    ax.set_ylabel("$f$")


def _lowest(
    node: int, children: Mapping[int, tuple[int, int]], height: Mapping[int, float]
) -> float:
    if node not in children:
        return height[node]
    return min(_lowest(k, children, height) for k in children[node])


@style.styled
def draw_graph(
    ax: Axes,
    landscape: tuple[np.ndarray, np.ndarray, np.ndarray],
    points: pd.DataFrame,
    minima: pd.DataFrame,
    edges: pd.DataFrame,
) -> None:
    """Minima joined through saddles, over contours.

    Args:
        landscape: x `[m]`, y `[k]`, f `[m, k]`.
        points: `x0`, `x1`, `kind` of all critical points.
        minima, edges: as a `Landscape` has them.
    """
    contours.draw_contours(ax, *landscape)
    where = minima.set_index("minimum")[["x0", "x1"]]
    for row in edges.to_dict("records"):
        for end in (row["low"], row["high"]):
            if end >= 0:
                a = where.loc[end]
                ax.plot([a["x0"], row["x0"]], [a["x1"], row["x1"]], "-", color=style.BLACK, lw=0.8)
    handles = draw_points(ax, points)
    for row in minima.to_dict("records"):
        ax.annotate(
            f"{row['minimum']:.0f}", (row["x0"], row["x1"]), (5, 4), textcoords="offset points",
            fontsize=7,
        )  # fmt: skip
    if handles:
        ax.legend(handles=handles, loc="upper left", bbox_to_anchor=(1.02, 1), borderaxespad=0)


@style.styled
def draw_box_counts(ax: Axes, counts: pd.DataFrame, dimension: float, error: float) -> None:
    """Box counts of a boundary and the fit N ~ s^-D. `counts`: `size`, `boxes`."""
    s, N = counts["size"].to_numpy(float), counts["boxes"].to_numpy(float)
    ax.loglog(s, N, "o", color=style.BLUE)
    middle = np.exp(np.mean(np.log(N)) + dimension * (np.mean(np.log(s)) - np.log(s)))
    ax.loglog(
        s, middle, "--", color=style.VERMILLION, label=f"$D = {dimension:.3f} \\pm {error:.3f}$"
    )
    ax.set_xticks(s, [f"{k:.0f}" for k in s])
    ax.set_xticks([], minor=True)
    ax.set_xlabel("box size (starts)")
    ax.set_ylabel("boxes")
    ax.legend()


@style.styled
def draw_shares(ax: Axes, shares: pd.DataFrame, name: str = r"step size $\eta$") -> None:
    """Shares along a parameter, with their intervals. `shares`: value, point, share, low, high."""
    for point, rows in shares.groupby("point", sort=False):
        rows = rows.sort_values("value")
        (line,) = ax.plot(rows["value"], rows["share"], marker=".", label=str(point))
        ax.fill_between(
            rows["value"], rows["low"], rows["high"], color=line.get_color(), alpha=0.2, lw=0
        )
    ax.set_xlabel(name)
    ax.set_ylabel("share of starts")
    ax.set_ylim(0, None)
    ax.legend(loc="upper left", bbox_to_anchor=(1.02, 1), borderaxespad=0)


def basin_figure(
    x: Float[np.ndarray, " r"],
    y: Float[np.ndarray, " s"],
    label: Int[np.ndarray, "r s"],
    points: pd.DataFrame | None = None,
) -> Figure:
    """The basin picture alone."""
    figure, ax = style.figure(width="half", ratio=0.8)
    draw_basins(ax, x, y, label, points)
    return figure


def landscape_figure(
    minima: pd.DataFrame,
    edges: pd.DataFrame,
    merges: pd.DataFrame,
    landscape: tuple[np.ndarray, np.ndarray, np.ndarray] | None = None,
    points: pd.DataFrame | None = None,
) -> Figure:
    """The disconnectivity graph and, in two dimensions, the graph over contours beside it."""
    both = landscape is not None and points is not None
    figure, axes = style.figure(1, 2 if both else 1, width="full" if both else "half", ratio=0.8,
                                squeeze=False)  # fmt: skip
    draw_disconnectivity(axes[0, 0], minima, merges)
    if landscape is not None and points is not None:
        draw_graph(axes[0, 1], landscape, points, minima, edges)
    return figure

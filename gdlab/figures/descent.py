"""The small picture of one descent: how it went down, and the way that it took."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.lines import Line2D

from gdlab.figures import contours, curves, style

DPI = 120


@style.styled
def descent_picture(
    record: pd.DataFrame,
    landscape: tuple[np.ndarray, ...] | None = None,
    *,
    title: str = "",
    ends: np.ndarray | None = None,
) -> bytes:
    """Loss and gradient norm on a log axis; the path over contours (d = 2) or the graph (d = 1).

    Args:
        record: one row a recorded step: `step`, `loss`, `grad_norm`, perhaps `gap`; the path as
            `x0 ...`.
        landscape: axes of a grid and f on it: (x `[m]`, f `[m]`) or (x, y, f `[m, k]`); None
            leaves the second panel out.
        title: name of the objective.
        ends: end points `[n, d]` of all starts, where there were several.

    Returns:
        A PNG.
    """
    panels = 1 if landscape is None else 2
    # Fixed margins: a layout engine would take longer than the drawing.
    figure, axes = style.figure(1, panels, width="full", ratio=0.62, layout="none", squeeze=False)
    figure.set_size_inches(6.75 if panels == 2 else 4.0, 2.5)
    figure.subplots_adjust(
        left=0.09 if panels == 2 else 0.15, right=0.98, bottom=0.16, top=0.9, wspace=0.25
    )
    left = axes[0, 0]
    _progress(left, record)
    left.set_title(title)
    if landscape is not None:
        _way(axes[0, 1], record, landscape, ends)
    return style.rendered(figure, "png", dpi=DPI)


def _progress(ax: Axes, record: pd.DataFrame) -> None:
    step = record["step"].to_numpy(float)
    height, name = _height(record)
    grad_norm = record["grad_norm"].to_numpy(float)
    shown = []
    for values, label, colour, dash in (
        (height, name, style.BLUE, "-"),
        (grad_norm, r"$|g_t|$", style.VERMILLION, "--"),
    ):
        seen = np.isfinite(values) & (values > 0) & (values < 1e100)
        if seen.any():
            marker: dict[str, Any] = {"marker": ".", "markersize": 3} if seen.sum() <= 30 else {}
            ax.plot(step[seen], values[seen], dash, color=colour, label=label, **marker)
            shown.append(values[seen])
    curves.step_axis(ax, float(step[-1]))
    if shown:
        curves.value_axis(ax, np.concatenate(shown))
        ax.legend(loc="best")
    else:
        words = "started where the gradient is zero"
        ax.text(0.5, 0.5, words, transform=ax.transAxes, ha="center", va="center")
        ax.set_yticks([])
    ax.grid(True)


def _height(record: pd.DataFrame) -> tuple[np.ndarray, str]:
    """What of f can stand on a log axis: f - f*, f itself, or how far it is above its lowest."""
    loss = record["loss"].to_numpy(float)
    gap = record["gap"].to_numpy(float) if "gap" in record else np.full(len(loss), np.nan)
    if np.isfinite(gap).any():
        return gap, "$f(x_t) - f^*$"
    finite = loss[np.isfinite(loss)]
    if len(finite) and finite.min() > 0:
        return loss, "$f(x_t)$"
    return loss - (finite.min() if len(finite) else 0.0), r"$f(x_t) - \min_s f(x_s)$"


def _way(
    ax: Axes, record: pd.DataFrame, landscape: tuple[np.ndarray, ...], ends: np.ndarray | None
) -> None:
    if len(landscape) == 2:
        x, f = landscape
        contours.draw_graph(ax, x, f)
        contours.draw_steps(ax, record["x0"].to_numpy(float), record["loss"].to_numpy(float))
        if ends is not None:
            inside = ends[:, 0][np.isfinite(ends[:, 0])]
            ax.plot(inside, np.interp(inside, x, f), "|", color=style.BLACK, alpha=0.5)
        finite = f[np.isfinite(f)]
        if len(finite):
            margin = 0.06 * (np.ptp(finite) or 1.0)
            ax.set_ylim(finite.min() - margin, finite.max() + margin)
    else:
        x, y, f = landscape
        contours.draw_contours(ax, x, y, f, equal=False)
        if ends is not None:
            ax.plot(ends[:, 0], ends[:, 1], "+", color=style.BLACK, ms=3, mew=0.5, alpha=0.5)
        contours.draw_path(ax, record[["x0", "x1"]].to_numpy(float))
    ax.legend(handles=_key(ends is not None), loc="best")


def _key(several: bool) -> list[Any]:
    dot: dict[str, Any] = {"linestyle": "none", "marker": "o", "color": style.VERMILLION}
    handles = [
        Line2D([], [], **dot | {"mfc": "white", "markersize": 4.5}, label="start"),
        Line2D([], [], **dot, markersize=3.5, label="end"),
    ]
    if several:
        mark = Line2D([], [], linestyle="none", marker="+", color=style.BLACK, label="other ends")
        handles.append(mark)
    return handles

"""Curves of descents: loss, gradient norm and step size against the step, on the right axes."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Literal

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.axis import Axis
from matplotlib.figure import Figure
from matplotlib.ticker import (
    FuncFormatter,
    LogLocator,
    MaxNLocator,
    NullLocator,
    SymmetricalLogLocator,
)

from gdlab.analysis.statistics import quantile_curves
from gdlab.figures import style

LABELS = {
    "loss": "loss $f(x_t)$",
    "gap": "gap $f(x_t) - f^*$",
    "grad_norm": r"gradient norm $|g_t|$",
    "step_size": r"step size $\eta_t$",
    "distance": r"distance $|x_t - x^*|$",
    "angle": r"angle to $-g_t$",
    "slope": "slope along the step",
}
MOST_LINES = 7
LONG = 100  # steps from which on the step axis is logarithmic


@style.styled
def curve_figure(
    curves: pd.DataFrame,
    by: str | None = None,
    values: Sequence[str] = ("loss", "grad_norm", "step_size"),
    quantiles: tuple[float, float] = (0.1, 0.9),
) -> Figure:
    """A panel a quantity: medians over runs, with bands between two quantiles.

    Args:
        curves: long form, with `run_id`, `step` and the quantities.
        by: column that tells the lines apart; of more than seven lines, the legend names a few.
        values: the quantities; those that the table lacks are left out.
        quantiles: lower and upper edge of the bands; drawn where a line stands for several runs.
    """
    there = [v for v in values if v in curves and curves[v].notna().any()]
    width: Literal["full", "half"] = "full" if len(there) > 1 else "half"
    figure, axes = style.figure(1, max(len(there), 1), width=width, ratio=0.85, squeeze=False)
    for ax, value in zip(axes[0], there):
        draw_curves(ax, curves, value, by, quantiles)
    if by is not None and there:
        _shared_legend(figure, axes[0, 0], by)
    return figure


@style.styled
def draw_curves(
    ax: Axes,
    curves: pd.DataFrame,
    value: str,
    by: str | None = None,
    quantiles: tuple[float, float] = (0.1, 0.9),
) -> None:
    """Median and band of one quantity, a line a group, on axes that suit the numbers."""
    groups = [(None, curves)] if by is None else list(curves.groupby(by, sort=True))
    few = len(groups) <= MOST_LINES
    for i, (label, part) in enumerate(groups):
        table = quantile_curves(part, value, quantiles)
        look: dict[str, Any] = (
            {"color": style.COLOURS[i], "linestyle": style.DASHES[i]}
            if few
            else {"color": _shade(i, len(groups)), "linestyle": "-", "linewidth": 0.7}
        )
        named = few or i in _named(len(groups))
        ax.plot(table["step"], table["median"], label=_text(label) if named else None, **look)
        if len(part["run_id"].unique()) > 1:
            ax.fill_between(
                table["step"],
                table["lower"],
                table["upper"],
                color=look["color"],
                alpha=0.18,
                linewidth=0,
            )
    step_axis(ax, float(curves["step"].max()))
    value_axis(ax, curves[value].to_numpy(float))
    ax.set_ylabel(LABELS.get(value, value))
    ax.grid(True)


def step_axis(ax: Axes, last: float) -> None:
    """Steps from 0: linear for short descents, else logarithmic from step 1 on, with 0 kept."""
    ax.set_xlabel("step $t$")
    if last <= LONG:
        ax.set_xlim(-0.01 * max(last, 1), max(last, 1) * 1.01)
        ax.xaxis.set_major_locator(MaxNLocator(5, integer=True))
        return
    ax.set_xscale("symlog", linthresh=1.0, linscale=0.4)
    decades = int(np.ceil(np.log10(last)))
    stride = 1 if decades <= 4 else 2
    ticks = [0.0, *(10.0**k for k in range(0, decades + 1, stride) if 10.0**k <= last * 1.01)]
    ax.set_xticks(ticks)
    ax.xaxis.set_minor_locator(
        SymmetricalLogLocator(base=10, linthresh=1.0, subs=np.arange(2, 10))  # type: ignore[arg-type]
    )
    ax.set_xlim(-0.1, last * 1.1)


def value_axis(ax: Axes, values: np.ndarray) -> None:
    """Logarithmic where the finite values are positive and span more than a factor of 5."""
    y = values[np.isfinite(values)]
    positive = y[y > 0]
    if not len(positive) or (y < 0).any() or positive.max() < 5 * positive.min():
        return
    ax.set_yscale("log")
    decades = np.log10(positive.max()) - np.log10(positive.min())
    if decades > 1.5:
        ax.yaxis.set_major_locator(LogLocator(base=10, numticks=6))
        ax.yaxis.set_minor_locator(LogLocator(base=10, subs="auto", numticks=6))
        ax.yaxis.set_minor_formatter("")
    else:
        _plain_ticks(ax.yaxis)


@style.styled
def profile_figure(profile: pd.DataFrame, label: str = "within a factor of the best") -> Figure:
    """Performance profiles: share of problems solved within a factor tau of the best solver.

    Args:
        profile: as `statistics.performance_profile` gives it: index tau, a column a solver.
        label: of the horizontal axis.
    """
    figure, ax = style.figure()
    for i, solver in enumerate(profile.columns):
        look = {
            "color": style.COLOURS[i % 7],
            "linestyle": style.DASHES[(i + i // 7) % 7],
        }
        ax.step(profile.index, profile[solver], where="post", label=_text(solver), **look)
    ax.set_xscale("log")
    if profile.index.max() < 30:
        _plain_ticks(ax.xaxis)
    ax.set_ylim(0, 1.02)
    ax.set_xlabel(label)
    ax.set_ylabel("share of problems")
    ax.grid(True)
    style.legend(ax)
    return figure


def _plain_ticks(axis: Axis) -> None:
    """Ticks of a log axis that spans little: 0.02, 0.05, 0.1 instead of powers of ten."""
    axis.set_major_locator(LogLocator(base=10, subs=(1.0, 2.0, 5.0)))
    axis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
    axis.set_minor_locator(NullLocator())


def _shared_legend(figure: Figure, ax: Axes, by: str) -> None:
    handles, labels = ax.get_legend_handles_labels()
    figure.legend(
        handles,
        labels,
        loc="outside upper center",
        ncols=min(len(labels), 7),
        title=by,
        title_fontsize=7,
    )


def _named(n: int) -> list[int]:
    """Five of n lines that a legend names."""
    return [round(i) for i in np.linspace(0, n - 1, 5)]


def _shade(i: int, n: int) -> Any:
    import matplotlib as mpl

    return mpl.colormaps["cividis"](0.92 * i / max(n - 1, 1))


def _text(label: Any) -> str:
    return f"{label:.4g}" if isinstance(label, float) else str(label)

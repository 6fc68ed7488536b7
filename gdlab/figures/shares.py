"""Shares of starts by what they ended in: along the start, and against a parameter."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
from jaxtyping import Float, Int
from matplotlib.axes import Axes

from gdlab.analysis.statistics import wilson
from gdlab.figures import style


@style.styled
def draw_stack(
    ax: Axes,
    start: Float[np.ndarray, " n"],
    outcome: np.ndarray,
    bins: Float[np.ndarray, " m"],
    colours: Mapping[str, str],
) -> None:
    """For the starts of each bin, the shares of the outcomes `[n]`, stacked in order of colours."""
    total = np.maximum(np.histogram(start, bins)[0], 1)
    base = np.zeros(len(bins) - 1)
    for name, colour in colours.items():
        share = np.histogram(start[outcome == name], bins)[0] / total
        if share.any():
            ax.bar(bins[:-1], share, np.diff(bins), base, align="edge", color=colour, linewidth=0)
        base += share
    ax.set_ylim(0, 1)


@style.styled
def draw_shares(
    ax: Axes,
    x: Float[np.ndarray, " m"],
    starts: Int[np.ndarray, " m"],
    shares: Mapping[str, Float[np.ndarray, " m"]],
    colours: Mapping[str, str],
) -> None:
    """Each outcome's share of the starts against x, with Wilson's 95 % interval as a band."""
    for (name, share), marker in zip(shares.items(), style.MARKERS):
        found = [wilson(round(p * k), k) for p, k in zip(share, starts)]
        low, high = [w.low for w in found], [w.high for w in found]
        colour = colours[name]
        ax.plot(x, share, "-", marker=marker, ms=2.5, lw=0.8, color=colour, label=name)
        ax.fill_between(x, low, high, color=colour, alpha=0.25, lw=0)


def share_text(name: str, is_there: np.ndarray) -> str:
    """`name`, and below it `12.3 +- 0.4 %`: the share and half its interval's width."""
    interval = wilson(int(is_there.sum()), len(is_there))
    half = (interval.high - interval.low) / 2
    return f"{name}\n{100 * interval.value:.1f} $\\pm$ {100 * half:.1f} %"

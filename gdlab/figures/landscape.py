"""A landscape with its critical points: over contours in two dimensions, on the graph in one."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from jaxtyping import Float
from matplotlib.figure import Figure

from gdlab.figures import contours, style


@style.styled
def points_figure(
    grid: tuple[Any, ...], x: Float[np.ndarray, "k d"], value: Float[np.ndarray, " k"],
    kinds: Sequence[str],
) -> Figure:  # fmt: skip
    """The landscape and its points.

    Args:
        grid: axes `[r]` of each coordinate (one or two), then f on their grid.
        x, value, kinds: the points, f there, and what each is.
    """
    plane = len(grid) == 3
    made, ax = style.figure(ratio=0.8 if plane else 0.62)
    if plane:
        contours.draw_contours(ax, *grid)
        contours.draw_points(ax, x, kinds)
    else:
        contours.draw_graph(ax, *grid)
        contours.draw_points(ax, np.column_stack([x[:, 0], value]), kinds)
    made.legend(loc="outside upper center", ncols=4)
    return made

"""The jobs of a sweep: axes, zips, points from a file, and keys that only some choices have."""

from __future__ import annotations

from gdlab.launch.grid.axes import Axis, Grid
from gdlab.launch.grid.plan import plan

__all__ = ["Axis", "Grid", "plan"]

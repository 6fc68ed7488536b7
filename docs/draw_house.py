"""Draws docs/pictures/house.svg from the floors that tests/test_house.py holds the imports to.

python docs/draw_house.py
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path

import matplotlib as mpl
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle

HERE = Path(__file__).parent
WHAT = {
    "errors": "UsageError", "theory": "bounds and rates", "types": "Objective, Record",
    "numerics": "bits, devices", "registry": "choices by name", "objectives": "f and its facts",
    "methods": "the direction", "schedules": "the length", "inits": "the start",
    "probes": "what is recorded", "runner": "descents in blocks", "analysis": "tables, ranking",
    "critical": "verdicts, census", "figures": "pure, of tables", "tracking": "MLflow's store",
    "launch": "settings, campaign, study", "report": "one HTML page", "api": "descend",
    "hydra_plugins": "launcher, sweeper", "cli": "verbs, terminal",
}  # fmt: skip
ROOM, EDGE, TEXT, SAID = "#EEF3F7", "#7C93A6", "#1F2D3A", "#5C6F80"
WIDTH, HEIGHT, GAP = 7.6, 0.46, 0.09  # inches


def house(floors: Sequence[Sequence[str]]) -> Figure:
    """The floors, the highest on top; what a room holds stands under its name."""
    tall = len(floors) * (HEIGHT + GAP) + GAP
    made = Figure(figsize=(WIDTH, tall))
    ax = made.add_axes((0, 0, 1, 1))
    ax.set(xlim=(0, WIDTH), ylim=(0, tall))
    ax.axis("off")
    for level, rooms in enumerate(floors):
        y = GAP + level * (HEIGHT + GAP)
        ax.text(0.15, y + HEIGHT / 2, str(level), color=SAID, size=8, va="center", ha="center")
        wide = (WIDTH - 0.3 - GAP * len(rooms)) / len(rooms)
        for k, room in enumerate(rooms):
            x = 0.3 + k * (wide + GAP)
            ax.add_patch(Rectangle((x, y), wide, HEIGHT, facecolor=ROOM, edgecolor=EDGE, lw=0.8))
            middle = x + wide / 2
            ax.text(middle, y + 0.29, room, color=TEXT, size=9, ha="center", va="center")
            said = WHAT.get(room, "")
            ax.text(middle, y + 0.12, said, color=SAID, size=6.5, ha="center", va="center")
    return made


if __name__ == "__main__":
    sys.path.insert(0, str(HERE.parent / "tests"))
    from test_house import FLOORS

    # Text stays text: the browser has the fonts, and the test reads the names.
    with mpl.rc_context({"svg.fonttype": "none", "svg.hashsalt": "gdlab"}):
        to = sys.argv[1] if len(sys.argv) > 1 else HERE / "pictures" / "house.svg"
        house(FLOORS).savefig(to, dpi=120, metadata={"Date": None} if str(to)[-3:] == "svg" else {})

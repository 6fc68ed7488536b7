"""Figures: the same bytes in every process, whatever is around them; no empty panel."""

from __future__ import annotations

import hashlib
import itertools
import os
import subprocess
import sys

import matplotlib as mpl
import numpy as np
import pandas as pd
import pytest

from gdlab.figures import contours, curves, style
from gdlab.figures.descent import descent_picture


def descents(runs: int = 3, steps: int = 200) -> pd.DataFrame:
    """Recorded curves of gradient descent on x'diag(1, 10)x/2, several starts and step sizes."""
    rows = []
    for eta in (0.02, 0.1):
        for seed in range(runs):
            x = np.random.default_rng(seed).normal(size=2)
            for t in range(steps + 1):
                g = np.array([1.0, 10.0]) * x
                loss = 0.5 * float(x @ g)
                rows.append((f"{eta}-{seed}", eta, t, loss, np.hypot(*g), eta, loss, *x))
                x = x - eta * g
    names = ["run_id", "schedule.eta", "step", "loss", "grad_norm", "step_size", "gap", "x0", "x1"]
    return pd.DataFrame(rows, columns=names)


def landscape() -> tuple[np.ndarray, ...]:
    x, y = np.linspace(-3, 3, 41), np.linspace(-2, 2, 31)
    return x, y, 0.5 * (x[:, None] ** 2 + 10 * y[None] ** 2)


def drawn() -> dict[str, bytes]:
    """One of each figure in each format."""
    table = descents()
    lines = curves.curve_figure(table, by="schedule.eta")
    plane, ax = style.figure()
    contours.draw_contours(ax, *landscape())
    contours.draw_path(ax, table[["x0", "x1"]].to_numpy()[:50], arrows=3)
    contours.draw_points(ax, np.zeros((1, 2)), ["minimum"])
    made = {
        f"{name}.{form}": style.rendered(figure, form, dpi=80)
        for name, figure in (("curves", lines), ("plane", plane))
        for form in ("pdf", "png", "svg")
    }
    one = table[table["run_id"] == "0.1-0"]
    return made | {"descent.png": descent_picture(one, landscape(), title="quadratic")}


def digests() -> str:
    return "\n".join(f"{k} {hashlib.sha256(v).hexdigest()}" for k, v in sorted(drawn().items()))


def test_two_processes_draw_the_same_bytes() -> None:
    told = []
    for hash_seed in ("1", "2"):
        done = subprocess.run(
            [sys.executable, "-c", "import test_figures; print(test_figures.digests())"],
            env={
                **os.environ,
                "PYTHONHASHSEED": hash_seed,
                "PYTHONPATH": os.path.dirname(__file__),
            },
            capture_output=True,
            text=True,
            check=True,
        )
        told.append(done.stdout.strip())
    assert told[0] == told[1]
    assert len(told[0].splitlines()) == 7
    with mpl.rc_context({"font.size": 31, "lines.linewidth": 9, "axes.facecolor": "black"}):
        assert digests() == told[0]  # a user's own settings change nothing
    assert mpl.rcParams["svg.hashsalt"] != "gdlab"  # and stay theirs


def test_formats_are_what_they_say() -> None:
    made = drawn()
    assert made["plane.pdf"].startswith(b"%PDF")
    assert made["plane.png"].startswith(b"\x89PNG")
    assert b"CreationDate" not in made["plane.pdf"]
    assert b"dc:date" not in made["plane.svg"]


def test_axes_suit_the_numbers() -> None:
    figure = curves.curve_figure(descents(), by="schedule.eta")
    loss = figure.axes[0]
    assert [ax.get_yscale() for ax in figure.axes] == ["log", "log", "log"]
    assert loss.get_xscale() == "symlog"
    assert len(loss.get_lines()) == 2
    assert len(loss.collections) == 2  # a band each: three runs a line
    assert "schedule.eta" in figure.legends[0].get_title().get_text()
    assert np.allclose(
        loss.get_lines()[0].get_ydata()[0],
        descents().query("step == 0 and `schedule.eta` == 0.02")["loss"].median(),
    )
    few = descents(1, 20).query("`schedule.eta` == 0.1").assign(x0=lambda t: t["x0"] - 0.05)
    short = curves.curve_figure(few, values=["x0"])
    assert short.axes[0].get_xscale() == "linear"
    assert short.axes[0].get_yscale() == "linear"  # x0 changes its sign: no logarithm


def test_a_legend_of_many_lines_names_a_few() -> None:
    table = pd.concat(
        [descents(1, 5).assign(**{"schedule.eta": eta, "run_id": str(eta)}) for eta in range(30)]
    )
    figure = curves.curve_figure(table, by="schedule.eta", values=["loss"])
    assert len(figure.axes[0].get_lines()) == 30
    assert len(figure.legends[0].get_texts()) == 5


CASES = {
    "plane": (descents(1, 50).query("`schedule.eta` == 0.1"), landscape()),
    "line": (
        descents(1, 50).query("`schedule.eta` == 0.1").drop(columns="x1"),
        (np.linspace(-3, 3, 50), np.linspace(-3, 3, 50) ** 2),
    ),
    "high": (descents(1, 50).drop(columns=["x0", "x1"]).head(51), None),
    "one row": (descents(1, 50).head(1), landscape()),
    "diverged": (
        descents(1, 5).head(6).assign(loss=[1, 10, 1e200, 1e308, np.inf, np.nan], gap=np.nan),
        landscape(),
    ),
    "flat": (descents(1, 5).head(6).assign(loss=0.0, grad_norm=0.0, gap=0.0), landscape()),
    "constant": (descents(1, 5).head(6), (*landscape()[:2], np.ones((41, 31)))),
}


@pytest.mark.parametrize("case", CASES)
def test_the_small_picture_is_drawn_whatever_happened(case: str) -> None:
    record, ground = CASES[case]
    picture = descent_picture(record, ground, title=case, ends=np.zeros((3, 2)))
    assert picture.startswith(b"\x89PNG")
    assert picture == descent_picture(record, ground, title=case, ends=np.zeros((3, 2)))


def test_contours_hold_equal_areas() -> None:
    _, ax = style.figure()
    x, y, f = landscape()
    f[0, 0] = np.nan
    contours.draw_contours(ax, x, y, f, levels=3)
    filled = ax.collections[0]
    levels = filled.levels
    inside = [np.mean((f >= a) & (f < b)) for a, b in itertools.pairwise(levels)]
    assert np.allclose(inside, 0.25, atol=0.01)

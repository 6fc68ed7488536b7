"""Goodfellow, Bengio, Courville, Deep Learning (2016), section 4.3, from tracked runs.

Nothing here computes a descent: every number is read from the store, the graphs and contours of
the objectives included (sweeps named `..._f`: grids of starts, without a step).
"""

from __future__ import annotations

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from gdlab import Claim
from gdlab.analysis.selection import farthest, graph, path, rows, surface
from gdlab.figures import contours, shares, style
from gdlab.figures.curves import step_axis

QUESTION = "Where does gradient descent go, how fast, and where does it end?"

H = np.array([[3.0, 2.0], [2.0, 3.0]])  # of Fig. 4.6
FIXED = {0.1: 0.9, 1 / 3: 2 / 3, 0.39: 0.95, 0.41: 1.05}  # eta: max |1 - eta lambda|
# Minima of Fig. 4.3 by their place in the inventory, and the outcomes of descent on it.
NAMES = {0: "poor minimum", 2: "global minimum", 4: "good minimum"}
MINIMA = {
    0: (-3.5, 2.7018229166666667),
    2: (2.0, -1.7464583333333333),
    4: (4.5, -1.2581770833333333),
}
COLOURS = {
    "poor minimum": style.VERMILLION,
    "plateau": style.SKY,
    "global minimum": style.GREEN,
    "good minimum": style.ORANGE,
    "no rest": style.GREY,
}
NOTE = {"fontsize": 7, "ha": "center", "va": "center"}


def claim(
    where: str, text: str, expected: float, measured: float, tolerance: float = 1e-12
) -> Claim:
    """A claim of the book."""
    return Claim(text, expected, measured, tolerance, f"Deep Learning, 2016, {where}")


def claims(runs: pd.DataFrame, curves: pd.DataFrame, ends: pd.DataFrame) -> list[Claim]:
    """The numbers behind Figs. 4.1 to 4.6 and eqs. 4.3 to 4.5 and 4.9."""
    one, two, three, five = (f"Fig. 4.{i}" for i in (1, 2, 3, 5))
    three += " (values of f at the minima: closed form)"
    x = path(curves, "fig4_1")[:, 0]
    off = np.abs(x[1:] / x[:-1] - 0.9).max()
    moved = runs.loc[runs["sweep"] == "fig4_2_still", "steps"].max()
    near, far = (path(curves, f"fig4_2_{kind}", 1)[:, 0] for kind in ("minimum", "maximum"))
    found = rows(ends, "fig4_3")
    f = found[found["kind"] == "minimum"].groupby("reached")["loss"].min()
    ridge = runs[(runs["sweep"] == "fig4_5") & (runs["job"] == 0)].iloc[0]
    index, (grown, shrunk) = (
        float(ridge["morse_index"]),
        _ratio(path(curves, "fig4_5", 1), 39)[::-1],
    )
    return [
        claim(one, "x_10 from 2 with eps = 0.1 on x^2/2: 2 (0.9)^10", 0.6973568802, x[10]),
        claim(one, "x_(t+1)/x_t = 1 - eps at every step (largest deviation)", 0.0, off),
        claim(two, "steps taken from a critical point of each kind (most)", 0, moved, 0),
        claim(two, "towards the minimum of x^2: x_(t+1)/x_t = 1 - 2 eta", 0.8, _ratio(near, 4)),
        claim(two, "away from the maximum of -x^2: x_(t+1)/x_t = 1 + 2 eta", 1.2, _ratio(far, 4)),
        Claim("starts that were followed", 10000, len(found), 0, "10,000 starts"),
        *(
            claim(three, f"f at the {NAMES[i]}, at the end points", value, f[i], 1e-6)
            for i, (_, value) in MINIMA.items()
        ),
        claim(five, "a start on the ridge ends in a point of Morse index", 1, index, 0),
        claim(five, "beside it, x2 grows by 1 + 2 eta a step", 1.2, grown),
        claim(five, "and x1 shrinks by 1 - 2 eta", 0.8, shrunk),
        *_claims_4_6(curves),
        *_claims_slope(curves),
    ]


def _ratio(x: np.ndarray, t: int) -> np.ndarray:
    return x[t + 1] / x[t]


def _claims_4_6(curves: pd.DataFrame) -> list[Claim]:
    """Exact line search at condition number 5, and fixed steps."""
    place = "Fig. 4.6 and eq. 4.9 (Luenberger, sec. 8.6)"
    worst, other = rows(curves, "fig4_6_worst"), rows(curves, "fig4_6")
    f, eta = worst["loss"].to_numpy(), worst["step_size"].to_numpy()
    x = path(curves, "fig4_6_worst")
    g, rate = x @ H, farthest(f[1:] / f[:-1], 4 / 9)
    twice, turn = farthest((x[2:] / x[:-2]).ravel(), 4 / 9), (g[1:] * g[:-1]).sum(axis=1)
    first, size = _ratio(other["loss"].to_numpy(), 0), other["step_size"].iloc[0]
    exact = "worst start: f_(k+1)/f_k = ((5-1)/(5+1))^2 = 4/9, at every k (farthest)"
    found = [
        claim(place, exact, 4 / 9, rate),
        claim(place, "worst start: every step is 1/3 (farthest)", 1 / 3, farthest(eta[:-1], 1 / 3)),
        claim(place, "worst start: x_(k+2) = (4/9) x_k (farthest ratio)", 4 / 9, twice),
        claim(place, "consecutive gradients are orthogonal: g_(k+1)'g_k", 0.0, farthest(turn, 0.0)),
        claim(place, "f_1/f_0 from (15, -5)", 0.2756244616709733, first),
        claim("eq. 4.9", "first step from (15, -5): g'g/g'Hg of eq. 4.9", 0.2248062015503876, size),
    ]
    for job, (eta, factor) in enumerate(FIXED.items()):
        distance = rows(curves, "fig4_6_fixed", job)["distance"].to_numpy()
        text = f"fixed step {eta:.4g}: |x_(t+1)|/|x_t| tends to max |1 - eta lambda|"
        found.append(claim(place, text, factor, distance[-1] / distance[-2]))
    return found


def _claims_slope(curves: pd.DataFrame) -> list[Claim]:
    """u'g = |u||g| cos(theta) is least where u points against g."""
    place = "eqs. 4.3 to 4.5"
    way, x = rows(curves, "directions").iloc[0], path(curves, "directions")
    g, norm = (x[0] - x[1]) / way["step_size"], way["grad_norm"]
    theta = np.linspace(0, 2 * np.pi, 3601)
    towards = np.arctan2(g[1], g[0]) + theta
    slope = np.cos(towards) * g[0] + np.sin(towards) * g[1]
    least, along = int(np.argmin(slope)), way["slope"] / norm
    rest = curves[(curves["sweep"] == "directions") & (curves["grad_norm"] > 1e-3)]
    rest = rest[rest["slope"].notna()]
    error = farthest(rest["slope"] / rest["grad_norm"] + np.cos(rest["angle"]), 0.0)
    over, steps = "over 3,600 angles, over |g|", "along the steps of seven methods (farthest)"
    return [
        claim(place, f"least directional derivative {over}", -1.0, slope[least] / norm),
        claim(place, "the angle to g at which it is least: pi", np.pi, theta[least]),
        claim(place, "slope along the gradient step over |g|", -1.0, along),
        claim(place, f"u'g/|g| - cos(theta) {steps}", 0.0, error),
    ]


def table(runs: pd.DataFrame) -> pd.DataFrame:
    """What every run of the study ended in; of many starts, the shares."""
    runs = runs[~runs["sweep"].str.endswith("_f")].dropna(axis="columns", how="all")
    wanted = ("share_reached", "share_plateau", "share_cycle", "share_not_crit")
    made = runs[["sweep", "objective.name", "method.name", "schedule.name", "schedule.eta"]]
    made = made.rename(columns=lambda name: name.removesuffix(".name").removeprefix("schedule."))
    made = made.assign(
        start=["" if x is None or x != x else str(x) for x in runs["init.x"]],
        starts=runs["starts"].fillna(1).astype(int),
        **runs[["status", "steps", "loss", "grad_norm"]],
        reached=runs["critical_kind"],
    )
    # A share that a run did not report was 0; a single descent has none.
    shared = [name for name in runs if name.startswith(wanted)]
    return made.assign(**runs[shared].fillna(0.0).where(runs["starts"].notna(), axis=0)).astype(
        dict.fromkeys(("eta", "steps", "loss", "grad_norm"), float)
    )


def figures(runs: pd.DataFrame, curves: pd.DataFrame, ends: pd.DataFrame) -> dict[str, Figure]:
    """Figures 4.1, 4.2, 4.3 (with its shares), 4.5, 4.6, and the slope against the angle."""
    return {
        "fig4_1": _figure_4_1(curves, ends),
        "fig4_2": _figure_4_2(curves, ends),
        "fig4_3": _figure_4_3(ends),
        "fig4_3_steps": _figure_4_3_steps(runs, ends),
        "fig4_5": _figure_4_5(curves, ends),
        "fig4_6": _figure_4_6(curves, ends),
        "slope": _figure_slope(curves),
    }


def _figure_4_1(curves: pd.DataFrame, ends: pd.DataFrame) -> Figure:
    """f = x^2/2, f' = x, and descent from either side."""
    figure, ax = style.figure()
    x, f, slope = graph(ends, "fig4_1_f")
    contours.draw_graph(ax, x, f, "$f(x) = x^2/2$")
    ax.plot(x, slope, "--", color=style.GREEN, label="$f'(x) = x$")
    ax.axhline(0, color=style.GREY, linewidth=0.5)
    for job, label in enumerate(("descent, $\\epsilon = 0.1$", None)):
        way = path(curves, "fig4_1", job)[:, 0]
        contours.draw_steps(ax, way, way**2 / 2, label=label, arrows=4)
    note = NOTE | {"linespacing": 1.3}
    ax.text(-1.5, -0.55, "$f' < 0$:\nmove right", **note)
    ax.text(1.5, -0.55, "$f' > 0$:\nmove left", **note)
    arrow = {"arrowstyle": "->", "lw": 0.6}
    ax.annotate("$f' = 0$: descent halts", (0, 0), (0, 1.45), arrowprops=arrow, **note)
    ax.set_xlim(-2.15, 2.15)
    ax.set_ylabel("$f$, $f'$")
    ax.legend(loc="upper center", bbox_to_anchor=(0.5, 1.22), ncols=3, columnspacing=1.0)
    return figure


def _figure_4_2(curves: pd.DataFrame, ends: pd.DataFrame) -> Figure:
    """A minimum, a maximum, and the book's saddle in one dimension."""
    figure, axes = style.figure(1, 3, width="full", ratio=0.75)
    panels = {
        "minimum": ("minimum", "minimum, $x^2$", (-0.4, 4)),
        "maximum": ("maximum", "maximum, $-x^2$", (-4, 0.4)),
        "saddle": ("degenerate", "saddle, $x^3$", (-3, 3)),
    }
    for job, (ax, (kind, (mark, title, heights))) in enumerate(zip(axes, panels.items())):
        contours.draw_graph(ax, *graph(ends, "fig4_2_f", job)[:2])
        for side in (0, 1):
            way = rows(curves, f"fig4_2_{kind}", side)
            contours.draw_steps(ax, way["x0"].to_numpy(), way["loss"].to_numpy(), arrows=6)
        contours.draw_points(ax, np.zeros((1, 2)), [mark], legend=False, size=6.5)
        ax.set(title=title, ylim=heights, xlim=(-2, 2))
        if job:
            ax.set_ylabel("")
    return figure


def _figure_4_3(ends: pd.DataFrame) -> Figure:
    """Global, good and poor minimum, plateau; below, what 10,000 starts end in, bin by bin."""
    figure, (top, low) = style.figure(
        2, 1, ratio=0.42, sharex=True, gridspec_kw={"height_ratios": [6, 1]}
    )
    x, f, _ = graph(ends, "fig4_3_f")
    contours.draw_graph(top, x, f)
    found = rows(ends, "fig4_3")
    kind, names = found["kind"].to_numpy(), found["reached"].map(NAMES).astype(object).to_numpy()
    rest = np.where(kind == "plateau", "plateau", "no rest")
    outcome = np.where(kind == "minimum", names, rest)
    note = NOTE | {"linespacing": 1.15}
    for i, place in {0: (-3.0, 1.1), 2: (1.6, -3.1), 4: (4.1, -2.9)}.items():
        contours.draw_points(top, np.array([MINIMA[i]]), ["minimum"], legend=False)
        top.text(*place, shares.share_text(NAMES[i], outcome == NAMES[i]), **note)
    top.text(0.0, 1.2, shares.share_text("plateau", outcome == "plateau"), **note)
    top.set_ylim(-4.3, 8)
    top.set_xlabel("")
    bins = np.linspace(x[0], x[-1], 191)
    shares.draw_stack(low, found["start0"].to_numpy(), outcome, bins, COLOURS)
    low.set_yticks([])
    low.set_xlabel("start $x_0$, coloured by where descent ends")
    return figure


def _figure_4_3_steps(runs: pd.DataFrame, ends: pd.DataFrame) -> Figure:
    """The shares against the step size; descent leaves a minimum where it exceeds 2/f''."""
    figure, ax = style.figure(ratio=0.8)
    sweep = runs[runs["sweep"] == "fig4_3_steps"].sort_values("schedule.eta")
    starts = sweep["starts"].to_numpy(int)
    columns = {NAMES[i]: f"share_reached_{i}" for i in NAMES} | {"plateau": "share_plateau"}
    found = sweep.reindex(columns=columns.values()).fillna(0.0).astype(float)
    share = {name: found[column].to_numpy() for name, column in columns.items()}
    share["no rest"] = 1 - sum(share.values())
    shares.draw_shares(ax, sweep["schedule.eta"].to_numpy(float), starts, share, COLOURS)
    x, _, slope = graph(ends, "fig4_3_f")
    curvature = np.gradient(slope, x)
    for i, (at, _) in MINIMA.items():
        bound = 2 / curvature[np.argmin(np.abs(x - at))]
        ax.axvline(bound, color=COLOURS[NAMES[i]], ls=":", lw=0.9, zorder=1)
    ax.plot([], [], ":", color=style.GREY, lw=0.9, label="$2/f''$ at a minimum")
    ax.set_xscale("log")
    ax.set_ylim(-0.02, 0.98)
    ax.set_xlabel(r"step size $\eta$")
    ax.set_ylabel(f"share of {starts[0]:,} starts")
    ax.grid(True)
    ax.legend(loc="upper left", ncols=2, columnspacing=1.0)
    return figure


def _figure_4_5(curves: pd.DataFrame, ends: pd.DataFrame) -> Figure:
    """A saddle: the surface, the ways of four starts on it, and their gradient norms."""
    figure, axes = style.figure(1, 3, width="full", ratio=0.9)
    x, y, f = surface(ends, "fig4_5_f")
    solid = contours.solid_axes(axes[0], x, y, f)
    solid.set_title("$f = x_1^2 - x_2^2$", y=1.0)
    solid.set(xticks=[-2, 0, 2], yticks=[-2, 0, 2], zticks=[-4, 0, 4])
    contours.draw_contours(axes[1], x, y, f)
    starts = ("$0$", "$10^{-6}$", "$-10^{-4}$", "$10^{-2}$")
    colours = (style.BLACK, style.VERMILLION, style.GREEN, style.PURPLE)
    for job, (colour, label, dash) in enumerate(zip(colours, starts, style.DASHES)):
        way = rows(curves, "fig4_5", job)
        inside = way[(way["x0"].abs() <= 2) & (way["x1"].abs() <= 2)]
        points = inside[["x0", "x1"]].to_numpy()
        contours.draw_path(axes[1], points, colour)
        if len(inside) > 1:
            solid.plot(*points.T, inside["loss"] + 0.08, color=colour, lw=1.2, zorder=10)
        axes[2].plot(way["step"], way["grad_norm"], color=colour, ls=dash, label=label)
    contours.draw_points(axes[1], np.zeros((1, 2)), ["saddle"], legend=False, size=6)
    axes[2].set_yscale("log")
    axes[2].set_ylim(1e-8, 1e2)
    axes[2].set_xlabel("step $t$")
    axes[2].set_ylabel("gradient norm $|g_t|$")
    axes[2].grid(True)
    axes[2].legend(loc="lower left", title="start $x_2$", title_fontsize=7)
    return figure


def _figure_4_6(curves: pd.DataFrame, ends: pd.DataFrame) -> Figure:
    """Condition number 5: two ways of exact line search, and how fast f falls."""
    figure, (left, middle, ax) = style.figure(1, 3, width="full", ratio=0.95)
    x, y, f = surface(ends, "fig4_6_f")
    contours.draw_contours(left, x, y, f)
    contours.draw_path(left, path(curves, "fig4_6"), arrows=5)
    left.set_title("from $(15, {-5})$")
    # f is quadratic: a sixteenth of the grid has a 256th of the values.
    contours.draw_contours(middle, x / 16, y / 16, f / 256)
    contours.draw_path(middle, path(curves, "fig4_6_worst"), arrows=8)
    middle.set_title("from the worst start")
    worst = rows(curves, "fig4_6_worst")
    red = style.VERMILLION
    _fall(ax, worst, "-", color=red, lw=3.0, alpha=0.4, label="exact, worst start")
    _fall(ax, rows(curves, "fig4_6"), "--", color=red, label="exact")
    colours = (style.SKY, style.BLUE, style.GREEN, style.PURPLE)
    dashes = ("-.", "-", ":", (0, (3, 1, 1, 1)))
    for job, (size, colour, dash) in enumerate(zip(FIXED, colours, dashes)):
        fixed = rows(curves, "fig4_6_fixed", job)
        name = "1/3" if job == 1 else f"{size:.4g}"
        _fall(ax, fixed[fixed["step"] <= 24], color=colour, ls=dash, label=f"$\\eta = {name}$")
    t = worst["step"]
    ax.plot(t, (4 / 9) ** t, ".", color=style.BLACK, ms=2.5, label="$(4/9)^t$")
    ax.set_yscale("log")
    ax.set_ylim(1e-9, 1e8)
    step_axis(ax, 24)
    ax.set_ylabel("$f(x_t)/f(x_0)$")
    ax.grid(True)
    ax.legend(loc="upper center", fontsize=6, ncols=2, columnspacing=1.0)
    return figure


def _fall(ax: Axes, record: pd.DataFrame, *form: str, **look: object) -> None:
    ax.plot(record["step"], record["loss"] / record["loss"].iloc[0], *form, **look)


def _figure_slope(curves: pd.DataFrame) -> Figure:
    """u'g/|u||g| along the steps of seven methods is the cosine of their angle to g."""
    figure, ax = style.figure()
    theta = np.linspace(0, np.pi, 200)
    ax.plot(theta, np.cos(theta), color=style.GREY, lw=0.8, label=r"$\cos\theta$")
    way = curves[(curves["sweep"] == "directions") & (curves["grad_norm"] > 1e-3)]
    look = {"ls": "none", "ms": 3.5, "mfc": "none", "mew": 0.8}
    names = dict.fromkeys(way["method.name"])
    for name, colour, marker in zip(names, style.COLOURS, style.MARKERS):
        part = way[way["method.name"] == name]
        slope, label = part["slope"] / part["grad_norm"], name.replace("_", " ")
        # `angle` is that to -g.
        ax.plot(np.pi - part["angle"], slope, marker, color=colour, label=label, **look)
    quarters = ["$0$", r"$\pi/4$", r"$\pi/2$", r"$3\pi/4$", r"$\pi$"]
    ax.set_xticks(np.pi / 4 * np.arange(5), quarters)
    ax.set_xlabel(r"angle $\theta$ between the step $u$ and the gradient $g$")
    ax.set_ylabel(r"$u^\top g \,/\, |u||g|$")
    ax.grid(True)
    ax.legend(loc="upper right")
    return figure

"""Goodfellow, Bengio, Courville, Deep Learning (2016), section 4.3, from tracked runs.

Nothing here computes a descent: every number is read from the store, the graphs and contours of
the objectives included.
"""

from __future__ import annotations

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from gdlab import Claim
from gdlab.analysis.statistics import wilson
from gdlab.figures import contours, style

QUESTION = "Where does gradient descent go, how fast, and where does it end?"

BOOK = "Deep Learning, 2016"
H = np.array([[3.0, 2.0], [2.0, 3.0]])  # of Fig. 4.6
STEEP, FLAT = np.array([1.0, 1.0]) / np.sqrt(2), np.array([1.0, -1.0]) / np.sqrt(2)
FIXED = {0.1: 0.9, 1 / 3: 2 / 3, 0.39: 0.95, 0.41: 1.05}  # eta: max |1 - eta lambda|
NAMES = {0: "poor minimum", 2: "global minimum", 4: "good minimum"}  # of Fig. 4.3, by inventory
MINIMA = {
    0: (-3.5, 2.7018229166666667),
    2: (2.0, -1.7464583333333333),
    4: (4.5, -1.2581770833333333),
}


def claims(runs: pd.DataFrame, curves: pd.DataFrame, ends: pd.DataFrame) -> list[Claim]:
    """The numbers behind Figs. 4.1 to 4.6 and eqs. 4.3 to 4.5 and 4.9."""
    return [
        *_claims_4_1(curves),
        *_claims_4_2(runs, curves),
        *_claims_4_3(ends),
        *_claims_4_5(runs, curves),
        *_claims_4_6(curves),
        *_claims_slope(curves),
    ]


def table(runs: pd.DataFrame) -> pd.DataFrame:
    """What every run of the study ended in; of many starts, the shares."""
    wanted = ("share_reached", "share_plateau", "share_cycle", "share_not_crit")
    shares = [c for c in runs if c.startswith(wanted)]
    columns = {
        "sweep": runs["sweep"],
        "objective": runs["objective.name"],
        "method": runs["method.name"],
        "schedule": runs["schedule.name"],
        "eta": runs["schedule.eta"].astype(float),
        "start": [_start(x) for x in runs["init.x"]],
        "starts": runs["starts"].fillna(1).astype(int),
        "status": runs["status"],
        "steps": runs["steps"].astype(float),
        "loss": runs["loss"].astype(float),
        "grad_norm": runs["grad_norm"].astype(float),
        "reached": runs["critical_kind"],
        # A share that a run did not report was 0; a single descent has none.
        **{name: runs[name].fillna(0.0).where(runs["starts"].notna()) for name in shares},
    }
    return pd.DataFrame(columns).loc[~runs["sweep"].str.endswith("_f").to_numpy()]


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


# Fig. 4.1: f = x^2/2, f' = x.


def _claims_4_1(curves: pd.DataFrame) -> list[Claim]:
    right = _path(curves, "fig4_1", 0)[:, 0]
    return [
        Claim(
            "x_10 from 2 with eps = 0.1 on x^2/2: 2 (0.9)^10",
            0.6973568802,
            right[10],
            source=f"{BOOK}, Fig. 4.1",
        ),
        Claim(
            "x_(t+1)/x_t = 1 - eps at every step (largest deviation)",
            0.0,
            np.abs(right[1:] / right[:-1] - 0.9).max(),
            source=f"{BOOK}, Fig. 4.1",
        ),
    ]


def _figure_4_1(curves: pd.DataFrame, ends: pd.DataFrame) -> Figure:
    figure, ax = style.figure()
    x, f, slope = _graph(ends, "fig4_1_f")
    contours.draw_graph(ax, x, f, "$f(x) = x^2/2$")
    ax.plot(x, slope, "--", color=style.GREEN, label="$f'(x) = x$")
    ax.axhline(0, color=style.GREY, linewidth=0.5)
    for job in (0, 1):
        path = _path(curves, "fig4_1", job)[:, 0]
        label = "descent, $\\epsilon = 0.1$" if job == 0 else None
        contours.draw_steps(ax, path, path**2 / 2, label=label, arrows=4)
    note = {"fontsize": 7, "ha": "center", "va": "center", "linespacing": 1.3}
    ax.text(-1.5, -0.55, "$f' < 0$:\nmove right", **note)
    ax.text(1.5, -0.55, "$f' > 0$:\nmove left", **note)
    ax.annotate(
        "$f' = 0$: descent halts",
        (0, 0),
        (0, 1.45),
        arrowprops={"arrowstyle": "->", "lw": 0.6},
        **note,
    )
    ax.set_xlim(-2.15, 2.15)
    ax.set_ylabel("$f$, $f'$")
    ax.legend(loc="upper center", bbox_to_anchor=(0.5, 1.22), ncols=3, columnspacing=1.0)
    return figure


# Fig. 4.2: minimum, maximum, saddle.


def _claims_4_2(runs: pd.DataFrame, curves: pd.DataFrame) -> list[Claim]:
    still = runs[runs["sweep"] == "fig4_2_still"]
    inward = _path(curves, "fig4_2_minimum", 1)[:, 0]
    outward = _path(curves, "fig4_2_maximum", 1)[:, 0]
    source = f"{BOOK}, Fig. 4.2"
    return [
        Claim(
            "steps taken from a critical point of each kind (most)",
            0,
            still["steps"].max(),
            0,
            source,
        ),
        Claim(
            "towards the minimum of x^2: x_(t+1)/x_t = 1 - 2 eta",
            0.8,
            inward[5] / inward[4],
            source=source,
        ),
        Claim(
            "away from the maximum of -x^2: x_(t+1)/x_t = 1 + 2 eta",
            1.2,
            outward[5] / outward[4],
            source=source,
        ),
    ]


def _figure_4_2(curves: pd.DataFrame, ends: pd.DataFrame) -> Figure:
    figure, axes = style.figure(1, 3, width="full", ratio=0.75)
    kinds = {"minimum": "minimum", "maximum": "maximum", "saddle": "degenerate"}
    titles = ("minimum, $x^2$", "maximum, $-x^2$", "saddle, $x^3$")
    for job, (ax, (kind, mark), title) in enumerate(zip(axes, kinds.items(), titles)):
        x, f, _ = _graph(ends, "fig4_2_f", job)
        contours.draw_graph(ax, x, f)
        for side in (0, 1):
            way = _rows(curves, f"fig4_2_{kind}", side)
            contours.draw_steps(ax, way["x0"].to_numpy(), way["loss"].to_numpy(), arrows=6)
        contours.draw_points(ax, np.zeros((1, 2)), [mark], legend=False, size=6.5)
        ax.set_title(title)
        ax.set_ylim({"minimum": (-0.4, 4), "maximum": (-4, 0.4), "saddle": (-3, 3)}[kind])
        ax.set_xlim(-2, 2)
        if job:
            ax.set_ylabel("")
    return figure


# Fig. 4.3: global, good and poor minimum, plateau; 10,000 starts.


def _claims_4_3(ends: pd.DataFrame) -> list[Claim]:
    found = _ends(ends, "fig4_3")
    minima = found[found["kind"] == "minimum"]
    values = minima.groupby("reached")["loss"].min()
    source = f"{BOOK}, Fig. 4.3 (values of f at the minima: closed form)"
    return [
        Claim("starts that were followed", 10000, len(found), 0, "10,000 starts"),
        *(
            Claim(f"f at the {NAMES[i]}, at the end points", f, values[i], 1e-6, source)
            for i, (_, f) in MINIMA.items()
        ),
    ]


def _figure_4_3(ends: pd.DataFrame) -> Figure:
    figure, (top, low) = style.figure(
        2, 1, ratio=0.42, sharex=True, gridspec_kw={"height_ratios": [6, 1]}
    )
    x, f, _ = _graph(ends, "fig4_3_f")
    contours.draw_graph(top, x, f)
    found = _ends(ends, "fig4_3")
    outcomes = _outcomes(found)
    note = {"fontsize": 7, "ha": "center", "va": "center", "linespacing": 1.15}
    places = {0: (-3.0, 1.1), 2: (1.6, -3.1), 4: (4.1, -2.9)}
    for i, point in MINIMA.items():
        contours.draw_points(top, np.array([point]), ["minimum"], legend=False)
        top.text(*places[i], _share(NAMES[i], outcomes == NAMES[i]), **note)
    top.text(0.0, 1.2, _share("plateau", outcomes == "plateau"), **note)
    top.set_ylim(-4.3, 8)
    top.set_xlabel("")
    # Below: what the starts in each narrow bin ended in.
    _stack(low, found["start0"].to_numpy(), outcomes, np.linspace(x[0], x[-1], 191))
    low.set_yticks([])
    low.set_xlabel("start $x_0$, coloured by where descent ends")
    return figure


COLOURS = {
    "poor minimum": style.VERMILLION,
    "plateau": style.SKY,
    "global minimum": style.GREEN,
    "good minimum": style.ORANGE,
    "no rest": style.GREY,
}


def _outcomes(found: pd.DataFrame) -> np.ndarray:
    """What each start ended in: a minimum by name, the plateau, or no rest."""
    names = found["reached"].map(NAMES).astype(object).to_numpy()
    kind = found["kind"].to_numpy()
    rest = np.where(kind == "plateau", "plateau", "no rest")
    return np.where(kind == "minimum", names, rest)


def _share(name: str, is_there: np.ndarray) -> str:
    interval = wilson(int(is_there.sum()), len(is_there))
    half = (interval.high - interval.low) / 2
    return f"{name}\n{100 * interval.value:.1f} $\\pm$ {100 * half:.1f} %"


def _stack(ax: Axes, at: np.ndarray, outcomes: np.ndarray, bins: np.ndarray) -> None:
    total = np.maximum(np.histogram(at, bins)[0], 1)
    base = np.zeros(len(bins) - 1)
    for name, colour in COLOURS.items():
        share = np.histogram(at[outcomes == name], bins)[0] / total
        if share.any():
            ax.bar(bins[:-1], share, np.diff(bins), base, align="edge", color=colour, linewidth=0)
        base += share
    ax.set_ylim(0, 1)


def _figure_4_3_steps(runs: pd.DataFrame, ends: pd.DataFrame) -> Figure:
    figure, ax = style.figure(ratio=0.8)
    sweep = runs[runs["sweep"] == "fig4_3_steps"].sort_values("schedule.eta")
    eta, n = sweep["schedule.eta"].to_numpy(float), sweep["starts"].to_numpy(int)
    shares = {NAMES[i]: _column(sweep, f"share_reached_{i}") for i in NAMES}
    shares["plateau"] = _column(sweep, "share_plateau")
    shares["no rest"] = 1 - sum(shares.values())
    for (name, share), marker in zip(shares.items(), style.MARKERS):
        found = [wilson(round(p * k), k) for p, k in zip(share, n)]
        colour = COLOURS[name]
        ax.plot(eta, share, "-", marker=marker, ms=2.5, lw=0.8, color=colour, label=name)
        ax.fill_between(
            eta, [w.low for w in found], [w.high for w in found], color=colour, alpha=0.25, lw=0
        )
    # Descent leaves a minimum when the step exceeds 2/f'' there.
    x, _, slope = _graph(ends, "fig4_3_f")
    curvature = np.gradient(slope, x)
    for i, (at, _) in MINIMA.items():
        bound = 2 / curvature[np.argmin(np.abs(x - at))]
        ax.axvline(bound, color=COLOURS[NAMES[i]], ls=":", lw=0.9, zorder=1)
    ax.plot([], [], ":", color=style.GREY, lw=0.9, label="$2/f''$ at a minimum")
    ax.set_xscale("log")
    ax.set_ylim(-0.02, 0.98)
    ax.set_xlabel(r"step size $\eta$")
    ax.set_ylabel(f"share of {n[0]:,} starts")
    ax.grid(True)
    ax.legend(loc="upper left", ncols=2, columnspacing=1.0)
    return figure


def _column(runs: pd.DataFrame, name: str) -> np.ndarray:
    """A share, 0 where no run had it."""
    return runs[name].fillna(0.0).to_numpy(float) if name in runs else np.zeros(len(runs))


# Fig. 4.5: a saddle.


def _claims_4_5(runs: pd.DataFrame, curves: pd.DataFrame) -> list[Claim]:
    source = f"{BOOK}, Fig. 4.5"
    ridge = runs[(runs["sweep"] == "fig4_5") & (runs["job"] == 0)].iloc[0]
    beside = _path(curves, "fig4_5", 1)
    return [
        Claim(
            "a start on the ridge ends in a point of Morse index",
            1,
            float(ridge["morse_index"]),
            0,
            source,
        ),
        Claim(
            "beside it, x2 grows by 1 + 2 eta a step",
            1.2,
            beside[40, 1] / beside[39, 1],
            source=source,
        ),
        Claim("and x1 shrinks by 1 - 2 eta", 0.8, beside[40, 0] / beside[39, 0], source=source),
    ]


def _figure_4_5(curves: pd.DataFrame, ends: pd.DataFrame) -> Figure:
    figure, axes = style.figure(1, 3, width="full", ratio=0.9)
    x, y, f = _surface(ends, "fig4_5_f")
    spec = axes[0].get_subplotspec()
    axes[0].remove()
    solid = figure.add_subplot(spec, projection="3d")
    solid.plot_surface(
        x[:, None],
        y[None],
        f,
        cmap=contours.GROUND,
        rstride=4,
        cstride=4,
        linewidth=0.2,
        edgecolor="#7C93A6",
    )
    solid.set_xlabel("$x_1$", labelpad=-12)
    solid.set_ylabel("$x_2$", labelpad=-12)
    solid.set_title("$f = x_1^2 - x_2^2$", y=1.0)
    solid.tick_params(labelsize=6, pad=-5)
    solid.set_xticks([-2, 0, 2])
    solid.set_yticks([-2, 0, 2])
    solid.set_zticks([-4, 0, 4])
    solid.view_init(28, -58)
    contours.draw_contours(axes[1], x, y, f)
    for job, (colour, label) in enumerate(_SADDLE):
        way = _rows(curves, "fig4_5", job)
        inside = way[(way["x0"].abs() <= 2) & (way["x1"].abs() <= 2)]
        path = inside[["x0", "x1"]].to_numpy()
        contours.draw_path(axes[1], path, colour)
        if len(inside) > 1:
            solid.plot(
                path[:, 0], path[:, 1], inside["loss"] + 0.08, color=colour, lw=1.2, zorder=10
            )
        axes[2].plot(way["step"], way["grad_norm"], color=colour, ls=style.DASHES[job], label=label)
    contours.draw_points(axes[1], np.zeros((1, 2)), ["saddle"], legend=False, size=6)
    axes[2].set_yscale("log")
    axes[2].set_ylim(1e-8, 1e2)
    axes[2].set_xlabel("step $t$")
    axes[2].set_ylabel("gradient norm $|g_t|$")
    axes[2].grid(True)
    axes[2].legend(loc="lower left", title="start $x_2$", title_fontsize=7)
    return figure


_SADDLE = (
    (style.BLACK, "$0$"),
    (style.VERMILLION, "$10^{-6}$"),
    (style.GREEN, "$-10^{-4}$"),
    (style.PURPLE, "$10^{-2}$"),
)


# Fig. 4.6: condition number 5.


def _claims_4_6(curves: pd.DataFrame) -> list[Claim]:
    source = f"{BOOK}, Fig. 4.6 and eq. 4.9 (Luenberger, sec. 8.6)"
    worst, other = _rows(curves, "fig4_6_worst"), _rows(curves, "fig4_6")
    f, eta, x = (
        worst["loss"].to_numpy(),
        worst["step_size"].to_numpy(),
        worst[["x0", "x1"]].to_numpy(),
    )
    g = x @ H
    deviation = _most
    found = [
        Claim(
            "worst start: f_(k+1)/f_k = ((5-1)/(5+1))^2 = 4/9, at every k (farthest)",
            4 / 9,
            deviation(f[1:] / f[:-1], 4 / 9),
            source=source,
        ),
        Claim(
            "worst start: every step is 1/3 (farthest)",
            1 / 3,
            deviation(eta[:-1], 1 / 3),
            source=source,
        ),
        Claim(
            "worst start: x_(k+2) = (4/9) x_k (farthest ratio)",
            4 / 9,
            deviation((x[2:] / x[:-2]).ravel(), 4 / 9),
            source=source,
        ),
        Claim(
            "consecutive gradients are orthogonal: g_(k+1)'g_k",
            0.0,
            deviation((g[1:] * g[:-1]).sum(axis=1), 0.0),
            source=source,
        ),
        Claim(
            "f_1/f_0 from (15, -5)",
            0.2756244616709733,
            other["loss"].iloc[1] / other["loss"].iloc[0],
            source=source,
        ),
        Claim(
            "first step from (15, -5): g'g/g'Hg of eq. 4.9",
            0.2248062015503876,
            other["step_size"].iloc[0],
            source=f"{BOOK}, eq. 4.9",
        ),
    ]
    for job, (size, factor) in enumerate(FIXED.items()):
        distance = _rows(curves, "fig4_6_fixed", job)["distance"].to_numpy()
        text = f"fixed step {size:.4g}: |x_(t+1)|/|x_t| tends to max |1 - eta lambda|"
        found.append(Claim(text, factor, distance[-1] / distance[-2], source=source))
    return found


def _most(values: np.ndarray, expected: float) -> float:
    """The value that is farthest from what is expected."""
    return float(values[np.argmax(np.abs(values - expected))])


def _figure_4_6(curves: pd.DataFrame, ends: pd.DataFrame) -> Figure:
    figure, axes = style.figure(1, 3, width="full", ratio=0.95)
    x, y, f = _surface(ends, "fig4_6_f")
    contours.draw_contours(axes[0], x, y, f)
    contours.draw_path(axes[0], _path(curves, "fig4_6"), arrows=5)
    axes[0].set_title("from $(15, {-5})$")
    # f is quadratic: a twentieth of the grid has a 400th of the values.
    contours.draw_contours(axes[1], x / 16, y / 16, f / 256)
    contours.draw_path(axes[1], _path(curves, "fig4_6_worst"), arrows=8)
    axes[1].set_title("from the worst start")
    ax = axes[2]
    worst = _rows(curves, "fig4_6_worst")
    ax.plot(
        worst["step"],
        worst["loss"] / worst["loss"].iloc[0],
        color=style.VERMILLION,
        lw=3.0,
        alpha=0.4,
        label="exact, worst start",
    )
    exact = _rows(curves, "fig4_6")
    ax.plot(
        exact["step"],
        exact["loss"] / exact["loss"].iloc[0],
        "--",
        color=style.VERMILLION,
        label="exact",
    )
    look = zip(
        (style.SKY, style.BLUE, style.GREEN, style.PURPLE), ("-.", "-", ":", (0, (3, 1, 1, 1)))
    )
    for job, (size, (colour, dash)) in enumerate(zip(FIXED, look)):
        fixed = _rows(curves, "fig4_6_fixed", job)
        fixed = fixed[fixed["step"] <= 24]
        name = "1/3" if job == 1 else f"{size:.4g}"
        ax.plot(
            fixed["step"],
            fixed["loss"] / fixed["loss"].iloc[0],
            color=colour,
            ls=dash,
            label=f"$\\eta = {name}$",
        )
    ax.plot(
        worst["step"], (4 / 9) ** worst["step"], ".", color=style.BLACK, ms=2.5, label="$(4/9)^t$"
    )
    ax.set_yscale("log")
    ax.set_ylim(1e-9, 1e8)
    curves.step_axis(ax, 24)
    ax.set_ylabel("$f(x_t)/f(x_0)$")
    ax.grid(True)
    ax.legend(loc="upper center", fontsize=6, ncols=2, columnspacing=1.0)
    return figure


# Eqs. 4.3 to 4.5: u'g = |u||g| cos(theta) is least where u points against g.


def _claims_slope(curves: pd.DataFrame) -> list[Claim]:
    way = _rows(curves, "directions", 0)
    x, eta = way[["x0", "x1"]].to_numpy(), way["step_size"].iloc[0]
    g = (x[0] - x[1]) / eta
    theta = np.linspace(0, 2 * np.pi, 3601)
    towards = np.arctan2(g[1], g[0]) + theta
    slope = np.cos(towards) * g[0] + np.sin(towards) * g[1]
    least, norm = int(np.argmin(slope)), way["grad_norm"].iloc[0]
    rest = curves[(curves["sweep"] == "directions") & (curves["grad_norm"] > 1e-3)]
    rest = rest[rest["slope"].notna()]
    error = rest["slope"] / rest["grad_norm"] + np.cos(rest["angle"])
    source = f"{BOOK}, eqs. 4.3 to 4.5"
    return [
        Claim(
            "least directional derivative over 3,600 angles, over |g|",
            -1.0,
            slope[least] / norm,
            source=source,
        ),
        Claim("the angle to g at which it is least: pi", np.pi, theta[least], source=source),
        Claim(
            "slope along the gradient step over |g|",
            -1.0,
            way["slope"].iloc[0] / norm,
            source=source,
        ),
        Claim(
            "u'g/|g| - cos(theta) along the steps of seven methods (farthest)",
            0.0,
            _most(error.to_numpy(), 0.0),
            source=source,
        ),
    ]


def _figure_slope(curves: pd.DataFrame) -> Figure:
    figure, ax = style.figure()
    theta = np.linspace(0, np.pi, 200)
    ax.plot(theta, np.cos(theta), color=style.GREY, lw=0.8, label=r"$\cos\theta$")
    rows = curves[(curves["sweep"] == "directions") & (curves["grad_norm"] > 1e-3)]
    methods = list(dict.fromkeys(rows["method.name"]))
    for method, colour, marker in zip(methods, style.COLOURS, style.MARKERS):
        part = rows[rows["method.name"] == method]
        angle = np.pi - part["angle"]  # `angle` is that to -g
        ax.plot(
            angle,
            part["slope"] / part["grad_norm"],
            marker,
            ls="none",
            ms=3.5,
            color=colour,
            mfc="none",
            mew=0.8,
            label=method.replace("_", " "),
        )
    ax.set_xticks(
        [0, np.pi / 4, np.pi / 2, 3 * np.pi / 4, np.pi],
        ["$0$", r"$\pi/4$", r"$\pi/2$", r"$3\pi/4$", r"$\pi$"],
    )
    ax.set_xlabel(r"angle $\theta$ between the step $u$ and the gradient $g$")
    ax.set_ylabel(r"$u^\top g \,/\, |u||g|$")
    ax.grid(True)
    ax.legend(loc="upper right")
    return figure


# Reading the study's tables.


def _rows(curves: pd.DataFrame, sweep: str, job: int = 0) -> pd.DataFrame:
    """The record of one run, in order of steps."""
    return curves[(curves["sweep"] == sweep) & (curves["job"] == job)].sort_values("step")


def _path(curves: pd.DataFrame, sweep: str, job: int = 0) -> np.ndarray:
    """The points x_t of one run, `[T, d]`."""
    rows = _rows(curves, sweep, job)
    names = [c for c in ("x0", "x1") if c in rows and rows[c].notna().any()]
    return rows[names].to_numpy(float)


def _ends(ends: pd.DataFrame, sweep: str, job: int = 0) -> pd.DataFrame:
    return ends[(ends["sweep"] == sweep) & (ends["job"] == job)]


def _graph(ends: pd.DataFrame, sweep: str, job: int = 0) -> tuple[np.ndarray, ...]:
    """x, f and f' of a landscape in one dimension; recorded is |f'|, the sign is f's rise."""
    rows = _ends(ends, sweep, job).sort_values("start0")
    x, f = rows["start0"].to_numpy(), rows["loss"].to_numpy()
    return x, f, np.sign(np.gradient(f, x)) * rows["grad_norm"].to_numpy()


def _surface(ends: pd.DataFrame, sweep: str) -> tuple[np.ndarray, ...]:
    """x1, x2 and f `[m, k]` of a landscape in two dimensions."""
    grid = _ends(ends, sweep).pivot_table(index="start0", columns="start1", values="loss")
    return grid.index.to_numpy(), grid.columns.to_numpy(), grid.to_numpy()


def _start(x: object) -> str:
    return str(x) if isinstance(x, str | list | tuple | float | int) and x == x else ""

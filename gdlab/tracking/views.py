"""Saved views of the MLflow UI as code: a study opens on its own columns, curves and points."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from types import MappingProxyType
from urllib.parse import quote

from gdlab.analysis.parameters import role
from gdlab.tracking import keys
from gdlab.tracking.store import Store
from gdlab.tracking.view import NAMES, View

TABLES = ("leaderboard", "runs")  # views that open as a table, not as charts
FINAL = ("loss", "grad_norm", "gap", "steps")
MEDIANS = ("loss_q90", "runs", "share_converged", "share_diverged")
SHARES = ("minimum", "saddle", "maximum", "plateau", "degenerate", "not_critical", "undecided",
          "diverged")  # fmt: skip
VERDICT = (keys.STATUS, keys.CRITICAL_KIND, keys.MORSE_INDEX, keys.REACHED)


def condition(**tags: str) -> str:
    """A filter on tags as the UI's search field takes it; those without a value are left out."""
    return " and ".join(f"tags.`{name}` = '{value}'" for name, value in tags.items() if value)


def write_views(
    store: Store,
    swept: Sequence[str] = (),
    metrics: Sequence[str] = FINAL,
    only: str = "",
    every: str = "",
    medians: bool = False,
    shares: bool = False,
    numeric: Sequence[str] = (),
    has_eta: bool = True,
    logarithms: bool = True,
    ranges: Mapping[str, tuple[float, float]] = MappingProxyType({}),
) -> dict[str, str]:
    """Writes the experiment's named views; replaces those of the same name.

    Args:
        swept: parameters that differ between runs, in the order in which they matter, seed last.
        metrics: final metrics for the leaderboard. Its order is that of the ranks, in which the
            losses of different objectives are not compared and what diverged comes last.
        only: the filter of all views, see `condition`.
        every: the filter of a view of the single runs, where the others show aggregates.
        medians: whether what is shown are medians over seeds.
        shares: whether the runs have many starts, and shares of what these reached.
        numeric: those of `swept` that are numbers, for scatter plots.
        has_eta: whether the runs have a step size `schedule.eta`.
        logarithms: whether the runs have curves of logarithms.
        ranges: metric -> log10 of the lowest and highest value that its charts show.

    Returns:
        View id -> name in the menu, for `ui_url`.
    """
    params = list(swept)[:12]
    shown = [key for key in params if not (medians and role(key) == "pair")]
    outcome = [*metrics[:1], *(MEDIANS if medians else ()), *metrics[1:], keys.RANK]
    verdict = [f"tags.`{name}`" for name in VERDICT]

    def view(name: str, finals: Sequence[str] = outcome, filter: str = only) -> View:
        keys_of = params if name == "runs" else shown
        columns = [f"params.`{key}`" for key in keys_of] + [f"metrics.`{n}`" for n in finals]
        view = View(name, columns=columns + verdict, filter=filter)
        if name == "runs" and keys_of:  # single runs of choices that are ranked by their medians
            view.order = f"params.`{keys_of[0]}`"
        return view

    axes = [key for key in numeric if key in shown and key != "schedule.eta"]
    if has_eta:
        axes = ["schedule.log10_eta", *axes]
    views = [
        view("leaderboard"),
        _curves(view("curves", metrics[:1]), logarithms, ranges),
        _step_size(view("step-size", [metrics[0], "steps"]), shown, axes),
        _critical_points(view("critical-points", metrics[:1]), medians or shares),
    ]
    if every:
        views.append(view("runs", metrics, every))
    store.tag({tag: value for view in views for tag, value in view.tag().items()})
    return {view.id: NAMES[view.id] for view in views}


def _curves(view: View, logarithms: bool, ranges: Mapping[str, tuple[float, float]]) -> View:
    view.section("Curves", columns=3 if logarithms else 2)
    names = {"loss": "loss", "grad_norm": "gradient norm", "step_size": "step size"}
    for name, words in names.items():
        view.line(name, f"{words} (log)", between=ranges.get(name))
    if logarithms:
        # The UI's log axis labels everything below 1e-6 as 0: the logarithms do not.
        view.section("Logarithms, against the logarithm of the step", columns=3)
        for name, words in names.items():
            view.line(
                f"log10_{name}", f"log10 {words}", False, log_x=True, between=ranges.get(name)
            )
    return view


def _step_size(view: View, params: Sequence[str], axes: Sequence[str]) -> View:
    view.section("Step size against outcome")
    for key in axes[:2]:
        words = key.rpartition(".")[2].replace("_", " ")
        view.scatter(f"params.{key}", "metrics.log10_loss", f"log10 final loss against {words}")
        view.scatter(f"params.{key}", "metrics.steps", f"steps taken against {words}")
    view.line("step_size", "step size (log)")
    lanes = ["schedule.log10_eta" if key == "schedule.eta" else key for key in params]
    if lanes:
        view.parallel(lanes, ["log10_loss", "steps"], "swept parameters and outcome")
    if len(axes) > 1:
        x, y = (f"params.{key}" for key in axes[:2])
        names = [key.rpartition(".")[2].replace("_", " ") for key in axes[:2]]
        view.contour(x, y, "metrics.log10_loss", f"log10 final loss over {' and '.join(names)}")
    return view


def _critical_points(view: View, shares: bool) -> View:
    verdict = [f"tags.`{name}`" for name in VERDICT]
    view.columns = verdict + [column for column in view.columns if column not in verdict]
    if shares:
        view.section("Shares of what was reached", columns=3)
        for kind in SHARES:
            view.bar(f"share_{kind}", f"share that ends at: {kind.replace('_', ' ')}")
        return view
    # The end of a descent that diverged, at 1e100, would leave the others in one dot.
    here = f"tags.`{keys.STATUS}` != 'diverged'"
    view.filter = f"{view.filter} and {here}" if view.filter else here
    view.section("Where descents end")
    view.scatter("metrics.x0", "metrics.x1", "end points in the first two coordinates")
    view.scatter("metrics.log10_grad_norm", "metrics.loss", "loss against log10 gradient norm")
    return view


def ui_url(base: str, experiment_id: str, view: str | None = None) -> str:
    """The link to an experiment's runs, or to one of its views by id (`curves`).

    A bare link to an experiment would open MLflow's page for language-model traces.
    """
    page = f"{base.rstrip('/')}/#/experiments/{experiment_id}/runs"
    if view is None:
        return f"{page}?workflowType=machine_learning"
    charts = "" if view in TABLES else "&compareRunsMode=CHART"
    return f"{page}?viewStateShareKey={quote(view)}{charts}&workflowType=machine_learning"


def run_url(base: str, experiment_id: str, run_id: str) -> str:
    """The link to one run's page."""
    return f"{base.rstrip('/')}/#/experiments/{experiment_id}/runs/{run_id}"

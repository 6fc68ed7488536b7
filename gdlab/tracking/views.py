"""Saved views of the MLflow UI as code: a study opens on its own columns, curves and points.

The UI keeps a view as an experiment tag that holds its packed state. That state is MLflow 3.17's
own and is documented nowhere; all that gdlab knows of it is in this file.
"""

from __future__ import annotations

import base64
import json
import time
import uuid
import zlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Any
from urllib.parse import quote

from gdlab.analysis.parameters import role
from gdlab.tracking import keys
from gdlab.tracking.query import VIEW_TAG
from gdlab.tracking.store import Store

LIMIT = 20_000  # characters of an experiment tag
NAMES = {
    "leaderboard": "Leaderboard",
    "curves": "Curves",
    "step-size": "Step size",
    "critical-points": "Critical points",
    "runs": "Every run",
}
TABLES = ("leaderboard", "runs")  # views that open as a table, not as charts
FINAL = ("loss", "grad_norm", "gap", "steps")
MEDIANS = ("loss_q90", "runs", "share_converged", "share_diverged")
SHARES = ("minimum", "saddle", "maximum", "plateau", "degenerate", "not_critical", "diverged")
VERDICT = (keys.STATUS, keys.CRITICAL_KIND, keys.MORSE_INDEX, keys.REACHED)


@dataclass
class View:
    """The state of the runs page: its columns, order, grouping and charts."""

    id: str
    columns: list[str] = field(default_factory=list)
    order: str = f"metrics.`{keys.RANK}`"
    filter: str = ""
    group_by: Sequence[str] = ()
    charts: list[dict[str, Any]] = field(default_factory=list)
    sections: list[dict[str, Any]] = field(default_factory=list)

    def section(self, name: str, columns: int = 2, height: int = 400) -> View:
        """Begins a section of charts."""
        self.sections.append(
            {
                "uuid": self._uuid(),
                "name": name,
                "display": True,
                "isReordered": True,
                "deleted": False,
                "isGenerated": False,
                "columns": columns,
                "cardHeight": height,
            }
        )
        return self

    def line(
        self,
        metric: str,
        title: str,
        log_y: bool = True,
        log_x: bool = False,
        between: tuple[float, float] | None = None,
    ) -> View:
        """A metric's history against the step; a log axis is bounded by logarithms."""
        return self._chart(
            "LINE",
            title,
            metricKey=metric,
            selectedMetricKeys=[metric],
            lineSmoothness=0,
            scaleType="log" if log_y else "linear",
            xAxisScaleType="log" if log_x else "linear",
            range={"yMin": between[0], "yMax": between[1]} if between else {},
            xAxisKey="step",
            selectedXAxisMetricKey="",
            yAxisKey="metric",
            yAxisExpressions=[],
            ignoreOutliers=False,
            useGlobalXaxisKey=False,
            useGlobalLineSmoothing=False,
        )

    def scatter(self, x: str, y: str, title: str) -> View:
        """One value of each run against another: `params.<key>` or `metrics.<key>`."""
        return self._chart("SCATTER", title, xaxis=_axis(x), yaxis=_axis(y))

    def contour(self, x: str, y: str, z: str, title: str) -> View:
        return self._chart("CONTOUR", title, xaxis=_axis(x), yaxis=_axis(y), zaxis=_axis(z))

    def bar(self, metric: str, title: str) -> View:
        return self._chart("BAR", title, metricKey=metric)

    def parallel(self, params: Sequence[str], metrics: Sequence[str], title: str) -> View:
        return self._chart(
            "PARALLEL",
            title,
            selectedParams=list(params),
            selectedMetrics=list(metrics),
            showAllRuns=True,
        )

    def _chart(self, kind: str, title: str, **more: Any) -> View:
        self.charts.append(
            {
                "uuid": self._uuid(),
                "type": kind,
                "displayName": title,
                "metricSectionId": self.sections[-1]["uuid"],
                "deleted": False,
                "isGenerated": False,
                "runsCountToCompare": 100,
                **more,
            }
        )
        return self

    def _uuid(self) -> str:
        place = f"{self.id}/{len(self.sections)}/{len(self.charts)}"
        return uuid.uuid5(uuid.NAMESPACE_OID, place).hex

    def state(self) -> dict[str, Any]:
        """The page's state as the UI's front end keeps it."""
        group = None
        if self.group_by:
            group = {
                "aggregateFunction": "average",
                "groupByKeys": [{"mode": "param", "groupByData": key} for key in self.group_by],
            }
        return {
            "searchFilter": self.filter,
            "orderByKey": self.order,
            "orderByAsc": True,
            "startTime": "ALL",
            "lifecycleFilter": "Active",
            "datasetsFilter": [],
            "modelVersionFilter": "All Runs",
            "selectedColumns": self.columns,
            "columnOrder": [],
            "columnWidths": {},
            "runsHiddenMode": "SHOW_ALL",
            "viewMaximized": False,
            "runListHidden": False,
            "isAccordionReordered": True,
            "groupBy": group,
            "groupsExpanded": {},
            "useGroupedValuesInCharts": True,
            "hideEmptyCharts": True,
            "globalLineChartConfig": {
                "xAxisKey": "step",
                "lineSmoothness": 0,
                "selectedXAxisMetricKey": "",
            },
            "compareRunCharts": self.charts,
            "compareRunSections": self.sections,
        }

    def tag(self) -> dict[str, str]:
        """The experiment tag that puts this view into the UI's menu."""
        now = int(time.time() * 1000)
        packed = zlib.compress(json.dumps(self.state()).encode(), 9)
        value = json.dumps(
            {
                "name": NAMES[self.id],
                "createdAt": now,
                "updatedAt": now,
                "state": "deflate;" + base64.b64encode(packed).decode(),
            }
        )
        if len(value) > LIMIT:
            raise ValueError(f"view {self.id}: {len(value)} characters; MLflow takes {LIMIT}")
        return {VIEW_TAG + self.id: value}


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


def _axis(name: str) -> dict[str, str]:
    group, _, key = name.partition(".")
    return {"type": "PARAM" if group == "params" else "METRIC", "key": key}


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

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
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import quote

from gdlab.tracking import keys
from gdlab.tracking.read import VIEW_TAG
from gdlab.tracking.store import Store

LIMIT = 20_000  # characters of an experiment tag
NAMES = {
    "leaderboard": "Leaderboard",
    "curves": "Curves",
    "step-size": "Step size",
    "critical-points": "Critical points",
}
TABLES = ("leaderboard",)  # views that open as a table, not as charts
VERDICT = (keys.STATUS, keys.CRITICAL_KIND, keys.MORSE_INDEX, keys.REACHED)


@dataclass
class View:
    """The state of the runs page: its columns, order, grouping and charts."""

    id: str
    columns: list[str] = field(default_factory=list)
    order: str = "metrics.`loss`"
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

    def line(self, metric: str, title: str, log_y: bool = True, log_x: bool = False) -> View:
        """A metric's history against the step."""
        return self._chart(
            "LINE",
            title,
            metricKey=metric,
            selectedMetricKeys=[metric],
            lineSmoothness=0,
            scaleType="log" if log_y else "linear",
            xAxisScaleType="log" if log_x else "linear",
            range={},
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
            "hideEmptyCharts": False,
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
        name, _, scope = self.id.partition(".")
        packed = zlib.compress(json.dumps(self.state()).encode(), 9)
        value = json.dumps(
            {
                "name": f"{NAMES[name]} ({scope})" if scope else NAMES[name],
                "createdAt": now,
                "updatedAt": now,
                "state": "deflate;" + base64.b64encode(packed).decode(),
            }
        )
        if len(value) > LIMIT:
            raise ValueError(f"view {self.id}: {len(value)} characters; MLflow takes {LIMIT}")
        return {VIEW_TAG + self.id: value}


def write_views(
    store: Store,
    swept: Sequence[str] = (),
    metrics: Sequence[str] = ("loss", "grad_norm", "gap", "steps"),
    sweep: str = "",
) -> dict[str, str]:
    """Writes the experiment's named views; replaces those of the same name.

    Args:
        swept: parameters that differ between runs, in the order in which they matter, seed last.
        metrics: final metrics for the leaderboard; its order is that of the first.
        sweep: restricts the views to one sweep, and sets them apart from those of the experiment.

    Returns:
        View id -> name in the menu, for `ui_url`.
    """
    scope = f".{sweep}" if sweep else ""
    params = list(swept)[:12]
    groups = [key for key in params if key != "seed"]
    columns = (
        [f"params.`{key}`" for key in params]
        + [f"metrics.`{name}`" for name in metrics]
        + [f"tags.`{name}`" for name in VERDICT]
    )
    best = f"metrics.`{metrics[0]}`"
    common: dict[str, Any] = {
        "columns": columns,
        "order": best,
        "filter": f"tags.`{keys.SWEEP}` = '{sweep}'" if sweep else "",
    }
    several = groups if "seed" in params else ()
    views = [
        View(f"leaderboard{scope}", **common),
        _curves(View(f"curves{scope}", **common, group_by=several)),
        _step_size(View(f"step-size{scope}", **common), params),
        _critical_points(View(f"critical-points{scope}", **common)),
    ]
    store.tag({tag: value for view in views for tag, value in view.tag().items()})
    return {view.id: NAMES[view.id.partition(".")[0]] for view in views}


def _curves(view: View) -> View:
    view.section("Curves")
    view.line("loss", "loss (log)").line("grad_norm", "gradient norm (log)")
    view.line("step_size", "step size (log)").line("gap", "loss - f_star (log)")
    # The UI's log axis labels everything below 1e-6 as 0: the logarithms on linear axes do not.
    view.section("Logarithms", columns=3)
    for name in ("loss", "grad_norm", "step_size"):
        view.line(f"log10_{name}", f"log10 {name.replace('_', ' ')}", log_y=False)
    return view


def _step_size(view: View, params: Sequence[str]) -> View:
    view.section("Step size against outcome")
    eta = "params.schedule.log10_eta"
    view.scatter(eta, "metrics.log10_loss", "log10 final loss against log10 step size")
    view.scatter(eta, "metrics.steps", "steps taken against log10 step size")
    numbers = [key for key in params if key not in ("schedule.eta", "seed")]
    axes = ["schedule.log10_eta" if key == "schedule.eta" else key for key in params]
    view.parallel(axes, ["log10_loss", "steps"], "swept parameters and outcome")
    if numbers:
        view.contour(
            eta, f"params.{numbers[0]}", "metrics.log10_loss", f"log10 loss over {numbers[0]}"
        )
    return view


def _critical_points(view: View) -> View:
    view.columns = [f"tags.`{name}`" for name in VERDICT] + view.columns
    view.columns = list(dict.fromkeys(view.columns))
    view.section("Where descents end")
    view.scatter("metrics.x0", "metrics.x1", "end points in the first two coordinates")
    view.scatter("metrics.log10_grad_norm", "metrics.loss", "loss against log10 gradient norm")
    view.section("Shares of what was reached (runs with many starts)", columns=3)
    for kind in ("minimum", "saddle", "maximum", "plateau", "degenerate", "not_critical"):
        view.bar(f"share_{kind}", f"share that ends at: {kind.replace('_', ' ')}")
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
    charts = "" if view.partition(".")[0] in TABLES else "&compareRunsMode=CHART"
    return f"{page}?viewStateShareKey={quote(view)}{charts}&workflowType=machine_learning"


def run_url(base: str, experiment_id: str, run_id: str) -> str:
    """The link to one run's page."""
    return f"{base.rstrip('/')}/#/experiments/{experiment_id}/runs/{run_id}"

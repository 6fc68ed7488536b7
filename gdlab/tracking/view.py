"""A saved view of the MLflow UI's runs page: its columns, order, charts, packed as the UI keeps it.

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

from gdlab.tracking import keys
from gdlab.tracking.query import VIEW_TAG

LIMIT = 20_000  # characters of an experiment tag
NAMES = {
    "leaderboard": "Leaderboard",
    "curves": "Curves",
    "step-size": "Step size",
    "critical-points": "Critical points",
    "runs": "Every run",
}


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


def _axis(name: str) -> dict[str, str]:
    group, _, key = name.partition(".")
    return {"type": "PARAM" if group == "params" else "METRIC", "key": key}

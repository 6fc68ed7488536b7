"""How a sweep is carried out and kept: the part of a configuration that changes no number."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

from gdlab.errors import UsageError, suggest
from gdlab.registry import check
from gdlab.tracking import address
from gdlab.types import COLUMNS

LEAST_POINTS = 2


@dataclass(frozen=True)
class Settings:
    """How a sweep is carried out and kept; none of it changes a number.

    Attributes:
        uri: the store; None keeps nothing.
        experiment: MLflow experiment; a study's own name where there is one.
        study: name of the study.
        metrics: columns kept as curves.
        artifacts: `auto`, `always` or `never`.
        points: of each curve in MLflow, at most; None for all. The whole is kept as Parquet.
        resume: whether what the store holds as finished is left as it is.
        dry_run: whether to plan only.
        command: what the user typed, for the run pages.
    """

    uri: str | None = "sqlite:///mlflow.db"
    experiment: str = "gdlab"
    study: str | None = None
    metrics: tuple[str, ...] = ("loss", "grad_norm", "step_size")
    artifacts: str = "auto"
    points: int | None = 16
    resume: bool = True
    dry_run: bool = False
    command: str = ""

    @classmethod
    def of(cls, config: Mapping[str, Any], command: str = "") -> Settings:
        """Those of a configuration."""
        tracking = config["tracking"]
        known = {"enabled", "uri", "experiment", "metrics", "artifacts", "points"}
        for key in tracking:
            if key not in known:
                raise UsageError(f"tracking.{key}: no such key; {suggest(key, sorted(known))}")
        metrics = tuple(check("tracking.metrics", tracking["metrics"], list[str]))
        probes = (config.get("record") or {}).get("probes") or []
        columns = [*COLUMNS[1:], *check("record.probes", probes, list[str])]
        for name in metrics:
            if name not in columns:
                raise UsageError(f"tracking.metrics=[{name}]: {suggest(name, columns)}")
        return cls(
            uri=check("tracking.uri", tracking["uri"], str | None) or address.address()
            if check("tracking.enabled", tracking["enabled"], bool)
            else None,
            experiment=str(config.get("study") or tracking["experiment"]),
            study=config.get("study"),
            metrics=metrics,
            artifacts=check(
                "tracking.artifacts", tracking["artifacts"], Literal["auto", "always", "never"]
            ),
            points=_points(tracking.get("points", cls.points)),
            resume=check("resume", config.get("resume", True), bool),
            dry_run=check("dry_run", config.get("dry_run", False), bool),
            command=address.shown(command),
        )

    def curves(self, params: Mapping[str, Any]) -> tuple[str, ...]:
        """Metrics that a job's run keeps as curves: those of the sweep, and its own probes."""
        return tuple(dict.fromkeys([*self.metrics, *params["record.probes"]]))


def _points(value: Any) -> int | None:
    points = check("tracking.points", value, int | Literal["all"])
    if points == "all":
        return None
    if points < LEAST_POINTS:
        raise UsageError(
            f"tracking.points={value}: takes a number >= {LEAST_POINTS}, the first and the last "
            "point of a curve among them, or all"
        )
    return int(points)

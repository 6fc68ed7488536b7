"""A job and what became of it -> the run that the store keeps."""

from __future__ import annotations

import hashlib
import shlex
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from gdlab.analysis.endings import Ending
from gdlab.launch import artifacts
from gdlab.launch.build import Built
from gdlab.launch.settings import Settings
from gdlab.tracking import describe, keys
from gdlab.tracking.keys import RunData
from gdlab.tracking.provenance import provenance
from gdlab.types import Record, Records

# Overrides that say how a sweep is carried out and kept.
KEPT = ("tracking.", "tracking=", "resume=", "dry_run=", "max_jobs=")


@dataclass(frozen=True)
class Sheet:
    """What the runs of one call have in common.

    Attributes:
        sweep_id: of the call.
        swept: parameters that differ between its jobs, which names lead with.
        rich: whether each run keeps its own artifacts.
        shown: tags by which dashboards find the runs.
    """

    settings: Settings
    sweep_id: str
    swept: Sequence[str]
    rich: bool
    shown: Mapping[str, str]

    def finished(
        self, built: Built, overrides: Sequence[str], record: Record | Records, ending: Ending
    ) -> RunData:
        """The run of a job that came to an end, diverged or not."""
        if isinstance(record, Record):
            metrics = describe.single(record, self.settings.metrics, log10=self.rich)
        else:
            metrics = describe.population(record, self.settings.metrics)
        files = artifacts.artifacts(built, record) if self.rich else {}
        run_id = keys.run_id_for(self.settings.experiment, built.key)
        picture = describe.picture_link(run_id, "descent.png") if files else ""
        return self._run(
            built,
            overrides,
            status="FINISHED",
            tags={keys.STATUS: ending.status, **describe.verdict_tags(record)},
            metrics=metrics,
            artifacts=files,
            note=describe.note(record, shlex.join(["gdlab", *overrides]), picture, ending.still),
        )

    def failed(self, built: Built, overrides: Sequence[str], error: Exception) -> RunData:
        """The run of a job that raised."""
        tags = {"error": f"{type(error).__name__}: {error}"}
        return self._run(built, overrides, status="FAILED", tags=tags)

    def _run(
        self, built: Built, overrides: Sequence[str], tags: Mapping[str, str], **more: Any
    ) -> RunData:
        now = int(time.time() * 1000)
        study = {keys.STUDY: self.settings.study} if self.settings.study else {}
        return RunData(
            run_id=keys.run_id_for(self.settings.experiment, built.key),
            name=describe.run_name(built.params, self.swept),
            params=describe.params_text(built.params),
            tags={
                keys.KEY: built.key,
                keys.SWEEP: self.sweep_id,
                keys.COMMAND: " ".join(overrides),
                **study,
                **provenance(),
                **self.shown,
                **tags,
            },
            start_ms=now,
            end_ms=now,
            **more,
        )


def sweep_id(settings: Settings, overrides: Sequence[Sequence[str]]) -> str:
    """The same sweep, typed again, has the same id; how it is kept makes no difference."""
    asked = sorted(tuple(w for w in words if not w.startswith(KEPT)) for words in overrides)
    text = repr((settings.experiment, asked))
    return hashlib.sha256(text.encode()).hexdigest()[:12]

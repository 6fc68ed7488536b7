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
from gdlab.tracking import address, describe, keys
from gdlab.tracking.keys import RunData
from gdlab.tracking.metrics import population, single
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
        rich: whether each run keeps its own tables and has a picture.
        records: where the runs' whole records are: `keys.OWN`, the id of the run that pools them,
            or None where they are not kept.
        shown: tags by which dashboards find the runs.
        ids: derived run id -> the id that the store has for it, where that is another.
    """

    settings: Settings
    sweep_id: str
    swept: Sequence[str]
    rich: bool
    records: str | None
    shown: Mapping[str, str]
    ids: Mapping[str, str]

    def finished(
        self, built: Built, overrides: Sequence[str], record: Record | Records, ending: Ending
    ) -> RunData:
        """The run of a job that came to an end, diverged or not."""
        curves = self.settings.curves(built.params)
        where: dict[str, str] = {}
        if isinstance(record, Record):
            metrics = single(record, curves, log10=self.rich)
            where = {keys.RECORDS: self.records} if self.records is not None else {}
        else:  # its quantiles are nowhere but in MLflow
            metrics = population(record, curves)
        files = {}
        if self.rich:
            files = artifacts.artifacts(built, record)
        elif self.records == keys.OWN:
            files = artifacts.record_of(record, self._run_id(built))
        picture = describe.picture_link(self._run_id(built), keys.PICTURE) if self.rich else ""
        again = shlex.join(["gdlab", *map(address.shown, overrides)])
        return self._run(
            built,
            overrides,
            status="FINISHED",
            tags={keys.STATUS: ending.status, **where, **describe.verdict_tags(record)},
            metrics=metrics,
            points=self.settings.points if where else None,
            artifacts=files,
            note=describe.note(record, again, picture, ending.still),
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
        derived = keys.run_id_for(self.settings.experiment, built.key)
        run_id = self._run_id(built)
        return RunData(
            run_id=run_id,
            name=describe.run_name(built.params, self.swept),
            params=describe.params_text(built.params),
            tags={
                keys.KEY: built.key,
                keys.SWEEP: self.sweep_id,
                **keys.curves_tag(self.settings.curves(built.params)),
                keys.COMMAND: address.shown(" ".join(overrides)),
                **study,
                # Tables are ordered by the derived id, whatever the store calls the run.
                **({keys.RUN_KEY: derived} if run_id != derived else {}),
                **provenance(),
                **self.shown,
                **tags,
            },
            start_ms=now,
            end_ms=now,
            **more,
        )

    def _run_id(self, built: Built) -> str:
        derived = keys.run_id_for(self.settings.experiment, built.key)
        return self.ids.get(derived, derived)


def sweep_id(settings: Settings, overrides: Sequence[Sequence[str]]) -> str:
    """The same sweep, typed again, has the same id; how it is kept makes no difference."""
    asked = sorted(
        tuple(w for w in words if not w.lstrip("+~").startswith(KEPT)) for words in overrides
    )
    text = repr((settings.experiment, asked))
    return hashlib.sha256(text.encode()).hexdigest()[:12]

"""What a tracked run is, and what its tags are called. Knows no mlflow."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

# Tags of a run, by which runs are found and filtered.
STUDY = "study"  # the study that asked for the run
SWEEP = "sweep"  # one call of `gdlab -m`
KEY = "key"  # hash of the resolved numerical configuration
STATUS = "status"  # converged, budget, diverged
CRITICAL_KIND = "critical_kind"  # what the end point is
MORSE_INDEX = "morse_index"
REACHED = "reached"  # which known critical point
GIT_COMMIT = "git_commit"
VERSIONS = "versions"  # "gdlab 0.1.0, jax 0.10.2, ..."
COMMAND = "overrides"  # what the user asked for, as typed
RUN_KEY = "run_key"  # `RunData.run_id`, where the run has another in the store
WRITER = "writer"  # host:pid while a run is being written through a client
CURVES = "curves"  # names of the metrics that were kept as curves, where not the default ones
RECORDS = "records"  # where a run's whole record is: `OWN`, or the id of the run that pools it
OWN = "own"
RANK = "rank"  # of a run on its problem: known, and written, after its sweep has ended
ROLE = "role"  # run (of a job), aggregate (of a setting over its seeds) or summary (of a sweep)
RUN, AGGREGATE, SUMMARY = "run", "aggregate", "summary"
SHOWN = "shown"  # "yes" on what the views show: aggregates where seeds are swept, else runs
NOTE = "mlflow.note.content"
RUN_NAME = "mlflow.runName"
USER = "mlflow.user"

# Artifacts of a run: its configuration; a descent's whole record, or the end points of many
# starts and the first one's record; its picture, made when it is first looked at.
CONFIG = "config.yaml"
RECORD, ENDS, FIRST = "record.parquet", "ends.parquet", "first.parquet"
PICTURE = "descent.png"

# Histories are what curves are drawn from.
HISTORIES = ("loss", "grad_norm", "step_size", "log10_loss", "log10_grad_norm", "log10_step_size")

# What `Store.finals` tells of a finished run.
FINAL_METRICS = ("loss", "steps")
FINAL_TAGS = (STATUS, CRITICAL_KIND, MORSE_INDEX, REACHED, CURVES)
# Curves that are kept by default; a run with others says so in its tag `curves`.
DEFAULT_CURVES = ("loss", "grad_norm", "step_size")
# Without it the UI opens an experiment on an empty page for language-model traces.
EXPERIMENT_TAGS = {"mlflow.experimentKind": "custom_model_development"}

# Limits of MLflow 3.17, in characters and in entries a call.
NAME_LENGTH = 250
PARAM_LENGTH = 6000
LONG_PARAMS = "params.json"  # the artifact with those parameters that are longer
TAG_LENGTH = 8000
METRICS_A_CALL = 1000
PARAMS_A_CALL = 100
TAGS_A_CALL = 100


@dataclass(frozen=True)
class RunData:
    """One finished run, ready to be stored.

    Attributes:
        run_id: 32 hex digits, `run_id_for(experiment, key)`.
        name: what differs, for a person: `rosenbrock backtracking 1/L seed 3`.
        params: dotted name -> text of the resolved configuration.
        tags: name -> text; `key` is one of them.
        metrics: name -> (steps, values); values that are not finite are not written.
        points: of each curve, so many are written at most; None for all.
        artifacts: relative path -> content.
        status: `FINISHED`, or `FAILED` for a job that raised.
        start_ms: start and `end_ms` end, in milliseconds since 1970.
        note: Markdown for the run's page.
    """

    run_id: str
    name: str
    params: Mapping[str, str] = field(default_factory=dict)
    tags: Mapping[str, str] = field(default_factory=dict)
    metrics: Mapping[str, tuple[Sequence[int], Sequence[float]]] = field(default_factory=dict)
    points: int | None = None
    artifacts: Mapping[str, bytes] = field(default_factory=dict)
    status: str = "FINISHED"
    start_ms: int = 0
    end_ms: int = 0
    note: str = ""

    @property
    def short_name(self) -> str:
        """The name within MLflow's limit."""
        return self.name[:NAME_LENGTH]

    def all_tags(self, user: str) -> dict[str, str]:
        """The tags as stored: MLflow's own beside ours, each within MLflow's limit."""
        tags = {RUN_NAME: self.short_name, USER: user, **self.tags}
        tags = {key: within(str(value), TAG_LENGTH) for key, value in tags.items()}
        return tags | ({NOTE: self.note[:TAG_LENGTH]} if self.note else {})

    def all_params(self) -> dict[str, str]:
        """The parameters as stored, each within MLflow's limit (see `within`)."""
        return {key: within(str(value), PARAM_LENGTH) for key, value in self.params.items()}

    @property
    def files(self) -> Mapping[str, bytes]:
        """The artifacts as stored: with `params.json`, where a parameter is over the limit."""
        long = {k: str(v) for k, v in self.params.items() if len(str(v)) > PARAM_LENGTH}
        if not long:
            return self.artifacts
        return {**self.artifacts, LONG_PARAMS: json.dumps(long, indent=1).encode()}


def curves_tag(curves: Sequence[str]) -> dict[str, str]:
    """The tag of a run that keeps other curves than the default ones."""
    return {} if tuple(curves) == DEFAULT_CURVES else {CURVES: ",".join(curves)}


def curves_of(tags: Mapping[str, Any]) -> set[str]:
    """Curves that a stored run was asked to keep."""
    return set(str(tags.get(CURVES) or ",".join(DEFAULT_CURVES)).split(","))


def within(text: str, limit: int) -> str:
    """The text, cut to the limit where it is longer: its beginning, length and digest.

    Different texts stay different.
    """
    if len(text) <= limit:
        return text
    digest = hashlib.sha256(text.encode()).hexdigest()
    end = f" ... ({len(text)} characters, sha256 {digest})"
    return text[: limit - len(end)] + end


def run_id_for(experiment: str, key: str) -> str:
    """The first 32 hex digits of sha256(experiment + key): a job cannot be stored twice."""
    return hashlib.sha256((experiment + key).encode()).hexdigest()[:32]


def value_of(text: Any) -> Any:
    """A parameter's text as what it was: a number, a bool, None, or the text itself.

    Python's spellings and YAML's (`true`, `null`) both count; `nan` and `inf` are floats.
    """
    if not isinstance(text, str):
        return text
    word = text.strip()
    if word in _WORDS:
        return _WORDS[word]
    if not word or word[0] not in "+-.0123456789niNI" or "_" in word:
        return text
    for kind in (int, float):
        try:
            return kind(word)
        except ValueError:
            continue
    return text


_WORDS = {
    "True": True,
    "true": True,
    "False": False,
    "false": False,
    "None": None,
    "null": None,
}

"""What a report says: claims, figures, curves, standings, verdicts; all from the store."""

from __future__ import annotations

import io
import json
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from gdlab.analysis import ranking
from gdlab.errors import UsageError
from gdlab.launch import config
from gdlab.report import series
from gdlab.report.commands import repeating
from gdlab.tracking.address import shown

ROWS = 500  # of the table of runs
PICTURES = 6  # descents drawn on the page of a plain sweep
PICTURED = "Descents whose pictures the store has, lowest loss first."


@dataclass(frozen=True)
class Content:
    """Everything that stands on the page.

    Attributes:
        name: of the study or experiment.
        question: of a study, else empty.
        answers: who won, one sentence an objective; of plain sweeps.
        counts: status -> runs.
        runs: how many.
        claims: `study.claims_table`, or None.
        figures: name -> PNG.
        caption: what the figures are, in words.
        tables: title -> table, in the order of the page.
        verdicts: counts by kind and point reached.
        panels: data of the interactive curves (see `series.panels`).
        scatter: data of final loss against each swept number (see `series.scatter`).
        provenance: label -> text.
        commands: what repeats it.
        notes: what the reader should know of what is missing.
    """

    name: str
    question: str = ""
    answers: Sequence[str] = ()
    counts: Mapping[str, int] = field(default_factory=dict)
    runs: int = 0
    claims: pd.DataFrame | None = None
    figures: Mapping[str, bytes] = field(default_factory=dict)
    caption: str = ""
    tables: Mapping[str, pd.DataFrame] = field(default_factory=dict)
    verdicts: pd.DataFrame | None = None
    panels: Sequence[Mapping[str, Any]] = ()
    scatter: Sequence[Mapping[str, Any]] = ()
    provenance: Mapping[str, str] = field(default_factory=dict)
    commands: Sequence[str] = ()
    notes: Sequence[str] = ()


def gathered(name: str, uri: str) -> Content:
    """The content of a study's or experiment's page.

    Raises:
        UsageError: the store has no finished runs of that name.
    """
    from gdlab.tracking.read import load

    runs = load(name, uri)
    drawn = _Drawn()
    if name in {choice.name for choice in config.studies()}:
        drawn = _study(name, uri)
    is_study = drawn.claims is not None
    panel = _panels_of(runs, drawn.sweeps)
    tables = dict(drawn.tables)
    if not is_study:
        tables |= _standings(runs) | _runs_table(runs)
    return Content(
        name=name,
        question=drawn.question,
        answers=() if is_study else ranking.sentences(runs),
        counts={str(k): int(v) for k, v in runs["status"].value_counts().items()},
        runs=len(runs),
        claims=drawn.claims,
        figures=drawn.figures if is_study else _pictures(runs, uri),
        caption=drawn.caption if is_study else PICTURED,
        tables=tables,
        verdicts=verdicts(runs),
        panels=series.panels(runs, _curves(name, uri), panel),
        scatter=series.scatter(runs, panel),
        provenance=_provenance(runs, uri) | dict(drawn.versions),
        commands=drawn.commands or repeating(runs),
        notes=drawn.notes,
    )


@dataclass(frozen=True)
class _Drawn:
    """What a study adds to its runs."""

    question: str = ""
    claims: pd.DataFrame | None = None
    figures: Mapping[str, bytes] = field(default_factory=dict)
    caption: str = ""
    tables: Mapping[str, pd.DataFrame] = field(default_factory=dict)
    sweeps: Mapping[str, str] = field(default_factory=dict)
    versions: Mapping[str, str] = field(default_factory=dict)
    commands: Sequence[str] = ()
    notes: Sequence[str] = ()


def _study(name: str, uri: str) -> _Drawn:
    """Claims, tables and figures again, from the stored runs; a note where some are missing."""
    from gdlab.launch.study import Study

    study = Study(name, [f"tracking.uri={uri}"])
    module = study.experiment.module
    try:
        stored = study.stored()
        with tempfile.TemporaryDirectory() as folder:
            into = Path(folder)
            study.write(stored, into)
            files = {path.name: path.read_bytes() for path in sorted(into.iterdir())}
    except UsageError as error:
        return _Drawn(question=module.QUESTION, notes=[str(error)])
    manifest = json.loads(files["manifest.json"])
    return _Drawn(
        question=module.QUESTION,
        claims=pd.read_csv(io.BytesIO(files["claims.csv"]), keep_default_na=False),
        figures={n.removesuffix(".png"): c for n, c in files.items() if n.endswith(".png")},
        caption=" ".join((module.figures.__doc__ or "").split()),
        tables={"Table": pd.read_csv(io.BytesIO(files["table.csv"]))},
        sweeps={key: sweep for sweep, keys in stored.keys.items() for key in keys},
        versions={"Versions": ", ".join(f"{k} {v}" for k, v in manifest["versions"].items())},
        commands=[f"gdlab study {name}", f"gdlab figures {name}"],
    )


def _panels_of(runs: pd.DataFrame, sweeps: Mapping[str, str]) -> pd.Series:
    """What is drawn together: a study's sweeps, else the runs of one objective."""
    if sweeps:
        named = runs["key"].map(sweeps)
        return named.where(named.notna(), runs["objective.name"])
    return runs["objective.name"]


def _curves(name: str, uri: str) -> pd.DataFrame | None:
    from gdlab.tracking.read import load_curves

    try:
        return load_curves(name, uri)
    except UsageError:
        return None  # record=ends keeps none


def _standings(runs: pd.DataFrame) -> dict[str, pd.DataFrame]:
    if not ranking.configurations(runs):
        return {}
    table = ranking.standings(runs)
    table["diverged"] = [f"{share:.0%}" for share in table["diverged"]]
    if (table["n"] == 1).all():
        table = table.drop(columns=["lowest", "highest", "n", "diverged"])
        table = table.rename(columns={"median": "loss"})
    return {"Standings": _headed(table.rename(columns={"n": "runs"}))}


def _runs_table(runs: pd.DataFrame) -> dict[str, pd.DataFrame]:
    """The runs with what sets them apart, lowest loss first."""
    by = ranking.configurations(runs)
    ends = [
        "loss",
        "gap",
        "grad_norm",
        "steps",
        "status",
        "critical_kind",
        "morse_index",
        "reached",
    ]
    order = runs.sort_values(["loss", "run_id"], na_position="last", kind="stable")
    names = [c for c in (*by, "seed", *ends) if c in runs and (c in by or runs[c].notna().any())]
    table = order[names].head(ROWS)
    for c in ("morse_index", "reached"):
        if c in table:
            table = table.assign(**{c: table[c].astype("Int64")})
    title = "Runs" if len(runs) <= ROWS else f"Runs, the best {ROWS:,} of {len(runs):,}"
    return {title: _headed(table)}


def _headed(table: pd.DataFrame) -> pd.DataFrame:
    """Groups' choices under the groups' names: `schedule.name` is `schedule`."""
    return table.rename(columns=lambda name: str(name).removesuffix(".name"))


def verdicts(runs: pd.DataFrame) -> pd.DataFrame | None:
    """Counts by objective, kind and point reached; a run of many starts counts them all.

    Columns: objective, reached, known point, descents, share (of the objective's descents).
    """
    counts: dict[tuple[str, str, str], float] = {}
    # Runs of a single step map a landscape; they were not meant to end anywhere.
    walked = runs[runs["params.steps"].astype(float) > 1] if "params.steps" in runs else runs
    for _, run in walked.iterrows():
        for (kind, point), n in _ends(run).items():
            key = (str(run["objective.name"]), kind, point)
            counts[key] = counts.get(key, 0) + n
    if not counts:
        return None
    table = pd.DataFrame(
        [(*key, round(n)) for key, n in counts.items() if round(n)],
        columns=["objective", "reached", "known point", "descents"],
    )
    table["share"] = table["descents"] / table.groupby("objective")["descents"].transform("sum")
    return table.sort_values(
        ["objective", "descents", "reached", "known point"],
        ascending=[True, False, True, True],
        ignore_index=True,
    )


def _ends(run: pd.Series) -> dict[tuple[str, str], float]:
    """(kind, known point) -> descents of one run."""
    starts = run.get("starts")
    if starts is None or pd.isna(starts):
        kind = run.get("critical_kind")
        if run["status"] == "diverged" or not isinstance(kind, str):
            return {(str(run["status"]), ""): 1.0}
        index, known = run.get("morse_index"), run.get("reached")
        words = f"saddle of index {index:.0f}" if kind == "saddle" and pd.notna(index) else kind
        return {(words.replace("_", " "), "" if pd.isna(known) else f"{known:.0f}"): 1.0}
    shares = {
        str(name).removeprefix("share_"): float(share) * float(starts)
        for name, share in run.items()
        if str(name).startswith("share_") and isinstance(share, float) and share > 0
    }
    kinds = {k: n for k, n in shares.items() if k not in ("converged", "budget")}
    points = {k: kinds.pop(k) for k in list(kinds) if k.startswith("reached_")}
    found = {(kind.replace("_", " "), ""): n for kind, n in kinds.items()}
    for name, n in points.items():
        number = int(name.removeprefix("reached_"))
        kind, words = _known_kind(run, number)
        if found.get((kind, ""), 0.0) >= n - 0.5:
            found[kind, ""] -= n
            found[words, str(number)] = n
    return found


def _known_kind(run: pd.Series, number: int) -> tuple[str, str]:
    """Kind of an objective's known point, and the kind in words."""
    objective = ranking.objective_of({str(k): v for k, v in run.items()})
    points = objective.facts.critical_points if objective is not None else None
    if objective is None or points is None or number >= len(points.index):
        return "", ""
    index = int(points.index[number])
    kind = {0: "minimum", objective.dim: "maximum", -1: "degenerate"}.get(index, "saddle")
    return kind, f"saddle of index {index}" if kind == "saddle" else kind


def _pictures(runs: pd.DataFrame, uri: str) -> dict[str, bytes]:
    """The pictures of the best runs, as their pages show them."""
    from gdlab.tracking.read import artifact

    found: dict[str, bytes] = {}
    best = runs.sort_values(["loss", "run_id"], kind="stable")
    for run_id, name in zip(best["run_id"].head(60), best["name"].head(60)):
        if len(found) == PICTURES:
            break
        try:
            found.setdefault(name, artifact(run_id, "descent.png", uri))
        except UsageError:
            continue  # large sweeps keep no pictures a run
    return found


def _provenance(runs: pd.DataFrame, uri: str) -> dict[str, str]:
    found = {"Store": shown(uri)}
    for label, column in (("Versions", "versions"), ("Commit", "git_commit")):
        if column in runs:
            values = sorted(set(runs[column].dropna().map(str)))
            found[label] = "; ".join(values[:4]) + ("; ..." if len(values) > 4 else "")
    found["Precision"] = ", ".join(sorted(set(runs["precision"].dropna().map(str))))
    found["Numerics"] = ", ".join(sorted(set(runs["numerics"].dropna().map(str))))
    keys = np.sort(runs["key"].to_numpy(str))
    found["Configurations"] = f"{len(keys):,} keys, from {keys[0][:12]} to {keys[-1][:12]}"
    return found

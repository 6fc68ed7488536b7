"""What a report says: claims, figures, curves, standings, verdicts; all from the store."""

from __future__ import annotations

import io
import itertools
import json
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from gdlab.analysis import endings, parameters, ranking, wording
from gdlab.analysis.ranking import Ranking
from gdlab.errors import UsageError
from gdlab.launch import config
from gdlab.report import series
from gdlab.report.commands import repeating
from gdlab.report.reached import verdicts
from gdlab.tracking.address import scheme, shown, sqlite_path

ROWS = 500  # of the table of runs
PICTURES = 6  # descents drawn on the page of a plain sweep
PICTURED = "Descents whose pictures the store has, lowest loss first."


@dataclass(frozen=True)
class Content:
    """Everything that stands on the page.

    Attributes:
        name: of the study or experiment.
        question: of a study, else empty.
        answers: who won, a sentence a problem; of plain sweeps.
        counts: status -> runs.
        runs: how many.
        claims: `claims.claims_table`, or None.
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

    stored = load(name, uri)
    runs = stored.iloc[parameters.judged_once(parameters.of_runs(stored))].reset_index(drop=True)
    drawn = _Drawn()
    if name in {choice.name for choice in config.studies()}:
        drawn = _study(name, uri)
    is_study = drawn.claims is not None
    ranked = ranking.rank_runs(runs)
    panel = _panels_of(runs, drawn.sweeps, ranked)
    tables = dict(drawn.tables)
    if not is_study:
        tables |= _standings(ranked) | _runs_table(runs, ranked)
    return Content(
        name=name,
        question=drawn.question,
        answers=() if is_study else wording.sentences(ranked),
        counts={str(k): int(v) for k, v in stored["status"].value_counts().items()},
        runs=len(stored),
        claims=drawn.claims,
        figures=drawn.figures if is_study else _pictures(runs, ranked, uri),
        caption=drawn.caption if is_study else PICTURED,
        tables=tables,
        verdicts=verdicts(runs),
        panels=series.panels(runs, _curves(name, uri), panel),
        scatter=series.scatter(runs, panel),
        provenance=_provenance(stored, uri) | dict(drawn.versions),
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


def _panels_of(runs: pd.DataFrame, sweeps: Mapping[str, str], ranked: Ranking) -> pd.Series:
    """What is drawn together: a study's sweeps, else the runs on one problem."""
    problem = pd.Series("", index=runs.index, dtype=object)
    for of in ranked.problems:
        for standing in of.standings:
            problem.iloc[list(standing.members)] = of.name
    if sweeps:
        named = runs["key"].map(sweeps)
        return named.where(named.notna(), problem)
    return problem


def _curves(name: str, uri: str) -> pd.DataFrame | None:
    from gdlab.tracking.read import load_curves

    try:
        return load_curves(name, uri)
    except UsageError:
        return None  # record=ends keeps none


def _standings(ranked: Ranking) -> dict[str, pd.DataFrame]:
    if not ranked.by_choice and not ranked.by_problem:
        return {}
    return {"Standings": _headed(ranking.table(ranked))}


def _runs_table(runs: pd.DataFrame, ranked: Ranking) -> dict[str, pd.DataFrame]:
    """The runs with what sets them apart: problem by problem, the lowest loss first."""
    best = ranking.best_runs(ranked, ROWS)
    table = runs.iloc[[i for members in best for i in members]]
    keys = [*ranked.by_problem, *ranked.by_choice]
    by = [f"params.{key}" if f"params.{key}" in runs else key for key in keys]
    paired = [k for k in parameters.varying(parameters.of_runs(runs)) if k in runs]
    by += [k for k in paired if parameters.role(k) == "pair" and k != "seed"]
    ends = ("loss", "gap", "grad_norm", *endings.COLUMNS[2:6], "status")
    names = [c for c in (*by, "seed", *ends) if c in runs and (c in by or runs[c].notna().any())]
    table = table[list(dict.fromkeys(names))]
    for c in ("morse_index", "reached"):
        if c in table:
            table = table.assign(**{c: pd.to_numeric(table[c], errors="coerce").astype("Int64")})
    each = " of each problem" if len(ranked.problems) > 1 else ""
    title = f"Runs, the best {len(table):,} of {len(runs):,}" if len(table) < len(runs) else "Runs"
    return {title + (each if len(table) < len(runs) else ""): _headed(table)}


def _headed(table: pd.DataFrame) -> pd.DataFrame:
    """Groups' choices under the groups' names: `schedule.name` is `schedule`."""
    return table.rename(columns=lambda name: str(name).removesuffix(".name"))


def _pictures(runs: pd.DataFrame, ranked: Ranking, uri: str) -> dict[str, bytes]:
    """The pictures of the best runs, as their pages show them; of each problem in turn."""
    from gdlab.launch import pictures

    found: dict[str, bytes] = {}
    best = itertools.zip_longest(*ranking.best_runs(ranked, 60))
    for i in (i for turn in best for i in turn if i is not None):
        if len(found) == PICTURES:
            break
        try:
            picture = pictures.of_run(runs["run_id"].iloc[i], uri)
        except UsageError:
            continue  # large sweeps keep no pictures a run
        found.setdefault(runs["name"].iloc[i], picture)
    return found


def _provenance(runs: pd.DataFrame, uri: str) -> dict[str, str]:
    # Not where the store lies: a page is the same wherever it is made.
    place = f"sqlite:///{sqlite_path(uri).name}" if scheme(uri) == "sqlite" else shown(uri)
    found = {"Store": place}
    for label, column in (("Versions", "versions"), ("Commit", "git_commit")):
        if column in runs:
            values = sorted(set(runs[column].dropna().map(str)))
            found[label] = "; ".join(values[:4]) + ("; ..." if len(values) > 4 else "")
    found["Precision"] = ", ".join(sorted(set(runs["precision"].dropna().map(str))))
    found["Numerics"] = ", ".join(sorted(set(runs["numerics"].dropna().map(str))))
    judged = sorted(set(runs["verdict"].dropna().map(str))) if "verdict" in runs else []
    if set(judged) - {"full"}:
        found["Verdicts"] = ", ".join(judged)
    keys = np.sort(runs["key"].to_numpy(str))
    found["Configurations"] = f"{len(keys):,} keys, from {keys[0][:12]} to {keys[-1][:12]}"
    return found

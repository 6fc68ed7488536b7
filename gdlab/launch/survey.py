"""`gdlab census` and `gdlab basins`: where an objective's critical points are, and who goes there.

Each is one tracked run, of its own role; the same survey, typed again, replaces itself.
"""

from __future__ import annotations

import dataclasses
import json
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Literal

import numpy as np

from gdlab import numerics, registry
from gdlab.errors import UsageError
from gdlab.launch import config
from gdlab.tracking import keys
from gdlab.tracking.address import shown
from gdlab.tracking.keys import RunData
from gdlab.tracking.provenance import provenance

if TYPE_CHECKING:
    import pandas as pd


CENSUS: dict[str, Any] = {
    "starts": int,
    "patience": int,
    "certified": bool | Literal["auto"],
    "tolerance": float,
    "seconds": float,
    "seed": int,
}
BASINS: dict[str, Any] = {
    "resolution": int,
    "axes": list[int],
    "at": list[float] | None,
    "steps": int,
}


@dataclass(frozen=True)
class Findings:
    """What a survey has to say and to keep.

    Attributes:
        experiment: where it was tracked; None where nothing was.
        folder: where its files lie; None where that is no folder of this machine.
    """

    table: pd.DataFrame
    summary: str
    metrics: Mapping[str, float]
    files: dict[str, bytes] = field(default_factory=dict)
    tags: Mapping[str, str] = field(default_factory=dict)
    experiment: str | None = None
    folder: str | None = None


def census(args: Sequence[str]) -> Findings:
    """`gdlab census ARGS`: all critical points, proved where possible."""
    given = _composed(args, "census")
    options = _options(given, CENSUS, positive=("starts", "patience", "tolerance", "seconds"))
    numerics.settle([_numerics(given)])
    from gdlab.critical.census import take_census
    from gdlab.launch.artifacts import census_files

    objective = _made(given, "objective")
    began = time.time()
    found = take_census(objective, given["domain"], **options)
    kinds = [v.kind for v in found.points]
    findings = Findings(
        found.table,
        found.summary(),
        {
            "points": len(kinds),
            "minima": kinds.count("minimum"),
            "saddles": kinds.count("saddle"),
            "maxima": kinds.count("maximum"),
            "degenerate": kinds.count("degenerate"),
            "certified_points": sum(v.certified for v in found.points),
            "starts": found.starts,
            "unseen_chance": found.unseen[0],
        },
        census_files(objective, found) if given["landscape"] else {},
        {"exact": str(found.exact).lower()},
    )
    params = {"domain": found.domain.tolist(), **options}
    return _tracked("census", given, params, findings, began, args)


def basins(args: Sequence[str]) -> Findings:
    """`gdlab basins ARGS`: descents from a grid of starts as one run, and where each went."""
    given = _composed(args, "basins")
    options = _options(given, BASINS, positive=("resolution",))
    options["gtol"] = registry.check("stop.gtol", given["stop"]["gtol"], float)
    numerics.settle([_numerics(given)])
    from gdlab.critical.basins import basins as take_basins
    from gdlab.launch.artifacts import basin_files

    objective = _made(given, "objective")
    rule = {kind: _made(given, kind) for kind in ("method", "schedule")}
    began = time.time()
    found = take_basins(objective, given["domain"], **options, **rule)
    dimension, error, _ = found.dimension()
    counts = {
        "starts": found.label.size,
        "points": sum(v.kind != "cycle" for v in found.points),
        "cycles": sum(v.kind == "cycle" for v in found.points),
        "steps": float(np.median(found.steps)),
        "boundary_dimension": dimension,
        "boundary_dimension_error": error,
    }
    for row in found.table.to_dict("records"):
        counts[f"share_{row['kind'].replace(' ', '_')}_{row['point']}"] = row["share"]
    findings = Findings(found.table, found.summary(), counts, basin_files(objective, found))
    params = {"domain": given["domain"], **options}
    for kind in ("method", "schedule"):
        params |= {f"{kind}.{k}": v for k, v in given[kind].items()}
    return _tracked("basins", given, params, findings, began, args)


def _composed(args: Sequence[str], name: str) -> dict[str, Any]:
    from omegaconf import OmegaConf
    from omegaconf.errors import OmegaConfBaseException

    from gdlab.launch.compose import compose_one
    from gdlab.launch.overrides import check_complete

    try:
        given: Any = OmegaConf.to_container(compose_one(args, name), resolve=True)
    except OmegaConfBaseException as error:
        raise (config.explained(error, args) or error) from error
    check_complete(given, name)
    return dict(given)


def _options(
    given: Mapping[str, Any], schema: Mapping[str, Any], positive: Sequence[str]
) -> dict[str, Any]:
    options = {key: registry.check(key, given[key], hint) for key, hint in schema.items()}
    for key in positive:
        if not options[key] > 0:
            raise UsageError(f"{key}={options[key]}: takes a number > 0")
    if options.get("seed", 0) < 0:
        raise UsageError(f"seed={options['seed']}: takes an integer >= 0")
    return options


def _numerics(given: Mapping[str, Any]) -> str:
    return str(registry.check("numerics", given["numerics"], Literal["exact", "fast"]))


def _made(given: Mapping[str, Any], kind: str) -> Any:
    params = dict(given[kind])
    name = params.pop("name")
    made = registry.build(kind, name, params)
    if kind == "objective":
        from gdlab.runner import tracing

        made = tracing.checked(made, f"objective={name}")
    return made


def _tracked(
    role: str,
    given: Mapping[str, Any],
    params: Mapping[str, Any],
    findings: Findings,
    began: float,
    args: Sequence[str],
) -> Findings:
    """Tracks a survey as one run."""
    table = findings.table
    from gdlab.launch.settings import Settings

    settings = Settings.of(given)
    if settings.uri is None:
        return findings
    from gdlab.tracking.store import open_store

    params = {**{f"objective.{k}": v for k, v in given["objective"].items()}, **params}
    text = {key: str(value) for key, value in params.items()}
    run_id = keys.run_id_for(settings.experiment, role + json.dumps(text, sort_keys=True))
    files = {
        **findings.files,
        "points.csv": table.to_csv(index=False).encode(),
        "summary.txt": findings.summary.encode(),
    }
    pictures = [
        f"![{name}](/get-artifact?path={name}&run_uuid={run_id})"
        for name in findings.files
        if name.endswith(".png")
    ]
    again = shown(" ".join(["gdlab", role, *args]))
    run = RunData(
        run_id=run_id,
        name=f"{role} {given['objective']['name']}",
        params=text,
        tags={"role": role, **findings.tags, **provenance()},
        metrics={k: ([0], [float(v)]) for k, v in findings.metrics.items()},
        artifacts=files,
        start_ms=int(began * 1000),
        end_ms=int(time.time() * 1000),
        note="\n\n".join([*findings.summary.splitlines(), *pictures, f"Again: `{again}`"]),
    )
    store = open_store(settings.uri, settings.experiment)
    store.write([run], force=True)
    folder = store.run_folder(store.run_ids([run_id])[run_id])
    place = None if folder is None else str(folder / "artifacts")
    return dataclasses.replace(findings, experiment=settings.experiment, folder=place)

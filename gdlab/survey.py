"""`gdlab census`: the critical points of an objective, found, proved where possible, and tracked."""

from __future__ import annotations

import hashlib
import json
import time
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from gdlab import config, numerics, registry
from gdlab.errors import UsageError
from gdlab.terminal import Screen
from gdlab.tracking import keys
from gdlab.tracking.keys import RunData
from gdlab.tracking.provenance import provenance

SCHEMA: dict[str, Any] = {
    "starts": int,
    "patience": int,
    "certified": bool | str,
    "tolerance": float,
    "seconds": float,
    "seed": int,
}
SHOWN = 40


def census(args: Sequence[str], screen: Screen) -> int:
    """Runs `gdlab census ARGS`; returns the exit code."""
    given = _composed(args, "census")
    numerics.configure(given["numerics"])
    from gdlab.critical.census import take_census

    objective = _objective(given)
    options = {k: registry.check(k, given[k], hint) for k, hint in SCHEMA.items()}
    for key in ("starts", "patience", "tolerance", "seconds"):
        if not options[key] > 0:
            raise UsageError(f"{key}={options[key]}: takes a number > 0")
    began = time.time()
    found = take_census(objective, given["domain"], **options)
    table = found.table
    files = {
        "critical_points.csv": table.to_csv(index=False).encode(),
        "summary.txt": found.summary().encode(),
    }
    if given["landscape"] and objective.dim >= 1:
        files |= _landscape(objective, found)
    screen.table(_rows(table), _heads(table))
    if len(table) > SHOWN:
        screen.say(f"... and {len(table) - SHOWN:,} more; all are in critical_points.csv")
    screen.say(found.summary())
    _keep(given, objective.name, options, found, files, began, screen, args)
    return 0


def _composed(args: Sequence[str], name: str) -> dict[str, Any]:
    from omegaconf import OmegaConf

    try:
        return OmegaConf.to_container(config.compose(args, name), resolve=True)  # type: ignore[return-value]
    except Exception as error:
        mended = config.explained(error, list(args))
        if mended is None:
            raise
        raise mended from error


def _objective(given: Mapping[str, Any]) -> Any:
    params = dict(given["objective"])
    return registry.build("objective", params.pop("name"), params)


def _landscape(objective: Any, found: Any) -> dict[str, bytes]:
    """Pictures of the points: over contours for d = 2, and the graph of minima and saddles."""
    from gdlab.pictures import landscape_files

    return landscape_files(objective, found)


def _rows(table: Any) -> list[list[str]]:
    rows = []
    for row in table.head(SHOWN).to_dict("records"):
        cells = []
        for key, value in row.items():
            if value is None or value != value or str(value) == "<NA>":
                cells.append("")
            elif isinstance(value, (float, np.floating)):
                digits = ".1e" if key == "grad_norm" else ".10g"
                cells.append(f"{value:{digits}}")
            else:
                cells.append(str(value))
        rows.append(cells)
    return rows


def _heads(table: Any) -> list[str]:
    return [str(c) for c in table.columns]


def _keep(
    given: Mapping[str, Any],
    name: str,
    options: Mapping[str, Any],
    found: Any,
    files: Mapping[str, bytes],
    began: float,
    screen: Screen,
    args: Sequence[str],
) -> None:
    """Tracks the census as one run of its own role; the same census replaces itself."""
    from gdlab.campaign import Settings

    settings = Settings.of({**given, "study": given["study"]})
    if settings.uri is None:
        return
    from gdlab.tracking.store import open_store

    params = {f"objective.{k}": v for k, v in given["objective"].items()}
    params |= {"domain": found.domain.tolist(), **options}
    text = json.dumps(params, sort_keys=True, default=str)
    kinds = [v.kind for v in found.points]
    end = np.array([0.0])
    counts = {
        "points": len(kinds),
        "minima": kinds.count("minimum"),
        "saddles": kinds.count("saddle"),
        "maxima": kinds.count("maximum"),
        "degenerate": kinds.count("degenerate"),
        "certified_points": sum(v.certified for v in found.points),
        "starts": found.starts,
        "unseen_chance": found.unseen[0],
    }
    again = " ".join(["gdlab census", *args])
    pictures = [f for f in files if f.endswith(".png")]
    run_id = keys.run_id_for(settings.experiment, f"census{text}")
    images = "\n\n".join(f"![{f}](/get-artifact?path={f}&run_uuid={run_id})" for f in pictures)
    store = open_store(settings.uri, settings.experiment)
    store.write(
        [
            RunData(
                run_id=run_id,
                name=f"census {name}",
                params={k: str(v) for k, v in params.items()},
                tags={
                    "role": "census",
                    "exact": str(found.exact).lower(),
                    keys.SWEEP: hashlib.sha256(text.encode()).hexdigest()[:12],
                    **provenance(),
                },
                metrics={k: (end, np.array([float(v)])) for k, v in counts.items()},
                artifacts=files,
                start_ms=int(began * 1000),
                end_ms=int(time.time() * 1000),
                note=found.summary().replace("\n", "\n\n") + f"\n\n{images}\n\nAgain: `{again}`",
            )
        ],
        force=True,
    )
    screen.tell(f"look: gdlab ui {settings.experiment}")

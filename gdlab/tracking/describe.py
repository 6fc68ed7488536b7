"""What a tracked run says: a job and its record -> `RunData`. Knows no mlflow."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from gdlab.analysis.endings import STILL
from gdlab.analysis.numbers import number, written
from gdlab.tracking.run_tables import points
from gdlab.types import Record, Records

DIGITS = 12  # of a setting in a name: settings that differ have names that differ


def run_name(params: Mapping[str, Any], swept: Sequence[str]) -> str:
    """What the run is, then what sets it apart: `rosenbrock backtracking seed 3`."""
    words = [str(params["objective.name"])]
    if params["method.name"] != "gradient" or "method.name" in swept:
        words.append(str(params["method.name"]))
    words.append(str(params["schedule.name"]))
    unit = params.get("schedule.unit", "absolute")
    if "schedule.eta" in params and "schedule.eta" not in swept:
        words.append(written(params["schedule.eta"], DIGITS))
    if unit != "absolute":
        words.append(str(unit))
    for key in swept:
        if not key.endswith(".name") and key != "schedule.unit" and key in params:
            words.append(f"{key.rpartition('.')[2]} {written(params[key], DIGITS)}")
    return " ".join(words)


def verdict_tags(record: Record | Records) -> dict[str, str]:
    """Tags to filter by: `critical_kind`, `morse_index`, `reached`, `certified`."""
    if isinstance(record, Record):
        verdict = record.verdict
        if verdict is None:
            return {}
        tags = {"critical_kind": verdict.kind, "certified": str(verdict.certified).lower()}
        if verdict.index is not None:
            tags["morse_index"] = str(verdict.index)
        if verdict.reached is not None:
            tags["reached"] = str(verdict.reached)
        return tags
    if record.verdicts is None:
        return {}
    kinds = Counter(v.kind for v in record.verdicts)
    return {"critical_kind": kinds.most_common(1)[0][0] if len(kinds) == 1 else "mixed"}


def in_words(record: Record, still: str | None = None) -> str:
    """The verdict in one sentence: what was reached, after how many steps, how surely.

    Args:
        still: what holds the descent still, a key of `endings.STILL`.
    """
    more = ", ..." if len(record.x) > 4 else ""
    where = f" at ({', '.join(number(x) for x in record.x[:4])}{more})"
    steps = f"{record.steps:,} steps"
    verdict = record.verdict
    if record.status == "diverged":
        return f"diverged: {record.ending or f'step {record.steps:,} is the first not finite'}"
    gradient = f"gradient norm {record.final('grad_norm'):.1e}"
    if verdict is None:
        return f"{record.status}{where}; {steps}; {gradient}; not judged"
    surely = "certified" if verdict.certified else "numerical"
    surely = "a quick verdict" if verdict.method == "quick" else surely
    if verdict.kind == "not_critical":
        why = f"no more steps: {STILL[still]}" if still else f"{steps} were not enough"
        end = f"{why}; no critical point{where}{f'; {steps}' if still else ''}"
    elif verdict.kind == "undecided":
        end = f"{record.status}{where}; what the point is was not decided; {steps}"
    elif verdict.kind == "cycle":
        end = f"goes round a {verdict.label}{where}; {steps}"
    else:
        kind = verdict.label + (" (global)" if verdict.is_global else "")
        how = "converged to" if record.status == "converged" else "stopped, out of steps, at"
        end = f"{how} a {kind}{where}; {steps}"
        if still and record.status != "converged":
            end += f"; {STILL[still]}"
    return f"{end}; {gradient}; {surely}"


def note(record: Record | Records, again: str, picture: str = "", still: str | None = None) -> str:
    """The text of a run's page: verdict in words, picture, and the command that repeats the run.

    Args:
        again: the command.
        picture: address of the picture, as the UI serves it; empty for none.
        still: what holds the descent still, a key of `endings.STILL`.
    """
    if isinstance(record, Record):
        lines = [f"**{in_words(record, still)}**"]
    else:
        lines = [f"**{len(record):,} starts; median of {np.median(record.steps):,.0f} steps**"]
        if record.verdicts is None:
            lines += ["", "The end points were not judged."]
        else:
            lines += ["", "| reached | starts | share | f |", "|---|---|---|---|"]
        for row in points(record.verdicts or [])[:12]:
            known = "" if row["reached"] is None else f" (known point {row['reached']})"
            share = f"{row['count']:,} | {row['share']:.4f}"
            lines.append(f"| {row['point']}{known} | {share} | {number(row['f'])} |")
    if picture:
        lines += ["", f"![descent]({picture})"]
    return "\n".join([*lines, "", f"Again: `{again}`"])


def picture_link(run_id: str, path: str) -> str:
    """The address of a run's picture, as notes in the UI refer to it."""
    return f"/get-artifact?path={path}&run_uuid={run_id}"


def params_text(params: Mapping[str, Any]) -> dict[str, str]:
    """Parameters as MLflow keeps them; `schedule.log10_eta` too, since its axes are linear."""
    text = {key: _text(value) for key, value in params.items()}
    eta = params.get("schedule.eta")
    if isinstance(eta, float) and eta > 0:
        text["schedule.log10_eta"] = repr(math.log10(eta))
    return text


def _text(value: Any) -> str:
    if isinstance(value, float):
        return repr(value)
    return "" if value is None else str(value)

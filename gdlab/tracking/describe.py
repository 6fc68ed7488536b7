"""What a tracked run says: a job and its record -> `RunData`. Knows no mlflow."""

from __future__ import annotations

import io
import math
from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd

from gdlab.analysis.endings import COORDINATES, POINTS, STILL
from gdlab.analysis.numbers import number, written
from gdlab.analysis.statistics import ordered_quantiles
from gdlab.types import COLUMNS, Record, Records, Verdict

FINAL = ("loss", "grad_norm", "gap", "distance", "f_evals", "grad_evals", "hvp_evals")
LOG10 = ("loss", "grad_norm", "gap", "step_size")
QUANTILES = {"q10": 0.1, "q90": 0.9}

DIGITS = 12  # of a setting in a name: settings that differ have names that differ
BAD = ("loss", "gap", "grad_norm")  # infinite of a descent that diverged

Curve = tuple[np.ndarray, np.ndarray]


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


def single(record: Record, curves: Sequence[str], log10: bool) -> dict[str, Curve]:
    """Metrics of one descent: its curves, and the final values of everything.

    Args:
        curves: columns to keep at every recorded step.
        log10: whether to keep curves of their logarithms too (the UI's log axis ends at 1e-6).
    """
    step, end = record.columns["step"], record.columns["step"][-1:]
    metrics: dict[str, Curve] = {}
    for name in curves:
        metrics[name] = (step, record.columns[name]) if name in record.columns else (end, end)
        if log10 and name in LOG10:
            metrics[f"log10_{name}"] = (step, _drawn(record, name))
    metrics["steps"] = (end, end)
    extra = [name for name in record.columns if name not in COLUMNS and name not in metrics]
    for name in (*FINAL, *extra):
        if name in record.columns:
            metrics.setdefault(name, (end, record.columns[name][-1:]))
    for name in LOG10:
        if name in record.columns:
            metrics.setdefault(f"log10_{name}", (end, _drawn(record, name)[-1:]))
    for i, x in enumerate(record.x[:COORDINATES]):
        metrics[f"x{i}"] = (end, np.array([x]))
    return metrics


def population(records: Records, curves: Sequence[str]) -> dict[str, Curve]:
    """Metrics of many starts as one run: median and quantile curves, shares of what was reached.

    A descent that has ended keeps its last values; one that diverged is infinitely bad.
    """
    steps, filled = _filled(records, [*curves, "gap"])
    metrics: dict[str, Curve] = {}
    for name, values in filled.items():
        if not np.isfinite(values).any():
            continue
        middle, *band = ordered_quantiles(values, (0.5, *QUANTILES.values()))
        metrics[name] = (steps, middle)
        if name in LOG10:
            metrics[f"log10_{name}"] = (steps, _log10(middle))
        for label, values_of in zip(QUANTILES, band, strict=True):
            metrics[f"{name}_{label}"] = (steps, values_of)
    end = steps[-1:]
    metrics["steps"] = (end, np.array([float(np.median(records.steps))]))
    metrics["starts"] = (end, np.array([float(len(records))]))
    for status in ("converged", "budget", "diverged"):
        metrics[f"share_{status}"] = (end, np.array([np.mean(records.status == status)]))
    if records.verdicts is not None:
        for name, count in _counts(records.verdicts).items():
            metrics[f"share_{name}"] = (end, np.array([count / len(records)]))
    return metrics


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


def points_table(verdicts: Sequence[Verdict]) -> pd.DataFrame:
    """What was reached: one row a point (or a kind, where there is no point), most frequent first.

    Columns: point, kind, index, reached, count, share, f, grad_norm, certified, x0 ...
    """
    rows: dict[Any, dict[str, Any]] = {}
    for v in verdicts:
        place = (v.reached,) if v.reached is not None else tuple(np.round(v.x, 6) + 0.0)
        key = (v.kind, v.index, place if v.kind in POINTS else None)
        row = rows.setdefault(
            key,
            {
                "point": v.label,
                "kind": v.kind,
                "index": v.index,
                "reached": v.reached,
                "count": 0,
                "share": 0.0,
                "f": v.value,
                "grad_norm": v.grad_norm,
                "certified": v.certified,
                **{f"x{i}": x for i, x in enumerate(v.x[:COORDINATES])},
            },
        )
        row["count"] += 1
    if not rows:
        return pd.DataFrame(columns=["point", "kind", "index", "reached", "count", "share", "f"])
    table = pd.DataFrame(rows.values())
    table["share"] = table["count"] / len(verdicts)
    table = table.astype({"index": "Int64", "reached": "Int64"})
    return table.sort_values(["count", "f"], ascending=[False, True], ignore_index=True)


def record_table(record: Record) -> pd.DataFrame:
    """The full record, one row a recorded step, with the path as `x0 ...` where it was kept."""
    table = pd.DataFrame(dict(record.columns))
    if record.path is not None:
        for i in range(record.path.shape[1]):
            table[f"x{i}"] = record.path[:, i]
    return table


def ends_table(records: Records, x0: np.ndarray) -> pd.DataFrame:
    """End points of many starts, a row each: start, end, steps, status, loss, kind, reached."""
    table = pd.DataFrame({"steps": records.steps, "status": records.status})
    for name in ("loss", "grad_norm", "gap", "distance"):
        if name in records.columns:
            table[name] = records.final(name)
    for i in range(min(x0.shape[1], COORDINATES)):
        table[f"start{i}"], table[f"x{i}"] = x0[:, i], records.x[:, i]
    if records.verdicts is not None:
        table["kind"] = [v.kind for v in records.verdicts]
        table["index"] = pd.array([v.index for v in records.verdicts], dtype="Int64")
        table["reached"] = pd.array([v.reached for v in records.verdicts], dtype="Int64")
    return table


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
        return f"diverged: step {record.steps:,} is the first that is not finite"
    gradient = f"gradient norm {record.final('grad_norm'):.1e}"
    if verdict is None:
        return f"{record.status}{where}; {steps}; {gradient}"
    surely = "certified" if verdict.certified else "numerical"
    if verdict.kind == "not_critical":
        why = f"no more steps: {STILL[still]}" if still else f"{steps} were not enough"
        end = f"{why}; no critical point{where}{f'; {steps}' if still else ''}"
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
        lines += ["", "| reached | starts | share | f |", "|---|---|---|---|"]
        for row in points_table(record.verdicts or []).head(12).to_dict("records"):
            known = "" if pd.isna(row["reached"]) else f" (known point {row['reached']})"
            share = f"{row['count']:,} | {row['share']:.4f}"
            lines.append(f"| {row['point']}{known} | {share} | {number(row['f'])} |")
    if picture:
        lines += ["", f"![descent]({picture})"]
    return "\n".join([*lines, "", f"Again: `{again}`"])


def picture_link(run_id: str, path: str) -> str:
    """The address of a run's picture, as notes in the UI refer to it."""
    return f"/get-artifact?path={path}&run_uuid={run_id}"


def parquet(table: pd.DataFrame) -> bytes:
    """A table as the bytes of a Parquet file."""
    buffer = io.BytesIO()
    table.to_parquet(buffer, index=False, compression="zstd")
    return buffer.getvalue()


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


def _drawn(record: Record, name: str) -> np.ndarray:
    """log10 of a column, for charts: of a descent that diverges, only what is within 10^3 of its
    start (charts of logarithms would show nothing but the divergence)."""
    values = _log10(record.columns[name])
    if record.status == "diverged":
        values = np.where(values > values[0] + 3, np.nan, values)
    return values


def _log10(values: np.ndarray) -> np.ndarray:
    """log10, NaN where there is none (those points are left out)."""
    positive = np.asarray(values) > 0
    return np.log10(values, where=positive, out=np.full(np.shape(values), np.nan))


def _counts(verdicts: Sequence[Verdict]) -> Counter[str]:
    counts = Counter(v.kind for v in verdicts)
    counts.update(f"reached_{v.reached}" for v in verdicts if v.reached is not None)
    return counts


def _filled(records: Records, names: Sequence[str]) -> tuple[np.ndarray, dict[str, np.ndarray]]:
    """Columns at the common record points, each descent's last value carried on.

    Of what diverged, costs (see `BAD`) are infinite from its last row on.
    """
    longest = int(records.length.max())
    row = np.minimum(np.arange(longest), records.length[:, None] - 1)
    steps = records.columns["step"][int(np.argmax(records.length)), :longest]
    gone = (records.status == "diverged")[:, None]
    gone = gone & (np.arange(longest) >= records.length[:, None] - 1)
    found = {}
    for name in names:
        if name in records.columns:
            values = np.take_along_axis(records.columns[name], row, axis=1).astype(float)
            known = np.isfinite(values).any()  # a gap to an unknown minimum is no number
            found[name] = np.where(gone, np.inf, values) if name in BAD and known else values
    return steps, found

"""What `gdlab` and `gdlab -m` say when they are done."""

from __future__ import annotations

import io
import shlex
from collections import Counter
from collections.abc import Sequence
from typing import Any

import numpy as np
import pandas as pd

from gdlab.analysis import ranking
from gdlab.cli.terminal import VERBOSE, Screen
from gdlab.errors import UsageError
from gdlab.launch.campaign import Outcome, Plan, Settings, swept
from gdlab.registry import raised
from gdlab.tracking import address, describe
from gdlab.types import Record

BEST = 8
BARS = " ▁▂▃▄▅▆▇█"
PAIR = 84  # from so many columns on, landscape and curve stand side by side


def report(outcomes: Sequence[Outcome], settings: Settings, plan: Plan, screen: Screen) -> None:
    """One descent in words and drawn, or a sweep's winner, failures and where to look next."""
    if settings.dry_run:
        _planned(plan, screen)
        return
    if len(outcomes) == 1:
        if outcomes[0].error is not None:
            return  # the caller raises it
        _one(outcomes[0], settings, screen)
    else:
        _many(outcomes, plan, screen)
    _rounded([o for o in outcomes if o.error is None], screen)
    if settings.uri is not None:
        elsewhere = address.address(settings.uri) != address.address()
        where = [f"tracking.uri={address.shown(settings.uri)}"] if elsewhere else []
        words = shlex.join([settings.experiment, *where])
        screen.tell(f"look: gdlab ui {words}")
        screen.tell(f"keep: gdlab report {words}")


def _planned(plan: Plan, screen: Screen) -> None:
    screen.say(
        f"have {plan.have:,}, missing {plan.missing:,} (of which failed before {plan.failed:,})"
    )
    if plan.groups:
        screen.table([(n, f"{jobs:,}") for n, jobs in plan.groups], ("program", "jobs"))


def _one(outcome: Outcome, settings: Settings, screen: Screen) -> None:
    screen.say(describe.run_name(outcome.params, ["seed"]), style="bold")
    record = outcome.record
    if outcome.known:
        end = ranking.reached(_table([outcome]))
        reach = end if end == outcome.status else f"{outcome.status}; {end}"
        screen.say(f"{reach}; loss {outcome.value:.6g}")
        _drawn(outcome, settings, screen)
        screen.say("the store has this run already; resume=false runs it again")
    elif isinstance(record, Record):
        screen.say(describe.in_words(record))
        loss = record.columns["loss"]
        if not _drawn(outcome, settings, screen):
            way = spark(loss) if screen.unicode else "to"
            screen.say(f"loss {loss[0]:.6g} {way} {loss[-1]:.6g}")
    elif record is not None:
        table = describe.points_table(record.verdicts or [])
        rows = [
            (
                r["point"],
                _known(r["reached"]),
                f"{r['count']:,}",
                f"{r['share']:.4f}",
                f"{r['f']:.6g}",
            )
            for r in table.head(12).to_dict("records")
        ]
        screen.say(f"{len(record):,} starts, median of {np.median(record.steps):,.0f} steps")
        screen.table(rows, ("reached", "known point", "starts", "share", "f"))


def _drawn(outcome: Outcome, settings: Settings, screen: Screen) -> bool:
    """Draws the descent on a terminal: its loss and, in two dimensions, its path; else nothing."""
    if not screen.draws:
        return False
    table = _recorded(outcome, settings)
    if table is None or len(table) < 2 or np.isfinite(table["loss"]).sum() < 2:
        return False
    from gdlab.cli import braille

    width = min(screen.width, 110)
    beside = width >= PAIR
    room = (width - 3) // 2 if beside else min(width, 64)
    ground = []
    way = [c for c in ("x0", "x1", "x2") if c in table]
    if len(way) == 2:
        path = table[way].to_numpy(float)
        path = path[np.isfinite(path).all(axis=1)]
        objective = ranking.objective_of(outcome.params)
        if objective is not None and objective.dim == 2 and len(path) > 1:
            from gdlab.launch import artifacts

            x, y, f = artifacts.surface(objective, artifacts.near(objective, path))
            box = np.array([x[[0, -1]], y[[0, -1]]])
            if np.isfinite(f).any():
                ground = braille.landscape(f, path, box, room, 16, objective.name, screen.colours)
    curve = braille.curve(
        table["step"].to_numpy(), table["loss"].to_numpy(), room, 16 if ground else 12, "loss"
    )
    screen.draw([ground, curve] if ground else [curve], beside)
    return True


def _recorded(outcome: Outcome, settings: Settings) -> pd.DataFrame | None:
    """The descent's record: as it ran, or as the store has it."""
    if isinstance(outcome.record, Record):
        return describe.record_table(outcome.record)
    if outcome.run_id is None:
        return None
    from gdlab.tracking.read import artifact

    try:
        return pd.read_parquet(io.BytesIO(artifact(outcome.run_id, "record.parquet", settings.uri)))
    except UsageError:
        return None  # large sweeps keep no record a run


def _many(outcomes: Sequence[Outcome], plan: Plan, screen: Screen) -> None:
    done = [o for o in outcomes if o.error is None]
    fresh = [o for o in done if not o.known]
    # Jobs of equal configuration are one run: a seed given twice has no double weight.
    once = {id(o.params): o for o in reversed(done) if o.value is not None}
    runs = _table(list(reversed(once.values())))
    by = ranking.configurations(runs) if len(runs) else []
    if by:
        _groups(runs, by, screen)
    elif len(runs):
        _best(done, screen)
    counts = Counter(o.status for o in fresh if o.status)
    words = [f"{n:,} {status}" for status, n in counts.most_common()]
    if known := len(done) - len(fresh):
        words.append(f"{known:,} known already")
    screen.say(f"{len(outcomes):,} jobs: {', '.join(words) or 'none run'}")
    if len(runs):
        for sentence in ranking.sentences(runs):
            screen.say(sentence, style="bold")
    failures = [o for o in outcomes if o.error is not None]
    if failures:
        screen.say(f"{len(failures):,} failed:", style="bold red")
        for outcome in failures[:20]:
            screen.say(f"  {' '.join(outcome.overrides)}: {_why(outcome.error)}")
            if screen.level >= VERBOSE and outcome.error is not None:
                screen.trace(outcome.error)
        if len(failures) > 20:
            screen.say(f"  ... and {len(failures) - 20:,} more")


def _rounded(done: Sequence[Outcome], screen: Screen) -> None:
    """That no descent in 32 bits can reach gtol, where all of them stand still in rounding."""
    floors = [o.floor for o in done if not o.known]
    norms = [floor for floor in floors if floor is not None]
    if not floors or len(norms) < len(floors):
        return
    if any(o.status != "budget" or o.params["precision"] != "float32" for o in done):
        return
    gtol = max(float(o.params["stop.gtol"]) for o in done)
    screen.say(
        f"precision=float32: rounding stops every descent at a gradient norm of "
        f"{np.median(norms):.2g}, above stop.gtol={gtol:g}; give a larger stop.gtol or "
        "precision=float64"
    )


def _why(error: Exception | None) -> str:
    if error is None or isinstance(error, UsageError):
        return " ".join(str(error).split())
    return raised(error)


def _groups(runs: pd.DataFrame, by: Sequence[str], screen: Screen) -> None:
    """Configurations, best first, by their medians over seeds."""
    table = ranking.standings(runs, by)
    seeds = bool((table["n"] > 1).any())
    shown = by[:5]
    rows = [
        (
            *(_short(row[c]) for c in shown),
            *(
                (_short(row["median"]), _short(row["lowest"]))
                if seeds
                else (_short(row["median"]),)
            ),
            f"{row['steps']:,.0f}",
            f"{row['n']:,} runs, {row['diverged']:.0%} diverged" if seeds else row["reached"],
        )
        for _, row in table.head(BEST).iterrows()
    ]
    heads = ("median loss", "lowest", "steps", "") if seeds else ("loss", "steps", "")
    title = f"best of {len(table):,} configurations, {len(runs):,} runs"
    screen.table(
        rows, (*map(_head, shown), *heads), title=title if seeds else f"best of {len(runs):,}"
    )


def _best(done: Sequence[Outcome], screen: Screen) -> None:
    """The runs with the lowest losses."""
    ranked = sorted((o for o in done if o.value is not None), key=lambda o: (o.value, o.overrides))
    names = list(swept([o.params for o in done]))[:6]
    rows = [
        (
            *(_short(o.params.get(key, "")) for key in names),
            f"{o.value:.6g}",
            o.status or "",
            o.verdict or "",
        )
        for o in ranked[:BEST]
    ]
    heads = [_head(key) for key in names]
    screen.table(rows, (*heads, "loss", "status", "reached"), title=f"best of {len(done):,}")


def _table(outcomes: Sequence[Outcome]) -> pd.DataFrame:
    """Outcomes as a table with the columns of `tracking.read.load`."""
    ends = [
        {
            "loss": np.nan if o.value is None else o.value,
            "status": o.status,
            "critical_kind": o.verdict,
            "reached": o.reached,
            "steps": o.steps,
        }
        for o in outcomes
    ]
    return ranking.table([o.params for o in outcomes], ends)


def spark(values: Any, width: int = 40) -> str:
    """A curve in one line of block characters, on a log scale where all values are positive."""
    y = np.asarray(values, float)
    y = y[np.isfinite(y)]
    if len(y) < 2:
        return ""
    if (y > 0).all():
        y = np.log10(y)
    y = np.interp(np.linspace(0, len(y) - 1, min(width, len(y))), np.arange(len(y)), y)
    span = y.max() - y.min()
    level = np.zeros(len(y)) if span == 0 else (y - y.min()) / span
    return "".join(BARS[1 + round(v * (len(BARS) - 2))] for v in level)


def _head(key: str) -> str:
    head, _, tail = key.rpartition(".")
    return head if tail == "name" else tail


def _short(value: Any) -> str:
    return f"{value:.6g}" if isinstance(value, float) else str(value)


def _known(reached: Any) -> str:
    return "" if reached is None or reached != reached or str(reached) == "<NA>" else str(reached)

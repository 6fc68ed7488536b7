"""What `gdlab` and `gdlab -m` say when they are done."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from typing import Any

import numpy as np

from gdlab.campaign import Outcome, Plan, Settings, swept
from gdlab.terminal import Screen
from gdlab.tracking import describe
from gdlab.types import Record

BEST = 8
BARS = " ▁▂▃▄▅▆▇█"


def report(outcomes: Sequence[Outcome], settings: Settings, plan: Plan, screen: Screen) -> None:
    """One descent in words, or a sweep's best runs, failures and where to look next."""
    if settings.dry_run:
        _planned(plan, screen)
        return
    if len(outcomes) == 1:
        _one(outcomes[0], screen)
    else:
        _many(outcomes, plan, screen)
    if settings.uri is not None:
        again = "" if settings.uri == Settings.uri else f" tracking.uri={settings.uri}"
        screen.tell(f"look: gdlab ui {settings.experiment}{again}")


def _planned(plan: Plan, screen: Screen) -> None:
    screen.say(
        f"have {plan.have:,}, missing {plan.missing:,} (of which failed before {plan.failed:,})"
    )
    if plan.groups:
        screen.table([(n, f"{jobs:,}") for n, jobs in plan.groups], ("program", "jobs"))


def _one(outcome: Outcome, screen: Screen) -> None:
    if outcome.error is not None:
        return  # the caller raises it
    screen.say(describe.run_name(outcome.params, ["seed"]), style="bold")
    if outcome.known:
        screen.say(f"{outcome.status}; {outcome.verdict or 'not judged'}; loss {outcome.value:.6g}")
        screen.say("the store has this run already; resume=false runs it again")
        return
    record = outcome.record
    if isinstance(record, Record):
        screen.say(describe.in_words(record))
        loss = record.columns["loss"]
        screen.say(f"loss {loss[0]:.6g} {spark(loss)} {loss[-1]:.6g}")
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


def _many(outcomes: Sequence[Outcome], plan: Plan, screen: Screen) -> None:
    done = [o for o in outcomes if o.error is None]
    fresh = [o for o in done if not o.known]
    ranked = sorted((o for o in done if o.value is not None), key=lambda o: (o.value, o.overrides))
    names = list(swept([o.params for o in outcomes]))[:6]
    if ranked:
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
    counts = Counter(o.status for o in fresh if o.status)
    words = [f"{n:,} {status}" for status, n in counts.most_common()]
    if plan.have:
        words.append(f"{plan.have:,} known already")
    screen.say(f"{len(outcomes):,} jobs: {', '.join(words) or 'none run'}")
    failures = [o for o in outcomes if o.error is not None]
    if failures:
        screen.say(f"{len(failures):,} failed:", style="bold red")
        for outcome in failures[:20]:
            screen.say(f"  {' '.join(outcome.overrides)}: {' '.join(str(outcome.error).split())}")
        if len(failures) > 20:
            screen.say(f"  ... and {len(failures) - 20:,} more")


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

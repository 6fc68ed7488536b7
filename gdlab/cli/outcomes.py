"""What `gdlab` and `gdlab -m` say when they are done."""

from __future__ import annotations

import shlex
from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from gdlab.analysis import endings, parameters, ranking, wording
from gdlab.analysis.known_points import objective_of, places
from gdlab.analysis.numbers import number, numbers, written
from gdlab.analysis.ranking import Ranking
from gdlab.cli import failures
from gdlab.cli.terminal import VERBOSE, Screen
from gdlab.errors import UsageError
from gdlab.launch.plan import Outcome, Plan
from gdlab.launch.settings import Settings
from gdlab.tracking import address, describe, parquet, run_tables
from gdlab.tracking.keys import RECORD
from gdlab.types import Record

BEST = 8  # rows of a table of what was best
LEAST = 2  # of one problem
BARS = " ▁▂▃▄▅▆▇█"
PAIR = 84  # from so many columns on, landscape and curve stand side by side


def report(outcomes: Sequence[Outcome], settings: Settings, plan: Plan, screen: Screen) -> None:
    """One descent in words and drawn, or a sweep's winner, failures and where to look next."""
    if settings.dry_run:
        _planned(outcomes, plan, screen)
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


def _planned(outcomes: Sequence[Outcome], plan: Plan, screen: Screen) -> None:
    cannot = f", {plan.impossible:,} cannot run" if plan.impossible else ""
    screen.say(
        f"have {plan.have:,}, missing {plan.missing:,} (of which failed before {plan.failed:,})"
        f"{cannot}"
    )
    for line in failures.lines(outcomes):
        screen.say(f"  {line}")
    if plan.groups:
        screen.table([(n, f"{jobs:,}") for n, jobs in plan.groups], ("program", "jobs"))


def _one(outcome: Outcome, settings: Settings, screen: Screen) -> None:
    screen.say(describe.run_name(outcome.params, ["seed"]), style="bold")
    record = outcome.record
    ending = outcome.ending
    if outcome.known and ending is not None:
        end = endings.reached([ending], places(outcome.params))
        reach = end if end == ending.status else f"{ending.status}; {end}"
        screen.say(f"{reach}; loss {number(ending.loss)}")
        _drawn(outcome, settings, screen)
        screen.say("the store has this run already; resume=false runs it again")
    elif isinstance(record, Record):
        screen.say(describe.in_words(record, ending.still if ending else None))
        loss = record.columns["loss"]
        if not _drawn(outcome, settings, screen):
            way = spark(loss) if screen.unicode else "to"
            screen.say(f"loss {number(loss[0])} {way} {number(loss[-1])}")
    elif record is not None:
        rows = [
            (
                r["point"],
                _known(r["reached"]),
                f"{r['count']:,}",
                f"{r['share']:.4f}",
                number(r["f"]),
            )
            for r in run_tables.points(record.verdicts or [])[:12]
        ]
        screen.say(f"{len(record):,} starts, median of {np.median(record.steps):,.0f} steps")
        if record.verdicts is None:
            screen.say("the end points were not judged")
        else:
            screen.table(rows, ("reached", "known point", "starts", "share", "f"))


def _drawn(outcome: Outcome, settings: Settings, screen: Screen) -> bool:
    """Draws the descent on a terminal: its loss and, in two dimensions, its path; else nothing."""
    if not screen.draws:
        return False
    table = _recorded(outcome, settings)
    if table is None or np.isfinite(table["loss"]).sum() < 2:
        return False
    from gdlab.cli import braille

    width = min(screen.width, 110)
    beside = width >= PAIR
    room = (width - 3) // 2 if beside else min(width, 64)
    ground = []
    way = [c for c in ("x0", "x1", "x2") if c in table]
    if len(way) == 2:
        path = np.stack([table[name] for name in way], axis=1).astype(float)
        path = path[np.isfinite(path).all(axis=1)]
        objective = objective_of(outcome.params)
        if objective is not None and objective.dim == 2 and len(path) > 1:
            from gdlab.critical.surface import near, surface

            x, y, f = surface(objective, near(objective, path))
            box = np.array([x[[0, -1]], y[[0, -1]]])
            if np.isfinite(f).any():
                ground = braille.landscape(f, path, box, room, 16, objective.name, screen.colours)
    curve = braille.curve(table["step"], table["loss"], room, 16 if ground else 12, "loss")
    screen.draw([ground, curve] if ground else [curve], beside)
    return True


def _recorded(outcome: Outcome, settings: Settings) -> Mapping[str, np.ndarray] | None:
    """The descent's record by columns: as it ran, or as the store has it."""
    if isinstance(outcome.record, Record):
        return run_tables.record_columns(outcome.record)
    if outcome.run_id is None:
        return None
    from gdlab.tracking.read import artifact

    try:
        return parquet.columns(artifact(outcome.run_id, RECORD, settings.uri))
    except UsageError:
        return None  # large sweeps keep no record a run


def _many(outcomes: Sequence[Outcome], plan: Plan, screen: Screen) -> None:
    done = [o for o in outcomes if o.error is None]
    fresh = [o for o in done if not o.known]
    # Jobs of equal configuration are one run: a seed given twice has no double weight.
    runs = list({id(o.params): o for o in done if o.ending is not None}.values())
    ends = [o.ending for o in runs if o.ending is not None]
    ranked = ranking.rank([o.params for o in runs], ends) if runs else None
    if ranked is not None and (ranked.by_choice or ranked.by_problem):
        _standings(ranked, screen)
    elif runs:
        _best(runs, screen)
    counts = Counter(o.ending.status for o in fresh if o.ending)
    words = [f"{n:,} {status}" for status, n in counts.most_common()]
    if known := len(done) - len(fresh):
        words.append(f"{known:,} known already")
    screen.say(f"{len(outcomes):,} jobs: {', '.join(words) or 'none run'}")
    if ranked is not None:
        for sentence in wording.sentences(ranked):
            screen.say(sentence, style="bold")
    failed = [o for o in outcomes if o.error is not None]
    if failed:
        screen.say(f"{len(failed):,} failed:", style="bold red")
        for line in failures.lines(outcomes):
            screen.say(f"  {line}")
        if screen.level >= VERBOSE:
            for error in [o.error for o in failed if o.error is not None][: failures.MOST]:
                screen.trace(error)


def _rounded(done: Sequence[Outcome], screen: Screen) -> None:
    """What holds every descent still above gtol, where one thing does."""
    found = {o.ending.still if o.ending and not o.known else None for o in done}
    if len(found) != 1 or not done:
        return
    (still,) = found
    if still is None:
        return
    ends = [o.ending for o in done if o.ending]
    gtol = max(float(o.params["stop.gtol"]) for o in done)
    norm = f"a gradient norm of {number(float(np.median([e.grad_norm for e in ends])), 2)}"
    every = "" if len(done) == 1 else "every descent: "
    advice = {
        endings.SCHEDULE: "a longer schedule, or one that ends above 0, goes on",
        endings.SEARCH: "another start or schedule may go on",
        endings.F_STAR: "give a lower schedule.f_star",
        endings.ROUNDING: "give a larger stop.gtol",
    }[still]
    if still == endings.ROUNDING and all(o.params["precision"] == "float32" for o in done):
        advice = f"precision=float32: {advice} or precision=float64"
    screen.say(
        f"{every}{endings.STILL[still]}, at {norm}, above stop.gtol={number(gtol)}; {advice}"
    )


def _standings(ranked: Ranking, screen: Screen) -> None:
    """The choices on each problem, best first, by their medians over starts."""
    each = max(LEAST, BEST // len(ranked.problems))
    shown = [s for p in ranked.problems[:BEST] for s in p.standings[:each]]
    keys = [*ranked.by_problem, *ranked.by_choice][:5]
    columns = [numbers([s.params.get(key, "") for s in shown]) for key in keys]
    heads = [parameters.short(key) for key in keys]
    many = any(len(s.endings) > 1 for s in ranked.standings)
    columns.append(numbers([s.loss for s in shown]))
    heads.append("median loss" if many else "loss")
    if many:
        columns.append(numbers([s.low for s in shown]))
        heads.append("lowest")
    columns.append([f"{s.steps:,.0f}" for s in shown])
    columns.append(
        [
            f"{len(s.endings):,} runs, {endings.shares(s.endings)}"
            if many
            else endings.reached(s.endings, places(s.params))
            for s in shown
        ]
    )
    total = len(ranked.standings)
    runs = sum(len(s.endings) for s in ranked.standings)
    what = f"{total:,} configurations, {runs:,} runs" if many else f"{total:,}"
    on = f" on {len(ranked.problems):,} problems" if len(ranked.problems) > 1 else ""
    screen.table(list(zip(*columns)), [*heads, "steps", ""], title=f"best of {what}{on}")


def _best(runs: Sequence[Outcome], screen: Screen) -> None:
    """The runs with the lowest losses, where they differ in their starts alone."""
    keys = parameters.several([o.params for o in runs])[:6]
    ended = [(o.ending, o) for o in runs if o.ending is not None]
    ended.sort(key=lambda pair: (pair[0].loss, pair[1].overrides))
    rows = [
        (
            *(written(o.params.get(key, "")) for key in keys),
            number(ending.loss),
            ending.status,
            ending.label or "not judged",
        )
        for ending, o in ended[:BEST]
    ]
    heads = [parameters.short(key) for key in keys]
    screen.table(rows, (*heads, "loss", "status", "reached"), title=f"best of {len(ended):,}")


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


def _known(reached: Any) -> str:
    return "" if reached is None or reached != reached or str(reached) == "<NA>" else str(reached)

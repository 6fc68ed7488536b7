"""`gdlab study` and `gdlab figures`: what a person sees of a study."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from gdlab.analysis import tables
from gdlab.cli.terminal import Screen
from gdlab.launch.pictures import Drawing
from gdlab.launch.study import Study


def run(
    name: str,
    overrides: Sequence[str] = (),
    screen: Screen | None = None,
    into: Path | None = None,
) -> int:
    """Runs a study, checks its claims, draws it into `results/<name>/`.

    Args:
        overrides: Hydra overrides that every job is given.
        screen: where to say what happens.
        into: folder of the results.

    Returns:
        Exit code: 0, or 1 where a job failed or a claim does not hold.
    """
    screen = screen or Screen()
    study = Study(name, overrides)
    failed = _carried_out(study, screen)
    if failed:
        screen.fail(f"study {name}: {failed} jobs failed; nothing was drawn")
        return 1
    if study.first["dry_run"]:
        return 0
    return _drawn(study, screen, into)


def redraw(
    name: str,
    overrides: Sequence[str] = (),
    screen: Screen | None = None,
    into: Path | None = None,
) -> int:
    """Claims, tables and figures again, from the stored runs alone; arguments as for `run`.

    The pictures that its runs' pages lack are drawn too.
    """
    study, screen = Study(name, overrides), screen or Screen()
    code = _drawn(study, screen, into)
    Drawing(study.first["tracking"]["uri"], name, screen.tell).all()
    return code


def _drawn(study: Study, screen: Screen, into: Path | None) -> int:
    into = into or Path("results") / study.name
    claims = study.write(study.stored(), into)
    broken = [claim for claim in claims if not claim.ok]
    screen.say(study.experiment.module.QUESTION, style="bold")
    screen.table(
        [
            (
                "holds" if c.ok else "BROKEN",
                c.text,
                tables.text(float(c.expected), ".10g"),
                tables.text(float(c.measured), ".10g"),
            )
            for c in claims
        ],
        ("", "claim", "expected", "measured"),
    )
    screen.say(f"{len(claims) - len(broken)} of {len(claims)} claims hold; results in {into}/")
    for claim in broken:
        screen.fail(
            f"{claim.text}: measured {float(claim.measured)!r}, "
            f"expected {float(claim.expected)!r} "
            f"to {claim.tolerance:g} ({claim.source})"
        )
    return 1 if broken else 0


def _carried_out(study: Study, screen: Screen) -> int:
    """Runs what the store lacks; returns how many jobs failed."""
    from gdlab.cli.outcomes import report

    failed = 0
    with screen.progress(sum(map(len, study.configs.values()))) as advance:
        for done in study.carry_out(advance):
            if done.settings.dry_run:
                screen.say(f"sweep {done.sweep}:")
                report(done.outcomes, done.settings, done.plan, screen)
            for outcome in done.outcomes:
                if outcome.error is not None:
                    failed += 1
                    screen.fail(f"{' '.join(outcome.overrides)}: {outcome.error}")
    return failed

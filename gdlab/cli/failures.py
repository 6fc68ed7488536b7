"""Jobs that failed, or cannot run: what fails alike is said once, with how much of the sweep."""

from __future__ import annotations

from collections.abc import Sequence

from gdlab.errors import UsageError, raised
from gdlab.launch.plan import Outcome

MOST = 20  # lines


def why(error: Exception | None) -> str:
    """An error in one line."""
    if error is None or isinstance(error, UsageError):
        return " ".join(str(error).split())
    return raised(error)


def lines(outcomes: Sequence[Outcome]) -> list[str]:
    """One line for each way to fail: `silver needs L: 7 objectives x 25 seeds`.

    Args:
        outcomes: of the whole sweep.
    """
    swept = {key for key, seen in _values([o.overrides for o in outcomes]).items() if len(seen) > 1}
    alike: dict[tuple[str, str], list[Outcome]] = {}
    for outcome in outcomes:
        if outcome.error is not None:
            alike.setdefault(_kind(outcome), []).append(outcome)
    found = []
    for (message, _), members in alike.items():
        if len(members) == 1:
            (one,) = members
            found.append(f"{' '.join(one.overrides)}: {why(one.error)}")
        else:
            jobs = [o.overrides for o in members]
            words = [*_shared(jobs, swept, message), message, extent(jobs)]
            found.append(": ".join(words))
    more = [f"... and {len(found) - MOST:,} more"] if len(found) > MOST else []
    return found[:MOST] + more


def _kind(outcome: Outcome) -> tuple[str, str]:
    """What is wrong, without the objective's name, and with which schedule and method."""
    message = why(outcome.error)
    name = str(outcome.params.get("objective.name", ""))
    if name and name in message:
        # "silver needs L; himmelblau has none" says it all in its first half.
        head, _, tail = message.partition("; ")
        message = head if tail and name not in head else message.replace(name, "the objective")
    return message, " ".join(str(outcome.params.get(f"{g}.name")) for g in ("method", "schedule"))


def _shared(jobs: Sequence[Sequence[str]], swept: set[str], message: str) -> list[str]:
    """Which of the sweep's choices some jobs have in common, where a message does not name it."""
    common = [
        f"{key}={next(iter(seen))}"
        for key, seen in _values(jobs).items()
        if key in swept and len(seen) == 1 and next(iter(seen)) not in message
    ]
    return [" ".join(common)] if common else []


def _values(jobs: Sequence[Sequence[str]]) -> dict[str, set[str]]:
    """What jobs set each key to."""
    values: dict[str, set[str]] = {}
    for job in jobs:
        for word in job:
            key, _, value = word.partition("=")
            values.setdefault(key.lstrip("+"), set()).add(value)
    return values


def extent(jobs: Sequence[Sequence[str]]) -> str:
    """How much of a sweep some jobs are: `7 objectives x 25 seeds`, or `9 jobs`.

    Args:
        jobs: overrides of each, `key=value`.
    """
    values = _values(jobs)
    several = {key: len(seen) for key, seen in values.items() if len(seen) > 1}
    size = 1
    for n in several.values():
        size *= n
    if not several or size != len(jobs):
        return f"{len(jobs):,} jobs"
    return " x ".join(
        f"{n:,} {key}s" if "." not in key else f"{n:,} values of {key}"
        for key, n in several.items()
    )

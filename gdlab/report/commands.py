"""The commands that repeat stored runs, from what each job was asked for."""

from __future__ import annotations

import shlex

import pandas as pd

SHOWN = 12
FILLED = 0.8  # a sweep is named by its command if so many of the command's jobs are its own


def repeating(runs: pd.DataFrame) -> list[str]:
    """One `gdlab -m` for each sweep whose jobs are combinations, else one `gdlab` a run."""
    found = []
    for _, jobs in runs.groupby("sweep", sort=True):
        words = [_overrides(text) for text in jobs["overrides"].fillna("")]
        product = _product(words)
        found += [product] if product else [shlex.join(["gdlab", *_joined(w)]) for w in words]
    return found if len(found) <= SHOWN else [*found[:SHOWN], f"# and {len(found) - SHOWN:,} more"]


def _overrides(text: str) -> dict[str, str]:
    pairs = (word.partition("=") for word in text.split())
    return {key: value for key, _, value in pairs}


def _joined(words: dict[str, str]) -> list[str]:
    return [f"{key}={value}" for key, value in words.items()]


def _product(jobs: list[dict[str, str]]) -> str | None:
    """The sweep that gives these jobs, and few more (that an earlier one has run already)."""
    values: dict[str, list[str]] = {}
    for job in jobs:
        for key, value in job.items():
            if value not in values.setdefault(key, []):
                values[key].append(value)
    size = 1
    for choices in values.values():
        size *= len(choices)
    if len({tuple(sorted(job.items())) for job in jobs}) < FILLED * size:
        return None
    words = [f"{key}={_choices(choices)}" for key, choices in values.items()]
    return shlex.join(["gdlab", *(["-m"] if size > 1 else []), *words])


def _choices(values: list[str]) -> str:
    try:
        numbers = sorted(int(v) for v in values)
    except ValueError:
        return ",".join(sorted(values))
    if len(numbers) > 2 and numbers == list(range(numbers[0], numbers[-1] + 1)):
        return f"range({numbers[0]},{numbers[-1] + 1})" if numbers[0] else f"range({len(numbers)})"
    return ",".join(map(str, numbers))

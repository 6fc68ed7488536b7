"""`gdlab show GROUP=CHOICE`: formula, parameters, facts and reference of one choice."""

from __future__ import annotations

import inspect
from typing import Any

import numpy as np
import yaml

from gdlab import numerics, registry
from gdlab.cli.terminal import Screen
from gdlab.errors import UsageError, suggest
from gdlab.launch import config


def show(group: str, choice: str, screen: Screen) -> None:
    """Prints what a choice is.

    Raises:
        UsageError: no such group or choice.
    """
    groups = (*config.GROUPS, "probe")
    if group not in groups:
        raise UsageError(f"show {group}={choice}: no such group; {suggest(group, list(groups))}")
    known = [c.name for c in config.choices(group)]
    if choice not in known:
        raise UsageError(f"{group}={choice}: no such {group}; {suggest(choice, known)}")
    path = config.folder("conf") / group / f"{choice}.yaml"
    keys = yaml.safe_load(path.read_text()) if path.is_file() else {"name": choice}
    screen.say(f"{group}={choice}", style="bold")
    if group not in registry.ROOMS:
        screen.say(path.read_text().rstrip())
        return
    numerics.configure()
    factory = registry.factories(group)[keys.pop("name", choice)]
    screen.say(inspect.getdoc(factory) or "")
    if group == "probe":
        return
    if keys:
        shown = {k: "to be given" if v == "???" else _text(v) for k, v in keys.items()}
        rows = [(f"{group}.{k}", text) for k, text in shown.items()]
        screen.say()
        screen.table(rows, ("key", "default"))
    if group == "objective":
        _facts(registry.build(group, factory.__name__, keys), screen)


def _facts(objective: Any, screen: Screen) -> None:
    facts = objective.facts
    rows: list[tuple[str, str]] = [("dimension", str(objective.dim))]
    for name in ("f_star", "L", "mu"):
        value = getattr(facts, name)
        rows.append((name, "unknown" if value is None else f"{value:.15g}"))
    for name in ("minimizers", "domain"):
        value = getattr(facts, name)
        rows.append((name, "unknown" if value is None else _text(np.asarray(value)[:8])))
    rows.append(("source", facts.source or "-"))
    screen.say()
    screen.table(rows, ("fact", ""))
    points = facts.critical_points
    if points is not None:
        title = f"critical points ({'all in the domain' if points.complete else 'known ones'})"
        kinds = {-1: "degenerate", 0: "minimum", objective.dim: "maximum"}
        screen.say()
        screen.table(
            [
                (i, kinds.get(int(k), f"saddle of index {k}"), f"{v:.12g}", _text(x))
                for i, (x, v, k) in enumerate(
                    zip(points.x, points.value, points.index, strict=True)
                )
            ][:40],
            ("", "kind", "f", "x"),
            title=title,
        )


def _text(value: Any) -> str:
    if isinstance(value, np.ndarray):
        if value.size > 32:
            return f"array {value.shape}"
        return np.array2string(value, precision=12, separator=", ").replace("\n", "")
    return str(value)

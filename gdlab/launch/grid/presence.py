"""Keys that only some choices of a group have: each choice takes the keys that it has.

    schedule=constant,backtracking schedule.eta=0.01,0.02

is three jobs: `constant` with either step size, and `backtracking`, which has no `eta`, once.

    schedule=constant,cosine schedule.constant.eta=0.01,0.02

sets `eta` of `constant` alone, though `cosine` has one too. A key that none of the sweep's choices
has is refused.
"""

from __future__ import annotations

import functools
import itertools
import math
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from omegaconf import DictConfig, OmegaConf

from gdlab.errors import UsageError, suggest
from gdlab.launch.compose import FastComposer
from gdlab.launch.grid.axes import WALKED, Axis, Row


def joined(axes: Sequence[Axis], composer: FastComposer, fixed: Sequence[str] = ()) -> list[Axis]:
    """The axes, those of a group and of its keys made one where its choices differ in them.

    Args:
        fixed: overrides that every job begins with.

    Raises:
        UsageError: a key that no choice of the sweep has.
    """
    axes = list(axes)
    for group in _groups(axes, composer):
        place = group.replace("/", ".") + "."
        typed = [key for axis in axes for key in axis.keys if key.startswith(place)]
        if typed:
            axes = _Group(group, composer, fixed, axes).joined(typed)
    return axes


def _groups(axes: Sequence[Axis], composer: FastComposer) -> list[str]:
    groups = [str(g) for g in composer.master.hydra.runtime.choices]
    own = [g for g in groups if not g.startswith("hydra/") and "@" not in g]
    named = {key for axis in axes for key in axis.keys}
    return [g for g in own if g in named or any(k.startswith(g.replace("/", ".")) for k in named)]


class _Group:
    """One group of choices in a sweep.

    Attributes:
        choices: those that the sweep takes.
        keys: choice -> the dotted keys that it has, from the root.
    """

    def __init__(
        self, group: str, composer: FastComposer, fixed: Sequence[str], axes: Sequence[Axis]
    ) -> None:
        self.group, self.composer, self.axes = group, composer, list(axes)
        self.place = group.replace("/", ".")
        self.fixed = tuple(fixed)
        self.swept = next((axis for axis in axes if group in axis.keys), None)
        self.default = str(composer.choices(fixed).get(group))
        self.choices = self._taken()
        self.keys = {choice: self._keys_of(choice) for choice in self.choices}

    def _taken(self) -> list[str]:
        if self.swept is None:
            return [self.default]
        if self.swept.count > WALKED:
            return []  # refused for its length
        rows = self.swept.rows()
        return list(dict.fromkeys(self._choice(row) for row in rows))

    def _choice(self, row: Iterable[str]) -> str:
        start = self.group + "="
        for line in row:
            if line.startswith(start):
                return str(self.composer.reader.parse(line).value())
        return self.default

    def _keys_of(self, choice: str) -> frozenset[str] | None:
        """None where the choice cannot be composed: the job that takes it says why."""
        try:
            cfg = self.composer.task([*self.fixed, f"{self.group}={choice}"])
            node = OmegaConf.select(cfg, self.place)
        except Exception:
            return None
        return frozenset(_dotted(node, self.place)) if isinstance(node, DictConfig) else None

    def joined(self, typed: Sequence[str]) -> list[Axis]:
        """The axes, with those that this group's choices decide on made one."""
        if any(keys is None for keys in self.keys.values()) or not self.choices:
            return self.axes
        for key in typed:
            if not any(self._as_set(key, choice) for choice in self.choices):
                raise self._unknown(key)
        if all(self._as_set(key, choice) == key for key in typed for choice in self.choices):
            return self.axes
        parts = [a for a in self.axes if a is self.swept or any(k in typed for k in a.keys)]
        rows = functools.cache(lambda: self._rows(parts))
        whole = Axis(
            tuple(key for part in parts for key in part.keys),
            "(" + ", ".join(part.words for part in parts) + ")"
            if len(parts) > 1
            else parts[0].words,
            self._count(parts, rows),
            rows,
            next((part.source for part in parts if part.source), None),
        )
        at = next(i for i, axis in enumerate(self.axes) if axis in parts)
        rest = [axis for axis in self.axes if axis not in parts]
        return [*rest[:at], whole, *rest[at:]]

    def _as_set(self, key: str, choice: str) -> str | None:
        """The key that a typed one sets for a choice; None where it sets none."""
        keys = self.keys[choice] or frozenset()
        if not key.startswith(self.place + ".") or key in keys:
            return key
        if key.rpartition(".")[0] in self.values(choice):
            return key  # inside a value: Hydra's own words on it
        named, _, rest = key[len(self.place) + 1 :].partition(".")
        own = f"{self.place}.{rest}"
        return own if named == choice and own in keys else None

    def values(self, choice: str) -> frozenset[str]:
        """Keys of a choice that hold no further keys."""
        keys = self.keys[choice] or frozenset()
        return frozenset(k for k in keys if not any(o.startswith(k + ".") for o in keys))

    def _rows(self, parts: Sequence[Axis]) -> list[Row]:
        """Rows of the product, less what a row's choice does not have; equal ones once."""
        found: dict[Row, None] = {}
        for rows in itertools.product(*(part.rows() for part in parts)):
            row = [line for part in rows for line in part]
            found[self._fitting(row, self._choice(row))] = None
        return list(found)

    def _fitting(self, row: Sequence[str], choice: str) -> Row:
        lines: list[str] = []
        named: dict[str, str] = {}  # of one choice alone: before those of all choices
        for line in row:
            key, _, value = line.partition("=")
            own = self._as_set(key, choice)
            if own == key:
                lines.append(line)
            elif own is not None:
                named[own] = f"{own}={value}"
        return (*(line for line in lines if line.partition("=")[0] not in named), *named.values())

    def _count(self, parts: Sequence[Axis], rows: Any) -> float:
        """Rows, without writing them out where every axis sets one key."""
        product = math.prod(part.count for part in parts)
        if product <= WALKED or any(len(part.keys) > 1 for part in parts):
            return len(rows()) if product <= WALKED else product
        others = [part for part in parts if part is not self.swept]
        return sum(
            math.prod(part.count for part in others if self._as_set(part.keys[0], choice))
            for choice in self.choices
        )

    def _unknown(self, key: str) -> UsageError:
        named, _, rest = key[len(self.place) + 1 :].partition(".")
        source = next((a.source for a in self.axes if key in a.keys and a.source), None)
        what = f"{source}: column {key} is no key" if source else f"{key}: no such key"
        options = self.composer.loader.get_group_options(self.group)
        if rest and named in options and named not in self.choices:
            return UsageError(f"{what}: the sweep has no {self.group}={named}; add it or leave it")
        known = dict.fromkeys(k for choice in self.choices for k in sorted(self.values(choice)))
        return UsageError(f"{what}; {suggest(key, list(known))}")


def _dotted(node: Mapping[Any, Any], place: str) -> Iterable[str]:
    for key in node:
        yield f"{place}.{key}"
        child = node._get_node(key)  # type: ignore[attr-defined]
        if isinstance(child, DictConfig) and not (child._is_none() or child._is_missing()):
            yield from _dotted(child, f"{place}.{key}")

"""Lanes sorted by the parts that they have, with room for some more of each."""

from __future__ import annotations

from collections.abc import Hashable, Mapping, Sequence
from typing import Any

import numpy as np
from jaxtyping import Int

from gdlab.runner.ensemble import View
from gdlab.runner.evaluation import Order

LEAST_ROOM = 8


class Sorting:
    """Lanes sorted by one kind of parts: by objective, by method or by schedule.

    Args:
        keys: what tells the part of each group of lanes from others.
        lengths: how many lanes each group has.

    Attributes:
        firsts: of each part, the first group that has it.
        places: of each part, its lanes, in ascending order; padded by its first.
    """

    def __init__(self, keys: Sequence[Hashable], lengths: Sequence[int]) -> None:
        names = list(dict.fromkeys(keys))
        self.firsts = [keys.index(name) for name in names]
        self.part = np.repeat([names.index(key) for key in keys], lengths)
        self.groups = [[g for g, key in enumerate(keys) if key == name] for name in names]
        self.places = [padded(np.flatnonzero(self.part == p)) for p in range(len(names))]
        self.ends = np.cumsum([0, *lengths])

    def lanes(self) -> Int[np.ndarray, " B"]:
        """The lane at each place, one part after the other."""
        return np.concatenate(self.places)

    def back(self) -> Int[np.ndarray, " n"]:
        """The place of each lane: the first that it has."""
        return _first_place(self.lanes(), len(self.part))

    def order(self, lane_of: Int[np.ndarray, " B"], place_of: Int[np.ndarray, " n"]) -> Order:
        """From and to other places, of which the lane of each and the place of each are given."""
        to = tuple(place_of[lanes].astype(np.int32) for lanes in self.places)
        return Order(to, self.back()[lane_of])

    def numbers(self, rows: Sequence[Mapping[str, np.ndarray] | None]) -> list[Any]:
        """Of each part, the numbers of its lanes, given those of each group's lanes."""
        return [
            self._numbers([(g, rows[g]) for g in groups], lanes)
            for groups, lanes in zip(self.groups, self.places, strict=True)
        ]

    def _numbers(self, groups: Sequence[tuple[int, Any]], lanes: np.ndarray) -> Any:
        spans = [np.arange(self.ends[g], self.ends[g + 1]) for g, _ in groups]
        at = np.searchsorted(np.concatenate(spans), lanes)
        (_, first), *_ = groups
        if first is None:
            return None
        return {k: np.concatenate([row[k] for _, row in groups], -1)[..., at] for k in first}

    def view(self, lanes: Int[np.ndarray, " n"]) -> View:
        """These lanes, sorted by this kind of parts, and where the numbers of each part lie."""
        to, numbers = [], []
        for p, own in enumerate(self.places):
            at = padded(np.flatnonzero(self.part[lanes] == p))
            count = np.count_nonzero(self.part == p)
            to.append(at.astype(np.int32))
            numbers.append(np.searchsorted(own[:count], lanes[at]).astype(np.int32))
        return View(Order(tuple(to), _first_place(np.concatenate(to), len(lanes))), tuple(numbers))


def padded(lanes: Int[np.ndarray, " n"]) -> Int[np.ndarray, " room"]:
    """With room up to a power of two: some lanes more are the same program."""
    if not len(lanes):
        return lanes
    room = max(LEAST_ROOM, 1 << (len(lanes) - 1).bit_length())
    return np.concatenate([lanes, np.full(room - len(lanes), lanes[0])])


def _first_place(lanes: Int[np.ndarray, " B"], count: int) -> Int[np.ndarray, " n"]:
    place = np.zeros(count, np.int32)
    place[lanes[::-1]] = np.arange(len(lanes), dtype=np.int32)[::-1]
    return place

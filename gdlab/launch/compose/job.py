"""A job's overrides, taken apart: those that choose from groups, and those that set values."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from hydra.core.override_parser.types import Override
from omegaconf import DictConfig, OmegaConf

from gdlab.launch.compose.context import Context
from gdlab.launch.compose.overrides import Parser, is_choice_of_name, touches_hydra
from gdlab.launch.compose.parts import Part

# So many combinations of choices are kept at once; each takes about 10 kB.
KEPT = 2048


@dataclass(frozen=True)
class Job:
    """A job's overrides, taken apart.

    Attributes:
        parsed: all of them, as typed.
        values: those that set values.
        context: those that choose from groups and are left to Hydra.
        exchanged: the others that choose, as the parts that their files put in place.
        choices: what those others choose, by group.
    """

    parsed: list[Override]
    values: list[Override]
    context: Context
    exchanged: tuple[Part, ...]
    choices: dict[str, str]


class JobReader:
    """Takes the overrides of a sweep's jobs apart; what jobs have in common is read once.

    Args:
        loader: Hydra's own.
        master: the configuration of the whole sweep.
    """

    def __init__(self, loader: Any, master: DictConfig) -> None:
        self.loader, self.master = loader, master
        self.parse = Parser()
        # As they were typed: an item may hold an interpolation, which reading it would resolve.
        self._typed: Any = OmegaConf.to_container(master.hydra.overrides.hydra, resolve=False)
        self._groups: dict[str, bool] = {}
        self._contexts: dict[tuple[str, ...], Context] = {}

    def read(self, overrides: Sequence[str]) -> Job:
        """Which overrides choose from groups and which set values; what choices put in place."""
        parsed = [self.parse(line) for line in overrides]
        if any(touches_hydra(o) or o.is_sweep_override() for o in parsed):
            raise OnlyHydraError
        choosing = [o for o in parsed if self._is_choice(o)]
        values = [o for o in parsed if not any(o is c for c in choosing)]
        simple = {o.key_or_group: o for o in choosing if is_choice_of_name(o)}
        rest = [o for o in choosing if simple.get(o.key_or_group) is not o]
        if len(simple) + len(rest) == len(choosing) and not _overlap(simple, rest):
            context = self._context(rest)
            parts = {group: context.part(group, str(o.value())) for group, o in simple.items()}
            exchanged = {group: part for group, part in parts.items() if part is not None}
            if len(exchanged) < len(parts):
                # What cannot be exchanged is Hydra's; the others may not be exchangeable any more.
                context = self._context([o for o in choosing if o.key_or_group not in exchanged])
                again = {g: context.part(g, str(simple[g].value())) for g in exchanged}
                exchanged = {g: part for g, part in again.items() if part is not None}
                if len(exchanged) < len(again):
                    context, exchanged = self._context(choosing), {}
            chosen = {group: str(simple[group].value()) for group in exchanged}
            return Job(parsed, values, context, tuple(exchanged.values()), chosen)
        return Job(parsed, values, self._context(choosing), (), {})

    def _is_choice(self, o: Override) -> bool:
        """As `hydra._internal.defaults_list.Overrides` decides it."""
        return not isinstance(o._value, dict) and self.group_exists(o.key_or_group)

    def _context(self, choosing: Sequence[Override]) -> Context:
        lines = tuple(str(o.input_line) for o in choosing)
        if lines not in self._contexts:
            if len(self._contexts) >= KEPT:
                self._contexts.clear()
            self._contexts[lines] = Context(self.loader, self.master, lines)
        return self._contexts[lines]

    def group_exists(self, name: str) -> bool:
        """Whether the app has a group of choices of that name."""
        if name not in self._groups:
            if self.master.hydra.searchpath:
                config_name = self.master.hydra.job.config_name
                found = self.loader.get_group_options(name, None, config_name, self._typed)
            else:  # the loader would read the primary configuration again for each name
                found = self.loader.repository.get_group_options(name, None)
            self._groups[name] = bool(found)
        return self._groups[name]


class OnlyHydraError(Exception):
    """Overrides of Hydra's own node, or sweeps: what only Hydra's loader composes."""


def _overlap(simple: dict[str, Override], rest: Sequence[Override]) -> bool:
    """Whether a group is chosen twice, or one lies inside another."""
    names = [*simple, *(o.key_or_group for o in rest)]
    return any(a != b and (a + "/").startswith(b + "/") for a in simple for b in names) or any(
        o.key_or_group in simple for o in rest
    )

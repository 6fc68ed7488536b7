"""The words of a configuration: its keys, its groups, their choices, and the keys of those."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from functools import cached_property
from typing import Any

from gdlab import registry
from gdlab.launch import config
from gdlab.launch.strict_yaml import load

# Groups of factories: what is registered is a choice, and its parameters are the keys.
FACTORIES = ("objective", "init", "schedule", "method")


class Vocabulary:
    """What `conf/<name>.yaml` takes.

    Attributes:
        groups: its groups, and the choice of each that is the default.
        values: its other keys.
    """

    def __init__(self, name: str = "config") -> None:
        content = load(config.folder("conf") / f"{name}.yaml")
        defaults = [d for d in content.pop("defaults") if isinstance(d, dict)]
        self.groups: dict[str, str] = {
            group: choice
            for default in defaults
            for group, choice in default.items()
            if " " not in group
        }
        self.values = [key for key in content if key != "hydra"]

    @cached_property
    def words(self) -> list[str]:
        """First words of all keys."""
        return [*self.values, *self.groups, "experiment"]

    def choices(self, group: str) -> list[str]:
        return [choice.name for choice in config.choices(group)]

    def keys(self, group: str, choice: str) -> list[str]:
        """The dotted keys of a choice, from the root; none where there is no such choice."""
        path = config.folder("conf") / group / f"{choice}.yaml"
        if path.is_file():
            return list(flat(load(path), f"{group}."))
        known = registry.imported(group) if group in registry.ROOMS else {}
        if choice not in known:
            return []
        return [f"{group}.{key}" for key in ("name", *registry.keys_of(known[choice]))]


def flat(content: Mapping[Any, Any], prefix: str = "") -> Iterator[str]:
    """Dotted keys of a mapping, those of its mappings included."""
    for key, value in content.items():
        yield f"{prefix}{key}"
        if isinstance(value, Mapping):
            yield from flat(value, f"{prefix}{key}.")


def study_names() -> list[str]:
    """Names of all studies that a configuration may take."""
    return [choice.name for choice in config.studies()]

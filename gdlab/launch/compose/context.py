"""What jobs have in common: one composition by Hydra, in which single groups can be exchanged."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cached_property
from typing import Any

from hydra.core.default_element import ResultDefault
from hydra.plugins.config_source import ConfigResult
from hydra.types import RunMode
from omegaconf import DictConfig, OmegaConf, flag_override

from gdlab.launch.compose.parts import Part, fresh_copies


class Context:
    """One composition by Hydra's own loader, and the choices that may be exchanged in it.

    A choice's file is merged at its group's place. Where that place gets nothing from any other
    file, and the files of the old and the new choice bring no defaults of their own, composing
    anew would change that place alone: the new file's content can be put there.

    Args:
        loader: Hydra's own.
        master: the configuration of the whole sweep.
        lines: overrides that choose from groups, composed by Hydra.
    """

    def __init__(self, loader: Any, master: DictConfig, lines: Sequence[str]) -> None:
        self.loader = loader
        self.config: DictConfig = loader.load_sweep_config(master, list(lines))
        self.fresh = fresh_copies(self.config)
        self.choices: dict[str, Any] = dict(self.config.hydra.runtime.choices)
        typed: Any = OmegaConf.to_container(master.hydra.overrides.hydra, resolve=False)
        self._asked = (master.hydra.job.config_name, [*typed, *lines], RunMode.RUN)
        self._parts: dict[tuple[str, str], Part | None] = {}
        self._places: dict[str, bool] = {}

    def part(self, group: str, choice: str) -> Part | None:
        """What the file of `group=choice` puts in place; None where only Hydra knows."""
        key = group, choice
        if key not in self._parts:
            self._parts[key] = self._read(group, choice) if self._is_alone(group) else None
        return self._parts[key]

    def _read(self, group: str, choice: str) -> Part | None:
        found = self.loader.repository.load_config(f"{group}/{choice}")
        if found is None or not self._is_plain(found, f"{group}/{choice}"):
            return None
        # Merged into nothing, as Hydra merges it into what has nothing in that place.
        embedded, merged = OmegaConf.create(), OmegaConf.create()
        OmegaConf.update(embedded, dotted(group), found.config, merge=False)
        with flag_override(merged, "no_deepcopy_set_nodes", True):
            merged.merge_with(embedded)
        node: Any = merged
        for name in group.split("/"):
            node = node._get_node(name)
        node._set_parent(None)
        return Part(node, tuple(group.split("/")))

    def _is_plain(self, found: ConfigResult, path: str) -> bool:
        """Whether a file is a mapping without defaults, package, types and schema."""
        return (
            isinstance(found.config, DictConfig)
            and not found.defaults_list
            and (found.header or {}).get("package") is None
            and not found.config._is_typed()
            and not found.config._metadata.flags
            and "hydra" not in found.config
            and (
                found.is_schema_source
                or not self.loader.repository.get_schema_source().is_config(path)
            )
        )

    def _is_alone(self, group: str) -> bool:
        """Whether the group's place gets what its choice's file holds, and nothing else."""
        if group not in self._places:
            self._places[group] = group in self.choices and self._gets_one_file(group)
        return self._places[group]

    def _gets_one_file(self, group: str) -> bool:
        if self._files is None:
            return False
        path, mine = f"{group}/{self.choices[group]}", 0
        for entry, found in self._files:
            if entry.config_path == path and entry.package == dotted(group):
                mine += 1
                if not self._is_plain(found, path):
                    return False
            elif _reaches(found.config, entry.package or "", dotted(group)):
                return False
        return mine == 1

    @cached_property
    def _files(self) -> list[tuple[ResultDefault, ConfigResult]] | None:
        """The files beside Hydra's own; None where a choice may decide which files there are."""
        if self.config.hydra.searchpath:
            return None
        files = []
        for entry in self.loader.compute_defaults_list(*self._asked).defaults:
            if str(entry.config_path).startswith("hydra/"):
                continue
            found = self.loader.repository.load_config(entry.config_path)
            if found is None or not isinstance(found.config, DictConfig):
                return None
            if any("${" in str(vars(default)) for default in found.defaults_list or ()):
                return None
            files.append((entry, found))
        return files


def dotted(group: str) -> str:
    """The keys under which a group's choice is placed."""
    return group.replace("/", ".")


def _reaches(config: Any, package: str, place: str) -> bool:
    """Whether a file that is merged at `package` puts anything at `place` or around it."""
    at, to = [part.split(".") if part else [] for part in (package, place)]
    shared = min(len(at), len(to))
    if at[:shared] != to[:shared]:
        return False
    node: Any = config
    for key in to[len(at) :]:
        if not isinstance(node, DictConfig) or node._is_none() or node._is_interpolation():
            return True
        if node._is_typed() or node._is_missing():
            return True
        if key not in node.keys():  # noqa: SIM118, `in` reads the value
            return False
        node = node._get_node(key)
    return True

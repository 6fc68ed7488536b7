"""The files of an app, each read once, and the merge of those that a job chooses."""

from __future__ import annotations

import importlib.util
from collections.abc import Callable
from typing import Any

from hydra._internal import defaults_list
from hydra._internal.config_loader_impl import ConfigLoaderImpl
from hydra._internal.config_repository import CachingConfigRepository
from hydra.conf import ConfigSourceInfo
from hydra.core.default_element import ResultDefault
from hydra.core.override_parser.types import Override
from hydra.plugins.config_source import ConfigResult
from omegaconf import DictConfig, OmegaConf

from gdlab.launch.compose.base import Fresh, fresh_copies, keep


class Shelf:
    """The configuration files of an app, each read once, and Hydra's own node, merged once."""

    def __init__(self, loader: Any, config_name: str | None, parsed: list[Override]) -> None:
        self.loader, self.config_name = _Continued(loader), config_name
        loader.ensure_main_config_source_available()
        self.repo = CachingConfigRepository(loader.repository)
        loader._process_config_searchpath(config_name, parsed, self.repo)
        self.files = {path: fresh_copies(result) for path, result in self.repo.cache.items()}
        self.exists: dict[tuple[str, str], bool] = {}
        self.heads: dict[tuple[Any, ...], Fresh] = {}

    def exists_group(self, path: str) -> bool:
        return self.repo.group_exists(path)

    def merge(self, choices: list[Override]) -> tuple[DictConfig, dict[str, Any], Any]:
        """The configuration of a choice of groups, its known choices and its sources."""
        loan = _Loan(self)
        found = _walk.create_defaults_list(
            repo=loan,
            config_name=self.config_name,
            overrides_list=choices,
            prepend_hydra=True,
            skip_missing=False,
        )
        defaults = found.defaults
        n = 0
        while n < len(defaults) and str(defaults[n].config_path).startswith("hydra/"):
            n += 1
        # Merging is a fold from the left and Hydra's node comes first, mostly the same for all.
        key = tuple(
            (d.config_path, d.parent, d.package, d.is_self, d.primary) for d in defaults[:n]
        )
        if key not in self.heads:
            head = self.loader._compose_config_from_defaults_list(defaults=defaults[:n], repo=loan)
            keep(self.heads, key, fresh_copies(head))
        cfg = self.loader.go_on(self.heads[key](), defaults[n:], loan)
        OmegaConf.set_struct(cfg, True)
        OmegaConf.set_readonly(cfg.hydra, False)
        sources = [
            ConfigSourceInfo(path=s.path, schema=s.scheme(), provider=s.provider)
            for s in loan.get_sources()
        ]
        return cfg, dict(found.overrides.known_choices), sources


class _Loan(CachingConfigRepository):
    """What one composition reads: copies of its own, since merging takes the nodes over."""

    def __init__(self, shelf: Shelf) -> None:
        self.delegate, self.cache, self.shelf = shelf.repo.delegate, {}, shelf

    def load_config(self, config_path: str) -> ConfigResult | None:
        if config_path not in self.cache:
            files = self.shelf.files
            fresh = files.get(config_path) or files.get(f"config_path={config_path}")
            if fresh is None:
                fresh = files[config_path] = fresh_copies(self.delegate.load_config(config_path))
            self.cache[config_path] = fresh()
        return self.cache[config_path]

    def group_exists(self, config_path: str) -> bool:
        return self._once("group", config_path, self.delegate.group_exists)

    def config_exists(self, config_path: str) -> bool:
        return self._once("config", config_path, self.delegate.config_exists)

    def _once(self, kind: str, path: str, ask: Callable[[str], bool]) -> bool:
        exists = self.shelf.exists
        if (kind, path) not in exists:
            exists[kind, path] = ask(path)
        return exists[kind, path]


class _Continued(ConfigLoaderImpl):
    """Hydra's loader, whose merge may start from what was merged before."""

    _HEAD = ResultDefault(config_path="<merged before>")

    def __init__(self, loader: ConfigLoaderImpl) -> None:
        self.__dict__.update(loader.__dict__)

    def go_on(self, head: DictConfig, defaults: list[ResultDefault], repo: Any) -> DictConfig:
        self.head = head
        return self._compose_config_from_defaults_list([self._HEAD, *defaults], repo)

    def _load_single_config(self, default: ResultDefault, repo: Any) -> ConfigResult:
        if default is self._HEAD:
            return ConfigResult(provider="", path="", config=self.head, header={})
        return super()._load_single_config(default=default, repo=repo)


def _lean_walk() -> Any:
    """Hydra's defaults-list algorithm, in a copy of its module that spares half of the work.

    At every node of the tree Hydra builds a map of all choices, to resolve `${...}` among the
    node's defaults; the copy builds it only where there is one.
    """
    spec = importlib.util.find_spec(defaults_list.__name__)
    assert spec is not None
    assert spec.loader is not None
    walk = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(walk)
    build_map = walk._create_interpolation_map

    def where_needed(overrides: Any, defaults: Any, self_added: bool) -> DictConfig | None:
        if any(d.is_interpolation() for d in defaults):
            return build_map(overrides, defaults, self_added)
        return None

    walk._create_interpolation_map = where_needed  # type: ignore[attr-defined]
    return walk


_walk = _lean_walk()

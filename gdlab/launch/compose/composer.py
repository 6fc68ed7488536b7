"""The composer: a job's configuration from its base and its values."""

from __future__ import annotations

import copy
import os
from collections.abc import Callable, Iterator, Sequence
from typing import Any

from hydra import __version__, version
from hydra._internal.config_loader_impl import ConfigLoaderImpl, get_overrides_dirname
from hydra.core.hydra_config import HydraConfig
from hydra.core.override_parser.types import Override
from hydra.core.utils import JobRuntime
from omegaconf import DictConfig, OmegaConf, open_dict, read_write

from gdlab.errors import UsageError
from gdlab.launch.compose.base import RESOLVER, Base, Fresh, copied, fresh_copies, keep
from gdlab.launch.compose.files import Shelf
from gdlab.launch.compose.overrides import Parser, is_simple, touches_hydra


class FastComposer:
    """Composes the jobs of one sweep.

    Args:
        loader: Hydra's own, from `hydra_context.config_loader`.
        master: the configuration of the whole sweep, as launchers and sweepers are given it.
    """

    def __init__(self, loader: Any, master: DictConfig) -> None:
        self.loader, self.master = loader, master
        self.config_name = master.hydra.job.config_name
        # As they were typed: an item may hold an interpolation, which reading it would resolve.
        typed: Any = OmegaConf.to_container(master.hydra.overrides.hydra, resolve=False)
        self.hydra_lines: list[str] = typed
        self.parse = Parser()
        self.hydra_parsed = [self.parse(line) for line in self.hydra_lines]
        self.fallbacks = 0  # jobs that Hydra's own loader composed
        self._groups: dict[str, bool] = {}
        self._bases: dict[tuple[str, ...], Base] = {}
        self._full: dict[tuple[str, ...], tuple[Fresh, Any, Any]] = {}
        self._shelf: Shelf | None = None

    def full(self, overrides: Sequence[str]) -> DictConfig:
        """What `load_sweep_config(master, overrides)` returns: the job's and Hydra's own node."""
        return self._or_hydra(overrides, self._full_config, lambda cfg: cfg)

    def task(self, overrides: Sequence[str]) -> DictConfig:
        """What the task function is given: the job's configuration without Hydra's node."""
        return self._or_hydra(overrides, self._task_config, without_hydra)

    def plain(self, overrides: Sequence[str], num: int = 0) -> dict[str, Any]:
        """The job's configuration as plain containers, interpolations resolved.

        Equals `OmegaConf.to_container(task(overrides), resolve=True)`.

        Args:
            num: number of the job in the sweep, which `${hydra:job.num}` may ask for.
        """
        plain = self._plain_config(overrides)
        if plain is not None:
            return plain
        if self._asks_hydra(overrides):
            return self._resolved_in_job(overrides, num)
        return OmegaConf.to_container(self.task(overrides), resolve=True)  # type: ignore[return-value]

    def plain_all(self, jobs: Sequence[Sequence[str]], first: int = 0) -> list[dict[str, Any]]:
        """`plain` of every job.

        Raises:
            UsageError: a job cannot be composed; says which, its overrides and the reason.
        """
        return list(self._each(jobs, lambda job, i: self.plain(job, first + i)))

    def check(self, jobs: Sequence[Sequence[str]]) -> None:
        """Composes every job, keeps and resolves nothing; raises as `plain_all`."""
        for _ in self._each(jobs, lambda job, i: self._plain_config(job) or self.task(job)):
            pass

    def in_job(self, overrides: Sequence[str], num: int) -> DictConfig:
        """`full` as `run_job` hands it to callbacks: with the job's number and output folder."""
        cfg = self.full(overrides)
        with open_dict(cfg):
            cfg.hydra.job.id = cfg.hydra.job.num = num
        before = HydraConfig.instance().cfg
        HydraConfig.instance().set_config(cfg)  # the folder's name may ask for the number
        try:
            where = os.path.join(str(cfg.hydra.sweep.dir), str(cfg.hydra.sweep.subdir))
        finally:
            HydraConfig.instance().cfg = before
        with read_write(cfg.hydra.runtime), open_dict(cfg.hydra.runtime):
            cfg.hydra.runtime.output_dir = os.path.abspath(where)
        return cfg

    def _each(
        self, jobs: Sequence[Sequence[str]], compose: Callable[[Sequence[str], int], Any]
    ) -> Iterator[Any]:
        for i, job in enumerate(jobs):
            try:
                yield compose(job, i)
            except Exception as error:
                raise _named(error, i, len(jobs), job) from error

    # The short way, and the way back to Hydra's.

    def _or_hydra(
        self,
        overrides: Sequence[str],
        short: Callable[[list[Override], list[Override], tuple[str, ...]], DictConfig],
        of_full: Callable[[DictConfig], DictConfig],
    ) -> DictConfig:
        try:
            parsed = [self.parse(line) for line in overrides]
            if not any(touches_hydra(o) or o.is_sweep_override() for o in parsed):
                cfg = short(parsed, *self._split(parsed))
                # Resolvers with a cache (the time of day) answer all jobs alike.
                OmegaConf.copy_cache(from_config=self.master, to_config=cfg)
                return cfg
        except Exception:
            pass  # whatever it was, Hydra's own loader finds it again and says it its own way
        self.fallbacks += 1
        return of_full(self.loader.load_sweep_config(self.master, list(overrides)))

    def _split(self, parsed: list[Override]) -> tuple[list[Override], tuple[str, ...]]:
        """Overrides that set values, and the lines of those that choose from groups."""
        values, choices = [], []
        for o in parsed:
            if self._is_choice(o):
                choices.append(o.input_line or "")
            else:
                values.append(o)
        return values, tuple(choices)

    def _is_choice(self, o: Override) -> bool:
        """As `hydra._internal.defaults_list.Overrides` decides it."""
        known = self._groups.get(o.key_or_group)
        if known is None:
            known = self._groups[o.key_or_group] = self.shelf.exists_group(o.key_or_group)
        return known and not isinstance(o._value, dict)

    @property
    def shelf(self) -> Shelf:
        if self._shelf is None:
            self._shelf = Shelf(self.loader, self.config_name, self.hydra_parsed)
        return self._shelf

    def _compose(self, choices: tuple[str, ...]) -> tuple[DictConfig, Any, Any]:
        chosen = [o for o in self.hydra_parsed if self._is_choice(o)]
        return self.shelf.merge(chosen + [self.parse(line) for line in choices])

    # Each step below is one of ConfigLoaderImpl._load_configuration_impl, in its order.

    def _full_config(
        self, parsed: list[Override], values: list[Override], choices: tuple[str, ...]
    ) -> DictConfig:
        if choices not in self._full:
            cfg, known_choices, sources = self._compose(choices)
            keep(self._full, choices, (fresh_copies(cfg), known_choices, sources))
        fresh, known_choices, sources = self._full[choices]
        cfg = fresh()
        hydra_values = [o for o in self.hydra_parsed if not self._is_choice(o)]
        ConfigLoaderImpl._apply_overrides_to_config(hydra_values + values, cfg)
        cfg.hydra.overrides.hydra.extend(self.hydra_lines)
        cfg.hydra.overrides.task.extend([o.input_line for o in parsed])
        with open_dict(cfg.hydra):
            cfg.hydra.runtime.choices.update(known_choices)
            for key in cfg.hydra.job.env_copy:
                cfg.hydra.job.env_set[key] = os.environ[key]
        cfg.hydra.runtime.version = __version__
        cfg.hydra.runtime.version_base = version.getbase()
        cfg.hydra.runtime.cwd = os.getcwd()
        cfg.hydra.runtime.config_sources = sources
        if "name" not in cfg.hydra.job:
            cfg.hydra.job.name = JobRuntime().get("name")
        how = cfg.hydra.job.config.override_dirname
        cfg.hydra.job.override_dirname = get_overrides_dirname(
            overrides=parsed,
            kv_sep=how.kv_sep,
            item_sep=how.item_sep,
            exclude_keys=how.exclude_keys,
        )
        cfg.hydra.job.config_name = self.config_name
        return cfg

    def _task_config(
        self, parsed: list[Override], values: list[Override], choices: tuple[str, ...]
    ) -> DictConfig:
        cfg = self._base(choices).fresh()
        ConfigLoaderImpl._apply_overrides_to_config(values, cfg)
        return cfg

    def _base(self, choices: tuple[str, ...]) -> Base:
        base = self._bases.get(choices)
        if base is None:
            cfg, _, _ = self._compose(choices)
            base = keep(self._bases, choices, Base(without_hydra(cfg)))
        return base

    def _plain_config(self, overrides: Sequence[str]) -> dict[str, Any] | None:
        """`plain` where each value replaces an untyped leaf and nothing is interpolated."""
        try:
            parsed = [self.parse(line) for line in overrides]
            values, choices = self._split(parsed)
            base = self._base(choices)
        except Exception:
            return None  # the long way finds the same error, or none
        if any(o.is_sweep_override() or touches_hydra(o) for o in parsed):
            return None
        if not base.free or any(
            o.key_or_group not in base.leaves or not is_simple(o) for o in values
        ):
            return None
        plain = copied(base.plain)
        for o in values:
            *path, last = o.key_or_group.split(".")
            node = plain
            for key in path:
                node = node[key]
            node[last] = o.value()
        return plain

    def _asks_hydra(self, overrides: Sequence[str]) -> bool:
        """Whether a resolver that may read Hydra's node takes part in the configuration."""
        try:
            parsed = [self.parse(line) for line in overrides]
            values, choices = self._split(parsed)
            # Values, not lines: a line may be written with escapes, as `$\{hydra\:job.num\}`.
            return self._base(choices).asks_hydra or any(
                RESOLVER.search(repr(o.value())) for o in values
            )
        except Exception:
            return False  # composing fails, too

    def _resolved_in_job(self, overrides: Sequence[str], num: int) -> dict[str, Any]:
        cfg = self.in_job(overrides, num)
        before = HydraConfig.instance().cfg
        HydraConfig.instance().set_config(copy.deepcopy(cfg))
        try:
            return OmegaConf.to_container(without_hydra(cfg), resolve=True)  # type: ignore[return-value]
        finally:
            HydraConfig.instance().cfg = before


def without_hydra(cfg: DictConfig) -> DictConfig:
    """The configuration less Hydra's node, as `hydra.core.utils.run_job` takes it off."""
    with read_write(cfg), open_dict(cfg):
        del cfg["hydra"]
    return cfg


def _named(error: Exception, i: int, n: int, overrides: Sequence[str]) -> UsageError:
    """The failure of one job of many as one line."""
    from gdlab.launch.config import explained

    mended = error if isinstance(error, UsageError) else explained(error, list(overrides))
    text = str(mended or f"{type(error).__name__}: {error}")
    return UsageError(f"job {i} of {n} ({' '.join(overrides)}): {' '.join(text.split())}")

"""The composer: a job's configuration from what it shares with others and what it sets."""

from __future__ import annotations

import copy
import os
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from hydra._internal.config_loader_impl import ConfigLoaderImpl, get_overrides_dirname
from hydra.core.hydra_config import HydraConfig
from omegaconf import DictConfig, OmegaConf, open_dict, read_write

from gdlab.errors import UsageError
from gdlab.launch.compose.context import Context
from gdlab.launch.compose.job import KEPT, Job, JobReader
from gdlab.launch.compose.overrides import is_simple
from gdlab.launch.compose.parts import RESOLVER, Part, Path, copied, linked


@dataclass(frozen=True)
class Combined:
    """A context with its exchanged parts, as plain containers; see `Part`."""

    plain: Any
    leaves: frozenset[str]
    links: dict[Path, Path]
    free: bool
    asks_hydra: bool


class FastComposer:
    """Composes the jobs of one sweep.

    Args:
        loader: Hydra's own, from `hydra_context.config_loader`.
        master: the configuration of the whole sweep, as launchers and sweepers are given it.
    """

    def __init__(self, loader: Any, master: DictConfig) -> None:
        self.loader, self.master = loader, master
        self.fallbacks = 0  # jobs that Hydra's own loader composed
        self.reader = JobReader(loader, master)
        self._rests: dict[tuple[Context, tuple[Path, ...]], Part] = {}
        self._combined: dict[tuple[Context | Part, ...], Combined] = {}

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

    def choices(self, overrides: Sequence[str]) -> dict[str, Any]:
        """What is chosen of each group of the app (Hydra's own groups among them)."""
        job = self.reader.read(overrides)
        return job.context.choices | job.choices

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
        short: Callable[[Job], DictConfig],
        of_full: Callable[[DictConfig], DictConfig],
    ) -> DictConfig:
        try:
            cfg = short(self.reader.read(overrides))
            # Resolvers with a cache (the time of day) answer all jobs alike.
            OmegaConf.copy_cache(from_config=self.master, to_config=cfg)
            return cfg
        except Exception:
            pass  # whatever it was, Hydra's own loader finds it again and says it its own way
        self.fallbacks += 1
        return of_full(self.loader.load_sweep_config(self.master, list(overrides)))

    def _exchanged(self, job: Job, cfg: DictConfig) -> DictConfig:
        for part in job.exchanged:
            node: Any = cfg
            for name in part.where[:-1]:
                node = node._get_node(name)
            new = part.fresh()
            new._set_parent(node)
            node.__dict__["_content"][part.where[-1]] = new
        return cfg

    def _full_config(self, job: Job) -> DictConfig:
        cfg = self._exchanged(job, job.context.fresh())
        ConfigLoaderImpl._apply_overrides_to_config(job.values, cfg)
        cfg.hydra.overrides.task = [o.input_line for o in job.parsed]
        with open_dict(cfg.hydra):
            cfg.hydra.runtime.choices.update(job.choices)
        how = cfg.hydra.job.config.override_dirname
        cfg.hydra.job.override_dirname = get_overrides_dirname(
            overrides=job.parsed,
            kv_sep=how.kv_sep,
            item_sep=how.item_sep,
            exclude_keys=how.exclude_keys,
        )
        return cfg

    def _task_config(self, job: Job) -> DictConfig:
        cfg = self._exchanged(job, self._rest(job.context, ()).fresh())
        ConfigLoaderImpl._apply_overrides_to_config(job.values, cfg)
        return cfg

    def _rest(self, context: Context, places: tuple[Path, ...]) -> Part:
        """The context without Hydra's node and with nothing in these places."""
        key = context, places
        if key not in self._rests:
            if len(self._rests) >= KEPT:
                self._rests.clear()
            cfg = without_hydra(context.fresh())
            for place in places:
                node: Any = cfg
                for name in place[:-1]:
                    node = node._get_node(name)
                empty = OmegaConf.create()
                empty._set_parent(node)
                node.__dict__["_content"][place[-1]] = empty
            self._rests[key] = Part(cfg)
        return self._rests[key]

    def _combine(self, job: Job) -> Combined:
        key: tuple[Context | Part, ...] = (job.context, *job.exchanged)
        if key not in self._combined:
            rest = self._rest(job.context, tuple(part.where for part in job.exchanged))
            plain = copied(rest.plain)
            parts = (rest, *job.exchanged)
            for part in job.exchanged:
                node = plain
                for name in part.where[:-1]:
                    node = node[name]
                node[part.where[-1]] = part.plain
            if len(self._combined) >= KEPT:
                self._combined.clear()
            self._combined[key] = Combined(
                plain,
                frozenset().union(*(part.leaves for part in parts)),
                {path: to for part in parts for path, to in part.links.items()},
                all(part.free for part in parts),
                any(part.asks_hydra for part in parts),
            )
        return self._combined[key]

    def _plain_config(self, overrides: Sequence[str]) -> dict[str, Any] | None:
        """`plain` where each value replaces an untyped leaf; None elsewhere."""
        try:
            job = self.reader.read(overrides)
        except Exception:
            return None  # the long way finds the same error, or none
        base = self._combine(job)
        if not base.free or any(
            o.key_or_group not in base.leaves or not is_simple(o) for o in job.values
        ):
            return None
        plain = copied(base.plain)
        for o in job.values:
            *path, last = o.key_or_group.split(".")
            node = plain
            for key in path:
                node = node[key]
            node[last] = o.value()
        return plain if linked(plain, base.links) else None

    def _asks_hydra(self, overrides: Sequence[str]) -> bool:
        """Whether a resolver that may read Hydra's node takes part in the configuration."""
        try:
            job = self.reader.read(overrides)
        except Exception:
            return False  # composing fails, too
        # Values, not lines: a line may be written with escapes, as `$\{hydra\:job.num\}`.
        return self._combine(job).asks_hydra or any(
            RESOLVER.search(repr(o.value())) for o in job.values
        )

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

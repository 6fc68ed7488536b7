"""Configurations of the many jobs of a sweep, equal to Hydra's own and two thousand times cheaper.

Hydra composes each job from nothing: it parses the overrides, walks the defaults list, merges
every YAML file and Hydra's own schema. Jobs of a sweep share almost all of that:

    config(job) = values(job) applied to base(groups(job))

so each override is parsed once, each file is read once, each distinct choice of groups is merged
once, and a job costs a copy of its base and the values that it sets, both by Hydra's own code.
Where that might not hold (Hydra's node is overridden by a job, or anything at all goes wrong on
the short way) the job is composed by Hydra's own loader, whose result and whose errors stand.
"""

from __future__ import annotations

import copy
import importlib.util
import os
import pickle
import re
from collections.abc import Callable, Iterator, Sequence
from typing import Any

from hydra import __version__, version
from hydra._internal import defaults_list
from hydra._internal.config_loader_impl import ConfigLoaderImpl, get_overrides_dirname
from hydra._internal.config_repository import CachingConfigRepository
from hydra.conf import ConfigSourceInfo
from hydra.core.default_element import ResultDefault
from hydra.core.hydra_config import HydraConfig
from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.core.override_parser.types import Override, OverrideType, QuotedString, ValueType
from hydra.core.utils import JobRuntime
from hydra.plugins.config_source import ConfigResult
from omegaconf import AnyNode, DictConfig, ListConfig, OmegaConf, open_dict, read_write

from gdlab.errors import UsageError

# So many distinct choices of groups are kept at once; each takes about 20 kB.
KEPT = 2048

Fresh = Callable[[], Any]


class FastComposer:
    """Composes the jobs of one sweep.

    Args:
        loader: Hydra's own, from `hydra_context.config_loader`.
        master: the configuration of the whole sweep, as launchers and sweepers are given it.
    """

    def __init__(self, loader: Any, master: DictConfig) -> None:
        self.loader, self.master = loader, master
        self.config_name = master.hydra.job.config_name
        self.hydra_lines = list(OmegaConf.to_container(master.hydra.overrides.hydra))
        self.parse = Parser()
        self.hydra_parsed = [self.parse(line) for line in self.hydra_lines]
        self.fallbacks = 0  # jobs that Hydra's own loader composed
        self._groups: dict[str, bool] = {}
        self._bases: dict[tuple[str, ...], _Base] = {}
        self._full: dict[tuple[str, ...], tuple[Fresh, Any, Any]] = {}
        self._shelf: _Shelf | None = None

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
        lines = [line for line in overrides if "${" in line]
        if self._asks_hydra(overrides, lines):
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
            if not any(_touches_hydra(o) or o.is_sweep_override() for o in parsed):
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
    def shelf(self) -> _Shelf:
        if self._shelf is None:
            self._shelf = _Shelf(self.loader, self.config_name, self.hydra_parsed)
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
            _keep(self._full, choices, (_fresh(cfg), known_choices, sources))
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

    def _base(self, choices: tuple[str, ...]) -> _Base:
        base = self._bases.get(choices)
        if base is None:
            cfg, _, _ = self._compose(choices)
            base = _keep(self._bases, choices, _Base(without_hydra(cfg)))
        return base

    def _plain_config(self, overrides: Sequence[str]) -> dict[str, Any] | None:
        """`plain` where each value replaces an untyped leaf and nothing is interpolated."""
        try:
            parsed = [self.parse(line) for line in overrides]
            values, choices = self._split(parsed)
            base = self._base(choices)
        except Exception:
            return None  # the long way finds the same error, or none
        if any(o.is_sweep_override() or _touches_hydra(o) for o in parsed):
            return None
        if not base.free or any(
            o.key_or_group not in base.leaves or not _is_simple(o) for o in values
        ):
            return None
        plain = _copied(base.plain)
        for o in values:
            *path, last = o.key_or_group.split(".")
            node = plain
            for key in path:
                node = node[key]
            node[last] = o.value()
        return plain

    def _asks_hydra(self, overrides: Sequence[str], lines: Sequence[str]) -> bool:
        """Whether a resolver that may read Hydra's node takes part in the configuration."""
        try:
            parsed = [self.parse(line) for line in overrides]
            base = self._base(self._split(parsed)[1])
        except Exception:
            return False  # composing fails, too
        return base.asks_hydra or any(_RESOLVER.search(line) for line in lines)

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


class _Base:
    """The configuration of one choice of groups, before values are set.

    Attributes:
        fresh: gives a copy.
        plain: as plain containers.
        leaves: dotted keys of the values.
        free: whether all of them are untyped and none is interpolated.
        asks_hydra: whether an interpolation calls a resolver that may read Hydra's node.
    """

    def __init__(self, cfg: DictConfig) -> None:
        self.fresh = _fresh(cfg)
        self.plain: Any = OmegaConf.to_container(cfg, resolve=False)
        text = repr(self.plain)
        self.asks_hydra = _RESOLVER.search(text) is not None
        leaves: set[str] = set()
        self.free = "${" not in text and _collect(cfg, "", leaves)
        self.leaves = frozenset(leaves)


def _collect(node: DictConfig, prefix: str, leaves: set[str]) -> bool:
    """Adds the dotted keys of untyped leaves; False where a type or a flag guards a node."""
    if _is_guarded(node):
        return False
    if node._is_none() or node._is_missing():
        return True
    for key in node:
        child = node._get_node(key)
        if not isinstance(key, str) or "." in key:
            return False
        if isinstance(child, DictConfig):
            if not _collect(child, f"{prefix}{key}.", leaves):
                return False
        elif isinstance(child, ListConfig):
            if _is_guarded(child):
                return False
            leaves.add(prefix + key)
        elif type(child) is AnyNode and not child._metadata.flags:
            leaves.add(prefix + key)
        else:
            return False
    return True


def _is_guarded(node: Any) -> bool:
    meta = node._metadata
    types = [meta.ref_type, meta.element_type]
    if isinstance(node, DictConfig):
        types.append(meta.key_type)
    return (
        any(t is not Any for t in types)
        or meta.object_type not in (dict, list, None)
        or bool((meta.flags or {}).get("readonly"))
    )


# ${name:...} other than OmegaConf's own, which know nothing of Hydra
_RESOLVER = re.compile(r"\$\{(?!oc\.)[^}$]*:")


def _is_simple(o: Override) -> bool:
    """Whether it replaces a leaf by a plain value, which nothing converts or resolves."""
    if o.type is not OverrideType.CHANGE or o.package is not None or o.is_sweep_override():
        return False
    value = o._value
    items = value if isinstance(value, list) else [value]
    texts = [i.text if isinstance(i, QuotedString) else i for i in items]
    return all(
        t is None or type(t) in (int, float, bool) or (type(t) is str and "$" not in t)
        for t in texts
    )


def _touches_hydra(o: Override) -> bool:
    return o.key_or_group == "hydra" or o.is_hydra_override()


def _copied(value: Any) -> Any:
    if type(value) is dict:
        return {k: _copied(v) for k, v in value.items()}
    return [_copied(v) for v in value] if type(value) is list else value


def _keep(cache: dict[Any, Any], key: Any, value: Any) -> Any:
    if len(cache) >= KEPT:
        del cache[next(iter(cache))]
    cache[key] = value
    return value


def _fresh(value: Any) -> Fresh:
    """A function that returns copies of `value`; pickles copy fastest."""
    try:
        blob = pickle.dumps(value, pickle.HIGHEST_PROTOCOL)
        pickle.loads(blob)
    except Exception:  # dataclasses that are defined inside a function
        kept = copy.deepcopy(value)
        return lambda: copy.deepcopy(kept)
    return lambda: pickle.loads(blob)


class Parser:
    """Parses each override line once, and numbers and words without the grammar's machinery."""

    # Exactly the INT, FLOAT and ID of Hydra's OverrideLexer.g4 (less `1_000`, `.5`, `a-b`), for a
    # plain key; everything else goes to Hydra's own parser.
    _PLAIN = re.compile(
        r"(?P<key>[A-Za-z_][A-Za-z0-9_]*(?:\.[A-Za-z_][A-Za-z0-9_]*)*)="
        r"(?:(?P<int>[+-]?(?:0|[1-9][0-9]*))"
        r"|(?P<float>[+-]?(?:0|[1-9][0-9]*)(?:\.[0-9]+(?:[eE][+-]?[0-9]+)?|[eE][+-]?[0-9]+))"
        r"|(?P<word>(?!(?i:null|true|false|inf|nan)$)[A-Za-z_][A-Za-z0-9_]*))"
    )

    def __init__(self) -> None:
        self._hydra = OverridesParser.create()
        self._known: dict[str, Override] = {}

    def __call__(self, line: str) -> Override:
        known = self._known.get(line)
        if known is None:
            known = self._known[line] = self._plain(line) or self._hydra.parse_overrides([line])[0]
        return known

    def _plain(self, line: str) -> Override | None:
        found = self._PLAIN.fullmatch(line)
        if found is None:
            return None
        kind = found.lastgroup
        text = found[str(kind)]
        value = int(text) if kind == "int" else float(text) if kind == "float" else text
        return Override(
            type=OverrideType.CHANGE,
            key_or_group=found["key"],
            value_type=ValueType.ELEMENT,
            _value=value,
            input_line=line,
        )


class _Shelf:
    """The configuration files of an app, each read once, and Hydra's own node, merged once."""

    def __init__(self, loader: Any, config_name: str | None, parsed: list[Override]) -> None:
        self.loader, self.config_name = _Continued(loader), config_name
        loader.ensure_main_config_source_available()
        self.repo = CachingConfigRepository(loader.repository)
        loader._process_config_searchpath(config_name, parsed, self.repo)
        self.files = {path: _fresh(result) for path, result in self.repo.cache.items()}
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
            _keep(self.heads, key, _fresh(head))
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

    def __init__(self, shelf: _Shelf) -> None:
        self.delegate, self.cache, self.shelf = shelf.repo.delegate, {}, shelf

    def load_config(self, config_path: str) -> ConfigResult | None:
        if config_path not in self.cache:
            files = self.shelf.files
            fresh = files.get(config_path) or files.get(f"config_path={config_path}")
            if fresh is None:
                fresh = files[config_path] = _fresh(self.delegate.load_config(config_path))
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


def _named(error: Exception, i: int, n: int, overrides: Sequence[str]) -> UsageError:
    """The failure of one job of many as one line."""
    from gdlab.config import explained

    mended = error if isinstance(error, UsageError) else explained(error, list(overrides))
    text = str(mended or f"{type(error).__name__}: {error}")
    return UsageError(f"job {i} of {n} ({' '.join(overrides)}): {' '.join(text.split())}")

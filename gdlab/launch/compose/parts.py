"""A piece of a configuration that many jobs share, as plain containers and as nodes."""

from __future__ import annotations

import copy
import pickle
import re
from collections.abc import Callable, Iterator
from typing import Any

from omegaconf import AnyNode, DictConfig, ListConfig, OmegaConf

Fresh = Callable[[], Any]
Path = tuple[str, ...]

# ${name:...} other than OmegaConf's own, which know nothing of Hydra
RESOLVER = re.compile(r"\$\{(?!oc\.)[^}$]*:")
# A whole value that is another key's: `${steps}`
LINK = re.compile(r"\$\{([A-Za-z_]\w*(?:\.[A-Za-z_]\w*)*)\}")


class Part:
    """A mapping of a configuration, before values are set.

    Args:
        node: the mapping.
        where: its keys from the root; empty for the root itself.

    Attributes:
        fresh: gives a copy of the node.
        plain: as plain containers, interpolations as they were written.
        leaves: dotted keys, from the root, of the values.
        links: keys of the values that are other keys' values, and those other keys.
        free: whether no value has a type of its own and only links are interpolated: replacing
            a value is then an assignment.
        asks_hydra: whether an interpolation calls a resolver that may read Hydra's node.
    """

    def __init__(self, node: DictConfig, where: Path = ()) -> None:
        self.where = where
        self.fresh = fresh_copies(node)
        self.plain: Any = OmegaConf.to_container(node, resolve=False)
        self.asks_hydra = RESOLVER.search(repr(self.plain)) is not None
        self.leaves: frozenset[str] = frozenset()
        self.links: dict[Path, Path] = {}
        try:
            self.leaves = frozenset(".".join(path) for path in self._values(node, where))
            self.free = True
        except _GuardedError:
            self.free = False

    def _values(self, node: DictConfig, where: Path) -> Iterator[Path]:
        """Keys of untyped values; raises where a type, a flag or an interpolation guards one."""
        if _is_guarded(node):
            raise _GuardedError
        if node._is_none() or node._is_missing():
            yield where
            return
        if node._is_interpolation():
            raise _GuardedError
        for key in node:
            child, path = node._get_node(key), (*where, str(key))
            if not isinstance(key, str) or "." in key:
                raise _GuardedError
            if isinstance(child, DictConfig):
                yield from self._values(child, path)
                continue
            if isinstance(child, ListConfig):
                if _is_guarded(child) or "${" in repr(child._content):
                    raise _GuardedError
            elif type(child) is not AnyNode or child._metadata.flags:
                raise _GuardedError
            elif isinstance(text := child._value(), str) and "${" in text:
                found = LINK.fullmatch(text)
                if found is None:
                    raise _GuardedError
                self.links[path] = tuple(found[1].split("."))
            yield path


class _GuardedError(Exception):
    """A value is more than a plain one."""


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


def linked(plain: Any, links: dict[Path, Path]) -> bool:
    """Puts other keys' values where they are linked; False where only OmegaConf can."""
    for path, target in links.items():
        node = plain
        for key in path[:-1]:
            node = node[key]
        if node[path[-1]] != "${" + ".".join(target) + "}":
            continue  # a value was set
        value: Any = plain
        for key in target:
            if type(value) is not dict or key not in value:
                return False
            value = value[key]
        if type(value) in (dict, list) or (type(value) is str and ("$" in value or value == "???")):
            return False
        node[path[-1]] = value
    return True


def copied(value: Any) -> Any:
    """A copy of plain containers."""
    if type(value) is dict:
        return {k: copied(v) for k, v in value.items()}
    return [copied(v) for v in value] if type(value) is list else value


def fresh_copies(value: Any) -> Fresh:
    """A function that returns copies of `value`; pickles copy fastest."""
    try:
        blob = pickle.dumps(value, pickle.HIGHEST_PROTOCOL)
        pickle.loads(blob)
    except Exception:  # dataclasses that are defined inside a function
        kept = copy.deepcopy(value)
        return lambda: copy.deepcopy(kept)
    return lambda: pickle.loads(blob)

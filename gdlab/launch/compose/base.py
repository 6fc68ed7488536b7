"""What jobs of one choice of groups share, and copies of it."""

from __future__ import annotations

import copy
import pickle
import re
from collections.abc import Callable
from typing import Any

from omegaconf import AnyNode, DictConfig, ListConfig, OmegaConf

# So many distinct choices of groups are kept at once; each takes about 20 kB.
KEPT = 2048

Fresh = Callable[[], Any]


class Base:
    """The configuration of one choice of groups, before values are set.

    Attributes:
        fresh: gives a copy.
        plain: as plain containers.
        leaves: dotted keys of the values.
        free: whether all of them are untyped and none is interpolated.
        asks_hydra: whether an interpolation calls a resolver that may read Hydra's node.
    """

    def __init__(self, cfg: DictConfig) -> None:
        self.fresh = fresh_copies(cfg)
        self.plain: Any = OmegaConf.to_container(cfg, resolve=False)
        text = repr(self.plain)
        self.asks_hydra = RESOLVER.search(text) is not None
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
RESOLVER = re.compile(r"\$\{(?!oc\.)[^}$]*:")


def copied(value: Any) -> Any:
    if type(value) is dict:
        return {k: copied(v) for k, v in value.items()}
    return [copied(v) for v in value] if type(value) is list else value


def keep(cache: dict[Any, Any], key: Any, value: Any) -> Any:
    if len(cache) >= KEPT:
        del cache[next(iter(cache))]
    cache[key] = value
    return value


def fresh_copies(value: Any) -> Fresh:
    """A function that returns copies of `value`; pickles copy fastest."""
    try:
        blob = pickle.dumps(value, pickle.HIGHEST_PROTOCOL)
        pickle.loads(blob)
    except Exception:  # dataclasses that are defined inside a function
        kept = copy.deepcopy(value)
        return lambda: copy.deepcopy(kept)
    return lambda: pickle.loads(blob)

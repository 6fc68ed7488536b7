"""A resolved configuration -> a `Job`: names and numbers become an objective and a step rule.

What a configuration means numerically is one canonical mapping (every default filled in, every
value converted); its hash is the job's key.
"""

from __future__ import annotations

import hashlib
import inspect
import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any, Literal

import numpy as np

from gdlab import registry
from gdlab.errors import MissingFact, UsageError, blamed, suggest
from gdlab.probes import check_probes
from gdlab.runner import tracing
from gdlab.runner.plan import MOST_GTOL, MOST_STEPS, Job, bind, record_marks

GROUPS = ("objective", "init", "schedule", "method")
# Schema of everything in a job's configuration that is no factory's.
NUMBERS: dict[str, Any] = {
    "steps": int,
    "seed": int,
    "precision": Literal["float64", "float32"],
    "numerics": Literal["exact", "fast"],
    "verdict": Literal["full", "quick", "off"],
    "stop.gtol": float,
    "record.spacing": Literal["log", "linear", "all", "ends"],
    "record.points": int,
    "record.probes": list[str],
}
LEAST = {"steps": 0, "seed": 0, "stop.gtol": 0.0, "record.points": 0}
# What is meant where a configuration says nothing.
DEFAULTS: dict[str, Any] = {"verdict": "full"}
MOST = {"steps": MOST_STEPS, "stop.gtol": MOST_GTOL, "seed": 2**63 - 1}


@dataclass(frozen=True, eq=False)
class Built:
    """A job with what identifies it.

    Attributes:
        params: the resolved numerical configuration, flat with dotted names.
        key: hash of `params`, 64 hex digits.
        job: ready for the runner; None if `error` says why it cannot run.
    """

    params: Mapping[str, Any]
    key: str
    job: Job | None = None
    error: Exception | None = None


def build(config: Mapping[str, Any]) -> Built:
    """The job that a configuration (plain containers, interpolations resolved) describes.

    A rule that needs a fact which the objective lacks is an error of this job alone.

    Raises:
        UsageError: an unknown name or key, or a value that is out of its range.
    """
    params: dict[str, Any] = {}
    made: dict[str, Any] = {}
    for group in GROUPS:
        resolved, made[group] = _made(group, json.dumps(config.get(group), default=str))
        params |= resolved
    numbers = _numbers(config)
    params |= numbers
    for probe in numbers["record.probes"]:
        if own := _code_of(registry.factories("probe")[probe]):
            params[f"code.probe.{probe}"] = own
            tracing.check_probe(probe, made["objective"])
    if content := getattr(made["init"], "digest", None):
        with blamed(f"init={params['init.name']}"):
            params["code.init"] = content()
    key = _hash(params)
    objective, schedule, method = made["objective"], made["schedule"], made["method"]
    try:
        # Facts that the rule needs are asked for now: a lack is found before anything runs.
        rule = bind(objective, method, schedule)
    except MissingFact as error:
        return Built(params, key, error=error)
    who = f"init={params['init.name']}"
    with blamed(who):
        x0 = made["init"](objective, np.random.default_rng(numbers["seed"]))
        found = np.asarray(x0)
        if found.ndim != 2 or found.shape[1] != objective.dim or not len(found):
            raise UsageError(
                f"{who}: draws an array of shape {found.shape}; {objective.name} takes "
                f"[n, {objective.dim}], n >= 1"
            )
        if found.dtype.kind not in "biuf":
            raise UsageError(f"{who}: draws {found.dtype}; takes real numbers")
    job = Job(
        objective=objective,
        method=method,
        schedule=schedule,
        x0=x0,
        steps=numbers["steps"],
        gtol=numbers["stop.gtol"],
        marks=record_marks(numbers["steps"], numbers["record.spacing"], numbers["record.points"]),
        probes=tuple(numbers["record.probes"]),
        precision=numbers["precision"],
        numbers=rule,
    )
    return Built(params, key, job)


@lru_cache(maxsize=65536)
def _made(group: str, given: str) -> tuple[dict[str, Any], Any]:
    """A group's resolved parameters and what its factory makes; the same object for the same text.

    Jobs of a sweep share objectives so; most of a sweep's jobs differ in one group only.
    """
    config = json.loads(given)
    if not isinstance(config, dict) or "name" not in config:
        raise UsageError(f"{group}={config}: takes a choice of the group; see gdlab list {group}")
    name = str(config.pop("name"))
    resolved = registry.resolve(group, name, config)
    made = registry.build(group, name, config)
    if group == "objective":
        made = tracing.checked(made, f"objective={name}")
    if group == "schedule" and made.sizes is not None:
        with blamed(f"schedule={name}"):
            made.sizes(np.arange(1))
    own = _code_of(registry.factories(group)[name])
    code = {f"code.{group}": own} if own else {}
    return {f"{group}.name": name, **{f"{group}.{k}": v for k, v in resolved.items()}} | code, made


@lru_cache
def _code_of(factory: Callable[..., Any]) -> str | None:
    """Digest of the file that a user's factory is in; None for gdlab's own.

    A file that was edited says another function by the same name: its runs are others.
    """
    if factory.__module__.partition(".")[0] == "gdlab":
        return None
    try:
        source = Path(inspect.getfile(factory)).read_bytes()
    except (TypeError, OSError):  # typed in, not read from a file
        return None
    return hashlib.sha256(source).hexdigest()[:12]


def number(key: str, value: Any, name: str | None = None) -> Any:
    """`value` as a key of `NUMBERS` takes it.

    Args:
        name: what messages call it, if not by its key.

    Raises:
        UsageError: it is of another type, or out of its range.
    """
    name = name or key
    if key == "verdict" and isinstance(value, bool):  # YAML's `off` is false
        value = "full" if value else "off"
    found = registry.check(name, value, NUMBERS[key])
    if key in LEAST and not found >= LEAST[key]:
        raise UsageError(f"{name}={value}: takes a number >= {LEAST[key]:g}")
    if key in MOST and not found <= MOST[key]:
        raise UsageError(f"{name}={value}: takes a number <= {MOST[key]}")
    return found


def _numbers(config: Mapping[str, Any]) -> dict[str, Any]:
    numbers = {}
    for key in NUMBERS:
        head, _, tail = key.partition(".")
        section = config.get(head, {})
        value = section.get(tail) if tail else config.get(head, DEFAULTS.get(key))
        if key == "record.probes":
            value = value or []
        numbers[key] = number(key, value)
    for head in ("stop", "record"):
        for tail in config.get(head, {}):
            if f"{head}.{tail}" not in NUMBERS:
                known = [k.split(".")[1] for k in NUMBERS if k.startswith(head + ".")]
                raise UsageError(f"{head}.{tail}: no such key; {suggest(tail, known)}")
    check_probes("record.probes", numbers["record.probes"])
    return numbers


def _hash(params: Mapping[str, Any]) -> str:
    """Runs that are judged in full have the keys that they had before there was a choice."""
    params = {k: v for k, v in params.items() if k not in DEFAULTS or v != DEFAULTS[k]}
    text = json.dumps(params, sort_keys=True, separators=(",", ":"), default=repr)
    return hashlib.sha256(text.encode()).hexdigest()

"""A call of `gdlab`, `gdlab -m` or a study: configurations -> jobs -> records -> tracked runs."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from typing import Any

from gdlab import numerics
from gdlab.analysis.endings import Ending
from gdlab.errors import UsageError
from gdlab.launch.build import Built, build
from gdlab.launch.execution import Execution
from gdlab.launch.plan import Call, Listener, Outcome, Plan
from gdlab.launch.settings import Settings
from gdlab.runner import sweep
from gdlab.tracking import keys

__all__ = ["Listener", "Outcome", "Plan", "Settings", "carry_out"]


def carry_out(
    configs: Sequence[Mapping[str, Any]],
    overrides: Sequence[Sequence[str]],
    settings: Settings,
    listener: Listener | None = None,
) -> list[Outcome]:
    """Builds, plans, runs, judges and tracks jobs; one outcome each, in their order.

    Args:
        configs: resolved configurations as plain containers.
        overrides: what the user asked of each, for messages.

    Raises:
        UsageError: a configuration is wrong (nothing runs), or the store cannot be used.
    """
    numerics.settle(c["numerics"] for c in configs)
    built = built_from(configs, overrides)
    if len(built) == 1 and built[0].error is not None:
        raise built[0].error
    first: dict[str, int] = {}
    for i, one in enumerate(built):
        first.setdefault(one.key, i)
    store = _opened(settings)
    derived = [keys.run_id_for(settings.experiment, key) for key in first]
    call = Call(
        built,
        [tuple(o) for o in overrides],
        settings,
        store,
        listener or Listener(),
        first,
        ids=store.run_ids(derived) if store is not None else {},
    )
    outcomes, anew = _known(call)
    todo = [i for i in first.values() if i not in outcomes]
    runnable = [i for i in todo if built[i].job is not None]
    groups = sweep.plan(call.jobs(runnable))
    call.listener.planned(_plan(call, todo, runnable, groups))
    if settings.dry_run:
        return [Outcome(o, b.params, error=b.error) for o, b in zip(call.overrides, built)]
    Execution(call, outcomes, todo, anew).run(runnable, groups)
    return [
        dataclasses.replace(outcomes[first[b.key]], overrides=o)
        for b, o in zip(built, call.overrides, strict=True)
    ]


def built_from(
    configs: Sequence[Mapping[str, Any]], overrides: Sequence[Sequence[str]]
) -> list[Built]:
    """The jobs; an error says which of several configurations is wrong."""
    built = []
    for i, config in enumerate(configs):
        try:
            built.append(build(config))
        except UsageError as error:
            if len(configs) == 1:
                raise
            raise UsageError(
                f"job {i} of {len(configs)} ({' '.join(overrides[i])}): {error}"
            ) from error.__cause__
    return built


def _opened(settings: Settings) -> Any:
    if settings.uri is None:
        return None
    from gdlab.tracking.store import open_store

    return open_store(settings.uri, settings.experiment)


def _known(call: Call) -> tuple[dict[int, Outcome], bool]:
    """The jobs that the store holds as finished, and whether finished runs are replaced.

    They are where nothing is to be resumed, and where a stored run lacks a curve that is asked
    for now.
    """
    if call.store is None or not call.settings.resume:
        return {}, True
    call.store.repair()
    stored = call.store.finished_keys()
    have = [(i, stored[key]) for key, i in call.first.items() if key in stored]
    finals = call.store.finals() if have else {}
    outcomes = {
        i: Outcome(
            call.overrides[i],
            call.built[i].params,
            Ending.of_row(finals.get(run_id, {})),
            run_id=run_id,
            known=True,
        )
        for i, run_id in have
        if set(call.settings.curves(call.built[i].params)) <= keys.curves_of(finals.get(run_id, {}))
    }
    return outcomes, len(outcomes) < len(have)


def _plan(
    call: Call, todo: Sequence[int], runnable: Sequence[int], groups: Sequence[sweep.Group]
) -> Plan:
    failed = call.store.failed_keys() if call.store else {}
    names = ("objective.name", "method.name", "schedule.name")
    firsts = [call.built[runnable[group.jobs[0]]].params for group in groups]
    return Plan(
        have=len(call.first) - len(todo),
        missing=len(runnable),
        failed=sum(call.built[i].key in failed for i in runnable),
        impossible=len(todo) - len(runnable),
        groups=tuple(
            (" x ".join(str(params[name]) for name in names), len(group.jobs))
            for params, group in zip(firsts, groups, strict=True)
        ),
    )

"""Every choice in conf/: each composes and runs, agrees with NumPy, and keeps its bits in company.

The tables are made of the files in conf/ themselves: a new file is covered as it appears.
"""

from __future__ import annotations

import functools
import re
import threading
from collections.abc import Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, NamedTuple

import jax
import numpy as np
import pytest
import reference
from omegaconf import OmegaConf

from gdlab import numerics
from gdlab.errors import MissingFact
from gdlab.launch import build, config
from gdlab.launch.compose import compose_one
from gdlab.runner import comparison, plan, sweep, work
from gdlab.types import Facts, Record, Records

STEPS = 16


def names(group: str) -> list[str]:
    return sorted(path.stem for path in (config.folder("conf") / group).glob("*.yaml"))


OBJECTIVES, METHODS, SCHEDULES = names("objective"), names("method"), names("schedule")
CLOSED = ["adgd", "backtracking", "barzilai_borwein", "chebyshev", "exact", "polyak"]
OPEN = [name for name in SCHEDULES if name not in CLOSED]
# The numbers by which a second job of each rule differs from the first.
VARIED: dict[str, dict[str, Any]] = {
    "backtracking": {"eta0": 0.3, "c": 0.1, "shrink": 0.4, "grow": 2.5},
    "barzilai_borwein": {"eta0": 1e-4},
    "adgd": {"eta0": 1e-5},
    "polyak": {"eta": 0.6},
}
# What a rule needs to know, as its YAML file sets it.
NEEDS = {
    "silver": ["L"],
    "long_steps": ["L"],
    "chebyshev": ["L", "mu"],
    "polyak": ["f_star"],
    "exact": ["a quadratic objective"],
}


# Those that add up more than two terms: no structure of theirs keeps its bits in company.
ADDS = ("logistic", "matrix_factorization", "tanh_network")
HYDRA = threading.Lock()  # it keeps what it is composing in a global


@functools.cache
def composed(*overrides: str) -> dict[str, Any]:
    with HYDRA:
        return OmegaConf.to_container(compose_one(overrides), resolve=True)


@functools.cache
def section(group: str, choice: str) -> dict[str, Any]:
    """What a file in conf/ says, by way of Hydra."""
    return composed(f"{group}={choice}", f"steps={STEPS}")[group]


def on(objective: str) -> dict[str, Any]:
    return composed(f"objective={objective}", "record=all", f"steps={STEPS}")


@functools.cache
def facts_of(objective: str) -> Facts:
    return build.build(on(objective)).job.objective.facts


def lacks(facts: Facts, schedule: str) -> str | None:
    """The first fact that the schedule needs and the objective has not."""
    known = {"L": facts.L, "mu": facts.mu, "f_star": facts.f_star}
    known["a quadratic objective"] = facts.quadratic or None
    return next((need for need in NEEDS.get(schedule, []) if known[need] is None), None)


@functools.cache
def pair(objective: str, method: str, schedule: str) -> list[tuple[dict[str, Any], build.Built]]:
    """A job as conf/ has it, and one of another seed, more samples and other step sizes."""
    base = on(objective)
    rules = {"method": section("method", method), "schedule": section("schedule", schedule)}
    first = base | rules
    facts = facts_of(objective)
    varied = dict(VARIED.get(schedule, {}))
    if "unit" in rules["schedule"]:
        # Short enough to go on for a while.
        calm = 0.5 if rules["schedule"]["unit"] == "1/L" else 0.5 / (facts.L or 500)
        varied = {"eta": calm}
    second = first | {
        "seed": 1,
        "init": base["init"] | {"samples": 3},
        "schedule": rules["schedule"] | varied,
    }
    return [(c, build.build(c)) for c in (first, second)]


def run(jobs: Sequence[sweep.Job], device: int = 0) -> list[Records]:
    """Records of each job, in order, computed on one CPU device."""
    out: dict[int, Records] = {}
    with ThreadPoolExecutor(1) as pool:
        for group in sweep.plan(jobs):
            at = [jax.local_devices()[device]]
            own = work.Work((group,), group.jobs)
            records = work.pool_of(own, jobs, work.Hands(pool, at)).run()
            places = work.places(group.jobs, jobs)
            out |= {i: records.part(lanes) for i, lanes in zip(group.jobs, places, strict=True)}
    return [out[i] for i in range(len(jobs))]


def bits(numbers: np.ndarray) -> np.ndarray:
    """As integers: -0.0 is not 0.0; but one NaN is as good as another.

    The sign of a NaN is left open by IEEE 754, and machines differ in it.
    """
    return np.where(np.isnan(numbers), np.nan, numbers).view(np.int64)


def assert_same_bits(a: Records, b: Records, label: str) -> None:
    np.testing.assert_array_equal(a.length, b.length, label)
    np.testing.assert_array_equal(a.status, b.status, label)
    seen = np.arange(a.columns["loss"].shape[1]) < a.length[:, None]
    assert set(a.columns) == set(b.columns)
    columns = {name: (column[seen], b.columns[name][seen]) for name, column in a.columns.items()}
    columns |= {"x": (a.x, b.x), "path": (a.path[seen], b.path[seen])}
    for name, (one, other) in columns.items():
        np.testing.assert_array_equal(bits(one), bits(other), f"{label}: {name}")


def assert_agrees(
    record: Record, job: sweep.Job, config: dict[str, Any], label: str
) -> list[reference.Step]:
    """Each step against NumPy, to 1e-11 and what rounding may do; returns the loop's steps."""
    count = min(record.steps, STEPS)
    path = record.path[: count + 1]
    steps = reference.follow(job.objective, config["method"], config["schedule"], path[:-1])
    for t, step in enumerate(steps):
        where = f"{label}, step {t}"
        at = step.at
        np.testing.assert_allclose(record.loss[t], at.f, 1e-11, at.df, err_msg=where)
        grad_norm = reference.norm(at.g)
        np.testing.assert_allclose(record.grad_norm[t], grad_norm, 1e-11, at.dg, err_msg=where)
        np.testing.assert_allclose(
            record.step_size[t], step.eta, 1e-11, step.eta_error, err_msg=where
        )
        # Row t tells what was spent to come to x_t.
        assert record.columns["f_evals"][t + 1] == step.f_evals, where
        away = reference.norm(path[t + 1] - step.x_next)
        scale = 1e-11 * reference.norm(step.x_next - at.x)
        assert not away > scale + step.x_error, (where, away, scale, step.x_error)
    return steps


def check(
    objective: str,
    method: str,
    schedules: Iterable[str],
    alone: int | None = None,
) -> tuple[int, int, list[Case]]:
    """One objective and method under some schedules: facts, NumPy, and bits in company.

    Args:
        alone: the CPU device on which each job also runs by itself; None: not at all.

    Returns:
        Steps taken, steps compared with NumPy, and the jobs with their records.
    """
    cases = []
    for schedule in schedules:
        for number, (config_, built) in enumerate(pair(objective, method, schedule)):
            label = f"{objective}, {method}, {schedule}, job {number}"
            if lack := lacks(facts_of(objective), schedule):
                assert isinstance(built.error, MissingFact), label
                assert re.match(rf"{schedule}( with unit \S+)? needs {lack}; ", str(built.error))
                assert built.job is None
            else:
                assert built.error is None, f"{label}: {built.error}"
                cases.append((label, config_, built.job))
    jobs = [job for _, _, job in cases]
    together = run(jobs)
    turned = run(jobs[::-1])[::-1]
    taken = compared = 0
    for (label, config_, job), records, again in zip(cases, together, turned, strict=True):
        assert_same_bits(records, again, f"{label}, in another order")
        if alone is not None:
            assert_same_bits(records, run([job], alone)[0], f"{label}, alone")
        steps = [step for record in records for step in assert_agrees(record, job, config_, label)]
        compared += len(steps)
        taken += int(records.steps.sum())
        # A descent may come back to its start: signs go to and fro.
        moved = any((r.path != x0).any() for r, x0 in zip(records, job.x0, strict=True))
        assert moved or all(step.eta == 0 for step in steps), f"{label}: x has not moved"
    made = [Case(label, job, records) for (label, _, job), records in zip(cases, together)]
    return taken, compared, made


class Case(NamedTuple):
    """A job, and its records in a program of its own structure."""

    label: str
    job: sweep.Job
    records: Records


def check_company(cases: Sequence[Case]) -> int:
    """Structures in one program against their own programs; returns how many keep their bits."""
    jobs = [case.job for case in cases]
    groups = [g for g in sweep.plan(jobs) if comparison.keeps_bits(g, jobs[g.jobs[0]])]
    if not groups:
        return 0
    own = work.Work(tuple(groups), tuple(i for g in groups for i in g.jobs))
    with ThreadPoolExecutor(1, initializer=numerics.enter) as pool:
        hands = work.Hands(pool, jax.local_devices()[:1])
        chunks = work.carried_out(work.pool_of(own, jobs, hands), own, jobs)
    for chunk in chunks:
        for i in chunk.jobs:
            records = chunk.records.part(chunk.lanes[i])
            assert_same_bits(cases[i].records, records, f"{cases[i].label}, in company")
    return len(groups)


@pytest.fixture(autouse=True)
def paths_of_networks(monkeypatch: pytest.MonkeyPatch) -> None:
    """Paths are kept in up to three dimensions; here, in all that conf/ has."""
    monkeypatch.setattr(plan, "PATH_DIM", 64)


@pytest.mark.parametrize("objective", OBJECTIVES)
def test_an_objective_agrees_with_numpy_under_all_known_step_sizes(objective: str) -> None:
    """With one method, in turn; the others are under `slow`."""
    i = OBJECTIVES.index(objective)
    taken, compared, _ = check(objective, METHODS[i % len(METHODS)], OPEN)
    assert compared > 0.8 * taken > 20


@pytest.mark.parametrize(
    ("schedule", "method"),
    [
        (schedule, method)
        for k, schedule in enumerate(CLOSED)
        for j, method in enumerate(METHODS)
        if method == "gradient" or (j + k) % 3 == 0
    ],
)
def test_a_rule_that_looks_agrees_with_numpy(schedule: str, method: str) -> None:
    """With a third of the methods; test_rules has all of them, and `slow` all objectives too."""
    i = METHODS.index(method) + CLOSED.index(schedule)
    # The gradient on booth shares its programs with the test of every file in conf/.
    objective = "booth" if method == "gradient" else ["fig4_6", "matyas"][i % 2]
    taken, compared, _ = check(objective, method, [schedule], alone=0)
    assert 0 < compared <= taken


@pytest.mark.slow
@pytest.mark.parametrize("objective", OBJECTIVES)
def test_every_method_and_schedule_agrees_with_numpy_and_keeps_its_bits(objective: str) -> None:
    """Open loop: together on one CPU device, alone on the other (two programs in any case).

    Rules that look: alone on the other device where the places of the three choices sum to a
    multiple of seven, since each program is compiled anew there; else alone on the same.
    """
    tasks = [(m, OPEN, 1) for m in METHODS]
    i = OBJECTIVES.index(objective)
    for j, m in enumerate(METHODS):
        for k, s in enumerate(CLOSED):
            tasks.append((m, [s], int((i + j + k) % 7 == 0)))
    with ThreadPoolExecutor(2) as pool:
        done = list(pool.map(lambda task: check(objective, *task), tasks))
    taken, compared = np.sum([counts for *counts, _ in done], axis=0)
    assert compared > 0.5 * taken > 100
    kept = check_company([case for *_, cases in done for case in cases])
    assert (kept > 0) == (objective not in ADDS), f"{kept} structures keep their bits"
    jax.clear_caches()  # the programs of one objective are of no use to the next


EVERY = [
    (group, choice)
    for group in ("objective", "init", "schedule", "method", "stop", "record", "tracking")
    for choice in names(group)
]


def test_every_file_in_conf_composes_builds_and_runs(tmp_path: Path) -> None:
    jobs = []
    np.save(tmp_path / "starts.npy", [[0.5, -0.5]])
    given = {
        "point": ["init.x=[0.5,-0.5]"],
        "file": [f"init.path='{tmp_path}/starts.npy'"],
    }
    for group, choice in EVERY:
        extra = given.get(choice, [])
        base = [] if group == "objective" else ["objective=booth"]
        overrides = [*base, f"{group}={choice}", *extra, "steps=3"]
        made = build.build(composed(*overrides))
        assert made.error is None, (group, choice)
        jobs.append(made.job)
    assert {group for group, _ in EVERY} == {
        path.name for path in config.folder("conf").iterdir() if path.is_dir()
    }
    for (group, choice), job, records in zip(EVERY, jobs, run(jobs), strict=True):
        assert len(records) == len(job.x0), (group, choice)
        assert (records.steps <= 3).all()
        assert (records.steps > 0).any(), (group, choice)
        assert (records.x != job.x0).any(), (group, choice)
        assert np.isfinite(records.columns["loss"][:, 0]).all()

"""Runs to be stored, and the comparison of two stores through MLflow's public client."""

from __future__ import annotations

import numpy as np

from gdlab.tracking import keys
from gdlab.tracking.keys import RunData, run_id_for
from gdlab.tracking.store import Store

EXPERIMENT = "différence"  # names beyond ASCII travel too
T0 = 1_700_000_000_000


def a_run(i: int, status: str = "FINISHED", points: int = 20, **more: object) -> RunData:
    """Run number i of a small study."""
    key = f"{i:064x}"
    t = np.unique(np.geomspace(1, 1000, points).astype(int)) - 1
    loss = np.exp(-0.01 * t) * (1 + i)
    fields: dict[str, object] = {
        "params": {"objective.name": "rosenbrock", "schedule.eta": repr(1e-3 * i), "seed": str(i)},
        "tags": {keys.KEY: key, keys.STUDY: "steps", keys.STATUS: "converged"},
        "metrics": {"loss": (t, loss), "grad_norm": (t, loss**0.5), "steps": ([999], [999.0])},
        "start_ms": T0,
        "end_ms": T0 + 500,
    }
    return RunData(
        run_id=run_id_for(EXPERIMENT, key),
        name=f"rosenbrock seed {i}",
        status=status,
        **(fields | more),  # type: ignore[arg-type]
    )


def odd_runs() -> list[RunData]:
    """Whatever may come: not finite, unsorted, long, many, none, failed, with artifacts."""
    nan, inf = float("nan"), float("inf")
    t = np.arange(2500)
    return [
        a_run(0),
        a_run(1, metrics={"loss": ([0, 1, 2, 3], [1.0, nan, inf, 0.5]), "gap": ([7], [nan])}),
        a_run(2, metrics={"loss": ([5, 1, 3], [0.1, 0.2, 0.3]), "a b/c.d-e": ([1], [-0.0])}),
        a_run(3, metrics={"loss": (t, 1 / (t + 1.0)), "grad_norm": (t, np.sqrt(t) + 1e-300)}),
        a_run(4, params={f"p{j:03d}": str(j) for j in range(230)}),
        a_run(5, params={"long": "x" * 7000, "unicode": "η = ½ ∇f", "empty": ""}),
        a_run(6, tags={keys.KEY: f"{6:064x}", **{f"t{j:03d}": "v" * 10 for j in range(130)}}),
        a_run(7, metrics={}, params={}),
        a_run(8, status="FAILED", metrics={}),
        a_run(9, artifacts={"a.txt": b"one", "deep/b.bin": bytes(range(256))}, note="# η\n| a |"),
        a_run(10, metrics={"loss": ([1, 1, 2], [3.0, 2.0, 1.0]), "big": ([0], [1.7e308])}),
        a_run(11, end_ms=T0 + 300),
    ]


def content(store: Store) -> dict[str, dict[str, object]]:
    """Everything that MLflow's client says of a store's runs, by derived id."""
    from mlflow.entities import ViewType

    client = store.client
    result = {}
    for run in client.search_runs([store.experiment_id], run_view_type=ViewType.ACTIVE_ONLY):
        tags = dict(run.data.tags)
        derived = tags.pop(keys.RUN_KEY, run.info.run_id)
        histories = {
            name: sorted(
                (m.step, m.timestamp, m.value)
                for m in client.get_metric_history(run.info.run_id, name)
            )
            for name in run.data.metrics
        }
        assert run.info.artifact_uri.endswith(f"/{run.info.run_id}/artifacts")
        assert derived not in result, "a run is stored twice"
        result[derived] = {
            "name": run.info.run_name,
            "status": run.info.status,
            "stage": run.info.lifecycle_stage,
            "times": (run.info.start_time, run.info.end_time),
            "user": run.info.user_id,
            "params": run.data.params,
            "tags": tags,
            "latest": run.data.metrics,
            "histories": histories,
            "artifacts": sorted(item.path for item in client.list_artifacts(run.info.run_id)),
        }
    return result


def assert_equal_stores(one: Store, other: Store, runs: int) -> None:
    """Both stores hold these runs, and the client says the same of each."""
    first, second = content(one), content(other)
    assert len(first) == runs
    assert first.keys() == second.keys()
    for derived, run in first.items():
        assert run == second[derived], run["name"]

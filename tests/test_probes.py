"""Each probe against NumPy, at every step of a descent."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import jax
import numpy as np
import pytest

import gdlab
from gdlab import numerics, registry

Seen = dict[str, Any]


def curvature(at: Seen) -> float:
    return float(at["u"] @ at["H"] @ at["u"] / (at["u"] @ at["u"]))


EXPECTED: dict[str, Callable[[Seen], Any]] = {
    "sharpness": lambda at: np.linalg.eigvalsh(at["H"])[-1],
    "smallest_eigenvalue": lambda at: np.linalg.eigvalsh(at["H"])[0],
    "effective_dimension": lambda at: (
        np.abs(np.linalg.eigvalsh(at["H"])).sum() ** 2 / (np.linalg.eigvalsh(at["H"]) ** 2).sum()
    ),
    "alignment": lambda at: (
        abs(at["g"] @ np.linalg.eigh(at["H"])[1][:, -1]) / np.linalg.norm(at["g"])
    ),
    "curvature": curvature,
    "x_norm": lambda at: np.linalg.norm(at["x"]),
    "update_norm": lambda at: np.linalg.norm(at["u"]),
    "decrease_ratio": lambda at: (at["f+"] - at["f"]) / (at["g"] @ at["u"]),
    "armijo": lambda at: at["f+"] <= at["f"] + 1e-4 * at["g"] @ at["u"],
    "wolfe": lambda at: abs(at["g+"] @ at["u"]) <= 0.9 * abs(at["g"] @ at["u"]),
    "local_smoothness": lambda at: np.linalg.norm(at["g+"] - at["g"]) / np.linalg.norm(at["u"]),
}


def followed(objective: gdlab.Objective, eta: float, steps: int) -> list[Seen]:
    """A descent in NumPy, and what is known at each of its points."""
    seen = []
    with numerics.computing():
        f, g, H = (jax.jit(d(objective)) for d in (lambda f: f, jax.grad, jax.hessian))
        x = np.full(objective.dim, -0.7)
        for _ in range(steps + 1):
            at: Seen = {"x": x, "f": float(f(x)), "g": np.asarray(g(x)), "H": np.asarray(H(x))}
            at["u"] = -eta * at["g"]
            after = x + at["u"]
            at |= {"f+": float(f(after)), "g+": np.asarray(g(after))}
            seen.append(at)
            x = after
    return seen


# Of the second step size, one step is too long for Armijo, and some are too short for Wolfe.
@pytest.mark.parametrize(("dim", "eta"), [(2, 2e-3), (2, 5e-3), (6, 1e-3)])
def test_probes_are_what_they_say(dim: int, eta: float) -> None:
    objective = gdlab.objectives.rosenbrock(dim=dim)
    record = gdlab.descend(
        objective, np.full(dim, -0.7), schedule=gdlab.schedules.constant(eta), steps=12,
        gtol=0, record="all", probes=sorted(EXPECTED),
    )  # fmt: skip
    seen = followed(objective, eta, 12)
    for name, expected in EXPECTED.items():
        np.testing.assert_allclose(
            getattr(record, name), [float(expected(at)) for at in seen], rtol=1e-8, err_msg=name
        )
    if eta == 5e-3:
        assert set(record.armijo) == set(record.wolfe) == {0.0, 1.0}


def test_every_probe_of_gdlab_is_tested_here() -> None:
    own = {n for n, f in registry.factories("probe").items() if f.__module__.startswith("gdlab.")}
    assert own == set(EXPECTED)


def test_what_is_dear_is_not_computed_for_padding(monkeypatch: pytest.MonkeyPatch) -> None:
    """One start of a block of 16 costs what one start costs."""
    seen: list[bool] = []

    def watched(H: Any) -> Any:
        def note(H: np.ndarray) -> np.ndarray:
            seen.append(True)
            return np.linalg.eigvalsh(H)

        return jax.pure_callback(note, jax.ShapeDtypeStruct(H.shape[:1], H.dtype), H)

    monkeypatch.setattr(jax.numpy.linalg, "eigvalsh", watched)
    objective = gdlab.objectives.rosenbrock(dim=40)
    record = gdlab.descend(
        objective, np.full(40, 0.5), schedule=gdlab.schedules.constant(1e-4), steps=20,
        gtol=0, record="all", probes=["sharpness"], verdict=False,
    )  # fmt: skip
    assert np.isfinite(record.sharpness).all()
    assert len(record.sharpness) <= len(seen) <= 2 * len(record.sharpness)

"""Logistic regression with L2 on the Wisconsin breast-cancer data: a convex, real problem."""

from __future__ import annotations

from collections.abc import Mapping
from functools import lru_cache
from importlib.util import find_spec
from pathlib import Path

import jax.numpy as jnp
import numpy as np
from jaxtyping import Float

from gdlab import registry
from gdlab.errors import UsageError
from gdlab.objectives.inventory import box, critical
from gdlab.objectives.softplus import softplus
from gdlab.types import Array, Facts, Objective


def f(data: Mapping[str, Array], x: Float[Array, " d"]) -> Float[Array, ""]:
    """1/n sum_i log(1 + exp(-z_i)) + l2/2 |x|^2, with margins z = A x."""
    z = jnp.dot(data["A"], x)
    return jnp.mean(softplus(-z)) + 0.5 * data["l2"] * jnp.sum(x * x)


@registry.objective
def logistic(l2: float | None = None) -> Objective:
    """Logistic regression with L2 on breast_cancer (569 patients, 30 features, standardised).

    f(w) = 1/n sum_i log(1 + exp(-y_i a_i'w)) + l2/2 |w|^2, y_i = +-1, no intercept; starts are
    drawn in [-3, 3]^30.

    Args:
        l2: weight of the penalty, > 0 (default: lambda_max(A'A) / (40 n^2), a tenth of the loss's
            smoothness over n, as in the reference).

    L = lambda_max(A'A) / (4 n) + l2 is attained at w = 0; mu = l2.

    Reference: Y. Malitsky and K. Mishchenko, Adaptive gradient descent without descent, ICML
    2020, sec. 5; data: W. N. Street, W. H. Wolberg, O. L. Mangasarian, 1993, with scikit-learn.
    """
    A, smoothness = margins()
    weight = smoothness / (10 * len(A)) if l2 is None else l2
    if not 0 < weight < np.inf:
        raise UsageError(f"objective.l2={l2}: logistic takes a finite number > 0")
    star, value = solve(weight)
    facts = Facts(
        f_star=value,
        minimizers=star[None],
        L=smoothness + weight,
        mu=weight,
        domain=box(A.shape[1], -3.0, 3.0),
        critical_points=critical([(*star, value, 0)]),
        source="Newton's method in double precision until the gradient stops shrinking",
    )
    return Objective(f, A.shape[1], {"A": A, "l2": np.float64(weight)}, ("A",), "logistic", facts)


@lru_cache(maxsize=1)
def margins() -> tuple[Float[np.ndarray, "n d"], float]:
    """Standardised features times labels y_i = +-1, and the loss's smoothness constant."""
    # Importing scikit-learn takes two seconds; its file alone is needed. Features, then the label.
    spec = find_spec("sklearn")
    if spec is None or not spec.submodule_search_locations:
        raise UsageError("objective=logistic: needs the data in scikit-learn; install scikit-learn")
    package = spec.submodule_search_locations[0]
    table = np.loadtxt(
        Path(package) / "datasets" / "data" / "breast_cancer.csv", delimiter=",", skiprows=1
    )
    X, labels = table[:, :-1], table[:, -1]
    A = (X - X.mean(axis=0)) / X.std(axis=0) * (2.0 * labels - 1.0)[:, None]
    A.setflags(write=False)
    return A, float(np.linalg.eigvalsh(A.T @ A)[-1] / (4 * len(A)))


@lru_cache(maxsize=1024)
def solve(l2: float) -> tuple[Float[np.ndarray, " d"], float]:
    """The minimizer by Newton's method with halved steps, and f there."""
    A, _ = margins()
    n, d = A.shape
    w = np.zeros(d)

    def value(w: np.ndarray) -> float:
        return float(np.logaddexp(0.0, -A @ w).mean() + 0.5 * l2 * w @ w)

    for _ in range(200):
        s = np.exp(-np.logaddexp(0.0, A @ w))  # sigma(-z)
        g = l2 * w - A.T @ s / n
        H = (A.T * (s * (1 - s))) @ A / n + l2 * np.eye(d)
        p = -np.linalg.solve(H, g)
        if -g @ p < 1e-30:  # the gap to f_star is about half of this
            break
        t = 1.0
        while value(w + t * p) > value(w) + 1e-14 and t > 1e-10:
            t /= 2
        w = w + t * p
    w.setflags(write=False)
    return w, value(w)

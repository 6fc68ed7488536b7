"""Verdicts against points whose nature is known, and against ends that only look critical."""

from __future__ import annotations

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from gdlab import objectives, registry
from gdlab.critical import lengths
from gdlab.critical.proof import interval as iv
from gdlab.critical.proof import moves
from gdlab.critical.proof.enclosure import Enclosure, NotCertifiable
from gdlab.critical.proof.krawczyk import certify
from gdlab.critical.verdict import judge
from gdlab.types import Facts, Objective


def gauss(x: Any) -> Any:
    return -jnp.exp(-jnp.sum(x * x))


def ridge(x: Any) -> Any:
    return x[0] ** 2 + jnp.exp(-(x[1] ** 2))


def tail(x: Any) -> Any:
    return jnp.log1p(jnp.exp(-x[0]))


def pole(x: Any) -> Any:
    return 1 / x[0]


def kink(x: Any) -> Any:
    return jnp.abs(x[0]) + x[1] ** 2


def cusp(x: Any) -> Any:
    return jnp.abs(x[0]) ** 1.5


def rippled(x: Any) -> Any:
    return jax.scipy.special.erf(x[0]) - x[0]


def beyond(x: Any) -> Any:
    return x[0] ** 2 - jnp.log(x[0])


INVENTORIES = [
    ("himmelblau", {}), ("six_hump_camel", {}), ("three_hump_camel", {}), ("beale", {}),
    ("branin", {}), ("mccormick", {}), ("styblinski_tang", {"dim": 2}), ("rastrigin", {"dim": 2}),
    ("double_well", {"dim": 3, "tilt": 0.2}), ("strict_saddle", {}), ("three_minima", {}),
    ("matrix_factorization", {}), ("griewank", {"dim": 1}), ("ackley", {"dim": 1}),
    ("monkey_saddle", {}), ("quartic", {"dim": 2}), ("crossed_valleys", {}),
    ("linear_network", {}), ("matrix_factorization", {"rank": 2}), ("rosenbrock", {}),
    ("rosenbrock", {"dim": 5}),
]  # fmt: skip


@pytest.mark.parametrize(("name", "params"), INVENTORIES)
def test_known_points_are_what_the_inventory_says(name: str, params: dict[str, Any]) -> None:
    objective = registry.build("objective", name, params)
    known = objective.facts.critical_points
    rng = np.random.default_rng(1)
    x = known.x + 1e-9 * rng.standard_normal(known.x.shape)
    verdicts = judge(objective, x, "converged", 1e-4)
    checked = 0
    for k, v in enumerate(verdicts):
        index = known.index[k]
        if index < 0:
            assert v.kind == "degenerate"
            assert v.nullity >= 1
        else:
            saddle = "saddle" if 0 < index < objective.dim else None
            expected = saddle or ("minimum" if index == 0 else "maximum")
            assert (v.kind, v.index, v.reached) == (expected, index, k)
            assert v.certified is (objective.dim <= 3)
            assert v.eigenvalue_error < 1e-6 * np.abs(v.eigenvalues).max()
        assert v.stable
        assert v.moved < 1e-7
        assert v.grad_norm <= v.grad_norm_before
        assert abs(v.value - known.value[k]) <= 1e-9 * max(1.0, abs(known.value[k]))
        checked += 1
    assert checked == len(known.x)


CASES = [
    # f, end point, kind, words in the note
    (gauss, [6.0, 1.0], "plateau", "no critical point"),
    (gauss, [5.0, 5.0], "plateau", "no critical point"),
    (gauss, [30.0, 0.0], "plateau", "throughout"),
    (gauss, [1e-6, 0.0], "minimum", ""),
    (ridge, [1e-9, 6.0], "plateau", "no critical point"),
    (ridge, [1e-9, 7.0], "plateau", "no critical point"),
    (ridge, [1e-9, 20.0], "plateau", "no critical point"),
    (ridge, [1e-9, 1e-9], "saddle", ""),
    (tail, [20.0], "plateau", "no critical point"),
    (tail, [40.0], "plateau", "no critical point"),
    (pole, [1e5], "plateau", "no critical point"),
    (kink, [0.0, 0.0], "not_critical", "jumps"),
    (cusp, [0.0], "degenerate", "not twice differentiable"),
    (lambda x: jnp.linalg.norm(x) ** 2, [0.0, 0.0], "not_critical", "not a number"),
    (rippled, [0.9], "not_critical", "not small"),
    (gauss, [8.0, 25.0], "plateau", "no critical point"),
    (beyond, [-(0.5**0.5)], "not_critical", "not finite"),
]


@pytest.mark.parametrize(("f", "x", "kind", "words"), CASES)
def test_flat_and_rough_ends(f: Any, x: list[float], kind: str, words: str) -> None:
    (v,) = judge(Objective(f, len(x)), np.array([x]), "converged")
    assert v.kind == kind
    assert words in v.note


def test_a_plateau_of_the_textbook_is_no_minimum() -> None:
    verdicts = judge(objectives.three_minima(), np.linspace(-0.2, 0.2, 9)[:, None], "converged")
    assert {v.kind for v in verdicts} == {"plateau"}


@pytest.mark.parametrize(
    ("x", "nullity"), [([0.5, 1e-5], 1), ([1e-3, 1e-3], 2), ([0.0, 0.0], 2), ([0.3, 1e-9], 1)]
)
def test_crossed_lines_of_minima(x: list[float], nullity: int) -> None:
    (v,) = judge(objectives.crossed_valleys(), np.array([x]), "converged", 1e-4)
    assert (v.kind, v.nullity, v.is_global, v.stable) == ("degenerate", nullity, True, True)
    assert abs(v.x[0] * v.x[1]) < 1e-12


def test_ackley_has_no_gradient_at_its_minimum() -> None:
    (v,) = judge(objectives.ackley(2), np.zeros((1, 2)), "converged")
    assert v.kind == "not_critical"
    assert "jumps" in v.note


def test_how_a_descent_ended_counts() -> None:
    x = np.array([[3.001, 2.0], [np.inf, 0.0], [3.0, 2.0], [1.0, 1.0]])
    status = np.array(["budget", "diverged", "budget", "diverged"])
    verdicts = judge(objectives.himmelblau(), x, status)
    assert [v.kind for v in verdicts] == ["not_critical", "diverged", "minimum", "diverged"]
    assert "known point 0" in verdicts[0].note


@pytest.mark.parametrize(
    ("tail", "period"),
    [
        (np.tile([1.0, -1.0], 12), 2),
        (np.tile([1.0, -1.0, 0.5], 8), 3),
        (np.tile(np.arange(8.0), 4), 8),
        (0.9 ** np.arange(24), None),
        ((-0.99) ** np.arange(24), None),
        (np.sin(np.arange(24)), None),
        (np.ones(24), None),
    ],
)
def test_cycles(tail: np.ndarray, period: int | None) -> None:
    x = tail[-1:, None] + 0.3
    (v,) = judge(objectives.half_square(), x, "budget", tail=tail[None, :, None] + 0.3)
    assert v.period == period
    assert v.kind == ("cycle" if period else "not_critical")


@pytest.mark.parametrize("size", [1e-12, 1.0, 1e12])
def test_a_local_minimum_is_not_global_whatever_the_scale(size: float) -> None:
    def f(x: Any) -> Any:
        return size * ((x[0] ** 2 - 1) ** 2 + 0.1 * x[0])

    at = np.array([[-1.0123], [0.987]])
    low = judge(Objective(f, 1), at, "converged", np.inf)[0].value
    facts = Facts(f_star=low, domain=np.array([[-2.0, 2.0]]))
    verdicts = judge(Objective(f, 1, facts=facts), at, "converged", np.inf)
    assert [(v.kind, v.is_global) for v in verdicts] == [("minimum", True), ("minimum", False)]


def test_numbers_and_facts_of_each_owner() -> None:
    tilts = [-0.2, 0.1, 0.3]
    wells = [objectives.double_well(1, tilt) for tilt in tilts]
    x = np.concatenate([w.facts.critical_points.x for w in wells]) + 1e-9
    owner = np.repeat(np.arange(3), 3)
    together = judge(wells, x, "converged", 1e-6, owner=owner)
    for i, v in enumerate(together):
        (alone,) = judge(wells[owner[i]], x[[i]], "converged", 1e-6)
        assert (alone.kind, alone.reached, alone.is_global, alone.certified) == (
            v.kind, v.reached, v.is_global, v.certified,
        )  # fmt: skip
        np.testing.assert_array_equal(alone.x, v.x)
        np.testing.assert_array_equal(alone.eigenvalues, v.eigenvalues)
        assert v.certified


def many(x: Any) -> Any:
    h = jnp.linspace(-1.0, 3.0, x.shape[0])
    return 0.5 * jnp.sum(h * x * x) + 0.25 * jnp.sum(x**4)


def bowl(x: Any) -> Any:
    return 0.5 * jnp.sum(jnp.linspace(1.0, 3.0, x.shape[0]) * x * x)


def test_large_dimensions_by_lanczos() -> None:
    for f, kind, low in ((many, "saddle", -1.0), (bowl, "minimum", 1.0)):
        (v,) = judge(Objective(f, 600), np.full((1, 600), 1e-10), "converged")
        assert v.kind == kind
        assert v.method == ("lanczos" if kind == "minimum" else "dense")  # both signs: an index
        assert ("Lanczos" in v.note) == (v.method == "lanczos")
        assert abs(v.eigenvalues[0] - low) < 1e-9
        assert abs(v.eigenvalues[-1] - 3.0) < 1e-9


# Intervals.

ELEMENTARY = {
    "exp": lambda x: jnp.exp(x[0]) * x[1],
    "log": lambda x: jnp.log(2.5 + x[0] * x[1]),
    "trigonometry": lambda x: jnp.sin(3 * x[0]) * jnp.cos(x[1]) + jnp.tan(0.3 * x[0]),
    "tanh": lambda x: jnp.sum(jnp.tanh(x) ** 3) + jax.nn.sigmoid(x[0] * x[1]),
    "roots": lambda x: jnp.sqrt(3 + jnp.sum(x)) + (4 + x[0]) ** 1.3 + jnp.abs(x[1] - 5),
    "products": lambda x: x @ jnp.array([[2.0, 1.0], [1.0, 3.0]]) @ x + jnp.prod(x),
    "division": lambda x: x[0] / (3 + x[1]) + 1 / (2.5 + x[0]) ** 2,
    "choice": lambda x: jnp.where(x[0] > 0.1, x[0] ** 3, jnp.maximum(x[1], -x[0]) * x[0]),
    "reversed": lambda x: jnp.sum(x[::-1] * jnp.array([1.0, 2.0]) * jnp.concatenate([x])),
    "norm": lambda x: jnp.logaddexp(x[0], x[1]) + jnp.mean(jnp.stack([x, 2 * x]) ** 2),
}


@pytest.mark.parametrize("name", ELEMENTARY)
def test_enclosures_hold_every_value(name: str) -> None:
    objective = Objective(ELEMENTARY[name], 2)
    rng = np.random.default_rng(3)
    c = rng.uniform(-1, 1, (60, 2))
    r = rng.uniform(1e-9, 0.4, (60, 1)) * rng.uniform(0, 1, (60, 2))
    enclosure = Enclosure(objective)
    g, H = enclosure.g(c - r, c + r), enclosure.H(c - r, c + r)
    gradient = jax.jit(jax.vmap(jax.grad(objective)))
    hessian = jax.jit(jax.vmap(jax.hessian(objective)))
    for _ in range(20):
        x = c + rng.uniform(-1, 1, c.shape) * r
        assert np.all((g.lo <= gradient(x)) & (gradient(x) <= g.hi))
        assert np.all((H.lo <= hessian(x)) & (hessian(x) <= H.hi))
    point = enclosure.g(c, c)
    assert np.all(point.hi - point.lo <= 1e-11 * (1 + np.abs(point.mid)))


def test_elementary_operations_against_exact_numbers() -> None:
    import mpmath

    rng = np.random.default_rng(4)
    a, b = rng.normal(0, 10, 300), rng.normal(0, 1e-3, 300)
    exactly = {
        "add": lambda x, y: x + y, "sub": lambda x, y: x - y, "mul": lambda x, y: x * y,
        "div": lambda x, y: x / y,
    }  # fmt: skip
    for name, rule in exactly.items():
        out = getattr(iv, name)(iv.exact(a), iv.exact(b))
        for lo, hi, x, y in zip(out.lo, out.hi, a, b, strict=True):
            value = rule(mpmath.mpf(x), mpmath.mpf(y))
            assert lo < value < hi
            assert hi - lo <= 16 * np.spacing(max(abs(lo), abs(hi)))
    for name in ("sin", "cos", "exp", "tanh"):
        out = getattr(iv, name)(iv.exact(a))
        for lo, hi, x in zip(out.lo, out.hi, a, strict=True):
            assert lo <= getattr(mpmath, name)(mpmath.mpf(x)) <= hi
    turns = iv.sin(iv.Interval(np.array([1.0, 3.0, -0.1, 0.0]), np.array([2.0, 5.0, 0.1, 9.0])))
    assert turns.hi[0] == 1.0
    assert turns.lo[1] == -1.0
    assert turns.hi[2] < 0.11
    assert turns.hi[3] == 1.0


def test_a_certificate_refuses_what_is_not_so() -> None:
    himmelblau = objectives.himmelblau()
    assert certify(himmelblau, np.array([[3.0, 2.0]]))[0]
    assert certify(himmelblau, np.array([[3.0, 2.0]]), 0.05)[0]
    assert not certify(himmelblau, np.array([[3.0, 2.0 + 1e-5]]))[0]
    assert not certify(himmelblau, np.array([[3.0, 1.0]]), 2.5)[0]  # more than one point
    assert not certify(objectives.quartic(1), np.array([[0.0]]))[0]
    with pytest.raises(NotCertifiable, match="erf"):
        certify(Objective(lambda x: jax.scipy.special.erfc(x[0]) + x[0] ** 2, 1), np.zeros((1, 1)))


def unproved(x: Any) -> Any:
    return x[0] ** 2 + jax.lax.lgamma(2.0 + x[0] ** 2)


def test_a_verdict_without_an_interval_form_says_so() -> None:
    (v,) = judge(Objective(unproved, 1), np.zeros((1, 1)), "converged")
    assert v.kind == "minimum"
    assert not v.certified
    assert "lgamma" in v.note


def test_judging_many_objectives_costs_each_as_much(monkeypatch: pytest.MonkeyPatch) -> None:
    """Lanes of a sweep are judged together: what each asks must not grow with their number."""
    calls = 0
    halves = lengths.halves

    def counted(*args: Any) -> Any:
        nonlocal calls
        calls += 1
        return halves(*args)

    monkeypatch.setattr(lengths, "halves", counted)
    n = 200
    many = [registry.build("objective", "rosenbrock", {"a": 1 + i / n}) for i in range(n)]
    x = np.random.default_rng(0).uniform(-1, 1, (n, 2))
    judge(many, x, "budget", owner=np.arange(n), tail=np.repeat(x[:, None], 48, axis=1))
    assert 0 < calls <= 5 * n


def test_where_a_proof_moves_numbers_is_worked_out_once(monkeypatch) -> None:
    found: list[str] = []
    positions = moves._positions

    def counted(eqn: Any, arrays: Any) -> Any:
        found.append(eqn.primitive.name)
        return positions(eqn, arrays)

    monkeypatch.setattr(moves, "_positions", counted)
    moves._kept_index.cache_clear()
    objective, minima = objectives.himmelblau(), [[3.0, 2.0], [-2.805118086952745, 3.1313125182506]]
    seen = []
    for x in minima:
        (verdict,) = judge(objective, np.array(x), "converged")
        assert verdict.certified
        seen.append(len(found))
    assert 0 < seen[0] == seen[1]

"""The census scores itself against the inventories; proofs, checks, and bad domains."""

from __future__ import annotations

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from gdlab import api, objectives, registry, schedules
from gdlab.critical.census import census, take_census
from gdlab.critical.dwell import dwell
from gdlab.critical.euler import euler_check
from gdlab.critical.landscape import Landscape, landscape
from gdlab.critical.proof.branch_and_prune import prune
from gdlab.critical.proof.krawczyk import certify
from gdlab.types import Objective

COMPLETE = [
    ("himmelblau", {}), ("six_hump_camel", {}), ("three_hump_camel", {}), ("beale", {}),
    ("booth", {}), ("matyas", {}), ("mccormick", {}), ("branin", {}),
    ("rosenbrock", {}), ("rosenbrock", {"dim": 3}), ("rosenbrock", {"dim": 4}),
    ("rosenbrock", {"dim": 5}),
    ("rastrigin", {"dim": 1}), ("rastrigin", {"dim": 2}), ("ackley", {"dim": 1}),
    ("griewank", {"dim": 1}), ("styblinski_tang", {"dim": 2}), ("styblinski_tang", {"dim": 3}),
    ("styblinski_tang", {"dim": 4}), ("double_well", {"dim": 1}),
    ("double_well", {"dim": 3, "tilt": 0.1}), ("strict_saddle", {}), ("half_square", {}),
    ("monomial", {}), ("monomial", {"power": 3}), ("three_minima", {}), ("saddle", {}),
    ("matrix_factorization", {}), ("monkey_saddle", {}), ("quartic", {"dim": 1}),
    ("quadratic", {}), ("quadratic", {"dim": 3, "rotation": 1}),
]  # fmt: skip


@pytest.mark.parametrize(("name", "params"), COMPLETE)
def test_recall_and_classification_are_exact(name: str, params: dict[str, Any]) -> None:
    objective = registry.build("objective", name, params)
    known = objective.facts.critical_points
    assert known.complete
    result = take_census(objective)
    table = result.table
    assert (result.found, result.misclassified) == (len(known.x), 0)
    assert len(table) == len(known.x)
    assert sorted(table["reached"]) == list(range(len(known.x)))
    order = table["reached"].to_numpy(int)
    isolated = known.index[order] >= 0
    d = objective.dim
    np.testing.assert_allclose(table[[f"x{i}" for i in range(d)]], known.x[order], atol=2e-9)
    np.testing.assert_allclose(table["f"], known.value[order], rtol=1e-9, atol=1e-9)
    assert (table["index"].to_numpy(int)[isolated] == known.index[order][isolated]).all()
    assert (table["certified"] == isolated).all()
    assert (table["hits"] > 0).sum() >= 1
    assert result.euler.holds is not False or name == "ackley"
    if isolated.all() and d <= 3 and name != "ackley":  # which has a kink at 0
        assert result.exact
        assert f"exactly {len(known.x)} critical point" in result.summary()
    else:
        assert "not proved" in result.summary()


SETS = [
    # objective, isolated kinds, sets by (index, nullity)
    ("crossed_valleys", {}, [], [(0, 1)]),
    ("linear_network", {}, ["saddle"], [(0, 1)]),
    ("matrix_factorization", {"rank": 2}, ["maximum"], [(0, 1), (1, 1), (2, 1)]),
]


@pytest.mark.parametrize(("name", "params", "kinds", "sets"), SETS)
def test_degenerate_sets_are_one_row(
    name: str, params: dict[str, Any], kinds: list[str], sets: list[tuple[int, int]]
) -> None:
    objective = registry.build("objective", name, params)
    result = take_census(objective, seconds=5, certified=False)
    table = result.table
    flat = table[table["kind"] == "degenerate set"]
    assert sorted(table[table["kind"] != "degenerate set"]["kind"]) == kinds
    assert sorted(zip(flat["index"], flat["nullity"], strict=True)) == sets
    assert result.found == result.known


def himmelblau_of(u: Any) -> Any:
    return (u[0] ** 2 + u[1] - 11) ** 2 + (u[0] + u[1] ** 2 - 7) ** 2


def wells_of(u: Any) -> Any:
    return jnp.sum(0.25 * u**4 - 0.5 * u**2)


@pytest.mark.parametrize("c", [1e-100, 1e-8, 1e-3, 1.0, 1e3, 1e8])
@pytest.mark.parametrize(
    ("f", "side", "middle"),
    [(himmelblau_of, 6.0, (0, 0)), (wells_of, 2.0, (0, 0)), (wells_of, 2.0, (5, 0))],
)
def test_a_census_knows_no_units_of_length(
    f: Any, side: float, middle: tuple[float, float], c: float
) -> None:
    """f((x - middle) / c) has the points of f, scaled, on the domain scaled; middles are for c that
    leave digits to tell the points apart."""
    at = np.array(middle, float) if c > 1e-9 else np.zeros(2)
    box = np.array([[-side, side]] * 2)
    plain = take_census(Objective(f, 2), box).table
    result = take_census(Objective(lambda x: f((x - at) / c), 2), at[:, None] + c * box)
    table = result.table
    assert result.exact
    assert table["certified"].all()
    xs = ["x0", "x1"]
    near = np.abs((table[xs].to_numpy() - at)[:, None] / c - plain[xs].to_numpy()[None]).max(axis=2)
    order = near.argmin(axis=1)
    assert sorted(order) == list(range(9))
    assert near.min(axis=1).max() < 1e-8 + 2e-15 * np.abs(at).max() / c
    assert (table["index"].to_numpy() == plain["index"].to_numpy()[order]).all()
    assert table["f"].is_monotonic_increasing or np.ptp(np.sort(table["f"]) - table["f"]) < 1e-8


def test_a_census_knows_each_side_of_its_domain() -> None:
    def f(x: Any) -> Any:
        return wells_of(x / np.array([1e-5, 1.0]))

    result = take_census(Objective(f, 2), [(-2e-5, 2e-5), (-2, 2)])
    assert result.exact
    assert len(result.points) == 9
    wide = take_census(Objective(himmelblau_of, 2), [(-1e4, 1e4)] * 2)
    assert len(wide.points) == 9


def test_branch_and_prune_alone_finds_all() -> None:
    for name, count in (("himmelblau", 9), ("six_hump_camel", 15), ("rastrigin", 441)):
        objective = registry.build("objective", name, {})
        proof = prune(objective, objective.facts.domain)
        assert proof.complete
        assert len(proof.roots) == count
        x = objective.facts.critical_points.x
        near = np.abs(proof.roots.mean(axis=2)[None] - x[:, None]).max(axis=2)
        assert np.all(near.min(axis=1) < 1e-11)


def test_branch_and_prune_says_what_it_cannot_prove() -> None:
    proof = prune(objectives.monkey_saddle(), np.array([[-2.0, 2.0]] * 2))
    assert not proof.complete
    assert not len(proof.roots)
    assert np.abs(proof.unresolved).max() < 1e-4
    quick = prune(objectives.griewank(2), np.array([[-600.0, 600.0]] * 2), most_boxes=2000)
    assert not quick.complete
    assert len(quick.unresolved)


def two_bowls(x: Any) -> Any:
    z = x[0] - 0.3
    return z * z - 0.01 * jnp.abs(z)


def two_pieces(x: Any) -> Any:
    z = x[0] - 0.3
    return jnp.where(z > 0, z * z - 0.01 * z, z * z + 0.01 * z)


def counted_bend(x: Any) -> Any:
    z = x[0] - 0.3
    return z * z + 0.01 * z - 0.02 * (z > 0) * z


@pytest.mark.parametrize("f", [two_bowls, two_pieces, counted_bend])
def test_nothing_is_proved_across_a_jump_of_the_gradient(f: Any) -> None:
    objective, domain = Objective(f, 1), np.array([[-1.0, 1.0]])
    proof = prune(objective, domain)
    assert not proof.complete
    np.testing.assert_allclose(np.sort(proof.roots.mean(axis=2)[:, 0]), [0.295, 0.305], atol=1e-9)
    assert not certify(objective, np.array([[0.31]]), 0.1)[0]  # holds both
    assert certify(objective, np.array([[0.305]]), 1e-3)[0]


def smooth_inside(x: Any) -> Any:
    return jnp.sum(jax.nn.softplus(x) - 0.3 * x) + jnp.logaddexp(x[0], -x[0])


def test_what_only_looks_like_a_jump_is_proved() -> None:
    assert take_census(Objective(smooth_inside, 2), [(-3, 3)] * 2).exact


def beyond(x: Any) -> Any:
    return x[0] ** 2 - jnp.log(x[0])


def test_points_where_f_is_not_a_number_do_not_count() -> None:
    result = take_census(Objective(beyond, 1), [(-2, 2)])
    assert [round(float(v.x[0]), 9) for v in result.points] == [0.707106781]
    assert "not proved" in result.summary()


def test_a_tail_that_underflows_is_no_set_of_points() -> None:
    box = [(-40, 40)] * 2
    result = take_census(Objective(lambda x: -jnp.exp(-jnp.sum(x * x)), 2), box, certified=False)
    assert all(v.kind == "minimum" for v in result.points)


def well(x: Any) -> Any:
    return x[0] + 1 / x[0] + x[1] ** 2


def mine(x: Any) -> Any:
    return jnp.sin(x[0]) * jnp.cos(x[1]) + 0.1 * jnp.sum(x * x)


def test_a_domain_that_touches_a_pole() -> None:
    for low in (0.0, 1e-12, -1.0):
        table = census(Objective(well, 2), [(low, 3.0), (-1.0, 1.0)], seconds=3)
        right = table[table["x0"] > 0]
        assert len(right) == 1
        assert right["kind"].item() == "minimum"
        assert abs(right["x0"].item() - 1) < 1e-9
        assert len(table) == (2 if low == -1.0 else 1)


def test_a_users_own_objective_needs_a_domain_and_nothing_else() -> None:
    objective = Objective(mine, 2)
    with pytest.raises(registry.UsageError, match="domain is missing"):
        census(objective)
    for bad in ([(0, 1)], [(0, 1), (1, 0)], [(0, np.inf), (0, 1)]):
        with pytest.raises(registry.UsageError, match="domain="):
            census(objective, bad)
    result = take_census(objective, [(-6, 6), (-6, 6)])
    assert result.exact
    assert result.euler.holds
    assert result.table["certified"].all()


def test_a_missing_point_breaks_eulers_check() -> None:
    objective = objectives.himmelblau()
    result = take_census(objective, certified=False)
    assert euler_check(objective, result.domain, result.points).holds
    assert euler_check(objective, result.domain, result.points[1:]).holds is False
    assert result.unseen[0] <= 3 / 1000
    assert result.unseen[1] == 0


def joins(found: Landscape) -> list[tuple[int, int]]:
    """The pairs of minima that saddles join."""
    inner = found.edges[(found.edges["low"] >= 0) & (found.edges["high"] >= 0)]
    return sorted((min(pair), max(pair)) for pair in zip(inner["low"], inner["high"]))


def test_minima_are_joined_through_saddles() -> None:
    objective = objectives.himmelblau()
    result = take_census(objective)
    graph = landscape(objective, result.points, result.domain)
    assert len(graph.minima) == 4
    assert joins(graph) == [(0, 1), (0, 3), (1, 2), (2, 3)]
    merges = graph.disconnectivity()
    np.testing.assert_allclose(merges["height"], [13.31192627, 67.71915009, 104.01516292])
    assert merges["size"].tolist() == [2, 3, 4]
    np.testing.assert_allclose(graph.edges["barrier_low"], graph.edges["f"])


def quartic_of(u: Any) -> Any:
    return jnp.sum(u**4)


def monkey_of(u: Any) -> Any:
    return u[0] ** 3 - 3 * u[0] * u[1] ** 2 + jnp.sum(u * u) ** 2


def flat_wells_of(u: Any) -> Any:
    return (u[0] ** 2 - 1) ** 4 + u[1] ** 2


def lopsided_of(u: Any) -> Any:
    return u[0] ** 4 * (u[0] - 2) ** 2 + u[1] ** 2


def inflection_of(u: Any) -> Any:
    return u[0] ** 3 * (u[0] - 1) + u[1] ** 2


def ring_of(u: Any) -> Any:
    return (jnp.sum(u * u) - 1) ** 2


@pytest.mark.parametrize("c", [1.0, 1e-8])
@pytest.mark.parametrize(
    ("f", "kinds", "joined"),
    [
        (quartic_of, ["degenerate"], []),
        (monkey_of, ["minimum"] * 3, []),  # its degenerate point is no minimum
        (flat_wells_of, ["degenerate"] * 2, [(0, 1)]),
        (lopsided_of, ["degenerate", "minimum"], [(0, 1)]),
        (inflection_of, ["minimum"], []),
        (ring_of, ["degenerate"], []),
    ],
)
def test_degenerate_minima_are_nodes(
    f: Any, kinds: list[str], joined: list[tuple[int, int]], c: float
) -> None:
    objective = Objective(lambda x: f(x / c), 2)
    result = take_census(objective, [(-3 * c, 3 * c)] * 2, certified=False)
    found = landscape(objective, result.points, result.domain)
    assert sorted(found.minima["kind"]) == kinds
    assert joins(found) == joined


@pytest.mark.parametrize("eps", [1e-3, 1e-6, 1e-9])
def test_dwell_time_at_a_strict_saddle(eps: float) -> None:
    objective = objectives.strict_saddle()
    points = take_census(objective, certified=False).points
    record = api.descend(
        objective, np.array([1.0, eps]), schedule=schedules.constant(0.1), record="all"
    )
    table = dwell(objective, record, points, radius=0.1)
    assert len(table) == 1
    assert table["index"].item() == 1
    # f''' = 0 and the quartic term is small within the radius: theory to within two steps.
    assert abs(table["dwell"].item() - table["predicted"].item()) < 2


def test_a_census_sees_a_point_where_rounding_spoils_derivatives() -> None:
    """sinc: tan(pi x) = pi x four times, and 0, where sin(x) / x has lost its digits."""
    points = take_census(Objective(lambda x: jnp.sinc(x[0]), 1), [(-3, 3.1)], seconds=3).points
    assert sorted(v.kind for v in points) == ["maximum"] * 3 + ["minimum"] * 2
    assert min(abs(v.x[0]) for v in points) < 1e-8

"""Every fact of every objective is true."""

from __future__ import annotations

import inspect
from functools import cache
from pathlib import Path

import jax
import numpy as np
import pytest
import yaml
from jax.flatten_util import ravel_pytree

import gdlab
from gdlab import objectives, registry
from gdlab.errors import UsageError
from gdlab.objectives.separable import waves

CONF = Path(__file__).parents[1] / "conf" / "objective"
BATCH = 512

# Every objective as it comes, and variants with other numbers.
VARIANTS = [
    ("quadratic", {"dim": 6, "condition": 50.0, "rotation": 3, "center": 0.5}),
    ("quadratic", {"dim": 2, "condition": 7.0, "rotation": 1}),
    ("quadratic", {"spectrum": [3.0, -1.0, 0.5], "center": [1.0, 2.0, 3.0]}),
    ("quadratic", {"spectrum": [2.0, 0.0]}),
    ("quadratic", {"H": [[3.0, 2.0], [2.0, 3.0]]}),
    ("monomial", {"power": 2, "coefficient": -1.0}),
    ("monomial", {"power": 3}),
    ("monomial", {"power": 4, "coefficient": 0.5}),
    ("rosenbrock", {"a": 1.3, "b": 20.0}),
    ("rosenbrock", {"dim": 3}),
    ("rosenbrock", {"dim": 4}),
    ("rosenbrock", {"dim": 5}),
    ("rosenbrock", {"dim": 6}),
    ("rosenbrock", {"dim": 3, "a": 0.7}),
    ("logistic", {"l2": 0.1}),
    ("styblinski_tang", {"dim": 1}),
    ("styblinski_tang", {"dim": 5}),
    ("rastrigin", {"dim": 1}),
    ("rastrigin", {"dim": 1, "A": 1.0}),
    ("rastrigin", {"dim": 2, "A": 0.04}),
    ("rastrigin", {"dim": 5}),
    ("double_well", {"dim": 2}),
    ("double_well", {"dim": 2, "tilt": 0.2}),
    ("ackley", {"dim": 1}),
    ("ackley", {"dim": 5}),
    ("griewank", {"dim": 1}),
    ("griewank", {"dim": 6}),
    ("quartic", {"dim": 2}),
    ("linear_network", {"widths": [2, 2, 2], "target": [2.0, 1.0]}),
    ("linear_network", {"widths": [2, 1, 3], "target": [1.0, 2.0]}),
    ("linear_network", {"widths": [1, 1, 1, 1], "target": [3.0]}),
    ("matrix_factorization", {"spectrum": [1.0, 3.0, 2.0]}),
    ("matrix_factorization", {"spectrum": [3.0, 2.0, 1.0], "rank": 2}),
    ("matrix_factorization", {"spectrum": [2.0, 2.0]}),
    ("tanh_network", {"width": 4}),
    *((name, {"dim": 5}) for name in ("sum_squares", "trid", "zakharov", "dixon_price")),
    *((name, {"dim": 4}) for name in ("levy", "michalewicz", "egg_crate")),
]
CASES = [
    (name, {})
    for name in sorted(registry.factories("objective"))
    if registry.factories("objective")[name].__module__.startswith("gdlab.")
] + VARIANTS
IDS = [name + "".join(f" {k}={v}" for k, v in kw.items()).replace("'", "") for name, kw in CASES]
every = pytest.mark.parametrize("case", range(len(CASES)), ids=IDS)


@cache
def objective(case):
    return registry.build("objective", *CASES[case])


@cache
def _compiled(case):
    f = objective(case)
    return jax.jit(jax.vmap(lambda x: (f(x), jax.grad(f)(x), jax.hessian(f)(x))))


def derivatives(case, x):
    """f `[n]`, gradients `[n, d]` and Hessians `[n, d, d]` at x `[n, d]`; one program a case."""
    blocks = []
    for begin in range(0, len(x), BATCH):
        block = x[begin : begin + BATCH]
        padded = np.concatenate([block, np.repeat(block[:1], BATCH - len(block), axis=0)])
        blocks.append([np.asarray(a)[: len(block)] for a in _compiled(case)(padded)])
    return [np.concatenate(parts) for parts in zip(*blocks, strict=True)]


def samples(case, n=BATCH, seed=0):
    """Random points of the domain, its middle and corners, and what is known."""
    o = objective(case)
    low, high = o.facts.domain.T
    rng = np.random.default_rng(seed)
    corners = np.where(rng.integers(0, 2, (16, o.dim)) > 0, high, low)
    special = [(low + high)[None] / 2, low[None], high[None], corners]
    if o.facts.minimizers is not None:
        special.append(o.facts.minimizers[:16])
    special = np.concatenate(special)
    return np.concatenate([special, rng.uniform(low, high, (n - len(special), o.dim))])


def known(case):
    points = objective(case).facts.critical_points
    return points if points is not None and len(points.x) else None


@every
def test_gradient_is_that_of_f(case):
    o = objective(case)
    count = max(1, BATCH // (4 * o.dim))
    x = np.random.default_rng(1).uniform(*o.facts.domain.T, (count, o.dim))
    h = 1e-3 * np.ones(o.dim)
    steps = h * np.eye(o.dim)

    def at(k):
        return derivatives(case, (x[:, None] + k * steps).reshape(-1, o.dim))[0].reshape(count, -1)

    # Fourth-order central difference.
    numeric = (8 * (at(1) - at(-1)) - (at(2) - at(-2))) / (12 * h)
    value, gradient, _ = derivatives(case, x)
    scale = 1 + np.abs(gradient).max() + np.abs(value).max()
    assert np.abs(numeric - gradient).max() < 1e-6 * scale


@every
def test_critical_points_are_critical_and_have_their_value_and_index(case):
    points = known(case)
    if points is None:
        assert CASES[case][0] in {"ackley", "rosenbrock", "tanh_network"}
        return
    value, gradient, hessian = derivatives(case, points.x)
    eigenvalues = np.linalg.eigvalsh(hessian)
    size = 1 + np.abs(eigenvalues).max(axis=1)
    assert np.all(np.abs(gradient).max(axis=1) < 1e-9 * size)
    assert np.all(np.abs(value - points.value) < 1e-12 * (1 + np.abs(points.value)))
    smallest = np.abs(eigenvalues).min(axis=1) / size
    degenerate = points.index == -1
    assert np.all(smallest[degenerate] < 1e-9)
    assert np.all(smallest[~degenerate] > 1e-5)
    assert np.array_equal((eigenvalues < 0).sum(axis=1)[~degenerate], points.index[~degenerate])


@every
def test_inventory_is_in_the_domain_and_names_a_point_once(case):
    facts = objective(case).facts
    low, high = facts.domain.T
    assert facts.domain.shape == (objective(case).dim, 2)
    assert np.all(low < high)
    for x in (known(case).x if known(case) else None, facts.minimizers):
        if x is not None:
            assert x.shape[1] == objective(case).dim
            assert np.all((low <= x) & (x <= high))
            assert len(np.unique(np.round(x, 6), axis=0)) == len(x)


@every
def test_f_star_is_attained_at_the_minimizers_and_nowhere_undercut(case):
    o, facts = objective(case), objective(case).facts
    if facts.f_star is None:
        assert facts.minimizers is None
        return
    value = derivatives(case, samples(case))[0]
    assert value.min() >= facts.f_star - 1e-12 * (1 + abs(facts.f_star))
    if facts.minimizers is not None:
        at, gradient, _ = derivatives(case, facts.minimizers)
        assert np.abs(at - facts.f_star).max() < 1e-12 * (1 + abs(facts.f_star))
        assert np.abs(gradient).max() < 1e-9
        assert not any(np.isnan(np.asarray(jax.grad(o)(x))).any() for x in facts.minimizers[:1])
    if known(case) and known(case).complete and CASES[case][0] != "ackley":
        assert known(case).value.min() == pytest.approx(facts.f_star, abs=1e-12)


@every
def test_L_is_the_largest_curvature_and_mu_a_lower_bound(case):
    o = objective(case)
    if o.facts.L is None:
        assert o.facts.mu is None
        return
    eigenvalues = np.linalg.eigvalsh(derivatives(case, samples(case))[2])
    assert np.abs(eigenvalues).max() <= o.facts.L * (1 + 1e-9)
    assert np.abs(eigenvalues).max() >= o.facts.L * (1 - 1e-9)
    if o.facts.mu is not None:
        assert 0 < o.facts.mu <= eigenvalues.min() * (1 + 1e-9)
        if o.facts.quadratic:
            assert eigenvalues.min() == pytest.approx(o.facts.mu, rel=1e-12)
    if o.facts.quadratic:
        hessians = derivatives(case, samples(case))[2]
        assert np.ptp(hessians, axis=0).max() < 1e-9


def turns(g):
    """Angles between successive vectors `[n, 2]`."""
    return np.angle(np.exp(1j * np.diff(np.arctan2(g[:, 1], g[:, 0]))))


@every
def test_complete_inventories_agree_with_the_gradient_on_the_border(case):
    """d = 1, 2: the sum of (-1)^index is the degree of the gradient along the border."""
    o, points = objective(case), known(case)
    if points is None or not points.complete or o.dim > 2:
        return
    (a, b) = o.facts.domain[0]
    if o.dim == 1:
        left, right = np.sign(derivatives(case, np.array([[a], [b]]))[1][:, 0])
        degree = (right - left) / 2
    else:
        c, d = o.facts.domain[1]
        border = np.array([[a, c], [b, c], [b, d], [a, d], [a, c]])
        border = np.concatenate([border, (border[:-1] + border[1:]) / 2])[
            [0, 5, 1, 6, 2, 7, 3, 8, 4]
        ]
        for _ in range(60):  # halve what turns by more than a radian, or is long
            turn = turns(derivatives(case, border)[1])
            wide = np.abs(turn) > 1.0
            wide |= np.abs(np.diff(border, axis=0)).max(axis=1) > (b - a) / 200
            if not wide.any():
                break
            middle = ((border[1:] + border[:-1]) / 2)[wide]
            border = np.insert(border, np.flatnonzero(wide) + 1, middle, axis=0)
        assert not wide.any()
        degree = round(turn.sum() / (2 * np.pi))
    if np.all(points.index >= 0):
        expected = np.sum((-1.0) ** points.index)
        if CASES[case][0] == "ackley":
            expected += 1  # the cone at 0 counts as a minimum
        assert degree == expected
    elif CASES[case][0] == "monkey_saddle":
        assert degree == -2


@every
def test_newton_finds_no_critical_point_that_a_complete_inventory_lacks(case):
    o, points = objective(case), known(case)
    if points is None or not points.complete or o.dim > 5 or np.any(points.index == -1):
        return
    low, high = o.facts.domain.T
    x = np.random.default_rng(2).uniform(low, high, (BATCH, o.dim))
    for _ in range(60):
        _, g, H = derivatives(case, x)
        H = H + 1e-300 * np.eye(o.dim)
        p = np.linalg.solve(
            np.where(np.isfinite(H), H, 1), np.where(np.isfinite(g), g, 0)[..., None]
        )
        x = np.clip(x - p[..., 0], low - (high - low), high + (high - low))
    _, g, H = derivatives(case, x)
    eigenvalues = np.linalg.eigvalsh(H)
    # A root beyond doubt: the next Newton step is tiny and the Hessian regular.
    regular = np.abs(eigenvalues).min(axis=1) > 1e-3
    inside = np.all((x >= low) & (x <= high), axis=1)
    found = x[regular & inside & (np.abs(g).max(axis=1) < 1e-9 * np.abs(eigenvalues).max(axis=1))]
    assert len(found) > BATCH // 20
    distance = np.abs(found[:, None] - points.x[None]).max(axis=2).min(axis=1)
    assert distance.max() < 1e-7


@every
def test_f_is_shared_by_jobs_and_keeps_their_precision(case):
    name, kw = CASES[case]
    o = objective(case)
    assert registry.build("objective", name, kw).f == o.f
    assert o.name == name
    assert set(o.shared) <= set(o.data or {})
    single = {k: np.asarray(v, np.float32) for k, v in (o.data or {}).items()} or None
    assert o.evaluate(single, np.zeros(o.dim, np.float32) + np.float32(0.3)).dtype == np.float32
    for key, value in (o.data or {}).items():
        assert np.asarray(value).dtype == np.float64, key
    if o.unravel is not None:
        x = np.arange(o.dim, dtype=float)
        assert np.array_equal(ravel_pytree(o.unravel(x))[0], x)
    assert o.facts.source


# Published inventories, to the digits given: Himmelblau 1972; Dixon and Szegoe 1978.
PUBLISHED = {
    "himmelblau": {
        0: [0, 0, 0, 0],
        1: [13.3119262704056, 67.7191500875261, 104.015162917558, 178.337239201927],
        2: [181.616521522583],
    },
    "six_hump_camel": {
        0: [-1.03162845348988] * 2 + [-0.215463824383718] * 2 + [2.10425031031126] * 2,
        1: [0.0] + [0.543718600978185] * 2 + [2.22935719753071] * 2 + [2.22947081802986] * 2,
        2: [2.49629535102358] * 2,
    },
    "three_hump_camel": {0: [0] + [0.29863844223686] * 2, 1: [0.87736155776314] * 2},
    "styblinski_tang": {
        0: [-78.3323314075428, -64.1956123590554, -64.1956123590554, -50.0588933105679],
        1: [-38.9705533447161] * 2 + [-24.8338342962286] * 2,
        2: [0.391224718110716],
    },
}


@pytest.mark.parametrize("name", PUBLISHED)
def test_published_inventory(name):
    points = registry.build("objective", name, {}).facts.critical_points
    assert points.complete
    assert sum(map(len, PUBLISHED[name].values())) == len(points.x)
    for index, values in PUBLISHED[name].items():
        assert np.allclose(np.sort(points.value[points.index == index]), values, rtol=0, atol=1e-8)


def test_published_minima():
    """C. Vanaret et al. (2020), More, Garbow and Hillstrom (1981), and Surjanovic and Bingham."""
    x = objectives.michalewicz(2).facts.minimizers[0]
    # Published as 2.20290552014618; this is the root at 40 digits (mpmath).
    np.testing.assert_allclose(x, [2.2029055201726093, np.pi / 2], rtol=0, atol=1e-15)
    for dim, value in ((2, -1.8013034100985537), (5, -4.687658179088), (10, -9.660151715641)):
        assert abs(objectives.michalewicz(dim).facts.f_star - value) < 2e-12
    points = objectives.freudenstein_roth().facts.critical_points
    np.testing.assert_allclose(points.x[2], [11.4127789869021, -0.896805253274477], atol=1e-12)
    assert abs(points.value[2] - 48.984253679240) < 1e-12 * 49
    assert objectives.trid(6).facts.f_star == -50
    assert objectives.trid(10).facts.f_star == -210


def test_published_minimum_of_logistic_regression():
    """Malitsky and Mishchenko's setting, l2 = L / (10 n)."""
    facts = registry.build("objective", "logistic", {}).facts
    assert facts.f_star == pytest.approx(0.05480886001900609, abs=1e-12)


def test_figure_4_6_zigzags_by_4_ninths():
    """Exact line search from the worst start shrinks f by ((kappa - 1) / (kappa + 1))^2."""
    o = registry.build("objective", "quadratic", {"H": [[3, 2], [2, 3]]})
    assert pytest.approx(5, abs=1e-14) == o.facts.L
    assert o.facts.mu == pytest.approx(1, abs=1e-14)
    H = np.asarray(jax.hessian(o)(np.zeros(2)))
    x = np.array([0.2 + 1, 0.2 - 1]) / 2**0.5
    g = H @ x
    step = g @ g / (g @ H @ g)
    assert step == pytest.approx(1 / 3, abs=1e-12)
    assert float(o(x - step * g) / o(x)) == pytest.approx(4 / 9, abs=1e-12)
    g = H @ [15, -5]
    assert g @ g / (g @ H @ g) == pytest.approx(0.2248062015503876, abs=1e-12)


def test_three_minima_falls_over_its_plateau_without_a_halt():
    o = registry.build("objective", "three_minima", {})
    x = np.linspace(-2.49, 1.99, 4001)[:, None]
    slope = np.asarray(jax.vmap(jax.grad(o))(x))[:, 0]
    assert np.all(slope < 0)
    assert np.abs(slope[np.abs(x[:, 0]) < 0.2]).max() < 1e-8
    assert np.abs(slope[np.abs(x[:, 0]) < 0.65]).max() < 2e-3


@pytest.mark.parametrize("A", [0.0, 0.03, 0.051, 0.3, 2.0, 17.5])
def test_waves_are_counted(A):
    """Every sign change of h' on a fine grid, and no other root."""
    t = np.linspace(-5.12, 5.12, 200_002)
    changes = np.sum(np.diff(np.sign(2 * t + 2 * np.pi * A * np.sin(2 * np.pi * t))) != 0)
    roots = waves(A, 5.12)
    assert len(roots) == changes
    assert np.all(np.abs(2 * roots + 2 * np.pi * A * np.sin(2 * np.pi * roots)) < 1e-12 * (1 + A))


BAD = [
    ("quadratic", {"dim": 0}, "objective.dim=0"),
    ("quadratic", {"condition": 0.5}, "objective.condition=0.5"),
    ("quadratic", {"dim": 1, "condition": 5.0}, "objective.condition=5.0"),
    ("quadratic", {"spectrum": []}, "objective.spectrum=[]"),
    ("quadratic", {"spectrum": [1.0, 2.0], "dim": 3}, "objective.dim=3"),
    ("quadratic", {"H": [[1.0, 2.0], [0.0, 1.0]]}, "symmetric"),
    ("quadratic", {"H": [[1.0, 2.0]]}, "square"),
    ("quadratic", {"H": [[1.0]], "condition": 2.0}, "objective.condition=2.0"),
    ("quadratic", {"center": [1.0, 2.0, 3.0]}, "quadratic has dim 2, got 3 numbers"),
    ("quadratic", {"spectrum": [float("nan"), 1.0]}, "finite"),
    ("monomial", {"power": 5}, "objective.power=5"),
    ("monomial", {"coefficient": 0.0}, "objective.coefficient=0.0"),
    ("rosenbrock", {"dim": 1}, "objective.dim=1"),
    ("rosenbrock", {"b": -1.0}, "objective.b=-1.0"),
    ("rosenbrock", {"c": 1.0}, "rosenbrock has no such key"),
    ("logistic", {"l2": 0.0}, "objective.l2=0.0"),
    ("rastrigin", {"A": -1.0}, "objective.A=-1.0"),
    ("rastrigin", {"dim": 0}, "objective.dim=0"),
    ("double_well", {"tilt": 0.5}, "objective.tilt=0.5"),
    ("ackley", {"dim": 0}, "objective.dim=0"),
    ("griewank", {"dim": 0}, "objective.dim=0"),
    ("quartic", {"dim": -1}, "objective.dim=-1"),
    ("linear_network", {"widths": [1, 1]}, "objective.widths=[1, 1]"),
    ("linear_network", {"target": [1.0, 1.0]}, "objective.target=[1.0, 1.0]"),
    ("matrix_factorization", {"spectrum": [-1.0]}, "objective.spectrum=[-1.0]"),
    ("matrix_factorization", {"rank": 3}, "objective.rank=3"),
    ("tanh_network", {"width": 0}, "objective.width=0"),
]


@pytest.mark.parametrize(("name", "kw", "says"), BAD, ids=[f"{n} {k}" for n, k, _ in BAD])
def test_bad_numbers_are_refused_by_name(name, kw, says):
    with pytest.raises(UsageError) as error:
        registry.build("objective", name, kw)
    assert says in str(error.value)
    assert "\n" not in str(error.value)
    with pytest.raises(UsageError) as called:
        getattr(objectives, name)(**kw)
    assert str(called.value) == str(error.value)


def test_the_inventory_of_a_factorization_stays_small():
    """60 values of rank 9 have 1.8e10 critical points up to rotation."""
    spectrum = np.linspace(1.0, 2.0, 60)
    o = objectives.matrix_factorization(spectrum, rank=9)
    points = o.facts.critical_points
    assert len(points.x) == 2
    assert not points.complete
    assert points.value[1] == o.facts.f_star == 0.25 * np.sum(spectrum[:-9] ** 2)
    assert np.abs(jax.grad(o)(points.x[1])).max() < 1e-12
    assert np.abs(jax.grad(o)(points.x[0])).max() == 0
    assert (
        len(objectives.matrix_factorization([4.0, 3.0, 2.0, 1.0], 2).facts.critical_points.x) == 11
    )


@pytest.mark.parametrize("path", sorted(CONF.glob("*.yaml")), ids=lambda p: p.stem)
def test_choices_describe_themselves_and_build(path):
    first = path.read_text().splitlines()[0]
    assert first.startswith("# ")
    params = yaml.safe_load(path.read_text())
    name = params.pop("name")
    assert registry.build("objective", name, params).dim >= 1
    signature = inspect.signature(registry.factories("objective")[name])
    if path.stem == name:  # the choice shows every key, with its default
        assert params == {key: p.default for key, p in signature.parameters.items()}


@pytest.mark.parametrize("group", ["objective", "init", "schedule", "method"])
def test_every_choice_is_a_function_of_the_same_name(group):
    """What `gdlab list` offers, Python has, and it makes the same."""
    room = getattr(gdlab, f"{group}s")
    for path in sorted((CONF.parent / group).glob("*.yaml")):
        assert path.stem in room.__all__
        params = yaml.safe_load(path.read_text())
        name = params.pop("name")
        if group in ("objective", "method"):
            own, made = getattr(room, path.stem)(), registry.build(group, name, params)
            assert own.f == made.f if group == "objective" else own == made
            for key, value in (getattr(made, "data", None) or {}).items():
                np.testing.assert_array_equal(own.data[key], value)
        else:  # starts need an x, a horizon is the run's steps
            assert path.stem == name


def test_every_objective_is_a_choice():
    stems = {path.stem for path in CONF.glob("*.yaml")}
    assert {name for name, _ in CASES} <= stems

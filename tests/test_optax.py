"""All of optax by name: each rule and schedule against a plain loop of optax's own.

`python tests/test_optax.py` writes the files of conf/ anew from optax's signatures.
"""

from __future__ import annotations

import inspect
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
import yaml
from optax import contrib
from optax_cases import GIVEN, SCHEDULES

import gdlab
from gdlab import numerics, registry
from gdlab.errors import UsageError
from gdlab.launch.overrides import checked
from gdlab.methods import optax_rules as rules
from gdlab.schedules import optax_rules as schedules

CONF = Path(__file__).parents[1] / "conf"
STEPS = 24
RATES = 0.02 / (1 + 0.1 * np.arange(STEPS + 1))


def valley(x: Any) -> Any:
    return jnp.sum((1 - x[:-1]) ** 2 + 10 * (x[1:] - x[:-1] ** 2) ** 2)


OBJECTIVE = gdlab.Objective(valley, dim=3)
X0 = np.array([-0.5, 0.7, 0.3])


def plain(name: str, keys: dict[str, Any]) -> np.ndarray:
    """The iterates of a plain optax loop, with the rates as optax's own schedule."""
    with numerics.computing():
        rates = jnp.asarray(RATES)
        if name in rules.PROPORTIONAL:
            if name == "sm3":  # takes no schedule
                return _loop(optax.sm3(learning_rate=RATES[0]), lambda t: RATES[t] / RATES[0])
            make = getattr(optax, name, None) or getattr(contrib, name)
            return _loop(make(learning_rate=lambda t: rates[t], **keys), lambda t: 1.0)
        special: dict[str, Any] = {
            "noisy_sgd": lambda: optax.noisy_sgd(lambda t: rates[t], key=0),
            "sophia": lambda: contrib.sophia(
                lambda t: rates[t],
                hessian_diagonal_fn=contrib.hutchinson_estimator_diag_hessian(
                    jax.random.PRNGKey(0)
                ),
            ),
            "lbfgs": lambda: optax.lbfgs(),
            "sam": lambda: contrib.sam(
                optax.sgd(lambda t: rates[t]),
                optax.chain(contrib.normalize(), optax.sgd(0.05)),
                opaque_mode=True,
            ),
            "mechanize": lambda: contrib.mechanize(optax.sgd(1.0)),
            "schedule_free": lambda: contrib.schedule_free(optax.sgd(0.01), 0.01),
            "reduce_on_plateau": lambda: optax.chain(
                optax.sgd(lambda t: rates[t]), contrib.reduce_on_plateau(patience=2)
            ),
            "polyak_sgd": lambda: optax.polyak_sgd(),
        }
        own_schedule = name in ("noisy_sgd", "sophia", "sam", "reduce_on_plateau")
        if name in special:
            return _loop(
                special[name](), lambda t: 1.0 if own_schedule else RATES[t], name == "sophia"
            )
        make = getattr(optax, name, None) or getattr(contrib, name)
        return _loop(make(**keys), lambda t: RATES[t])


def _loop(rule: Any, factor: Any, needs_f: bool = False) -> np.ndarray:
    rule = optax.with_extra_args_support(rule)
    named = inspect.signature(rule.update).parameters
    x = jnp.asarray(X0)
    state, path = rule.init(x), [X0]

    @jax.jit
    def step(x: Any, state: Any, m: Any) -> Any:
        value, g = jax.value_and_grad(valley)(x)
        more = {"value": value, "grad": g, "value_fn": valley}
        if needs_f:
            more["obj_fn"] = valley
        if not any(p.kind is p.VAR_KEYWORD for p in named.values()):
            more["grad_fn"] = lambda x, *_: jax.grad(valley)(x)
            more = {k: v for k, v in more.items() if k in named}
        u, state = rule.update(g, state, x, **more)
        return x + m * u, state

    for t in range(STEPS):
        x, state = step(x, state, factor(t))
        path.append(np.asarray(x))
    return np.stack(path)


@pytest.mark.parametrize("name", sorted(rules.MAKERS))
def test_each_step_is_that_of_a_plain_loop_of_optax(name: str) -> None:
    keys = GIVEN.get(name, {})
    rates = gdlab.Schedule("rates", sizes=lambda t: RATES[np.minimum(t, STEPS)])
    method = gdlab.methods.optax(name, **keys)
    record = gdlab.descend(
        OBJECTIVE, X0, method=method, schedule=rates, steps=STEPS, gtol=0, record="all"
    )
    expected = plain(name, keys)
    assert record.steps == STEPS
    assert np.ptp(expected, axis=0).max() > 1e-9, "the rule stands still: nothing was compared"
    np.testing.assert_allclose(record.path, expected, rtol=1e-9, atol=1e-12)


def test_the_learning_rate_is_a_key_just_where_the_update_is_no_multiple_of_it() -> None:
    # These take no schedule; rprop's rate is its first step, held in bounds from then on.
    number = {"rprop": 1e-7, "schedule_free_adamw": 0.01, "schedule_free_sgd": 0.01}
    for name in rules.OWN_RATE:
        keys = GIVEN.get(name, {})
        make = getattr(optax, name, None) or getattr(contrib, name)
        with numerics.computing():
            long = RATES * (50 if name == "prodigy" else 1)  # its estimate is to move
            rates = jnp.asarray(long)
            rate = number.get(name, lambda t, rates=rates: rates[t])
            one = _loop(make(**keys | {"learning_rate": rate}), lambda t: 1.0)
            multiple = make(**keys | {"learning_rate": 1.0})
            other = _loop(multiple, lambda t, name=name, long=long: number.get(name, long[t]))
        assert not np.allclose(one, other, rtol=1e-9, atol=0), name
        assert "learning_rate" in rules.parameters(name)


@pytest.mark.parametrize("name", sorted(schedules.NAMES))
def test_each_step_size_is_that_of_optax(name: str) -> None:
    made = gdlab.schedules.optax(name, **SCHEDULES[name])
    t = np.arange(1030)
    with numerics.computing():
        expected = [float(getattr(optax, name)(**SCHEDULES[name])(k)) for k in t[:40]]
    np.testing.assert_allclose(made.sizes(t)[:40], expected, rtol=1e-14, atol=1e-300)
    np.testing.assert_array_equal(
        made.sizes(t)[[7, 1029]], [*made.sizes(t[7:8]), *made.sizes(t[-1:])]
    )


def test_all_of_optax_is_there_or_refused_with_a_reason() -> None:
    found = set()
    for library in (optax, contrib):
        for name, make in vars(library).items():
            if name.startswith(("_", "scale_by_")) or not inspect.isfunction(make):
                continue
            taken = inspect.signature(make)
            rule = "GradientTransformation" in str(taken.return_annotation)
            if rule and {"learning_rate", "base_optimizer", "max_learning_rate"} & set(
                taken.parameters
            ):
                found.add(f"optax/{name}")
    assert len(found) > 40
    assert found <= {*(f"optax/{n}" for n in rules.MAKERS), *registry.REFUSED["method"]}
    written = {n for n, f in vars(optax.schedules).items() if inspect.isfunction(f)}
    injected = {"inject_hyperparams", "inject_stateful_hyperparams"}  # of rules, no step sizes
    assert written - injected == {
        *schedules.NAMES,
        *(n.partition("/")[2] for n in registry.REFUSED["schedule"]),
    }


@pytest.mark.parametrize(
    ("lines", "expected"),
    [
        (["method=optax", "method.name=lion"], "method=optax/lion"),
        (["method.name=lion", "method=optax"], "method=optax/lion"),
        (["schedule=optax", "schedule.name=linear_schedule"], "schedule=optax/linear_schedule"),
    ],
)
def test_the_name_is_part_of_the_choice(lines: list[str], expected: str) -> None:
    assert checked(lines) == [expected]


@pytest.mark.parametrize(
    ("lines", "says"),
    [
        (["method=optax"], "method.name=NAME"),
        (["method=optax", "method.name=lino"], "did you mean optax/lion"),
        (["method=optax/muon"], "orthogonalises matrices"),
        (["method=optax", "method.name=dpsgd"], "the gradient of each example"),
        (["method=optax/lion", "method.beta1=0.9"], "did you mean method.b1"),
        (["method=optax/lion", "method.learning_rate=1"], "method.learning_rate"),
        (["schedule=optax", "schedule.name=join_schedules"], "takes functions"),
    ],
)
def test_what_cannot_be_is_said_in_one_line(lines: list[str], says: str) -> None:
    with pytest.raises(UsageError) as caught:
        checked(lines)
    assert says in str(caught.value)
    assert "\n" not in str(caught.value)


def test_calls_refuse_what_the_command_line_refuses() -> None:
    for call, says in (
        (lambda: gdlab.methods.optax("muon"), "orthogonalises matrices"),
        (lambda: gdlab.methods.optax("lino"), "did you mean lion"),
        (lambda: gdlab.methods.optax("lion", b1="much"), "method.b1=much"),
        (lambda: gdlab.methods.optax("sam", optimizer="momo"), "takes the name of another rule"),
        (lambda: gdlab.methods.optax("fromage"), "method.learning_rate is missing"),
        (lambda: gdlab.schedules.optax("join_schedules"), "takes functions"),
        (
            lambda: gdlab.schedules.optax("cosine_decay_schedule", init_value=1.0, decay_steps=0),
            "schedule=optax/cosine_decay_schedule",
        ),
    ):
        with pytest.raises(UsageError) as caught:
            call()
        assert says in str(caught.value)


def test_numbers_ride_in_lanes_and_switches_make_programs() -> None:
    make = gdlab.methods.optax
    assert make("adam", b1=0.5).transform == make("adam", b1=0.7).transform
    assert make("adam", nesterov=True).transform != make("adam").transform
    assert set(make("rmsprop").params) == {"decay", "eps", "initial_scale"}
    assert set(make("rmsprop", momentum=0.5).params) == {
        "decay",
        "eps",
        "initial_scale",
        "momentum",
    }


def test_evaluations_beside_a_gradient_a_step_are_counted() -> None:
    counts = {}
    for name in ("lbfgs", "sophia", "sam", "adam"):
        record = gdlab.descend(
            OBJECTIVE, X0, method=gdlab.methods.optax(name),
            schedule=gdlab.schedules.constant(1.0 if name == "lbfgs" else 0.01), steps=20, gtol=0,
        )  # fmt: skip
        counts[name] = record
    assert counts["lbfgs"].f_evals[-1] >= counts["lbfgs"].steps
    assert counts["lbfgs"].grad_evals[-1] == counts["lbfgs"].f_evals[-1] + counts["lbfgs"].steps
    assert counts["sophia"].hvp_evals[-1] == 2
    assert counts["sam"].grad_evals[-1] == 2 * counts["sam"].steps
    assert counts["adam"].grad_evals[-1] == counts["adam"].steps


def files() -> dict[Path, str]:
    """conf/method/optax/*.yaml and conf/schedule/optax/*.yaml, from the factories."""
    made = {}
    for group, names, parameters in (
        ("method", rules.MAKERS, rules.parameters),
        ("schedule", schedules.NAMES, schedules.parameters),
    ):
        for name in names:
            home = "optax" if hasattr(optax, name) else "optax.contrib"
            words = f"{home}.{name}"
            if name in rules.WRAPPED:
                words += f": {(rules.MAKERS[name].__doc__ or '').rstrip('.')}"
            content: dict[str, Any] = {"name": f"optax/{name}"}
            for key, p in parameters(name).items():
                content[key] = "???" if p.default is p.empty else p.default
            text = yaml.safe_dump(content, sort_keys=False, default_flow_style=False)
            made[CONF / group / "optax" / f"{name}.yaml"] = f"# {words}\n{text}"
    return made


def test_the_files_are_those_of_optax_s_signatures() -> None:
    expected = files()
    found = {
        path for group in ("method", "schedule") for path in (CONF / group / "optax").iterdir()
    }
    assert found == set(expected)
    for path, text in expected.items():
        assert path.read_text() == text, path


if __name__ == "__main__":
    for path, text in files().items():
        path.parent.mkdir(exist_ok=True)
        path.write_text(text)

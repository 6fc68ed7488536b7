"""The optimizers of optax, root and contrib, by name: `method=optax/lion`.

optax writes a rule with its learning rate in it. Of most, the update is proportional to it: gdlab's
direction p is the update at learning rate 1, and the step sizes of the schedule are the learning
rate. Of those in `OWN_RATE` it is not (a trust region, an estimate of the rate itself): they keep
`learning_rate` as a key, and the schedule multiplies what comes out, so that `schedule=constant
schedule.eta=1` leaves them as optax has them.

Keys are those of optax's own signatures, less what is no number, switch or name (masks, data
types). Numbers ride in lanes; switches, counts and names are structure.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, get_type_hints

import optax as library
from optax import contrib

from gdlab import registry
from gdlab.errors import UsageError, suggest
from gdlab.methods import optax_wrapped as wrapped
from gdlab.methods.optax_wrapped import PROPORTIONAL
from gdlab.types import Method

# The update is no multiple of the learning rate.
OWN_RATE = [
    "fromage",
    "lars",
    "rprop",
    "cocob",
    "dadapt_adamw",
    "madgrad",
    "momo",
    "momo_adam",
    "prodigy",
    "schedule_free_adamw",
    "schedule_free_sgd",
]
WRAPPED = [
    "lbfgs",
    "mechanize",
    "noisy_sgd",
    "polyak_sgd",
    "reduce_on_plateau",
    "sam",
    "schedule_free",
    "sophia",
]
# What has no value in a configuration, or (weight_decay_rate) is added after the learning rate.
LEFT_OUT = frozenset(
    [
        "mu_dtype",
        "accumulator_dtype",
        "dtype_momentum",
        "state_dtype",
        "mask",
        "weight_decay_mask",
        "trust_ratio_mask",
        "key",
        "weight_decay_rate",
        "clip_value_fn",
        "hessian_diagonal_fn",
        "verbose",
        "print_win_rate_every_n_steps",
    ]
)
# Types of keys without a default, or with None.
HINTS: dict[str, Any] = {
    "learning_rate": float,
    "momentum": float | None,
    "beta3": float | None,
    "weight_decay": float | None,
    "warmup_steps": int | None,
}
# Numbers on which optax branches: structure.
BRANCHED = {"reduce_on_plateau": ("factor", "rtol", "atol", "min_scale")}
MAKERS: dict[str, Callable[..., Any]] = {
    **{n: getattr(library, n, None) or getattr(contrib, n) for n in (*PROPORTIONAL, *OWN_RATE)},
    **{name: getattr(wrapped, name) for name in WRAPPED},
}


@dataclass(frozen=True)
class Rule:
    """An optimizer of optax as a function of its numbers; equal where the rest of it is.

    Attributes:
        name: as in `MAKERS`.
        fixed: its other arguments.
    """

    name: str
    fixed: tuple[tuple[str, Any], ...]

    def __call__(self, **numbers: Any) -> Any:
        return MAKERS[self.name](**dict(self.fixed), **numbers)


def optax(name: str, **params: Any) -> Method:
    """An optimizer of optax by name, e.g. `optax("lion", b1=0.95)`.

    Args:
        name: as in optax or optax.contrib; `gdlab list methods` has them all.
        params: keys of its signature; `learning_rate` only where the update is no multiple of it.

    Needs: nothing.
    Guarantee: each step equals that of optax with learning rate eta_t.
    Reference: DeepMind et al. (2020), The DeepMind JAX Ecosystem; optax's own docstrings.

    Raises:
        UsageError: no such optimizer, one that cannot work on one flat vector (says why), no such
            key, or a value of the wrong type.
    """
    if reason := registry.REFUSED["method"].get(f"optax/{name}"):
        raise UsageError(f"method=optax/{name}: {reason}")
    if name not in MAKERS:
        raise UsageError(f"method=optax/{name}: no such optimizer; {suggest(name, list(MAKERS))}")
    made = registry.build("method", f"optax/{name}", params)
    assert isinstance(made, Method)
    return made


def parameters(name: str) -> dict[str, inspect.Parameter]:
    """The keys of an optimizer, with types and defaults, as its factory's signature."""
    own = dict(inspect.signature(MAKERS[name]).parameters)
    hints = dict(HINTS)
    if name in WRAPPED:
        hints |= get_type_hints(MAKERS[name])
    taken = dict(own)
    if own.pop("keys", None):  # further ones go to optax's rule of the same name
        optaxs = getattr(library, name, None) or getattr(contrib, name)
        taken = {**inspect.signature(optaxs).parameters} | own
    left_out = LEFT_OUT if name in (*OWN_RATE, "schedule_free") else LEFT_OUT | {"learning_rate"}
    keys = sorted(taken, key=lambda k: taken[k].default is not inspect.Parameter.empty)
    return {k: _parameter(taken[k], hints) for k in keys if k not in left_out}


def _parameter(given: inspect.Parameter, hints: Mapping[str, Any]) -> inspect.Parameter:
    default = list(given.default) if isinstance(given.default, tuple) else given.default
    tells = default is not None and default is not given.empty and not isinstance(default, str)
    hint = type(default) if tells else hints[given.name]
    if isinstance(default, list):
        hint = list[float]
    return inspect.Parameter(given.name, given.KEYWORD_ONLY, default=default, annotation=hint)


def _factory(name: str) -> Callable[..., Method]:
    keys = parameters(name)
    rate = {"learning_rate": 1.0} if name in (*PROPORTIONAL, "sophia", "noisy_sgd") else {}

    def factory(**params: Any) -> Method:
        given = {key: p.default for key, p in keys.items()} | params
        branched = BRANCHED.get(name, ())
        numbers = {k: v for k, v in given.items() if isinstance(v, float) and k not in branched}
        fixed = {k: v for k, v in given.items() if k not in numbers} | rate
        made = Rule(name, tuple((k, _frozen(v)) for k, v in sorted(fixed.items())))
        made(**numbers)  # what optax refuses, it refuses now
        return Method(f"optax/{name}", transform=made, params=numbers)

    return registry.described(factory, f"optax/{name}", __name__, keys, _words(name))


def _words(name: str) -> str:
    """What optax says of its rule, up to its arguments, and what that is here."""
    said = inspect.cleandoc(MAKERS[name].__doc__ or "").partition("\nArgs:")[0].rstrip()
    own = "learning_rate" in parameters(name)
    rate = "learning_rate, the update times eta_t" if own else "learning rate eta_t"
    return f"""{said}

Needs: nothing.
Guarantee: each step is that of optax with {rate}.
Reference: optax's documentation of {name}, which names the paper.
"""


def _frozen(value: Any) -> Any:
    return tuple(value) if isinstance(value, list) else value


for _name in MAKERS:
    registry.method(_factory(_name))

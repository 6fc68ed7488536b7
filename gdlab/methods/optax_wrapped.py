"""Rules of optax that need more than a gradient, or another rule, or a seed: given here.

What they spend beside a gradient a step, they count.
"""

from __future__ import annotations

from typing import Any, Literal, NamedTuple

import jax
import jax.numpy as jnp
import optax
from jaxtyping import Array, Int
from optax import contrib

from gdlab.errors import suggest

# The update is a multiple of the learning rate.
PROPORTIONAL = [
    "adabelief",
    "adadelta",
    "adafactor",
    "adagrad",
    "adam",
    "adamax",
    "adamaxw",
    "adamw",
    "adan",
    "amsgrad",
    "lamb",
    "lion",
    "nadam",
    "nadamw",
    "novograd",
    "optimistic_adam_v2",
    "optimistic_gradient_descent",
    "radam",
    "rmsprop",
    "sgd",
    "sign_sgd",
    "signum",
    "sm3",
    "yogi",
    "acprop",
    "ademamix",
    "adopt",
    "simplified_ademamix",
]


class Searched(NamedTuple):
    """The memory of a rule, and how often its line search has looked at f and its gradient."""

    rule: Any
    f_evals: Int[Array, ""]
    grad_evals: Int[Array, ""]


class Curved(NamedTuple):
    """The memory of a rule, and the Hessian-vector products that it has spent."""

    rule: Any
    hvp_evals: Int[Array, ""]


class Climbed(NamedTuple):
    """The memory of a rule, and the gradients that it has taken elsewhere than at x."""

    rule: Any
    grad_evals: Int[Array, ""]


def lbfgs(
    memory_size: int = 10,
    scale_init_precond: bool = True,
    linesearch: Literal["zoom", "backtracking", "none"] = "zoom",
) -> optax.GradientTransformationExtraArgs:
    """L-BFGS with a line search of optax, or with none, for a schedule of gdlab."""
    if linesearch == "none":
        return optax.lbfgs(None, memory_size, scale_init_precond, linesearch=None)
    if linesearch == "zoom":
        return _counting(optax.lbfgs(None, memory_size, scale_init_precond), gradients=True)
    search = optax.scale_by_backtracking_linesearch(max_backtracking_steps=20)
    return _counting(optax.lbfgs(None, memory_size, scale_init_precond, linesearch=search))


def polyak_sgd(
    max_learning_rate: float = 1.0,
    scaling: float = 1.0,
    f_min: float = 0.0,
    eps: float = 0.0,
    variant: Literal["sps", "sps+"] = "sps",
) -> optax.GradientTransformationExtraArgs:
    """Gradient descent with Polyak's step size, capped."""
    return optax.polyak_sgd(max_learning_rate, scaling, f_min, eps, variant)


def sophia(seed: int = 0, **keys: Any) -> optax.GradientTransformationExtraArgs:
    """Sophia, its diagonal of the Hessian estimated by Hutchinson's products."""
    rule = contrib.sophia(
        hessian_diagonal_fn=contrib.hutchinson_estimator_diag_hessian(jax.random.PRNGKey(seed)),
        **keys,
    )
    every = keys.get("update_interval", 10)

    def init(x: Any) -> Curved:
        return Curved(rule.init(x), hvp_evals=jnp.zeros((), jnp.int32))

    def update(g: Any, state: Curved, x: Any = None, **more: Any) -> tuple[Any, Curved]:
        due = state.rule[0].count % every == 0
        u, inner = rule.update(g, state.rule, x, obj_fn=more["value_fn"])
        return u, Curved(inner, hvp_evals=state.hvp_evals + due.astype(jnp.int32))

    return optax.GradientTransformationExtraArgs(init, update)


def noisy_sgd(seed: int = 0, **keys: Any) -> optax.GradientTransformation:
    """Gradient descent with noise that falls; every start draws the same noise."""
    return optax.noisy_sgd(key=seed, **keys)


def sam(
    optimizer: str = "sgd", rho: float = 0.05, sync_period: int = 2, reset_state: bool = True
) -> optax.GradientTransformationExtraArgs:
    """Sharpness-aware minimization: the gradient at distance rho uphill; one whole turn a step."""
    uphill = optax.chain(contrib.normalize(), optax.sgd(rho))
    rule = contrib.sam(_base("sam", optimizer), uphill, sync_period, reset_state, opaque_mode=True)

    def init(x: Any) -> Climbed:
        return Climbed(rule.init(x), jnp.zeros((), jnp.int32))

    def update(g: Any, state: Climbed, x: Any = None, **more: Any) -> tuple[Any, Climbed]:
        u, inner = rule.update(g, state.rule, x, grad_fn=lambda x, _: jax.grad(more["value_fn"])(x))
        return u, Climbed(inner, state.grad_evals + sync_period - 1)

    return optax.GradientTransformationExtraArgs(init, update)


def mechanize(
    base_optimizer: str = "sgd",
    weight_decay: float = 0.01,
    eps: float = 1e-8,
    s_init: float = 1e-6,
    num_betas: int = 6,
) -> optax.GradientTransformationExtraArgs:
    """Mechanic: learns the scale of another rule."""
    base = _base("mechanize", base_optimizer)
    return contrib.mechanize(base, weight_decay, eps, s_init, num_betas)


def schedule_free(
    learning_rate: float,
    base_optimizer: str = "sgd",
    b1: float = 0.9,
    weight_lr_power: float = 2.0,
) -> optax.GradientTransformationExtraArgs:
    """Averages in the place of a schedule; x is the point where the gradient is taken."""
    base = _base("schedule_free", base_optimizer, learning_rate)
    return contrib.schedule_free(base, learning_rate, b1, weight_lr_power)


def reduce_on_plateau(
    base_optimizer: str = "sgd",
    factor: float = 0.1,
    patience: int = 10,
    rtol: float = 1e-4,
    atol: float = 0.0,
    cooldown: int = 0,
    accumulation_size: int = 1,
    min_scale: float = 0.0,
) -> optax.GradientTransformationExtraArgs:
    """Another rule, shortened each time that f has stopped falling."""
    shorten = contrib.reduce_on_plateau(
        factor, patience, rtol, atol, cooldown, accumulation_size, min_scale
    )
    return optax.chain(_base("reduce_on_plateau", base_optimizer), shorten)


def _base(who: str, name: str, learning_rate: Any = 1.0) -> Any:
    if name not in PROPORTIONAL:
        raise ValueError(f"{who} takes the name of another rule; {suggest(name, PROPORTIONAL)}")
    return (getattr(optax, name, None) or getattr(contrib, name))(learning_rate=learning_rate)


def _counting(rule: Any, gradients: bool = False) -> optax.GradientTransformationExtraArgs:
    """The rule, counting the points at which its line search looks at f, and at its gradient."""

    def init(x: Any) -> Searched:
        return Searched(rule.init(x), jnp.zeros((), jnp.int32), jnp.zeros((), jnp.int32))

    def update(g: Any, state: Searched, x: Any = None, **more: Any) -> tuple[Any, Searched]:
        u, inner = rule.update(g, state.rule, x, **more)
        looked = optax.tree_utils.tree_get(inner, "num_linesearch_steps").astype(jnp.int32)
        grad_evals = state.grad_evals + (looked if gradients else 0)
        return u, Searched(inner, state.f_evals + looked, grad_evals)

    return optax.GradientTransformationExtraArgs(init, update)

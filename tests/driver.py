"""A driver of a few lines for step rules: chain(method, schedule) under jit, lanes last."""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import optax

from gdlab.types import Facts, Method, Schedule

compilations = 0


class Descent(NamedTuple):
    """x `[T + 1, d, B]`, f there `[T + 1, B]`, step sizes and counts `[T, B]` (zero if none)."""

    x: np.ndarray
    value: np.ndarray
    step_size: np.ndarray
    f_evals: np.ndarray
    hvp_evals: np.ndarray


def descend(
    f: Any,
    data: Mapping[str, Any],
    x0: np.ndarray,
    method: Method,
    schedule: Schedule,
    steps: int,
    facts: Any = Facts(),  # noqa: B008
) -> Descent:
    """`steps` steps from x0 `[d, B]`; data and facts `[B]` a lane, or the same facts for all."""
    lanes = x0.shape[-1]
    facts = [facts] * lanes if isinstance(facts, Facts) else facts

    def bound(params: Mapping[str, Any]) -> dict[str, np.ndarray]:
        return {
            k: np.array([v(one) if callable(v) else v for one in facts], float)
            for k, v in params.items()
        }

    sizes = np.ones((steps, lanes))
    if schedule.sizes is not None:
        scale = bound({"scale": schedule.scale})["scale"]
        sizes = scale * schedule.sizes(np.arange(steps))[:, None]
    stacked = {k: np.asarray(v, float) for k, v in data.items()}
    out = _run(
        f, method.transform, schedule.transform,
        stacked, bound(method.params), bound(schedule.params), x0, sizes,
    )  # fmt: skip
    return Descent(*(np.asarray(leaf) for leaf in out))


@partial(jax.jit, static_argnums=(0, 1, 2))
def _run(f, method, schedule, data, method_params, schedule_params, x0, sizes):
    global compilations
    compilations += 1

    def one(data, method_params, schedule_params, x0, sizes):
        rule = optax.with_extra_args_support(method(**method_params))
        if schedule is not None:
            rule = optax.chain(rule, schedule(**schedule_params))
        value_fn = partial(f, data)

        def step(carry, size):
            x, state = carry
            value, g = jax.value_and_grad(value_fn)(x)
            u, state = rule.update(g, state, x, value=value, grad=g, value_fn=value_fn)
            get = partial(optax.tree_utils.tree_get, state)
            if schedule is None:
                u, eta = size * u, size
            else:
                eta = get("step_size")
            # A method and a schedule may both count.
            hvp = sum(n for _, n in optax.tree_utils.tree_get_all_with_path(state, "hvp_evals"))
            row = (x, value, eta, get("f_evals", jnp.int32(0)), jnp.int32(hvp))
            return (optax.apply_updates(x, u), state), row

        (x, _), (xs, values, *seen) = jax.lax.scan(step, (x0, rule.init(x0)), sizes)
        last = jnp.append(values, value_fn(x))
        return (jnp.concatenate([xs, x[None]]), last, *seen)

    return jax.vmap(one, in_axes=-1, out_axes=-1)(data, method_params, schedule_params, x0, sizes)

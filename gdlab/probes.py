"""What is measured at a recorded step: pure functions of a `StepView`, never calls in the loop."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax
from jaxtyping import Array, Float

from gdlab import registry
from gdlab.errors import UsageError, suggest
from gdlab.numerics import lane_by_lane
from gdlab.types import COLUMNS

# What records, runs and tables have by these names is not a probe's to give.
RESERVED = (*COLUMNS, "x", "x0", "going", "status", "steps", "run_id", "verdict")


@dataclass(frozen=True)
class StepView:
    """One descent at step t, as a probe sees it.

    Attributes:
        f: the objective with its data, x -> scalar.
        x: x_t `[d]`; value, grad: f and its gradient there.
        update: the step u about to be taken, x_{t+1} = x_t + u.
        step_size: eta_t.
    """

    f: Callable[[Float[Array, " d"]], Float[Array, ""]]
    x: Float[Array, " d"]
    value: Float[Array, ""]
    grad: Float[Array, " d"]
    update: Float[Array, " d"]
    step_size: Float[Array, ""]


def check_probes(key: str, names: Sequence[str]) -> None:
    """Raises a `UsageError` for the first name that is no probe, or a column of every descent."""
    known = registry.factories("probe")
    for name in names:
        if name not in known:
            raise UsageError(f"{key}=[{name}]: {suggest(name, list(known))}")
        if name in RESERVED:
            raise UsageError(
                f"{key}=[{name}]: every descent has that column already; "
                "give the probe another name"
            )


def sums(
    x: Any, value: Any, grad: Any, update: Any, step_size: Any, minimizers: Any
) -> Mapping[str, Any]:
    """What the columns of every descent are made of, at one step (see `columns`).

    Products with g and u are in units of powers of two, in which they neither overflow nor
    underflow; 1/g is that of g, and that of u cancels. Square roots and the arc tangent are left
    to whoever keeps the record: under AVX, XLA takes square roots lane by lane, and they would
    cost more than all else.

    Args:
        x, grad, update: `[d]`, or tuples of the coordinates where these are carried apart.
        value, step_size: as in `StepView`.
        minimizers: `[k, d]`, or None.
    """
    x, g, u = (_parts(v) for v in (x, grad, update))
    g_unit, u_unit = unit(dot(g, g)), unit(dot(u, u))
    g, u = (tuple(vi * one for vi in v) for v, one in ((g, g_unit), (u, u_unit)))
    gg, ug = dot(g, g), dot(u, g)
    slant = ug / gg
    across = tuple(ui - slant * gi for ui, gi in zip(u, g, strict=True))  # what is not along g
    seen = {
        "loss": value,
        "step_size": step_size,
        "1/g": g_unit,
        "|g|^2": gg,
        "|u|^2": dot(u, u),
        "u'g": ug,
        "|across|^2": dot(across, across),
    }
    if minimizers is not None:
        away = zip(x, jnp.split(minimizers, len(x), axis=-1), strict=True)
        seen["distance^2"] = jnp.min(sum(jnp.sum((xi - at) ** 2, axis=-1) for xi, at in away))
    return seen


def unit(square: Any) -> Any:
    """A power of two s for vectors v with |v|^2 = square: |s v|^2 neither over- nor underflows.

    1 wherever that is true of |v|^2 itself; powers of two change no bit of what they scale.
    """
    far, bits = (140, 600) if square.dtype == jnp.float64 else (15, 100)
    one = jnp.where(square < 10.0 ** (-2 * far), 2.0**bits, 1.0)
    return jnp.where(square > 10.0 ** (2 * far), 2.0**-bits, one).astype(square.dtype)


def dot(a: Any, b: Any) -> Float[Array, ""]:
    """a'b of vectors `[d]`, or of tuples of their coordinates."""
    terms = [jnp.sum(ai * bi) for ai, bi in zip(_parts(a), _parts(b), strict=True)]
    return sum(terms[1:], terms[0])


def _parts(v: Any) -> tuple[Array, ...]:
    return v if isinstance(v, tuple) else (v,)


def columns(seen: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
    """The columns of every descent, and what else was seen: loss, grad_norm, slope, angle ...

    slope = u'g/|u| is the directional derivative along the step; over unit directions it is
    |g| cos(theta), smallest where the angle between u and -g is 0 (eqs. 4.3, 4.4).
    angle = atan2(|g| |u across g|, -u'g), accurate near 0 and pi, where the arc cosine of
    -u'g/|u||g| would lose half the digits.
    """
    rest = dict(seen)
    gg, uu, ug = rest.pop("|g|^2"), rest.pop("|u|^2"), rest.pop("u'g")
    across = rest.pop("|across|^2")
    with np.errstate(all="ignore"):  # where a descent has left the finite numbers
        g_unit = 1 / np.asarray(rest.pop("1/g"), float)
        grad_norm = np.sqrt(gg)
        made = {
            "grad_norm": grad_norm * g_unit,
            "slope": ug / np.sqrt(uu) * g_unit,
            "angle": np.arctan2(grad_norm * np.sqrt(across), -ug),
        }
        if "distance^2" in rest:
            made["distance"] = np.sqrt(rest.pop("distance^2"))
    return made | rest


def of_hessian(view: StepView, f: Callable[[Any], Array]) -> Float[Array, "*shape"]:
    """f(H) with the Hessian H at x_t, lane by lane; NaN, and not computed, where H is no matrix of
    numbers: as for the padding of a block, which would cost as much as its lanes."""

    def of_lane(H: Float[Array, "d d"]) -> Array:
        out = jax.eval_shape(f, H)
        nothing = jnp.full(out.shape, jnp.nan, out.dtype)
        return lax.cond(jnp.all(jnp.isfinite(H)), f, lambda _: nothing, H)

    return lane_by_lane(of_lane)(jax.hessian(view.f)(view.x))


def eigenvalues(view: StepView) -> Float[Array, " d"]:
    """Of the Hessian at x_t, ascending."""
    return of_hessian(view, lambda H: jnp.linalg.eigvalsh(H))


@registry.probe
def sharpness(view: StepView) -> Float[Array, ""]:
    """Largest eigenvalue of the Hessian at x_t; descent is stable while it is below 2/eta."""
    return eigenvalues(view)[-1]


@registry.probe
def curvature(view: StepView) -> Float[Array, ""]:
    """Curvature along the step, u'Hu/u'u, with H the Hessian at x_t."""
    u = view.update
    hu = jax.jvp(jax.grad(view.f), (view.x,), (u,))[1]
    return jnp.sum(u * hu) / jnp.sum(u * u)


@registry.probe
def x_norm(view: StepView) -> Float[Array, ""]:
    """Euclidean norm |x_t|."""
    return jnp.sqrt(jnp.sum(view.x**2))


@registry.probe
def smallest_eigenvalue(view: StepView) -> Float[Array, ""]:
    """Smallest eigenvalue of the Hessian at x_t; below 0 some direction leads down from there."""
    return eigenvalues(view)[0]


@registry.probe
def effective_dimension(view: StepView) -> Float[Array, ""]:
    """Directions that bear the curvature: (sum |l_i|)^2 / sum l_i^2, l_i eigenvalues at x_t."""
    size = jnp.abs(eigenvalues(view))
    return jnp.sum(size) ** 2 / jnp.sum(size**2)


@registry.probe
def alignment(view: StepView) -> Float[Array, ""]:
    """|g'v|/|g|, v the eigenvector of the Hessian's largest eigenvalue: 1 along it, 0 across."""
    g = view.grad * unit(jnp.sum(view.grad**2))
    v = of_hessian(view, lambda H: jnp.linalg.eigh(H)[1][:, -1])
    return jnp.abs(jnp.sum(g * v)) / jnp.sqrt(jnp.sum(g**2))


@registry.probe
def update_norm(view: StepView) -> Float[Array, ""]:
    """Length of the step, |u|."""
    one = unit(jnp.sum(view.update**2))
    return jnp.sqrt(jnp.sum((view.update * one) ** 2)) / one


@registry.probe
def decrease_ratio(view: StepView) -> Float[Array, ""]:
    """Actual over predicted decrease, (f(x + u) - f(x))/g'u: 1 where f is a plane along u."""
    after = view.f(view.x + view.update)
    return (after - view.value) / jnp.sum(view.grad * view.update)


@registry.probe
def armijo(view: StepView) -> Float[Array, ""]:
    """1 where the step decreases f sufficiently, f(x + u) <= f(x) + 1e-4 g'u, else 0."""
    after = view.f(view.x + view.update)
    enough = view.value + 1e-4 * jnp.sum(view.grad * view.update)
    return (after <= enough).astype(view.value.dtype)


@registry.probe
def wolfe(view: StepView) -> Float[Array, ""]:
    """1 where the slope has flattened enough (strong Wolfe), |g(x + u)'u| <= 0.9 |g'u|, else 0."""
    after = jnp.sum(jax.grad(view.f)(view.x + view.update) * view.update)
    before = jnp.sum(view.grad * view.update)
    return (jnp.abs(after) <= 0.9 * jnp.abs(before)).astype(view.value.dtype)


@registry.probe
def local_smoothness(view: StepView) -> Float[Array, ""]:
    """Change of the gradient over the length of the step, |g(x + u) - g(x)|/|u|: at most L."""
    change = jax.grad(view.f)(view.x + view.update) - view.grad
    return jnp.sqrt(jnp.sum(change**2) / jnp.sum(view.update**2))

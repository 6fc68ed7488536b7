"""A small tanh network on a curve: the first objective whose landscape nobody has mapped."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import jax.numpy as jnp
import numpy as np
from jaxtyping import Float

from gdlab import registry
from gdlab.errors import UsageError
from gdlab.objectives.inventory import box
from gdlab.types import Array, Facts, Objective


@dataclass(frozen=True)
class Network:
    """f(data, x) = 1/(2n) sum_i (v'tanh(w t_i + b) + c - y_i)^2, x = (b, w, c, v).

    Equal widths are equal functions, so that jobs fuse.
    """

    width: int

    def unravel(self, x: Float[Array, " d"]) -> dict[str, dict[str, Array]]:
        """The layers; `jax.flatten_util.ravel_pytree` makes them x again."""
        h = self.width
        return {
            "1_hidden": {"bias": x[:h], "weight": x[h : 2 * h]},
            "2_output": {"bias": x[2 * h], "weight": x[2 * h + 1 :]},
        }

    def __call__(self, data: Mapping[str, Array], x: Float[Array, " d"]) -> Float[Array, ""]:
        hidden, output = self.unravel(x).values()
        units = jnp.tanh(hidden["weight"] * data["t"][:, None] + hidden["bias"])
        off = jnp.sum(output["weight"] * units, axis=1) + output["bias"] - data["y"]
        return 0.5 * jnp.mean(off * off)


@registry.objective
def tanh_network(width: int = 10, degree: int = 4, points: int = 20) -> Objective:
    """A network 1-width-1 with tanh units, fitted to a Chebyshev polynomial.

    f(x) = 1/(2n) sum_i (v'tanh(w t_i + b) + c - T_k(t_i))^2, t_i evenly spaced on [-1, 1].

    The domain is the law of the usual initialization, +-1/sqrt(fan_in), for init=uniform. Neither
    f_star nor any critical point is known. `unravel` gives the layers back.

    Args:
        width: hidden units; d = 3 width + 1.
        degree: k, of the polynomial.
        points: n, size of the data set.

    Reference: J. Cohen, S. Kaur, Y. Li, J. Z. Kolter, A. Talwalkar, Gradient descent on neural
    networks typically occurs at the edge of stability, ICLR 2021 (data set).
    """
    for key, value, least in (("width", width, 1), ("degree", degree, 0), ("points", points, 2)):
        if value < least:
            raise UsageError(f"objective.{key}={value}: tanh_network takes an integer >= {least}")
    f = Network(width)
    t = np.linspace(-1.0, 1.0, points)
    y = np.polynomial.chebyshev.chebval(t, np.eye(degree + 1)[degree])
    dim = 3 * width + 1
    side = np.ones(dim)  # fan_in is 1 for the hidden units, width for the output
    side[2 * width :] = 1 / np.sqrt(width)
    facts = Facts(
        domain=box(dim, -1.0, 1.0) * side[:, None],
        source="f >= 0; nothing else is known",
    )
    return Objective(f, dim, {"t": t, "y": y}, ("t", "y"), "tanh_network", facts, f.unravel)

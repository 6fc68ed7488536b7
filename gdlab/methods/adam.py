"""Adam."""

from __future__ import annotations

from typing import Any

import optax

from gdlab import registry
from gdlab.types import Method


def adaptive_moments(b1: Any, b2: Any, eps: Any) -> optax.GradientTransformation:
    """g -> -m/(sqrt(v) + eps)."""
    return optax.chain(optax.scale_by_adam(b1=b1, b2=b2, eps=eps), optax.scale(-1.0))


@registry.method
def adam(b1: float = 0.9, b2: float = 0.999, eps: float = 1e-8) -> Method:
    """Adam: p = -m/(sqrt(v) + eps), m and v running means of g and g^2, unbiased.

    m_t = (b1 m + (1 - b1) g)/(1 - b1^t), v_t = (b2 v + (1 - b2) g^2)/(1 - b2^t), t from 1.

    Args:
        b1, b2: memory of the means, from 0 to below 1.
        eps: > 0.

    Needs: nothing.
    Guarantee: none even for convex f with a constant step (Reddi, Kale and Kumar 2018, thm. 1);
        each coordinate moves by about eta a step, so the end is a cycle unless eta_t falls.
    Reference: Kingma and Ba (2015), alg. 1.
    """
    for name, b in (("b1", b1), ("b2", b2)):
        if not 0 <= b < 1:
            raise ValueError(f"{name}={b}: takes a number from 0 to below 1")
    if not 0 < eps < float("inf"):
        raise ValueError(f"eps={eps}: takes a finite number > 0")
    return Method("adam", transform=adaptive_moments, params={"b1": b1, "b2": b2, "eps": eps})

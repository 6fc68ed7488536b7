"""Step rules: chain(method, schedule).

Both are recipes: `transform(**params)` is an optax transformation, called inside the compiled
program with traced numbers, so that a sweep over `params` reuses the program. A number that depends
on the objective is given as a function of its facts.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np
from jaxtyping import Float, Int

from gdlab.types.objective import Facts, is_real

if TYPE_CHECKING:  # optax brings jax, which takes half a second
    import optax


FromFacts = Callable[[Facts], float]


@dataclass(frozen=True)
class Method:
    """Gives the descent direction: transforms the gradient g into p, to be scaled by eta > 0.

    Attributes:
        name: as in `conf/method`.
        transform: module-level factory of the optax transformation g -> p.
        params: its numbers, or functions of the objective's facts; they ride in lanes.
        elementwise: p_i depends on the history of g_i alone, so that the runner may hand over the
            coordinates one by one (a tuple of scalars), which fuses best.
    """

    name: str
    transform: Callable[..., optax.GradientTransformationExtraArgs]
    params: Mapping[str, float | FromFacts] = field(default_factory=dict)
    elementwise: bool = False

    def __post_init__(self) -> None:
        _check_transform(f"method {self.name}", self.transform)


@dataclass(frozen=True)
class Schedule:
    """Scales the direction: x <- x + eta_t p_t.

    Open loop: eta_t = scale * sizes(t), evaluated before the descent; the sizes are data.
    Closed loop: `transform(**params)` is an optax transformation p -> eta p that is given
    `value`, `grad` and `value_fn`, and keeps `step_size` and (if it spends any) `f_evals`,
    `hvp_evals` in its state. Exactly one of `sizes` and `transform` is set.

    Attributes:
        name: as in `conf/schedule`.
        scale: unit of the step size: a number, or a function of the facts (1/L, 2/(L+mu)).
        sizes: t `[T]` (integers from 0) -> relative step sizes `[T]`.
        transform: module-level factory of the closed-loop transformation.
        params: its numbers, or functions of the objective's facts; they ride in lanes.
    """

    name: str
    scale: float | FromFacts = 1.0
    sizes: Callable[[Int[np.ndarray, " T"]], Float[np.ndarray, " T"]] | None = None
    transform: Callable[..., optax.GradientTransformationExtraArgs] | None = None
    params: Mapping[str, float | FromFacts] = field(default_factory=dict)

    def __post_init__(self) -> None:
        if (self.sizes is None) == (self.transform is None):
            raise ValueError(f"schedule {self.name}: give exactly one of sizes and transform")
        if self.sizes is not None and not callable(self.sizes):
            raise ValueError(
                f"schedule {self.name}: sizes takes a function of the steps t [T] -> [T], not "
                f"{type(self.sizes).__name__}; e.g. lambda t: steps[t % len(steps)]"
            )
        if self.transform is not None:
            _check_transform(f"schedule {self.name}", self.transform)
        if not callable(self.scale) and not is_real(self.scale):
            raise ValueError(
                f"schedule {self.name}: scale={self.scale!r}: takes a number, or a function of the "
                "objective's facts"
            )


def _check_transform(who: str, transform: Any) -> None:
    if not callable(transform):
        raise ValueError(
            f"{who}: transform={transform!r}: takes a function of the numbers in `params` that "
            "makes an optax transformation"
        )

"""Which programs may compute their outputs together: those of operations known to be safe for it.

XLA's multi-output fusion merges loops that share operands. It excludes products, and forgets that
scatters have an emitter of their own too: two of them abort the process (openxla/xla#47367). What
has one index for each number of its output goes through the emitter that can do it.
"""

from __future__ import annotations

from jax.extend.core import Jaxpr

from gdlab.runner.tracing import primitives

# From here on it costs: rosenbrock, 100 dimensions, is a fifth slower with it.
MOST_DIM = 64
ELEMENTWISE = """
    abs acos acosh add add_any and asin asinh atan atan2 atanh cbrt ceil clamp convert_element_type
    copy copy_p cos cosh digamma div eq erf erf_inv erfc exp exp2 expm1 floor ge gt integer_pow
    is_finite le lgamma log log1p logistic lt max min mul ne neg nextafter not or pow
    population_count real imag conj complex rem round rsqrt select_n shift_left
    shift_right_arithmetic shift_right_logical sign sin sinh sqrt square stop_gradient sub tan tanh
    xor reduce_precision
"""
MOVES = """
    broadcast broadcast_in_dim concatenate dynamic_slice dynamic_update_slice expand_dims gather
    iota pad reshape rev slice split squeeze stack transpose unstack bitcast_convert_type
"""
SUMS = """
    argmax argmin dot_general reduce_and reduce_max reduce_min reduce_or reduce_prod reduce_sum
"""
CONTROL = """
    closed_call cond core_call custom_jvp_call custom_vjp_call custom_vmap_call jit pjit scan while
    remat checkpoint
"""
SAFE = frozenset(" ".join((ELEMENTWISE, MOVES, SUMS, CONTROL)).split())


def is_safe(jaxpr: Jaxpr, dim: int) -> bool:
    """Whether the program gains by computing its outputs together and cannot be aborted by it."""
    return dim < MOST_DIM and all(name in SAFE for name in primitives(jaxpr))

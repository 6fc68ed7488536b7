"""How the machine computes: precision, bit-exactness, CPU devices. Must run before jax starts.

`exact` (the default): XLA on CPU contracts a*b + c to one rounding (FMA) in vector code but not
in a vector's remainder, so a lane's last bit would depend on its place in the block. Capping the
instruction set at AVX leaves no FMA: a lane's bits no longer depend on its company. `fast` gives
that up for 512-bit vectors.

Threads: jaxlib (0.10) hands what LAPACK does to a batch to the threads of XLA's pool and waits for
it on one of them. A pool whose threads all wait stands still forever: two blocks of Newton's method
on two cores are enough. The pool is therefore four times as wide as the cores, and what is ours
calls LAPACK `lane_by_lane`, which needs no other thread. Products with matrices of some 1,000
columns are cut by the number of threads; it is 64 at least, so that their last bits are the same on
every machine of up to 16 cores.
"""

from __future__ import annotations

import os
import sys
import warnings
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

from gdlab.errors import UsageError

FLAGS = {
    "exact": "--xla_cpu_max_isa=AVX",
    "fast": "--xla_cpu_prefer_vector_width=512",
}
# XLA computes each output of a step in a loop of its own, which begins with f and g anew, and
# starts each such loop as a task. With the backend options it computes outputs together, and
# compiles a loop that touches little as one function: Rosenbrock is 3 times faster in two
# dimensions and twice in ten; in a hundred it is 1.2 (exact) to 1.7 times (fast) slower. Backend
# options have no promise of compatibility: what XLA does not know it ignores. With 2**20 bytes a
# hundred would not pay, but a lane's last bit depended on its company (Adam on a matrix
# factorization).
SMALL = 2**18
BACKEND = (
    "--xla_backend_extra_options=xla_cpu_use_multi_output_fusion=true,"
    f"xla_cpu_small_while_loop_byte_threshold={SMALL}",
    # The tasks of a call are small, and all cores have blocks to compute: in turn they cost 20 us
    # less a call than side by side.
    "--xla_cpu_enable_concurrency_optimized_scheduler=false",
)
THREADS = 64
_chosen: str | None = None


def configure(numerics: str | None = None, devices: int | None = None) -> None:
    """Sets XLA's flags, 64-bit mode, the CPU devices and the compilation cache; once a process.

    Args:
        numerics: `exact` or `fast`; None: what the process computes with already, else `exact`.
        devices: CPU devices (default: JAX's one, which computes on all cores).
    """
    global _chosen
    if _chosen is not None:
        if numerics not in (None, _chosen):
            warnings.warn(
                f"numerics={numerics} came too late: this process already computes with "
                f"numerics={_chosen}; start a new one",
                stacklevel=2,
            )
        return
    numerics = _chosen = numerics or "exact"
    # A process that was started by another of ours inherits the flags of that one's numerics.
    ours = (*FLAGS.values(), *BACKEND)
    others = [f for f in os.environ.get("XLA_FLAGS", "").split() if f not in ours]
    os.environ["XLA_FLAGS"] = " ".join([*BACKEND, *others, FLAGS[numerics]])
    # Not fewer, whoever set it: a parent process may have had fewer cores.
    asked = os.environ.get("PJRT_NPROC", "")
    threads = max(THREADS, 4 * cores(), int(asked) if asked.isdigit() else 0)
    os.environ["PJRT_NPROC"] = str(threads)
    backend_up = "jax" in sys.modules and _backend_is_up()
    import jax

    jax.config.update("jax_enable_x64", True)
    if backend_up:
        warnings.warn(
            f"jax was started before gdlab: numerics={numerics}, the number of CPU devices and "
            "the threads that keep a method with LAPACK from waiting forever could not be set; "
            "import gdlab first",
            stacklevel=2,
        )
        return
    if devices:
        jax.config.update("jax_num_cpu_devices", devices)
    if not jax.config.values.get("jax_compilation_cache_dir"):
        root = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
        jax.config.update("jax_compilation_cache_dir", str(Path(root) / "gdlab" / "xla"))
        jax.config.update("jax_persistent_cache_min_compile_time_secs", 0.05)


def settle(asked: Iterable[Any]) -> None:
    """Configures what jobs ask for, who are to be computed with that and nothing else.

    Raises:
        UsageError: they ask for several numerics, for unknown ones, or the process computes with
            others already.
    """
    modes = {str(mode) for mode in asked}
    if len(modes) > 1 or not modes <= set(FLAGS):
        raise UsageError(
            f"numerics={','.join(sorted(modes))}: takes one of exact, fast for a whole sweep"
        )
    for mode in modes:
        if _chosen not in (None, mode):
            raise UsageError(
                f"numerics={mode}: comes too late, this process computes with numerics={_chosen}; "
                f"start a new one, with numerics={mode} on its command line"
            )
        configure(mode)


def _backend_is_up() -> bool:
    from jax._src import xla_bridge

    return bool(xla_bridge._backends)


def cores() -> int:
    """Cores that this process may compute on."""
    if hasattr(os, "sched_getaffinity"):  # Linux: a job's share of the machine
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def numerics() -> str | None:
    """The numerics that this process computes with; None before `configure`."""
    return _chosen


def lane_by_lane(f: Callable[..., Any]) -> Callable[..., Any]:
    """f, whose vmap is a loop over the lanes: for LAPACK, which does not wait for threads then.

    A call takes about 0.7 us more a lane than in a batch; from d = 20 on that is not seen.
    """
    import jax

    return jax.custom_batching.sequential_vmap(f)

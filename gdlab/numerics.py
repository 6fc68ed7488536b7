"""How the machine computes: bit-exactness, 64 bits, CPU devices, and how XLA compiles a block.

`exact` (the default): XLA on CPU contracts a*b + c to one rounding (FMA) in vector code but not
in a vector's remainder, so a lane's last bit would depend on its place in the block. Capping the
instruction set at AVX leaves no FMA: a lane's bits no longer depend on its company. `fast` gives
that up for 512-bit vectors. XLA reads such flags once, when jax starts its backend: `import gdlab`
therefore writes them into the environment (`prepare`), and touches nothing of jax.

64 bits belong to what gdlab computes, not to the process: its entry points run in `computing`,
and a user's own arrays are what they were.

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
import threading
import warnings
from collections.abc import Callable, Iterable, Iterator
from contextlib import ExitStack, contextmanager
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
# dimensions and twice in ten. Backend options have no promise of compatibility: what XLA does not
# know it ignores. With 2**20 bytes a hundred dimensions would not pay, but a lane's last bit
# depended on its company (Adam on a matrix factorization).
SMALL = 2**18
# Computing outputs together aborts the process where two of them are scatters (openxla/xla#47367).
# The pass is therefore disabled for the process, and enabled again (`FUSED`) for the programs in
# which `runner.fusion` finds nothing but operations that it is known to be safe for.
FUSING = "cpu_multi_output_fusion"
DISABLED = "--xla_disable_hlo_passes="
BACKEND = (
    "--xla_backend_extra_options=xla_cpu_use_multi_output_fusion=true,"
    f"xla_cpu_small_while_loop_byte_threshold={SMALL}",
    # The tasks of a call are small, and all cores have blocks to compute: in turn they cost 20 us
    # less a call than side by side.
    "--xla_cpu_enable_concurrency_optimized_scheduler=false",
)
THREADS = 64
_OURS = (*FLAGS.values(), *BACKEND)
_prepared: str | None = None  # the numerics that the environment asked for as jax started
_chosen: str | None = None
_thread = threading.local()


def prepare(numerics: str = "exact") -> None:
    """Writes XLA's flags into the environment, unless jax has read them already.

    Flags that the user has set stay as they are.
    """
    global _prepared
    if _backend_is_up():
        return
    _prepared = numerics
    # A process that was started by another of ours inherits the flags of that one's numerics.
    others = [f for f in os.environ.get("XLA_FLAGS", "").split() if f not in _OURS]
    passes = [f.removeprefix(DISABLED) for f in others if f.startswith(DISABLED)]
    names = dict.fromkeys(name for part in passes for name in part.split(","))
    others = [f for f in others if not f.startswith(DISABLED)]
    disabled = DISABLED + ",".join([*(n for n in names if n != FUSING), FUSING])
    # XLA takes the last of two flags: the user's.
    os.environ["XLA_FLAGS"] = " ".join([*BACKEND, disabled, FLAGS[numerics], *others])
    # Not fewer, whoever set it: a parent process may have had fewer cores.
    asked = os.environ.get("PJRT_NPROC", "")
    threads = max(THREADS, 4 * cores(), int(asked) if asked.isdigit() else 0)
    os.environ["PJRT_NPROC"] = str(threads)


def configure(
    numerics: str | None = None, devices: int | None = None, x64: bool | None = None
) -> None:
    """Chooses what this process computes with; the first call, or the first descent, decides.

    Args:
        numerics: `exact` or `fast`; None: what the process computes with already, else `exact`.
        devices: CPU devices (default: JAX's one, which computes on all cores).
        x64: whether arrays of the whole process have 64 bits. None: as they were; what gdlab
            computes has them in any case.

    Raises:
        UsageError: no such numerics.
    """
    global _chosen
    if numerics not in (None, *FLAGS):
        raise UsageError(f"numerics={numerics}: takes exact or fast")
    if x64 is not None:
        import jax

        jax.config.update("jax_enable_x64", x64)
    if _chosen is not None:
        if numerics not in (None, _chosen):
            _warn(
                f"numerics={numerics} came too late: this process already computes with "
                f"numerics={_chosen}; start a new one"
            )
        return
    up = _backend_is_up()
    if not up:
        prepare(numerics or "exact")
    elif _prepared is None:
        _warn(
            f"jax was started before gdlab: numerics={numerics or 'exact'}, the number of CPU "
            "devices and the threads that keep a method with LAPACK from waiting forever could "
            "not be set; import gdlab before jax computes anything"
        )
    elif numerics not in (None, _prepared):
        _warn(
            f"numerics={numerics} came too late: jax was started with numerics={_prepared}; call "
            f'gdlab.configure(numerics="{numerics}") before jax computes anything'
        )
        numerics = _prepared
    _chosen = numerics or _prepared or "exact"
    if _chosen == "exact" and any(f.startswith("--xla_cpu_max_isa=") for f in _users()):
        _warn(
            "XLA_FLAGS sets xla_cpu_max_isa, which numerics=exact needs at AVX: a run's last bits "
            "may depend on what runs beside it; take it out of XLA_FLAGS"
        )
    import jax

    if devices and not up:
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


@contextmanager
def computing() -> Iterator[None]:
    """A context, or the decorator `@computing()`, in which this thread computes as gdlab does.

    Arrays have 64 bits, and types and ranks are promoted as NumPy does, whatever the process has
    set for itself; numbers that are not finite are results, not errors. All of it ends with the
    context.

    Raises:
        UsageError: jax starts no device of the platform that JAX_PLATFORMS asks for.
    """
    configure()
    import jax

    try:
        jax.local_devices()
    except (RuntimeError, AssertionError) as error:
        asked = jax.config.values.get("jax_platforms") or ""
        said = (str(error).splitlines() or ["no such device"])[0]
        raise UsageError(
            f"JAX_PLATFORMS={asked}: jax does not start it here ({said}); take it out of the "
            "environment, or use JAX_PLATFORMS=cpu"
        ) from None
    with ExitStack() as stack:
        for setting in (
            jax.enable_x64(True),
            jax.numpy_dtype_promotion("standard"),
            jax.numpy_rank_promotion("allow"),
            jax.debug_nans(False),
            jax.debug_infs(False),
            jax.disable_jit(False),
        ):
            stack.enter_context(setting)
        yield


def enter() -> None:
    """Lets this thread, from its first task to its end, compute as in `computing`."""
    _thread.settings = computing()  # kept: they would end with it
    _thread.settings.__enter__()


def fused() -> dict[str, str]:
    """Compiler options of a program whose outputs are computed together; see `FUSING`."""
    passes = [f.removeprefix(DISABLED) for f in _flags() if f.startswith(DISABLED)]
    return {
        "xla_disable_hlo_passes": ",".join(n for n in ",".join(passes).split(",") if n != FUSING)
    }


def _flags() -> list[str]:
    return os.environ.get("XLA_FLAGS", "").split()


def _users() -> list[str]:
    return [f for f in _flags() if f not in _OURS]


def _warn(text: str) -> None:
    warnings.warn(text, stacklevel=3)


def _backend_is_up() -> bool:
    if "jax" not in sys.modules:
        return False
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

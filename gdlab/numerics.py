"""How the machine computes: precision, bit-exactness, CPU devices. Must run before jax starts.

`exact` (the default): XLA on CPU contracts a*b + c to one rounding (FMA) in vector code but not
in a vector's remainder, so a lane's last bit would depend on its place in the block. Capping the
instruction set at AVX leaves no FMA: a lane's bits no longer depend on its company. `fast` gives
that up for 512-bit vectors.
"""

from __future__ import annotations

import os
import sys
import warnings
from pathlib import Path

FLAGS = {
    "exact": "--xla_cpu_max_isa=AVX",
    "fast": "--xla_cpu_prefer_vector_width=512",
}
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
    others = [f for f in os.environ.get("XLA_FLAGS", "").split() if f not in FLAGS.values()]
    os.environ["XLA_FLAGS"] = " ".join([*others, FLAGS[numerics]])
    backend_up = "jax" in sys.modules and _backend_is_up()
    import jax

    jax.config.update("jax_enable_x64", True)
    if backend_up:
        warnings.warn(
            f"jax was started before gdlab: numerics={numerics} and the number of CPU devices "
            "could not be set; import gdlab first",
            stacklevel=2,
        )
        return
    if devices:
        jax.config.update("jax_num_cpu_devices", devices)
    if not jax.config.values.get("jax_compilation_cache_dir"):
        root = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
        jax.config.update("jax_compilation_cache_dir", str(Path(root) / "gdlab" / "xla"))
        jax.config.update("jax_persistent_cache_min_compile_time_secs", 0.05)


def _backend_is_up() -> bool:
    from jax._src import xla_bridge

    return bool(xla_bridge._backends)


def numerics() -> str | None:
    """The numerics that this process computes with; None before `configure`."""
    return _chosen

"""Every test computes as gdlab does: 64 bits, exact numerics; and leaves nothing to the next."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path

import jaxtyping
import pytest
from hydra.version import VersionBase

# Before gdlab is imported: the shapes of every call are checked. Not those of objectives, whose
# functions the runner calls with coordinates apart, which are no array: checked, they would be
# refused, and differentiated in another way than they are for users.
CHECKED = (
    *(
        f"gdlab.{path.stem}"
        for path in sorted((Path(__file__).parents[1] / "gdlab").iterdir())
        if path.stem.isidentifier() and not path.stem.startswith("_") and path.stem != "objectives"
    ),
    "hydra_plugins",
)
jaxtyping.install_import_hook(CHECKED, "shapes.checked")

from gdlab import registry  # noqa: E402
from gdlab.numerics import configure  # noqa: E402

configure(devices=2, x64=True)  # before jax starts
BASE = VersionBase.instance().version_base


@pytest.fixture(autouse=True)
def nothing_stays(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """Hydra's version base, a user's modules and what they registered end with their test."""
    # What Hydra takes for its defaults: an app sets it for the whole process, and what runs
    # within Hydra's own functions may set it after its test has ended.
    VersionBase.instance().version_base = BASE
    modules = set(sys.modules)
    known = {kind: set(found) for kind, found in registry._factories.items()}
    yield
    VersionBase.instance().version_base = BASE
    for name in set(sys.modules) - modules:
        file = Path(getattr(sys.modules[name], "__file__", None) or "/")
        if file.is_relative_to(tmp_path_factory.getbasetemp()):
            del sys.modules[name]
    own = False
    for kind, found in registry._factories.items():
        for name in set(found) - known[kind]:
            if not found[name].__module__.startswith("gdlab."):
                del found[name]
                own = True
    if own and "gdlab.launch.build" in sys.modules:
        sys.modules["gdlab.launch.build"]._made.cache_clear()

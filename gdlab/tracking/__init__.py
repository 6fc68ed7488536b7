"""Where runs are kept: the only room that knows mlflow."""

from gdlab.tracking.keys import RunData, run_id_for
from gdlab.tracking.read import load, load_curves
from gdlab.tracking.store import Store, open_store

__all__ = ["RunData", "Store", "load", "load_curves", "open_store", "run_id_for"]

"""Where runs are kept: the only room that knows mlflow."""

from gdlab.tracking.keys import RunData, run_id_for

__all__ = ["RunData", "run_id_for"]

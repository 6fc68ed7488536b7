"""The descent runner: jobs grouped by structure, stacked in lanes, run as compiled programs."""

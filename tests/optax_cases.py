"""What rules and schedules of optax need to be given."""

from __future__ import annotations

from typing import Any

# Keys without a default, and those whose default would hide what the rule does in few steps.
GIVEN: dict[str, dict[str, Any]] = {
    "fromage": {"learning_rate": 0.01},
    "lars": {"learning_rate": 0.1},
    "rprop": {"learning_rate": 0.001},
    "madgrad": {"learning_rate": 0.01},
    "prodigy": {"estim_lr0": 0.01},
    "schedule_free": {"learning_rate": 0.01},
    "sgd": {"momentum": 0.9},
    "reduce_on_plateau": {"patience": 2},
    "lamb": {"weight_decay": 0.1},
}
SCHEDULES: dict[str, dict[str, Any]] = {
    "constant_schedule": {"value": 0.1},
    "cosine_decay_schedule": {"init_value": 0.1, "decay_steps": 20},
    "cosine_onecycle_schedule": {"transition_steps": 20, "peak_value": 0.1},
    "exponential_decay": {"init_value": 0.1, "transition_steps": 5, "decay_rate": 0.5},
    "linear_onecycle_schedule": {"transition_steps": 20, "peak_value": 0.1},
    "linear_schedule": {"init_value": 0.1, "end_value": 0.0, "transition_steps": 20},
    "piecewise_constant_schedule": {
        "init_value": 0.1,
        "boundaries_and_scales": {3: 0.5, 10: 0.1},
    },
    "piecewise_interpolate_schedule": {
        "interpolate_type": "cosine",
        "init_value": 0.1,
        "boundaries_and_scales": {3: 0.5, 10: 0.1},
    },
    "polynomial_schedule": {
        "init_value": 0.1,
        "end_value": 0.0,
        "power": 2.0,
        "transition_steps": 20,
    },
    "sgdr_schedule": {
        "cosine_kwargs": [
            {"init_value": 0.0, "peak_value": 0.1, "warmup_steps": 3, "decay_steps": 10}
        ]
        * 2
    },
    "warmup_constant_schedule": {"init_value": 0.0, "peak_value": 0.1, "warmup_steps": 5},
    "warmup_cosine_decay_schedule": {
        "init_value": 0.0,
        "peak_value": 0.1,
        "warmup_steps": 5,
        "decay_steps": 20,
    },
    "warmup_exponential_decay_schedule": {
        "init_value": 0.0,
        "peak_value": 0.1,
        "warmup_steps": 5,
        "transition_steps": 5,
        "decay_rate": 0.5,
    },
}
NEEDED: dict[str, dict[str, Any]] = {
    f"optax/{name}": keys for name, keys in (GIVEN | SCHEDULES).items()
}

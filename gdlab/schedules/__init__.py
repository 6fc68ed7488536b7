"""How far a step goes: schedules, one family a file."""

from gdlab.schedules.constant import constant

__all__ = ["constant"]

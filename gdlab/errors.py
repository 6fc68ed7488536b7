"""Errors that a user can mend. They know nothing, so that every room may raise them."""

from __future__ import annotations


class UsageError(ValueError):
    """One line that names the key, the value, what it takes and what to do next."""


class MissingFact(UsageError):
    """A rule or probe needs a fact that the objective does not have."""

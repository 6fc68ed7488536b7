"""Proofs by interval arithmetic: enclosures of f and its derivatives, existence, completeness."""

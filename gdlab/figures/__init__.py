"""Figures: pure functions of tables and arrays. The only room that knows matplotlib."""

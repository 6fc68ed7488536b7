"""Figures: pure functions of tables and arrays. The only room that knows matplotlib."""

from gdlab.figures._matplotlib import import_without_backend

import_without_backend()

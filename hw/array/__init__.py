"""The array: a processing element, a row of them, a grid of rows, and what skews its edges."""

from .grid import Grid
from .pe import PE
from .row import Row
from .skew import Skew

__all__ = ["PE", "Grid", "Row", "Skew"]

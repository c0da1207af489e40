"""How long the array takes: the exact cycle model, and the runner that measures it on the RTL."""

from .model import cycles

__all__ = ["cycles"]

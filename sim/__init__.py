"""How long the array takes: the exact cycle model, and the runner that measures it on the RTL."""

from .model import Timing, cycles, schedule

__all__ = ["Timing", "cycles", "schedule"]

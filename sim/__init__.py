"""How long the array takes: exact cycles, whole networks, and the RTL they are compared with."""

from golden.schedule import Repeat, Timing, cycles, schedule

__all__ = ["Repeat", "Timing", "cycles", "schedule"]

"""How long the array takes: exact cycles, whole networks, and the RTL they are compared with."""

from hw.starting import expect_interrupts

expect_interrupts()  # before the imports that take long

from golden.schedule import Repeat, Timing, cycles, schedule  # noqa: E402

__all__ = ["Repeat", "Timing", "cycles", "schedule"]

"""How long the array takes: exact cycles, whole networks, and the RTL they are compared with."""

from report.starting import expect_interrupts

expect_interrupts()  # before the imports that take long

from golden.machine.schedule import Repeat, Timing, cycles, schedule  # noqa: E402

__all__ = ["Repeat", "Timing", "cycles", "schedule"]

"""Gateware of the ST-OS systolic array, written in Amaranth."""

from report.starting import expect_interrupts

expect_interrupts()  # before the imports that take long

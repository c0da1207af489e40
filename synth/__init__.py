"""What a core costs: Yosys and nextpnr runs, area and timing reports."""

from report.starting import expect_interrupts

expect_interrupts()  # before the imports that take long

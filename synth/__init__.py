"""What a core costs: Yosys and nextpnr runs, area and timing reports."""

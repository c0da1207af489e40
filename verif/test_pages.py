"""The pictures of the pages show what is there."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from amaranth.hdl import Fragment

from golden import Operands, map_workload
from hw.array.pe import PE
from hw.config import ArrayConfig
from hw.top import Top, core_ports
from pages import accelerator, array, handshake, lane, pe
from pages.__main__ import PICTURES
from sim.accelerator.compiler import compile_graph
from sim.accelerator.rtl import MOVES
from verif.unit.stepper import registers

DOCS = Path(__file__).parents[1] / "docs"


def inside(fragment: Fragment) -> dict[str, Fragment]:
    """Return the submodules of a component by name."""
    return {name: inner for inner, name, *_ in getattr(fragment, "subfragments")}  # noqa: B009


@pytest.mark.parametrize(
    "name", [name for name in PICTURES if name not in ("handshake.svg", "run.svg")]
)
def test_committed_pictures(name):
    """Every picture is the one that its maker draws."""
    assert (DOCS / name).read_text() == PICTURES[name]().svg(), "run make pages"


def test_block_diagram():
    """The boxes are the core's submodules, rows and PEs, the arrows its streams."""
    config = ArrayConfig(rows=array.ROWS, cols=array.COLS, st_os=True)
    parts = inside(Fragment.get(Top(config=config), None))
    assert list(parts) == list(array.PARTS)
    rows = inside(parts["grid"])
    assert list(rows) == [f"row_{r}" for r in range(array.ROWS)]
    assert list(inside(rows["row_0"])) == [f"pe_{c}" for c in range(array.COLS)]
    streams = [name.removesuffix("_tdata") for name, *_ in core_ports(config) if "tdata" in name]
    assert streams == list(array.STREAMS)


def test_schematic():
    """The PE has these registers and ports, and ST-OS adds these."""
    for st_os in (False, True):
        one = PE(config=ArrayConfig(rows=1, cols=1, st_os=st_os))
        found = {register.name for register in registers(Fragment.get(one, None))}
        assert found == set(pe.REGISTERS)
        assert set(one.signature.members) == {*pe.PORTS, *(pe.ST_OS_PORTS if st_os else ())}
    drawn = (DOCS / "pe.svg").read_text()
    for name in (*pe.REGISTERS, *pe.PORTS, *pe.ST_OS_PORTS):
        assert f">{name}<" in drawn or f">{name}:" in drawn or f" {name}:" in drawn


def test_lane():
    """The stream, and what is dropped of its results, are those of a FuSe layer's lane."""
    pixels = 1 + np.arange(lane.HEIGHT * lane.WIDTH).reshape(lane.HEIGHT, lane.WIDTH, 1)
    x = np.concatenate([pixels, pixels], axis=2)
    taps = np.array([[1], [2], [3]])
    config = ArrayConfig(rows=1, cols=lane.COLS, st_os=True)
    data = Operands.of("fuse_half", x, taps, taps)
    lowering = map_workload(data.workload, config, "textbook").tiles(data)
    tile, place = lowering.tiles[0], lowering.places[0]  # of the row filters
    names = [f"{i}{j}" for i in range(lane.HEIGHT) for j in range(lane.WIDTH)]
    drawn = [0 if one == "0" else 1 + names.index(one) for one in lane.stream()]
    assert tile.act[: len(drawn), 0].tolist() == drawn and not tile.act[len(drawn) :, 0].any()
    outputs = len(drawn) - lane.TAPS + 1
    assert (place[:outputs, 0] >= 0).tolist() == [lane.kept(i) for i in range(outputs)]


def test_handshake():
    """The trace is that of the emitted core today: every beat once, and still while it waits."""
    cycles = handshake.trace()
    assert (DOCS / "handshake.svg").read_text() == handshake.sheet(cycles).svg()
    config, command, tiles = handshake.CONFIG, handshake.COMMAND, handshake.TILES
    taken = sum(one.act_valid and one.act_ready for one in cycles)
    assert taken == sum(one.wgt_valid and one.wgt_ready for one in cycles)
    assert taken == tiles * command.act_beats(config)
    sent = [one for one in cycles if one.out_valid and one.out_ready]
    assert len(sent) == tiles * command.out_beats(config)
    assert [one.out_last for one in sent] == [False, True] * tiles
    for one, then in zip(cycles, cycles[1:], strict=False):
        assert not (one.out_valid and not one.out_ready) or then.out_valid
    assert any(one.act_valid and not one.act_ready for one in cycles[3:])


def test_turn():
    """Column c has byte k of its n-th pixel in step ``4 n + c + k``."""
    steps = accelerator.turned(groups=3)
    for group in range(3):
        for c in range(4):
            for k in range(4):
                byte = steps[4 * group + c + k][1][c]
                assert divmod(byte, 16) == (4 * group + c, k)


def test_run():
    """The trace is that of the accelerator today; every beat is there once, in order."""
    trace = accelerator.traced()
    assert (DOCS / "run.svg").read_text() == accelerator.run(trace).svg(), "run make pages"
    moved = {name: [n for n, moves in enumerate(trace) if moves >> bit & 1]
             for bit, name in enumerate(MOVES)}  # fmt: skip
    program = compile_graph(accelerator.network(), accelerator.CONFIG)
    counts = {name: len(cycles) for name, cycles in moved.items()}
    assert counts["register write"] == 11  # four addresses of 64 bits, and three
    assert counts["operands enter the array"] == 3 * 5  # three tiles of four pixels
    assert counts["results"] == 12
    assert (counts["r, tensors"], counts["w"], counts["b"]) == (8, 6, 1)  # 60 and 48 bytes
    read = sum(count for name, count in counts.items() if name.startswith("r, "))
    timing = program.timing(accelerator.LATENCY)
    assert 8 * read == timing.counters["BYTES_READ"]
    # The start comes a cycle after its write, and the interrupt a cycle after the end.
    assert moved["irq"][0] - moved["register write"][-1] == timing.cycles + 2
    order = ["register write", "r, jobs and parameters", "operands enter the array", "results",
             "aw", "w", "b", "irq"]  # fmt: skip
    firsts = [moved[name][0] for name in order]
    assert firsts == sorted(firsts)

"""Handshakes with stalls: the ports of an emitted 2 x 2 core, cycle by cycle, from a simulation."""

from __future__ import annotations

import subprocess
import tempfile
from dataclasses import dataclass
from pathlib import Path

from hw.config import ArrayConfig, Command
from hw.emit import emit_verilog
from sim.rtl.toolchain import build, cache_folder

from .draw import BLUE, CONTROL, GREEN, ORANGE, Sheet

__all__ = ["COMMAND", "CONFIG", "TILES", "Cycle", "sheet", "trace"]

CONFIG = ArrayConfig(rows=2, cols=2)
COMMAND = Command(depth=3, emit=2)
TILES = 3
#: Cycles in which the source of activations has nothing, and in which the sink is not ready.
PAUSES, BUSY = (4,), (10, 11)

# Ones in every lane: a sum counts the products.
_HARNESS = r"""
#include "Vcore.h"
#include "verilated.h"
#include <cstdio>
#include <cstdlib>
int main(int argc, char** argv) {
  Vcore core;
  unsigned long long pauses = std::strtoull(argv[1], nullptr, 0);
  unsigned long long busy = std::strtoull(argv[2], nullptr, 0);
  int commands = TILES, act = BEATS, wgt = BEATS, beats = 0, first = -1;
  for (int step = -4; beats < RESULTS && step < 200; step++) {
    int cycle = first < 0 ? 0 : step - first;
    core.rst = step < -2;
    core.s_axis_cmd_tvalid = step >= 0 && commands > 0;
    core.s_axis_cmd_tdata = COMMAND;
    core.s_axis_act_tvalid = act > 0 && !(first >= 0 && (pauses >> cycle & 1));
    core.s_axis_wgt_tvalid = wgt > 0;
    core.s_axis_act_tdata = core.s_axis_wgt_tdata = 0x0101;
    core.m_axis_out_tready = !(first >= 0 && (busy >> cycle & 1));
    core.clk = 0;
    core.eval();
    if (first < 0 && core.s_axis_cmd_tvalid && core.s_axis_cmd_tready) first = step, cycle = 0;
    if (first >= 0)
      std::printf("%d %d %d %d %d %d %d\n", core.s_axis_act_tvalid, core.s_axis_act_tready,
                  core.m_axis_out_tvalid, core.m_axis_out_tready, core.m_axis_out_tlast,
                  core.s_axis_wgt_tvalid, core.s_axis_wgt_tready);
    bool took_cmd = core.s_axis_cmd_tvalid && core.s_axis_cmd_tready;
    bool took_act = core.s_axis_act_tvalid && core.s_axis_act_tready;
    bool took_wgt = core.s_axis_wgt_tvalid && core.s_axis_wgt_tready;
    beats += core.m_axis_out_tvalid && core.m_axis_out_tready && !core.rst;
    core.clk = 1;
    core.eval();
    if (!core.rst) commands -= took_cmd, act -= took_act, wgt -= took_wgt;
  }
}
"""


@dataclass(frozen=True)
class Cycle:
    """What the ports show in one cycle; the first command is taken in cycle 0."""

    act_valid: bool
    act_ready: bool
    out_valid: bool
    out_ready: bool
    out_last: bool
    wgt_valid: bool
    wgt_ready: bool


def trace() -> list[Cycle]:
    """Simulate the emitted core, and return its cycles up to the last result."""
    defines = {
        "TILES": TILES,
        "BEATS": TILES * COMMAND.act_beats(CONFIG),
        "RESULTS": TILES * COMMAND.out_beats(CONFIG),
        "COMMAND": COMMAND.encode(),
    }
    program = build(
        cache_folder(), {"core.v": emit_verilog(CONFIG)}, top="stos_core", harness=_HARNESS,
        defines=defines,
    )  # fmt: skip
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, "core")
        path.write_bytes(program)
        path.chmod(0o755)
        masks = [str(sum(1 << cycle for cycle in cycles)) for cycles in (PAUSES, BUSY)]
        lines = subprocess.check_output([path, *masks], text=True).splitlines()
    return [Cycle(*(digit == "1" for digit in line.split())) for line in lines]


def sheet(cycles: list[Cycle] | None = None) -> Sheet:
    """Draw the handshakes of activations and results; a beat moves where its box is filled."""
    cycles = cycles or trace()
    left, pitch = 4.4, 1.0
    s = Sheet(left + pitch * len(cycles) + 0.4, 9.3, 42)
    lines = (
        ("s_axis_act", BLUE, "act_valid", "act_ready", 7.7),
        ("m_axis_out", GREEN, "out_valid", "out_ready", 4.4),
    )
    for number in range(len(cycles) + 1):
        x = left + pitch * number
        s.line((x, 1.4), (x, 8.3), ink="#DDDDDD", width=0.7, arrow=False, layer=1)
        if number < len(cycles):
            s.words(x + pitch / 2, 8.7, str(number), size=8, ink=CONTROL)
    s.words(left - 0.3, 8.7, "cycle", size=8, ink=CONTROL, align="right")

    for stream, ink, valid, ready, top in lines:
        s.words(0.2, top - 0.8, stream, ink=ink, bold=True, align="left")
        for name, attribute, y in (("tvalid", valid, top - 0.35), ("tready", ready, top - 1.45)):
            s.words(left - 0.3, y, name, size=8.5, align="right")
            levels = [float(getattr(one, attribute)) for one in cycles]
            points = []
            for number, level in enumerate(levels):
                height = y - 0.3 + 0.6 * level
                points += [(left + pitch * number, height), (left + pitch * (number + 1), height)]
            s.line(*points, ink=ink, width=1.6, arrow=False)
        y = top - 2.9
        s.words(left - 0.3, y + 0.35, "beat", size=8.5, align="right")
        per_tile = (COMMAND.act_beats if stream == "s_axis_act" else COMMAND.out_beats)(CONFIG)
        beat = 0
        for number, one in enumerate(cycles):
            if getattr(one, valid):
                moves = getattr(one, ready)
                tile, index = divmod(beat, per_tile)
                s.box(
                    left + pitch * number + 0.06, y, pitch - 0.12, 0.7,
                    f"{'ABC'[tile]}{index}", face=ink if moves else "white", edge=ink,
                    ink="white" if moves else ink, size=8, dashed=not moves,
                )  # fmt: skip
                beat += moves
    for cycle in PAUSES:
        s.words(left + pitch * (cycle + 0.5), 7.7 - 2.55, "none", size=7.5, ink=ORANGE)
    middle = left + pitch * (BUSY[0] + BUSY[-1] + 1) / 2
    s.words(middle, 0.8, "the sink is busy:\nthe result waits", size=7.5, ink=ORANGE)
    s.words(left + pitch * (BUSY[-1] + 3.2), 7.7 - 2.55, "the array waits, a cycle later", size=7.5,
            ink=ORANGE, align="left")  # fmt: skip
    s.words(left, 0.8, "A, B, C: tile; number: beat of the tile;\nfilled: the beat is taken",
            size=8, align="left")  # fmt: skip
    s.words(0.2, 0.8, "2 x 2 core, three GEMM\ntiles, K = 3, N = 2", size=8, align="left")
    return s

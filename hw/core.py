"""The core: AXI4-Stream ports around the grid, its skews, its drain and its controller."""

from __future__ import annotations

from typing import Any

from amaranth.hdl import Cat, Module, Signal
from amaranth.lib.wiring import In, Out

from .array import Grid
from .config import ArrayConfig
from .controller import Controller
from .drain import Drain
from .emit.share import SharedComponent
from .skew import Skew
from .skid import Skid

__all__ = ["Core", "core_ports"]


def core_ports(config: ArrayConfig) -> list[tuple[str, str, int]]:
    """Return (name, direction, width) of every port of a core but `clk` and `rst`."""
    return [
        ("s_axis_cmd_tdata", "input", 64),
        ("s_axis_cmd_tvalid", "input", 1),
        ("s_axis_cmd_tready", "output", 1),
        ("s_axis_act_tdata", "input", config.rows * config.act_bytes * 8),
        ("s_axis_act_tvalid", "input", 1),
        ("s_axis_act_tready", "output", 1),
        ("s_axis_wgt_tdata", "input", config.weight_lanes * config.weight_bytes * 8),
        ("s_axis_wgt_tvalid", "input", 1),
        ("s_axis_wgt_tready", "output", 1),
        ("m_axis_out_tdata", "output", config.rows * config.acc_bytes * 8),
        ("m_axis_out_tvalid", "output", 1),
        ("m_axis_out_tready", "input", 1),
        ("m_axis_out_tlast", "output", 1),
        ("cmd_error", "output", 1),
    ]


class Core(SharedComponent):
    """An output-stationary systolic array with AXI4-Stream ports.

    GEMM: ``Y[r, n] = sum_k A[r, k] * B[k, n]``; beat k of `s_axis_act` is ``A[:, k]``, beat k of
    `s_axis_wgt` is ``B[k, :]``, beat n of `m_axis_out` is ``Y[:, n]``.

    ST-OS: ``y[r, i] = sum_k w[r, k] * x[r, i + k]``; beat u of `s_axis_act` is ``x[:, u]``, beat
    k of `s_axis_wgt` is ``w[:, k]`` (repeated per fold), beat i of `m_axis_out` is ``y[:, i]``.

    The whole array moves by one enable: it stands still while a result beat waits for
    `m_axis_out_tready`. Missing operands stop the current command, not the results of earlier
    ones.

    Parameters
    ----------
    config : ArrayConfig
        The machine.

    Members
    -------
    s_axis_cmd_{tdata,tvalid,tready} : 64, 1, 1
        Commands (`hw.config.Command`).
    s_axis_act_{tdata,tvalid,tready} : rows * 8 * act_bytes, 1, 1
        Activations, lane r for row r.
    s_axis_wgt_{tdata,tvalid,tready} : weight_lanes * 8 * weight_bytes, 1, 1
        Weights: lane n for output n (GEMM), lane r for row r (ST-OS).
    m_axis_out_{tdata,tvalid,tready,tlast} : rows * 8 * acc_bytes, 1, 1, 1
        Results, lane r from row r, sign-extended to whole bytes.
    cmd_error : Out(1)
        An illegal command was taken since reset.

    Latency: the first result of a GEMM tile is taken ``depth + cols + rows + mac_stages + 1``
    cycles after its command, that of an ST-OS pass ``depth + cols + mac_stages + 2``.
    Throughput: see `sim.cycles`.
    """

    def __init__(self, *, config: ArrayConfig) -> None:
        signature = {
            name: (In if direction == "input" else Out)(width)
            for name, direction, width in core_ports(config)
        }
        super().__init__(kind="core", parameters=config, signature=signature, resets=True)
        self.config = config

    def body(self, platform: object) -> Module:
        """Wire the parts together."""
        config = self.config
        rows, cols = config.rows, config.cols
        m = Module()
        m.submodules.controller = controller = Controller(config=config)
        m.submodules.act_skew = act_skew = Skew(
            kind="act_skew", lanes=rows, width=config.act_width, bypass=config.st_os
        )
        m.submodules.wgt_skew = wgt_skew = Skew(
            kind="wgt_skew", lanes=cols, width=config.weight_width
        )
        m.submodules.grid = grid = Grid(config=config)
        m.submodules.drain = drain = Drain(config=config)
        m.submodules.deskew = deskew = Skew(
            kind="deskew",
            lanes=rows,
            width=config.acc_width,
            reverse=True,
            bypass=config.st_os,
        )
        m.submodules.skid = skid = Skid(width=rows * config.acc_width + 1)

        # The one enable: a result beat that is not taken freezes the array.
        en = skid.o_en
        for part in (controller, act_skew, wgt_skew, grid, drain, deskew):
            m.d.comb += part.i_en.eq(en)

        m.d.comb += [
            controller.i_cmd.eq(self.s_axis_cmd_tdata),
            controller.i_cmd_valid.eq(self.s_axis_cmd_tvalid),
            self.s_axis_cmd_tready.eq(controller.o_cmd_ready),
            controller.i_act_valid.eq(self.s_axis_act_tvalid),
            self.s_axis_act_tready.eq(controller.o_act_ready),
            controller.i_wgt_valid.eq(self.s_axis_wgt_tvalid),
            self.s_axis_wgt_tready.eq(controller.o_wgt_ready),
            self.cmd_error.eq(controller.o_cmd_error),
        ]

        # Input registers: one element per lane, pad bits dropped.
        act = Signal(rows * config.act_width, reset_less=True)
        wgt = Signal(config.weight_lanes * config.weight_width, reset_less=True)
        with m.If(en):
            m.d.sync += [
                act.eq(_elements(self.s_axis_act_tdata, rows, config.act_width)),
                wgt.eq(_elements(self.s_axis_wgt_tdata, config.weight_lanes, config.weight_width)),
            ]
        weights = [wgt.word_select(n, config.weight_width) for n in range(config.weight_lanes)]

        # North: output n sits in column cols - 1 - n. The tags are the same for all columns,
        # each column's one step later than the column before.
        tags = controller.o_tags
        if config.st_os:
            tags = tags & ~controller.o_broadcast.replicate(2)
        m.d.comb += wgt_skew.i.eq(Cat(weights[cols - 1 - c] for c in range(cols)))
        if cols > 1:
            tag_line = Signal(2 * (cols - 1))
            with m.If(en):
                m.d.sync += tag_line.eq(Cat(tags, tag_line))
            tags = Cat(tags, tag_line)
        north = [
            Cat(wgt_skew.o.word_select(c, config.weight_width), tags[2 * c : 2 * c + 2])
            for c in range(cols)
        ]
        m.d.comb += grid.i_operand.eq(Cat(north))

        # West.
        m.d.comb += [
            act_skew.i.eq(act),
            grid.i_a.eq(act_skew.o),
            grid.i_move.eq(controller.o_move),
        ]
        if config.st_os:
            enable = controller.o_broadcast
            lines = Cat(Cat(weights[r], controller.o_tags) for r in range(rows))
            m.d.comb += [
                act_skew.i_bypass.eq(enable),
                grid.i_broadcast_en.eq(enable),
                grid.i_broadcast.eq(lines & enable.replicate(len(lines))),
                drain.i_direct.eq(controller.o_token_direct),
                deskew.i_bypass.eq(drain.o_bypass),
            ]

        # East.
        m.d.comb += [
            drain.i_token.eq(controller.o_token),
            grid.i_release.eq(drain.o_release),
            deskew.i.eq(grid.o_result),
            skid.i.eq(Cat(deskew.o, drain.o_last)),
            skid.i_valid.eq(drain.o_valid),
            self.m_axis_out_tdata.eq(_lanes(skid.o[:-1], rows, config.acc_width)),
            self.m_axis_out_tlast.eq(skid.o[-1]),
            self.m_axis_out_tvalid.eq(skid.o_valid),
            skid.i_ready.eq(self.m_axis_out_tready),
        ]
        return m


def _elements(tdata: Any, lanes: int, width: int) -> Any:
    """Drop the pad bits of every lane of a stream."""
    pitch = len(tdata) // lanes
    return Cat(tdata[lane * pitch : lane * pitch + width] for lane in range(lanes))


def _lanes(elements: Any, lanes: int, width: int) -> Any:
    """Sign-extend every element to a whole number of bytes."""
    pad = -width % 8
    if pad == 0:
        return elements
    words = [elements.word_select(lane, width) for lane in range(lanes)]
    return Cat(Cat(word, word[-1].replicate(pad)) for word in words)

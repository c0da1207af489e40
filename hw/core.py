"""The core: streams around the grid, its skews, its drain and its controller."""

from __future__ import annotations

from dataclasses import dataclass

from amaranth.hdl import Cat, Module, Signal, Value
from amaranth.lib import stream, wiring
from amaranth.lib.data import ArrayLayout, View
from amaranth.lib.wiring import In, Out

from .array import Grid, Skew
from .config import ArrayConfig
from .control import Controller, Drain, Skid
from .layouts import COMMAND, TAGS, lanes, operand_layout, result_layout

__all__ = ["Core", "Stream", "build_core"]


class Core(wiring.Component):
    """An output-stationary systolic array between streams.

    GEMM: ``Y[r, n] = sum_k A[r, k] * B[k, n]``; beat k of `i_act` is ``A[:, k]``, beat k of
    `i_wgt` is ``B[k, :]``, beat n of `o_out` is ``Y[:, n]``.

    ST-OS: ``y[r, i] = sum_k w[r, k] * x[r, i + k]``; beat u of `i_act` is ``x[:, u]``, beat k of
    `i_wgt` is ``w[:, k]`` (repeated per fold), beat i of `o_out` is ``y[:, i]``.

    The whole array moves by one enable: it stands still while a result beat waits to be taken.
    Missing operands stop the current command, not the results of earlier ones.

    This is the core for a design in Amaranth: `wiring.connect` takes it. What is emitted is
    `hw.top.Top`, the same with AXI4-Stream names.

    Parameters
    ----------
    config : ArrayConfig
        The machine.

    Members
    -------
    i_cmd : In(stream of COMMAND)
        Commands (`hw.config.Command`).
    i_act : In(stream of lanes(rows, act_width))
        Activations, lane r for row r.
    i_wgt : In(stream of lanes(weight_lanes, weight_width))
        Weights: lane n for output n (GEMM), lane r for row r (ST-OS).
    o_out : Out(stream of result_layout(config))
        Results: `data` has lane r from row r, `last` ends a command.
    o_cmd_error : Out(1)
        An illegal command was taken since reset.

    Latency: the first result of a GEMM tile is taken ``depth + cols + rows + mac_stages + 1``
    cycles after its command, that of an ST-OS pass ``depth + cols + mac_stages + 2``.
    Throughput: see `sim.cycles`.
    """

    i_cmd: stream.Interface
    i_act: stream.Interface
    i_wgt: stream.Interface
    o_out: stream.Interface
    o_cmd_error: Signal

    def __init__(self, *, config: ArrayConfig) -> None:
        weights = lanes(config.weight_lanes, config.weight_width)
        super().__init__(
            {
                "i_cmd": In(stream.Signature(COMMAND)),
                "i_act": In(stream.Signature(lanes(config.rows, config.act_width))),
                "i_wgt": In(stream.Signature(weights)),
                "o_out": Out(stream.Signature(result_layout(config))),
                "o_cmd_error": Out(1),
            }
        )
        self.config = config

    def elaborate(self, platform: object) -> Module:
        """Build the core between the component's streams."""
        m = Module()
        build_core(
            m, self.config, cmd=self.i_cmd, act=self.i_act, wgt=self.i_wgt, out=self.o_out,
            cmd_error=self.o_cmd_error,
        )  # fmt: skip
        return m


@dataclass(frozen=True)
class Stream:
    """A stream put together from signals of any name; otherwise it is a `stream.Interface`."""

    payload: Value
    valid: Value
    ready: Value


def build_core(
    m: Module,
    config: ArrayConfig,
    *,
    cmd: stream.Interface | Stream,
    act: stream.Interface | Stream,
    wgt: stream.Interface | Stream,
    out: stream.Interface | Stream,
    cmd_error: Value,
) -> None:
    """Add a core to a module, between streams as those of `Core`.

    `Core` and the emitted `hw.top.Top` share this, so that neither is a level of hierarchy more.
    """
    parts = _Parts(m, config)
    controller, skid = parts.controller, parts.skid
    m.d.comb += [
        controller.i_cmd.eq(cmd.payload),
        controller.i_cmd_valid.eq(cmd.valid),
        cmd.ready.eq(controller.o_cmd_ready),
        controller.i_act_valid.eq(act.valid),
        act.ready.eq(controller.o_act_ready),
        controller.i_wgt_valid.eq(wgt.valid),
        wgt.ready.eq(controller.o_wgt_ready),
        cmd_error.eq(controller.o_cmd_error),
        out.payload.eq(skid.o),
        out.valid.eq(skid.o_valid),
        skid.i_ready.eq(out.ready),
    ]
    activations = Signal(config.rows * config.act_width, name="act", reset_less=True)
    weights = Signal(config.weight_lanes * config.weight_width, name="wgt", reset_less=True)
    with m.If(parts.en):
        m.d.sync += [activations.eq(act.payload), weights.eq(wgt.payload)]
    lane = View(lanes(config.weight_lanes, config.weight_width), weights)
    _feed_north(m, config, parts, lane)
    _feed_west(m, config, parts, activations, lane)
    _collect(m, config, parts)


class _Parts:
    """The parts of a core, all but the skid buffer moved by one enable."""

    def __init__(self, m: Module, config: ArrayConfig) -> None:
        rows, bypass = config.rows, config.st_os
        m.submodules.controller = self.controller = Controller(config=config)
        m.submodules.act_skew = self.act_skew = Skew(
            kind="act_skew", lanes=rows, width=config.act_width, bypass=bypass
        )
        m.submodules.wgt_skew = self.wgt_skew = Skew(
            kind="wgt_skew", lanes=config.cols, width=config.weight_width
        )
        m.submodules.grid = self.grid = Grid(config=config)
        m.submodules.drain = self.drain = Drain(config=config)
        m.submodules.deskew = self.deskew = Skew(
            kind="deskew", lanes=rows, width=config.acc_width, reverse=True, bypass=bypass
        )
        m.submodules.skid = self.skid = Skid(width=result_layout(config).size)
        self.en = self.skid.o_en  # a result beat that is not taken freezes the array
        for part in (
            self.controller, self.act_skew, self.wgt_skew, self.grid, self.drain, self.deskew
        ):  # fmt: skip
            m.d.comb += part.i_en.eq(self.en)


def _feed_north(m: Module, config: ArrayConfig, parts: _Parts, lane: View[ArrayLayout]) -> None:
    """Feed the columns: output n sits in column ``cols - 1 - n``.

    The tags are the same for all columns, each column's one step later than the column before.
    """
    cols = config.cols
    row = lanes(cols, config.weight_width)
    to_skew, skewed = View(row, parts.wgt_skew.i), View(row, parts.wgt_skew.o)
    tags: Value = parts.controller.o_tags
    if config.st_os:
        tags = tags & ~parts.controller.o_broadcast.replicate(TAGS.size)
    wave = tags
    if cols > 1:
        line = Signal(TAGS.size * (cols - 1), name="tag_line")
        with m.If(parts.en):
            m.d.sync += line.eq(Cat(tags, line))
        wave = Cat(tags, line)
    tags_of = View(ArrayLayout(TAGS, cols), wave)
    north = View(ArrayLayout(operand_layout(config), cols), parts.grid.i_operand)
    for c in range(cols):
        m.d.comb += [
            to_skew[c].eq(lane[cols - 1 - c]),
            north[c].weight.eq(skewed[c]),
            north[c].tags.eq(tags_of[c]),
        ]


def _feed_west(
    m: Module, config: ArrayConfig, parts: _Parts, activations: Value, lane: View[ArrayLayout]
) -> None:
    """Feed the rows, and their broadcast lines, which are zero unless enabled."""
    controller, skew, grid = parts.controller, parts.act_skew, parts.grid
    m.d.comb += [
        skew.i.eq(activations),
        grid.i_a.eq(skew.o),
        grid.i_move.eq(controller.o_move),
    ]
    if config.st_os:
        enable = controller.o_broadcast
        lines = Cat(Cat(lane[r], controller.o_tags) for r in range(config.rows))
        m.d.comb += [
            skew.i_bypass.eq(enable),
            grid.i_broadcast_en.eq(enable),
            grid.i_broadcast.eq(lines & enable.replicate(len(lines))),
        ]


def _collect(m: Module, config: ArrayConfig, parts: _Parts) -> None:
    """Release the rows, and bring their results back in line."""
    controller, drain, deskew = parts.controller, parts.drain, parts.deskew
    beat = View(result_layout(config), parts.skid.i)
    m.d.comb += [
        drain.i_token.eq(controller.o_token),
        parts.grid.i_release.eq(drain.o_release),
        deskew.i.eq(parts.grid.o_result),
        beat.data.eq(deskew.o),
        beat.last.eq(drain.o_last),
        parts.skid.i_valid.eq(drain.o_valid),
    ]
    if config.st_os:
        m.d.comb += [
            drain.i_direct.eq(controller.o_token_direct),
            deskew.i_bypass.eq(drain.o_bypass),
        ]

"""The emitted core: `hw.core.Core` with AXI4-Stream names and lanes of whole bytes."""

from __future__ import annotations

from amaranth.hdl import Cat, Module, Signal, Value
from amaranth.lib.data import View
from amaranth.lib.wiring import In, Out

from .config import ArrayConfig
from .core import Stream, build_core
from .layouts import result_layout
from .share import SharedComponent

__all__ = ["Top", "core_ports"]


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


class Top(SharedComponent):
    """A core with AXI4-Stream ports.

    Every lane takes a whole number of bytes: pad bits are ignored on input, and results are
    sign-extended on output.

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
        Results, lane r from row r.
    cmd_error : Out(1)
        An illegal command was taken since reset.

    Latency, throughput: those of `hw.core.Core`.
    """

    s_axis_cmd_tdata: Signal
    s_axis_cmd_tvalid: Signal
    s_axis_cmd_tready: Signal
    s_axis_act_tdata: Signal
    s_axis_act_tvalid: Signal
    s_axis_act_tready: Signal
    s_axis_wgt_tdata: Signal
    s_axis_wgt_tvalid: Signal
    s_axis_wgt_tready: Signal
    m_axis_out_tdata: Signal
    m_axis_out_tvalid: Signal
    m_axis_out_tready: Signal
    m_axis_out_tlast: Signal
    cmd_error: Signal

    def __init__(self, *, config: ArrayConfig) -> None:
        signature = {
            name: (In if direction == "input" else Out)(width)
            for name, direction, width in core_ports(config)
        }
        super().__init__(kind="core", parameters=config, signature=signature, resets=True)
        self.config = config

    def body(self, platform: object) -> Module:
        """Build the core, and give its streams their names."""
        config = self.config
        result = result_layout(config)
        out = Signal(result.size)
        act = _elements(self.s_axis_act_tdata, config.rows, config.act_width)
        wgt = _elements(self.s_axis_wgt_tdata, config.weight_lanes, config.weight_width)
        m = Module()
        build_core(
            m,
            config,
            cmd=Stream(self.s_axis_cmd_tdata, self.s_axis_cmd_tvalid, self.s_axis_cmd_tready),
            act=Stream(act, self.s_axis_act_tvalid, self.s_axis_act_tready),
            wgt=Stream(wgt, self.s_axis_wgt_tvalid, self.s_axis_wgt_tready),
            out=Stream(out, self.m_axis_out_tvalid, self.m_axis_out_tready),
            cmd_error=self.cmd_error,
        )
        beat = View(result, out)
        pitch = 8 * config.acc_bytes
        tdata = Cat(_extend(beat.data[r], pitch) for r in range(config.rows))
        m.d.comb += [self.m_axis_out_tdata.eq(tdata), self.m_axis_out_tlast.eq(beat.last)]
        return m


def _elements(tdata: Signal, lanes: int, width: int) -> Value:
    """Drop the pad bits of every lane of a stream."""
    pitch = len(tdata) // lanes
    return Cat(tdata[lane * pitch : lane * pitch + width] for lane in range(lanes))


def _extend(element: Value, width: int) -> Value:
    """Repeat the sign of an element in front of it."""
    return Cat(element, element[-1].replicate(width - len(element)))

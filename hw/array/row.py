"""A row of processing elements: one activation in, one result chain out."""

from __future__ import annotations

from typing import Any

from amaranth.hdl import Const, Module, Signal, Value
from amaranth.lib.data import ArrayLayout, View
from amaranth.lib.wiring import In, Out

from ..config import ArrayConfig
from ..layouts import operand_layout
from ..share import SharedComponent
from .pe import PE

__all__ = ["Row"]


class Row(SharedComponent):
    """One row of `cols` PEs: activations and results move east, operands go south.

    Parameters
    ----------
    config : ArrayConfig
        The machine.
    paced : bool
        As of `PE`.

    Members
    -------
    i_en, i_move, i_release : In(1)
        As in `PE`, for the whole row; so is `i_stay`, which is there if `paced`.
    i_a : In(act_width)
        Activation for the west-most PE.
    i_operand, o_operand : cols * operand_layout(config)
        Weights and tags from the north and to the south, column 0 in the low bits.
    i_broadcast, i_broadcast_en : operand_layout(config), 1
        The broadcast line of the row. ST-OS only.
    o_result : Out(acc_width)
        East end of the result chain. Zeros follow the results of the row.

    Latency: every PE passes activations, operands and results on after one step, as in `PE`; a
    broadcast operand is in all of them in the same step.
    """

    i_en: Signal
    i_move: Signal
    i_release: Signal
    i_stay: Signal
    i_a: Signal
    i_operand: Signal
    o_operand: Signal
    i_broadcast: Signal
    i_broadcast_en: Signal
    o_result: Signal

    def __init__(self, *, config: ArrayConfig, paced: bool = False) -> None:
        operand = operand_layout(config).size
        signature: dict[str, Any] = {
            "i_en": In(1),
            "i_move": In(1),
            "i_release": In(1),
            "i_a": In(config.act_width),
            "i_operand": In(config.cols * operand),
            "o_operand": Out(config.cols * operand),
            "o_result": Out(config.acc_width),
        }
        if config.st_os:
            signature |= {"i_broadcast": In(operand), "i_broadcast_en": In(1)}
        if paced:
            signature["i_stay"] = In(1)
        super().__init__(kind="row", parameters=(config, paced), signature=signature)
        self.config, self.paced = config, paced

    def body(self, platform: object) -> Module:
        """Chain the PEs of the row."""
        config = self.config
        operands = ArrayLayout(operand_layout(config).size, config.cols)
        north, south = View(operands, self.i_operand), View(operands, self.o_operand)
        m = Module()
        a: Value = self.i_a
        result: Value = Const(0, config.acc_width)
        for c in range(config.cols):
            pe = PE(config=config, paced=self.paced)
            m.submodules[f"pe_{c}"] = pe
            m.d.comb += [
                pe.i_en.eq(self.i_en),
                pe.i_move.eq(self.i_move),
                pe.i_release.eq(self.i_release),
                pe.i_a.eq(a),
                pe.i_operand.eq(north[c]),
                pe.i_result.eq(result),
                south[c].eq(pe.o_operand),
            ]
            if config.st_os:
                m.d.comb += [
                    pe.i_broadcast.eq(self.i_broadcast),
                    pe.i_broadcast_en.eq(self.i_broadcast_en),
                ]
            if self.paced:
                m.d.comb += pe.i_stay.eq(self.i_stay)
            a, result = pe.o_a, pe.o_result
        m.d.comb += self.o_result.eq(result)
        return m

"""The grid: rows on top of each other, each fed from the west and from the row above."""

from __future__ import annotations

from typing import Any

from amaranth.hdl import Module, Signal, Value
from amaranth.lib.data import ArrayLayout, View
from amaranth.lib.wiring import In, Out

from ..config import ArrayConfig
from ..layouts import lanes, operand_layout
from ..share import SharedComponent
from .row import Row

__all__ = ["Grid"]


class Grid(SharedComponent):
    """`rows` x `cols` PEs, with operands and results still skewed.

    A GEMM's operands enter as a diagonal wave: row r and column c of the inputs are delayed by r
    and by c steps. Its results leave skewed by one step per row. ST-OS operands and results are
    in line.

    Parameters
    ----------
    config : ArrayConfig
        The machine.
    paced : bool
        As of `PE`.

    Members
    -------
    i_en, i_move : In(1)
        As in `PE`.
    i_release : In(rows)
        Results of row r start to leave.
    i_stay : In(rows)
        Those of row r stay where they are in this step. `paced` only.
    i_a : In(rows * act_width)
        Activations from the west, row 0 in the low bits.
    i_operand : In(cols * operand_layout(config))
        Weights and tags from the north, column 0 in the low bits.
    i_broadcast, i_broadcast_en : rows * operand_layout(config), 1
        Broadcast lines, row 0 in the low bits, and their common enable. ST-OS only.
    o_result : Out(rows * acc_width)
        East ends of the result chains.

    Latency: an operand that enters row r, column c in step t is accumulated in step
    ``t + mac_stages``; the result of the last column of a row is visible after its last
    accumulation and moves on in the step after the row's release (`paced`: in the next one without
    `i_stay`).
    """

    i_en: Signal
    i_move: Signal
    i_release: Signal
    i_stay: Signal
    i_a: Signal
    i_operand: Signal
    i_broadcast: Signal
    i_broadcast_en: Signal
    o_result: Signal

    def __init__(self, *, config: ArrayConfig, paced: bool = False) -> None:
        operand = operand_layout(config).size
        signature: dict[str, Any] = {
            "i_en": In(1),
            "i_move": In(1),
            "i_release": In(config.rows),
            "i_a": In(config.rows * config.act_width),
            "i_operand": In(config.cols * operand),
            "o_result": Out(config.rows * config.acc_width),
        }
        if config.st_os:
            signature |= {"i_broadcast": In(config.rows * operand), "i_broadcast_en": In(1)}
        if paced:
            signature["i_stay"] = In(config.rows)
        super().__init__(kind="grid", parameters=(config, paced), signature=signature)
        self.config, self.paced = config, paced

    def body(self, platform: object) -> Module:
        """Stack the rows."""
        config = self.config
        m = Module()
        west = View(lanes(config.rows, config.act_width), self.i_a)
        east = View(lanes(config.rows, config.acc_width), self.o_result)
        north: Value = self.i_operand
        for r in range(config.rows):
            row = Row(config=config, paced=self.paced)
            m.submodules[f"row_{r}"] = row
            m.d.comb += [
                row.i_en.eq(self.i_en),
                row.i_move.eq(self.i_move),
                row.i_release.eq(self.i_release[r]),
                row.i_a.eq(west[r]),
                row.i_operand.eq(north),
                east[r].eq(row.o_result),
            ]
            if config.st_os:
                lines = ArrayLayout(operand_layout(config).size, config.rows)
                m.d.comb += [
                    row.i_broadcast.eq(View(lines, self.i_broadcast)[r]),
                    row.i_broadcast_en.eq(self.i_broadcast_en),
                ]
            if self.paced:
                m.d.comb += row.i_stay.eq(self.i_stay[r])
            north = row.o_operand
        return m

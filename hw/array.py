"""The grid: rows of processing elements, wired to their neighbours."""

from __future__ import annotations

from typing import Any

from amaranth.hdl import Cat, Const, Module
from amaranth.lib.wiring import In, Out

from .config import ArrayConfig
from .emit.share import SharedComponent
from .pe import PE, operand_width

__all__ = ["Grid", "Row"]


class Row(SharedComponent):
    """One row of `cols` PEs: activations and results move east, operands go south.

    Parameters
    ----------
    config : ArrayConfig
        The machine.

    Members
    -------
    i_en, i_move, i_release : In(1)
        As in `PE`, for the whole row.
    i_a : In(act_width)
        Activation for the west-most PE.
    i_operand, o_operand : cols * operand_width(config)
        Weights and tags from the north and to the south, column 0 in the low bits.
    i_broadcast, i_broadcast_en : operand_width(config), 1
        The broadcast line of the row. ST-OS only.
    o_result : Out(acc_width)
        East end of the result chain. Zeros follow the results of the row.

    Latency: every PE passes activations, operands and results on after one step, as in `PE`; a
    broadcast operand is in all of them in the same step.
    """

    def __init__(self, *, config: ArrayConfig) -> None:
        operand = operand_width(config)
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
        super().__init__(kind="row", parameters=config, signature=signature)
        self.config = config

    def body(self, platform: object) -> Module:
        """Chain the PEs of the row."""
        config = self.config
        operand = operand_width(config)
        m = Module()
        a, result = self.i_a, Const(0, config.acc_width)
        south = []
        for c in range(config.cols):
            pe = PE(config=config)
            m.submodules[f"pe_{c}"] = pe
            column = slice(c * operand, (c + 1) * operand)
            m.d.comb += [
                pe.i_en.eq(self.i_en),
                pe.i_move.eq(self.i_move),
                pe.i_release.eq(self.i_release),
                pe.i_a.eq(a),
                pe.i_operand.eq(self.i_operand[column]),
                pe.i_result.eq(result),
            ]
            if config.st_os:
                m.d.comb += [
                    pe.i_broadcast.eq(self.i_broadcast),
                    pe.i_broadcast_en.eq(self.i_broadcast_en),
                ]
            a, result = pe.o_a, pe.o_result
            south.append(pe.o_operand)
        m.d.comb += [self.o_operand.eq(Cat(south)), self.o_result.eq(result)]
        return m


class Grid(SharedComponent):
    """`rows` x `cols` PEs, with operands and results still skewed.

    A GEMM's operands enter as a diagonal wave: row r and column c of the inputs are delayed by r
    and by c steps. Its results leave skewed by one step per row. ST-OS operands and results are
    in line.

    Parameters
    ----------
    config : ArrayConfig
        The machine.

    Members
    -------
    i_en, i_move : In(1)
        As in `PE`.
    i_release : In(rows)
        Results of row r start to leave.
    i_a : In(rows * act_width)
        Activations from the west, row 0 in the low bits.
    i_operand : In(cols * operand_width(config))
        Weights and tags from the north, column 0 in the low bits.
    i_broadcast, i_broadcast_en : rows * operand_width(config), 1
        Broadcast lines, row 0 in the low bits, and their common enable. ST-OS only.
    o_result : Out(rows * acc_width)
        East ends of the result chains.

    Latency: an operand that enters row r, column c in step t is accumulated in step
    ``t + mac_stages``; the result of the last column of a row is visible after its last
    accumulation and moves on in the step after the row's release.
    """

    def __init__(self, *, config: ArrayConfig) -> None:
        operand = operand_width(config)
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
        super().__init__(kind="grid", parameters=config, signature=signature)
        self.config = config

    def body(self, platform: object) -> Module:
        """Stack the rows."""
        config = self.config
        operand = operand_width(config)
        m = Module()
        north = self.i_operand
        results = []
        for r in range(config.rows):
            row = Row(config=config)
            m.submodules[f"row_{r}"] = row
            m.d.comb += [
                row.i_en.eq(self.i_en),
                row.i_move.eq(self.i_move),
                row.i_release.eq(self.i_release[r]),
                row.i_a.eq(self.i_a.word_select(r, config.act_width)),
                row.i_operand.eq(north),
            ]
            if config.st_os:
                m.d.comb += [
                    row.i_broadcast.eq(self.i_broadcast.word_select(r, operand)),
                    row.i_broadcast_en.eq(self.i_broadcast_en),
                ]
            north = row.o_operand
            results.append(row.o_result)
        m.d.comb += self.o_result.eq(Cat(results))
        return m

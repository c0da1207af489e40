"""When results leave: the release of every row, and the flags of the output stream."""

from __future__ import annotations

from typing import Any

from amaranth.hdl import Cat, Const, Module, Mux, Signal
from amaranth.lib.wiring import In, Out

from .config import ArrayConfig
from .emit.share import SharedComponent

__all__ = ["DRAIN_WIDTH", "Drain"]

#: Bits of a drain token `{last, first, valid}`: a result beat, the first one of a fold (which
#: releases the row), and the last one of a command.
DRAIN_WIDTH = 3


class Drain(SharedComponent):
    """Carry drain tokens from the controller past the rows to the output.

    The controller sends one token per result beat, starting when the last operands of a fold
    enter. A GEMM's tokens follow its wave: `cols` steps to the east edge, then one row per step,
    so that each row is released when its own last sum is done. ST-OS results are finished in all
    rows at once, so its tokens go to all rows directly.

    Parameters
    ----------
    config : ArrayConfig
        The machine.

    Members
    -------
    i_en : In(1)
        The array moves in this step.
    i_token : In(DRAIN_WIDTH)
        Token that belongs to the operands entering the grid.
    i_direct : In(1)
        The token is for all rows at once. It may stay set between tokens, but is not set before
        the tokens of a GEMM have left the rows. ST-OS only.
    o_release : Out(rows)
        Release of every row, by the first token of a fold.
    o_valid, o_last : Out(1)
        A result beat is at the output, and it is the last one of its command.
    o_bypass : Out(1)
        The beat at the output needs no deskew. ST-OS only.

    Latency: ``cols + rows + mac_stages - 1`` steps from a GEMM's token to `o_valid`, and
    ``cols + mac_stages - 1 + r`` to the release of row r; ``mac_stages + 1`` and ``mac_stages``
    steps for ST-OS.
    """

    def __init__(self, *, config: ArrayConfig) -> None:
        signature: dict[str, Any] = {
            "i_en": In(1),
            "i_token": In(DRAIN_WIDTH),
            "o_release": Out(config.rows),
            "o_valid": Out(1),
            "o_last": Out(1),
        }
        if config.st_os:
            signature |= {"i_direct": In(1), "o_bypass": Out(1)}
        super().__init__(kind="drain", parameters=config, signature=signature, resets=True)
        self.config = config

    def body(self, platform: object) -> Module:
        """Build the line across the columns, the line down the rows and the output flags."""
        config = self.config
        m = Module()
        rows = [Signal(DRAIN_WIDTH, name=f"row_{r}") for r in range(config.rows)]
        beat = Signal(DRAIN_WIDTH)
        none = Const(0, DRAIN_WIDTH)

        token = self.i_token
        to_all = self.i_direct if config.st_os else Const(0)
        if config.mac_stages == 2:  # tokens wait for the products
            token_q, to_all_q = Signal.like(token), Signal()
            with m.If(self.i_en):
                m.d.sync += [token_q.eq(token), to_all_q.eq(to_all)]
            token, to_all = token_q, to_all_q
        wave = Mux(to_all, none, token) if config.st_os else token
        if config.cols > 1:
            across = Signal(DRAIN_WIDTH * (config.cols - 1))
            with m.If(self.i_en):
                m.d.sync += across.eq(Cat(wave, across))
            wave = across[-DRAIN_WIDTH:]

        # Row 0 takes the wave when it arrives; the rows below take it from the row above.
        above = [wave, *rows[:-1]]
        if config.st_os:
            direct = Mux(to_all, token, none)
            # One step longer than to_all, so that a last direct token is not passed down.
            spread = Signal()
            direct_q = Signal()
            spread_q = Signal()
            bypass = Signal()
            m.d.comb += spread.eq(to_all | direct_q)
            above = [wave | direct] + [Mux(spread, direct, row) for row in above[1:]]
            with m.If(self.i_en):
                m.d.sync += [
                    direct_q.eq(to_all),
                    spread_q.eq(spread),
                    bypass.eq(spread_q),
                ]
            m.d.comb += self.o_bypass.eq(bypass)
        with m.If(self.i_en):
            for row, source in zip(rows, above, strict=True):
                m.d.sync += row.eq(source)
            m.d.sync += beat.eq(rows[-1])

        m.d.comb += [
            self.o_release.eq(Cat(row[1] for row in rows)),
            self.o_valid.eq(beat[0]),
            self.o_last.eq(beat[2]),
        ]
        return m

"""When results leave: the release of every row, and the flags of the output stream."""

from __future__ import annotations

from typing import Any

from amaranth.hdl import Cat, Const, Module, Mux, Signal, Value
from amaranth.lib.data import ArrayLayout, View
from amaranth.lib.wiring import In, Out

from ..config import ArrayConfig
from ..layouts import TOKEN
from ..share import SharedComponent

__all__ = ["Drain"]


class Drain(SharedComponent):
    """Carry drain tokens from the controller past the rows to the output.

    The controller sends one token per result beat, starting when the last operands of a fold
    enter. A GEMM's tokens follow its wave: `cols` steps to the east edge, then one row per step,
    so that each row is released when its own last sum is done. ST-OS results are finished in all
    rows at once, so its tokens go to all rows directly.

    Where `every` is more than 1, tokens come that many steps apart, and of `every` rows no two have
    theirs in the same step: row r gets a direct token ``r mod every`` steps late.

    Parameters
    ----------
    config : ArrayConfig
        The machine.
    every : int
        Steps from one token to the next; a power of two that divides the rows.
    extra : int
        Bits that ride with every token, past the rows.

    Members
    -------
    i_en : In(1)
        The array moves in this step.
    i_token, i_extra : TOKEN, extra
        Token that belongs to the operands entering the grid, and what rides with it, which
        changes only in the step after a token.
    i_direct : In(1)
        The token is for all rows at once. It may stay set between tokens (and does until the next
        one if `every` is more than 1), but is not set before the tokens of a GEMM have left the
        rows. ST-OS only.
    o_release : Out(rows)
        Release of every row, by the first token of a fold.
    o_token, o_shift : Out(rows) each
        A token is at the row, the first one of a fold or another one; a result leaves the row, a
        step later. Only if `every` is more than 1.
    o_extra : Out(rows * extra)
        What rides with the token of every row, in the step of its release.
    o_valid, o_last : Out(1)
        A result beat is at the output, and it is the last one of its command.
    o_bypass : Out(1)
        The beat at the output needs no deskew. ST-OS only.

    Latency: ``cols + rows + mac_stages - 1`` steps from a GEMM's token to `o_valid`, and
    ``cols + mac_stages - 1 + r`` to the release of row r; ``mac_stages + every`` and
    ``mac_stages + r mod every`` steps for ST-OS.
    """

    i_en: Signal
    i_token: Signal
    i_extra: Signal
    i_direct: Signal
    o_release: Signal
    o_token: Signal
    o_shift: Signal
    o_extra: Signal
    o_valid: Signal
    o_last: Signal
    o_bypass: Signal

    def __init__(self, *, config: ArrayConfig, extra: int = 0, every: int = 1) -> None:
        signature: dict[str, Any] = {
            "i_en": In(1),
            "i_token": In(TOKEN.size),
            "o_release": Out(config.rows),
            "o_valid": Out(1),
            "o_last": Out(1),
        }
        if config.st_os:
            signature |= {"i_direct": In(1), "o_bypass": Out(1)}
        if extra:
            signature |= {"i_extra": In(extra), "o_extra": Out(config.rows * extra)}
        if every > 1:
            signature |= {"o_token": Out(config.rows), "o_shift": Out(config.rows)}
        parameters = (config, extra, every)
        super().__init__(kind="drain", parameters=parameters, signature=signature, resets=True)
        self.config, self.extra, self.every = config, extra, every

    def body(self, platform: object) -> Module:
        """Build the line across the columns, the line down the rows and the output flags."""
        config = self.config
        m = Module()
        token: Value = Cat(self.i_token, self.i_extra) if self.extra else self.i_token
        size = len(token)
        to_all: Value = self.i_direct if config.st_os else Const(0)
        if config.mac_stages == 2:  # tokens wait for the products
            token_q = Signal(size)
            to_all_q = Signal()
            with m.If(self.i_en):
                m.d.sync += [token_q.eq(token), to_all_q.eq(to_all)]
            token, to_all = token_q, to_all_q
        none = Const(0, size)
        wave = Mux(to_all, none, token) if config.st_os else token
        if config.cols > 1:
            across = Signal(size * (config.cols - 1))
            with m.If(self.i_en):
                m.d.sync += across.eq(Cat(wave, across))
            wave = View(ArrayLayout(size, config.cols - 1), across)[-1]

        # Row 0 takes the wave when it arrives; the rows below take it from the row above.
        rows = [Signal(size, name=f"row_{r}") for r in range(config.rows)]
        above: list[Value] = [wave, *rows[:-1]]
        if config.st_os:
            direct = Mux(to_all, token, none)
            spread = self._spread(m, to_all)
            late = self._late(m, direct)
            above = [wave | direct] + [
                Mux(spread, late[r % self.every], row) for r, row in enumerate(above) if r
            ]
        beat = Signal(size)
        with m.If(self.i_en):
            for row, source in zip(rows, above, strict=True):
                m.d.sync += row.eq(source)
            m.d.sync += beat.eq(rows[-1])

        leaving = View(TOKEN, beat[: TOKEN.size])
        m.d.comb += [
            self.o_release.eq(Cat(View(TOKEN, row[: TOKEN.size]).first for row in rows)),
            self.o_valid.eq(leaving.valid),
            self.o_last.eq(leaving.last),
        ]
        if self.extra:
            m.d.comb += self.o_extra.eq(Cat(row[TOKEN.size :] for row in rows))
        if self.every > 1:
            m.d.comb += self.o_token.eq(Cat(View(TOKEN, row[: TOKEN.size]).valid for row in rows))
            with m.If(self.i_en):
                m.d.sync += self.o_shift.eq(self.o_token)
        return m

    def _late(self, m: Module, direct: Value) -> list[Value]:
        """Return a direct token 0 to ``every - 1`` steps late."""
        late = [direct]
        for step in range(1, self.every):
            now = Signal(len(direct), name=f"direct_{step}")
            with m.If(self.i_en):
                m.d.sync += now.eq(late[-1])
            late.append(now)
        return late

    def _spread(self, m: Module, to_all: Value) -> Signal:
        """Return whether the rows take tokens directly, and build `o_bypass`, which follows it.

        It is one step longer than `to_all`, so that a last direct token is not passed down.
        """
        spread = Signal()
        direct_q = Signal()
        spread_q = Signal()
        bypass = Signal()
        m.d.comb += [spread.eq(to_all | direct_q), self.o_bypass.eq(bypass)]
        with m.If(self.i_en):
            m.d.sync += [direct_q.eq(to_all), spread_q.eq(spread), bypass.eq(spread_q)]
        return spread

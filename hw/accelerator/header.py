"""The first bytes of an image: what it is, for which machine, and where its parts are."""

from __future__ import annotations

import functools
import operator
from typing import Any

from amaranth.hdl import Cat, Module, Mux, Signal
from amaranth.lib.wiring import In, Out

from ..share import SharedComponent
from .registers import VERSION

__all__ = ["HEADER", "MAGIC", "Header"]

MAGIC = 0x474D4953  # "SIMG"

#: Bytes of the header. Its fields, 32 bits each: magic, version, fingerprint of the machine, bytes
#: of the program, offset of the weights in the image, their bytes, and all six combined by
#: exclusive or.
HEADER = 64


class Header(SharedComponent):
    """Check the header as it comes, and keep what it says.

    Parameters
    ----------
    axi_bytes : int
        Bytes of a beat.
    fingerprint : int
        Of the machine.

    Members
    -------
    i_start : In(1)
        A header comes, from the next cycle on.
    i_beat, i_data : 1, 8 * axi_bytes
        Its beats, in order.
    o_good : Out(1)
        All that came is right; of use after the last beat.
    o_program_bytes, o_weights_offset, o_weights_bytes : Out(32) each
        What it says.

    Latency: a cycle.
    """

    i_start: Signal
    i_beat: Signal
    i_data: Signal
    o_good: Signal
    o_program_bytes: Signal
    o_weights_offset: Signal
    o_weights_bytes: Signal

    def __init__(self, *, axi_bytes: int, fingerprint: int) -> None:
        signature: dict[str, Any] = {
            "i_start": In(1), "i_beat": In(1), "i_data": In(8 * axi_bytes), "o_good": Out(1),
            "o_program_bytes": Out(32), "o_weights_offset": Out(32), "o_weights_bytes": Out(32),
        }  # fmt: skip
        parameters = (axi_bytes, fingerprint)
        super().__init__(kind="header", parameters=parameters, signature=signature, resets=True)
        self.axi_bytes, self.fingerprint = axi_bytes, fingerprint

    def body(self, platform: object) -> Module:
        """Build the comparison, the check and the registers."""
        m = Module()
        per_beat = self.axi_bytes // 4
        version = VERSION[0] << 16 | VERSION[1] << 8 | VERSION[2]
        wanted = (MAGIC, version, self.fingerprint)
        number = Signal(range(HEADER // self.axi_bytes))  # of the beat
        right = Signal()
        check = Signal(32)
        kept = [Signal(32, name=name, reset_less=True)
                for name in ("program_bytes", "weights_offset", "weights_bytes")]  # fmt: skip
        fields = [  # whether each is in this beat, and what it is if so
            (number == n // per_beat, self.i_data.word_select(n % per_beat, 32))
            for n in range(len(wanted) + len(kept) + 1)
        ]
        same = [
            ~here | (field == value) for (here, field), value in zip(fields, wanted, strict=False)
        ]
        pieces = [Mux(here, field, 0) for here, field in fields]
        with m.If(self.i_beat):
            m.d.sync += [
                number.eq(number + 1), right.eq(right & Cat(same).all()),
                check.eq(check ^ functools.reduce(operator.xor, pieces)),
            ]  # fmt: skip
            for signal, (here, field) in zip(kept, fields[len(wanted) :], strict=False):
                with m.If(here):
                    m.d.sync += signal.eq(field)
        with m.If(self.i_start):
            m.d.sync += [number.eq(0), right.eq(1), check.eq(0)]
        m.d.comb += [
            self.o_good.eq(right & ~check.any()), self.o_program_bytes.eq(kept[0]),
            self.o_weights_offset.eq(kept[1]), self.o_weights_bytes.eq(kept[2]),
        ]  # fmt: skip
        return m

"""The CRC of the packets of a link."""

from __future__ import annotations

from typing import Any

from amaranth.hdl import Cat, Module, Mux, Signal
from amaranth.lib.wiring import In, Out

from ..share import SharedComponent

__all__ = ["Checksum"]

_POLYNOMIAL = 0xEDB88320
_RESIDUE = 0xDEBB20E3


class Checksum(SharedComponent):
    """The CRC-32 of Ethernet and of `zlib.crc32`, a byte per cycle.

    Amaranth has this, too, but not as a component that is a module of its own.

    Members
    -------
    i_start : In(1)
        Begin anew; there is no byte in this cycle.
    i_valid, i_data : 1, 8
        A byte.
    o_crc : Out(32)
        Of all bytes so far; it is sent low byte first.
    o_match : Out(1)
        The last four bytes are the CRC of all before them.

    Latency: a cycle.
    """

    i_start: Signal
    i_valid: Signal
    i_data: Signal
    o_crc: Signal
    o_match: Signal

    def __init__(self) -> None:
        signature: dict[str, Any] = {
            "i_start": In(1), "i_valid": In(1), "i_data": In(8), "o_crc": Out(32),
            "o_match": Out(1),
        }  # fmt: skip
        super().__init__(kind="checksum", parameters=(), signature=signature, resets=True)

    def body(self, platform: object) -> Module:
        """Build the remainder; bytes come low bit first."""
        m = Module()
        rest = Signal(32)
        after = rest
        for bit in range(8):
            before, after = after, Signal(32, name=f"after_{bit}")
            carry = before[0] ^ self.i_data[bit]
            m.d.comb += after.eq(Cat(before[1:], 0) ^ Mux(carry, _POLYNOMIAL, 0))
        with m.If(self.i_start):
            m.d.sync += rest.eq(0xFFFFFFFF)
        with m.Elif(self.i_valid):
            m.d.sync += rest.eq(after)
        m.d.comb += [self.o_crc.eq(~rest), self.o_match.eq(rest == _RESIDUE)]
        return m

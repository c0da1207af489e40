"""Bytes over a wire: eight bits, no parity, one stop bit."""

from __future__ import annotations

from typing import Any

from amaranth.hdl import Cat, Module, Signal
from amaranth.lib.wiring import In, Out

from ..share import SharedComponent

__all__ = ["Receiver", "Transmitter"]


class Receiver(SharedComponent):
    """Take bytes off a wire.

    Parameters
    ----------
    divisor : int
        Cycles of a bit, at least 4.

    Members
    -------
    i_rx : In(1)
        The wire, of any clock; 1 while nothing is sent.
    o_valid, o_data : 1, 8
        A byte is there in this cycle. One whose stop bit is not 1 is dropped.

    Latency: three cycles from the middle of the stop bit.
    """

    i_rx: Signal
    o_valid: Signal
    o_data: Signal

    def __init__(self, *, divisor: int) -> None:
        if divisor < 4:
            raise ValueError(f"a bit must have 4 cycles at least, not {divisor}")
        signature: dict[str, Any] = {"i_rx": In(1), "o_valid": Out(1), "o_data": Out(8)}
        super().__init__(kind="receiver", parameters=divisor, signature=signature, resets=True)
        self.divisor = divisor

    def body(self, platform: object) -> Module:
        """Build a counter that finds the middle of every bit."""
        m = Module()
        late = Signal(init=1)  # the wire knows no clock: two registers
        rx = Signal(init=1)
        m.d.sync += [late.eq(self.i_rx), rx.eq(late)]
        left = Signal(range(self.divisor))  # cycles to the middle of the next bit
        bits = Signal(range(11))  # that are still to come, the start and the stop bit among them
        data = Signal(8)
        valid = Signal()
        m.d.comb += [self.o_valid.eq(valid), self.o_data.eq(data)]
        m.d.sync += valid.eq(0)
        with m.If(bits == 0):
            with m.If(~rx):
                m.d.sync += [left.eq(self.divisor // 2 - 1), bits.eq(10)]
        with m.Elif(left != 0):
            m.d.sync += left.eq(left - 1)
        with m.Else():
            m.d.sync += [left.eq(self.divisor - 1), bits.eq(bits - 1)]
            with m.If((bits == 10) & rx):  # too short for a start bit
                m.d.sync += bits.eq(0)
            with m.If(bits == 1):
                m.d.sync += valid.eq(rx)
            with m.Else():
                m.d.sync += data.eq(Cat(data[1:], rx))
        return m


class Transmitter(SharedComponent):
    """Put bytes on a wire.

    Parameters
    ----------
    divisor : int
        Cycles of a bit.

    Members
    -------
    i_valid, i_data, o_ready : 1, 8, 1
        A byte to send; it is taken in a cycle with both `i_valid` and `o_ready`.
    o_tx : Out(1)
        The wire.

    Latency: a cycle. Throughput: a byte in ten bits.
    """

    i_valid: Signal
    i_data: Signal
    o_ready: Signal
    o_tx: Signal

    def __init__(self, *, divisor: int) -> None:
        signature: dict[str, Any] = {
            "i_valid": In(1), "i_data": In(8), "o_ready": Out(1), "o_tx": Out(1),
        }  # fmt: skip
        super().__init__(kind="transmitter", parameters=divisor, signature=signature, resets=True)
        self.divisor = divisor

    def body(self, platform: object) -> Module:
        """Build the shift register, which ends with ones."""
        m = Module()
        left = Signal(range(self.divisor))  # cycles of this bit after this one
        bits = Signal(range(11))  # this one and those that follow
        wire = Signal(10, init=0x3FF)
        ready = (bits == 0) | ((bits == 1) & (left == 0))
        m.d.comb += [self.o_ready.eq(ready), self.o_tx.eq(wire[0])]
        with m.If(self.i_valid & ready):
            m.d.sync += [
                wire.eq(Cat(0, self.i_data, 1)), bits.eq(10), left.eq(self.divisor - 1),
            ]  # fmt: skip
        with m.Elif(left != 0):
            m.d.sync += left.eq(left - 1)
        with m.Elif(bits != 0):
            m.d.sync += [left.eq(self.divisor - 1), bits.eq(bits - 1), wire.eq(Cat(wire[1:], 1))]
        return m

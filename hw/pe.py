"""The processing element: one multiply-accumulate, and one link of the row's result chain."""

from __future__ import annotations

from typing import Any

from amaranth.hdl import Cat, Module, Signal, signed
from amaranth.lib.wiring import In, Out

from .config import ArrayConfig
from .emit.share import SharedComponent

__all__ = ["PE", "operand_width"]


def operand_width(config: ArrayConfig) -> int:
    """Bits of a weight and the two tags that ride with it: `{mark, valid, weight}`."""
    return config.weight_width + 2


class PE(SharedComponent):
    r"""Processing element: ``acc <- (start ? 0 : acc) + a * w``, modulo ``2**acc_width``.

    The activation moves east and the operand (weight and tags) moves south, one PE per step.
    With ST-OS the operand can come from the row's broadcast line instead of the north; data and
    control change over together because the tags ride with the weight.

    The tags are `valid` (multiply and accumulate) and `mark`. What `mark` means depends on the
    number of accumulators:

    - 2: `mark` says *last*: the finished sum goes to the result register and the accumulator
      starts again from zero. Without `valid` it only clears the accumulator.
    - 1: `mark` says *first*: start from zero. The accumulator is the result register.

    The result registers of a row form a shift chain to the east. A PE with a result of its own
    *holds* it until the row's `i_release`; from the next step on it passes on what comes from the
    west, one result per step. With one accumulator the sum is held from its first product on. What
    is finished in the step of the release is not held.

    Parameters
    ----------
    config : ArrayConfig
        Widths, number of accumulators, ST-OS.

    Members
    -------
    i_en : In(1)
        The array moves in this step.
    i_move : In(1)
        Activations move in this step (implies `i_en`).
    i_release : In(1)
        The row's results start to leave in this step.
    i_a, o_a : act_width
        Activation from the west and to the east.
    i_operand, o_operand : operand_width(config)
        Weight and tags from the north and to the south.
    i_broadcast, i_broadcast_en : operand_width(config), 1
        The row's broadcast line (zero unless enabled) and its enable. ST-OS only.
    i_result, o_result : acc_width
        Result chain from the west and to the east.

    Latency: operands presented in step t are registered in step t, seen in the east and the south
    in step ``t + 1``, and accumulated in step ``t + mac_stages``; the sum is seen one step later.
    """

    def __init__(self, *, config: ArrayConfig) -> None:
        operand = operand_width(config)
        signature: dict[str, Any] = {
            "i_en": In(1),
            "i_move": In(1),
            "i_release": In(1),
            "i_a": In(config.act_width),
            "o_a": Out(config.act_width),
            "i_operand": In(operand),
            "o_operand": Out(operand),
            "i_result": In(config.acc_width),
            "o_result": Out(config.acc_width),
        }
        if config.st_os:
            signature |= {"i_broadcast": In(operand), "i_broadcast_en": In(1)}
        super().__init__(kind="pe", parameters=config, signature=signature)
        self.config = config

    def body(self, platform: object) -> Module:
        """Build the operand registers, the multiply-accumulate and the result register."""
        config = self.config
        m = Module()

        activation = Signal(signed(config.act_width), reset_less=True)
        weight = Signal(signed(config.weight_width), reset_less=True)
        valid = Signal(reset_less=True)
        mark = Signal(reset_less=True)
        operand = Cat(weight, valid, mark)
        m.d.comb += [self.o_a.eq(activation), self.o_operand.eq(operand)]

        with m.If(self.i_move):
            m.d.sync += activation.eq(self.i_a)
        with m.If(self.i_en):
            if config.st_os:
                # The line is zero unless enabled, so an AND-OR does what a multiplexer would.
                north = self.i_operand & ~self.i_broadcast_en.replicate(len(operand))
                m.d.sync += operand.eq(north | self.i_broadcast)
            else:
                m.d.sync += operand.eq(self.i_operand)

        product = Signal(signed(config.act_width + config.weight_width), reset_less=True)
        total = Signal(config.acc_width)  # narrower than the sum: wraps modulo 2**acc_width
        acc = Signal(signed(config.acc_width), reset_less=True)
        held = Signal(reset_less=True)
        if config.mac_stages == 1:
            m.d.comb += product.eq(activation * weight)
        else:
            valid_q = Signal(reset_less=True)
            mark_q = Signal(reset_less=True)
            with m.If(self.i_en):
                m.d.sync += [product.eq(activation * weight), valid_q.eq(valid), mark_q.eq(mark)]
            valid, mark = valid_q, mark_q

        if config.accumulators == 2:
            result = Signal(config.acc_width, reset_less=True)
            finish = Signal()
            m.d.comb += [total.eq(acc + product), finish.eq(valid & mark)]
            with m.If(self.i_en):
                with m.If(mark):
                    m.d.sync += acc.eq(0)
                with m.Elif(valid):
                    m.d.sync += acc.eq(total)
                with m.If(finish):
                    m.d.sync += result.eq(total)
                with m.Elif(~held):
                    m.d.sync += result.eq(self.i_result)
                m.d.sync += held.eq(~self.i_release & (held | finish))
            m.d.comb += self.o_result.eq(result)
        else:
            start = Signal(signed(config.acc_width))
            with m.If(~mark):
                m.d.comb += start.eq(acc)
            m.d.comb += total.eq(start + product)
            with m.If(self.i_en):
                with m.If(valid):
                    m.d.sync += acc.eq(total)
                with m.Elif(~held):
                    m.d.sync += acc.eq(self.i_result)
                m.d.sync += held.eq(~self.i_release & (held | (valid & mark)))
            m.d.comb += self.o_result.eq(acc)
        return m

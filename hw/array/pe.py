"""The processing element: one multiply-accumulate, and one link of the row's result chain."""

from __future__ import annotations

from typing import Any

from amaranth.hdl import Module, Signal, Value, signed
from amaranth.lib.data import View
from amaranth.lib.wiring import In, Out

from ..config import ArrayConfig
from ..layouts import operand_layout
from ..share import SharedComponent

__all__ = ["PE"]


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
    west, one result per step, or with `paced` per step without `i_stay`. With one accumulator the
    sum is held from its first product on. What is finished in the step of the release is not held.

    Parameters
    ----------
    config : ArrayConfig
        Widths, number of accumulators, ST-OS.
    paced : bool
        Results move only in steps without `i_stay`.

    Members
    -------
    i_en : In(1)
        The array moves in this step.
    i_move : In(1)
        Activations move in this step (implies `i_en`).
    i_release : In(1)
        The row's results start to leave in this step.
    i_stay : In(1)
        The row's results stay where they are in this step. `paced` only.
    i_a, o_a : act_width
        Activation from the west and to the east.
    i_operand, o_operand : operand_layout(config)
        Weight and tags from the north and to the south.
    i_broadcast, i_broadcast_en : operand_layout(config), 1
        The row's broadcast line (zero unless enabled) and its enable. ST-OS only.
    i_result, o_result : acc_width
        Result chain from the west and to the east.

    Latency: operands presented in step t are registered in step t, seen in the east and the south
    in step ``t + 1``, and accumulated in step ``t + mac_stages``; the sum is seen one step later.
    """

    i_en: Signal
    i_move: Signal
    i_release: Signal
    i_stay: Signal
    i_a: Signal
    o_a: Signal
    i_operand: Signal
    o_operand: Signal
    i_broadcast: Signal
    i_broadcast_en: Signal
    i_result: Signal
    o_result: Signal

    def __init__(self, *, config: ArrayConfig, paced: bool = False) -> None:
        operand = operand_layout(config).size
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
        if paced:
            signature["i_stay"] = In(1)
        super().__init__(kind="pe", parameters=(config, paced), signature=signature)
        self.config, self.paced = config, paced

    def body(self, platform: object) -> Module:
        """Build the operand registers, the multiply-accumulate and the result register."""
        config = self.config
        m = Module()
        activation = Signal(signed(config.act_width), reset_less=True)
        weight = Signal(signed(config.weight_width), reset_less=True)
        valid = Signal(reset_less=True)
        mark = Signal(reset_less=True)
        layout = operand_layout(config)

        incoming = self.i_operand
        if config.st_os:
            # The line is zero unless enabled, so an AND-OR does what a multiplexer would.
            incoming = Signal(layout.size)
            north = self.i_operand & ~self.i_broadcast_en.replicate(layout.size)
            m.d.comb += incoming.eq(north | self.i_broadcast)
        arriving, leaving = View(layout, incoming), View(layout, self.o_operand)
        with m.If(self.i_move):
            m.d.sync += activation.eq(self.i_a)
        with m.If(self.i_en):
            m.d.sync += [
                weight.eq(arriving.weight),
                valid.eq(arriving.tags.valid),
                mark.eq(arriving.tags.mark),
            ]
        m.d.comb += [
            self.o_a.eq(activation),
            leaving.weight.eq(weight),
            leaving.tags.valid.eq(valid),
            leaving.tags.mark.eq(mark),
        ]

        product = Signal(signed(config.act_width + config.weight_width), reset_less=True)
        if config.mac_stages == 1:
            m.d.comb += product.eq(activation * weight)
        else:
            valid_q = Signal(reset_less=True)
            mark_q = Signal(reset_less=True)
            with m.If(self.i_en):
                m.d.sync += [product.eq(activation * weight), valid_q.eq(valid), mark_q.eq(mark)]
            valid, mark = valid_q, mark_q
        if config.accumulators == 2:
            self._accumulate(m, product, valid, mark)
        else:
            self._accumulate_in_place(m, product, valid, mark)
        return m

    def _accumulate(self, m: Module, product: Signal, valid: Signal, mark: Signal) -> None:
        """Build an accumulator, and a result register for finished sums."""
        width = self.config.acc_width
        acc = Signal(signed(width), reset_less=True)
        total = Signal(width)  # narrower than the sum: wraps modulo 2**acc_width
        result = Signal(width, reset_less=True)
        held = Signal(reset_less=True)
        finish = Signal()
        m.d.comb += [total.eq(acc + product), finish.eq(valid & mark), self.o_result.eq(result)]
        with m.If(self.i_en):
            with m.If(mark):
                m.d.sync += acc.eq(0)
            with m.Elif(valid):
                m.d.sync += acc.eq(total)
            with m.If(finish):
                m.d.sync += result.eq(total)
            with m.Elif(self._moves(held)):
                m.d.sync += result.eq(self.i_result)
            m.d.sync += held.eq(~self.i_release & (held | finish))

    def _accumulate_in_place(self, m: Module, product: Signal, valid: Signal, mark: Signal) -> None:
        """Build an accumulator that is the result register, too."""
        width = self.config.acc_width
        acc = Signal(signed(width), reset_less=True)
        start = Signal(signed(width))
        total = Signal(width)  # narrower than the sum: wraps modulo 2**acc_width
        held = Signal(reset_less=True)
        with m.If(~mark):
            m.d.comb += start.eq(acc)
        m.d.comb += [total.eq(start + product), self.o_result.eq(acc)]
        with m.If(self.i_en):
            with m.If(valid):
                m.d.sync += acc.eq(total)
            with m.Elif(self._moves(held)):
                m.d.sync += acc.eq(self.i_result)
            m.d.sync += held.eq(~self.i_release & (held | (valid & mark)))

    def _moves(self, held: Signal) -> Value:
        return ~(held | self.i_stay) if self.paced else ~held

"""A requantization lane: sums of 32 bits to int8, as TensorFlow Lite does it."""

from __future__ import annotations

from typing import Any

from amaranth.hdl import Cat, Const, Module, Mux, Signal, Value, signed
from amaranth.lib.data import StructLayout, View
from amaranth.lib.wiring import In, Out

from ..share import SharedComponent

__all__ = ["LIMITS", "PARAMETERS", "WIDE", "Requantizer", "lane_steps", "wide_steps"]

#: Of one channel: bias, multiplier, and shift to the right less 1, 0 to 61; `twice` says that the
#: product is rounded at bit 30 first.
PARAMETERS = StructLayout({"bias": signed(32), "multiplier": 31, "shift": 6, "twice": 1})

#: Of one tensor.
LIMITS = StructLayout({"zero": signed(8), "low": signed(8), "high": signed(8)})


#: Bits of what is rounded to 32 bits, and the half below it.
WIDE = 33

#: Bits of the product of a sum and a multiplier, and what rounds it.
PRODUCT = 63

#: The bit that a product that is rounded twice is rounded at first.
HALF = 30

#: Low bits of both factors, where the product is one of halves: what a DSP block takes, and a sign.
_LOW = 17


def lane_steps(mac_stages: int) -> int:
    """Return the steps from a sum to its result: two more for a product with registers in it."""
    return wide_steps(mac_stages) + 1


def wide_steps(mac_stages: int) -> int:
    """Return the steps to what is wide.

    It is an odd number: second passes of the combiner come between first ones.
    """
    return 1 + 2 * mac_stages


class Requantizer(SharedComponent):
    r"""``clip(round((sum + bias) * multiplier / 2**s) + zero, low, high)``, one per step.

    With ``P = (sum + bias + carry) * multiplier``, the sum wrapped to 32 bits, ``s = shift + 1``:

    - ``twice`` is what TensorFlow Lite does with a shift of 32 and more,
      ``round(round(P / 2**31) / 2**(s - 31))``, the first half up, the second half away from zero.
      That is ``(P + 2**30 + 2**(s - 1) - (2**31 if P < 0 else 0)) >> s``.
    - Without it, ``(P + 2**(s - 1)) >> s``: halves up, for shifts of 31 and less.

    Parameters
    ----------
    mac_stages : 1 or 2
        As of the array. With 2, there are registers between partial products and their sum.

    Members
    -------
    i_en : In(1)
        The lane moves in this step.
    i_sum, i_carry : 32, 1
        The sum, and what is added at its end.
    i_parameters : In(PARAMETERS)
        Of its channel.
    i_odd, i_limits : 1, 2 * LIMITS
        Which of two tensors it is of, and what is known of both; it is to stay until the last
        result is out.
    o : Out(8)
        The result.
    o_wide : Out(WIDE)
        ``floor(P / 2**shift)``, for what fits in 32 bits.

    Latency: `lane_steps` to `o`, `wide_steps` to `o_wide`.
    """

    i_en: Signal
    i_sum: Signal
    i_carry: Signal
    i_parameters: Signal
    i_odd: Signal
    i_limits: Signal
    o: Signal
    o_wide: Signal

    def __init__(self, *, mac_stages: int = 1) -> None:
        signature: dict[str, Any] = {
            "i_en": In(1),
            "i_sum": In(32),
            "i_carry": In(1),
            "i_parameters": In(PARAMETERS.size),
            "i_odd": In(1),
            "i_limits": In(2 * LIMITS.size),
            "o": Out(8),
            "o_wide": Out(WIDE),
        }
        super().__init__(kind="requantizer", parameters=(mac_stages,), signature=signature)
        self.mac_stages = mac_stages

    def body(self, platform: object) -> Module:
        """Build the steps: bias, rounded product, shift, and zero point with limits."""
        m = Module()
        given = View(PARAMETERS, self.i_parameters)
        ahead = wide_steps(self.mac_stages)
        odds = [Signal(name=f"odd_{n}", reset_less=True) for n in range(ahead)]
        even, odd = self.i_limits[: LIMITS.size], self.i_limits[LIMITS.size :]
        limits = View(LIMITS, Mux(odds[-1], odd, even))

        total = Signal(signed(32), reset_less=True)
        multiplier = Signal(31, reset_less=True)
        shifts = [Signal(6, name=f"shift_{n}", reset_less=True) for n in range(ahead - 1)]
        twice = Signal(reset_less=True)
        product = Signal(signed(PRODUCT), reset_less=True)
        # One bit more than the result: the half that rounds it.
        shifted = Signal(WIDE, reset_less=True)
        far = Signal(2, reset_less=True)  # beyond all limits, and below zero
        result = Signal(8, reset_less=True)

        # floor((P + 2**(s - 1)) / 2**s) is floor(P / 2**s) plus the bit below it.
        negative = total[-1]  # with a multiplier of 0, too: all of these round to 0
        half = Cat(twice, twice & negative).as_signed()  # of what is rounded first: 1, -1 or none
        rounded = self._product(m, total, multiplier, half)
        down, fits = self._shift(m, product, shifts[-1])
        value = Signal(signed(12))
        m.d.comb += value.eq((shifted[1:11].as_signed() + shifted[0]) + limits.zero)
        below = Mux(far[0], far[1], value < limits.low)
        above = Mux(far[0], ~far[1], value > limits.high)
        with m.If(self.i_en):
            m.d.sync += [
                # The carry comes in by an adder that is one bit longer.
                total.eq((Cat(Const(1, 1), self.i_sum) + Cat(self.i_carry, given.bias))[1:33]),
                multiplier.eq(given.multiplier),
                Cat(*shifts).eq(Cat(given.shift, *shifts[:-1])),
                twice.eq(given.twice),
                Cat(*odds).eq(Cat(self.i_odd, *odds[:-1])),
                product.eq(rounded),
                shifted.eq(down),
                far.eq(Cat(~fits, product[-1])),
                result.eq(Mux(below, limits.low, Mux(above, limits.high, value))[:8]),
            ]  # fmt: skip
        m.d.comb += [self.o.eq(result), self.o_wide.eq(shifted)]
        return m

    def _product(self, m: Module, total: Signal, multiplier: Signal, half: Value) -> Value:
        """Return the rounded product; of the sum of two steps ago, if there are registers in it."""
        if self.mac_stages == 1:
            product = Signal(signed(PRODUCT), name="exact")
            m.d.comb += product.eq(multiplier * total)
            return Cat(product[:HALF], product[HALF:].as_signed() + half)[:PRODUCT].as_signed()
        low, high = total[:_LOW], total[_LOW:].as_signed()
        parts = []  # by weight: 0, _LOW twice, 2 * _LOW
        for n, (a, b) in enumerate(
            (a, b) for b in (multiplier[:_LOW], multiplier[_LOW:]) for a in (low, high)
        ):
            part = Signal((a * b).shape(), name=f"part_{n}", reset_less=True)
            parts.append(part)
            with m.If(self.i_en):
                m.d.sync += part.eq(a * b)
        later_half = Signal(half.shape(), name="half", reset_less=True)
        middle = Signal((parts[1] + parts[2]).shape(), reset_less=True)
        outer = Signal(signed(PRODUCT), reset_less=True)
        with m.If(self.i_en):
            m.d.sync += [
                later_half.eq(half),
                middle.eq(parts[1] + parts[2]),
                outer.eq(Cat(parts[0], parts[3]).as_signed() + (later_half << HALF)),
            ]
        return outer + (middle << _LOW)

    def _shift(self, m: Module, product: Value, by: Value) -> tuple[Value, Value]:
        """Return the low `WIDE` bits of the product after a shift, and whether 9 bits hold it all.

        A level drops what the levels after it cannot bring into the low bits: it has to be sign.
        """
        sign = product[-1]
        now = product
        fits: Value = Const(1, 1)
        for level in reversed(range(len(by))):
            distance = 1 << level
            needed = min(WIDE + distance - 1, len(now))
            dropped = now[needed:]
            if len(dropped):
                fits = fits & (by[level] | ~(dropped ^ sign.replicate(len(dropped))).any())
            far = Cat(now[distance:], sign.replicate(distance))
            after = Signal(needed, name=f"down_{distance}")
            m.d.comb += after.eq(Mux(by[level], far[:needed], now[:needed]))
            now = after
        rest = now[9:]
        return now, fits & ~(rest ^ sign.replicate(len(rest))).any()

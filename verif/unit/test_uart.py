"""Bytes go over the wire and come back, at any phase; noise on it is none."""

from __future__ import annotations

import random

import pytest

from hw.boards.uart import Receiver, Transmitter
from verif.unit.stepper import Drive, Stepper


def levels(data: list[int], divisor: int, dice: random.Random) -> list[int]:
    """Return the wire, cycle by cycle; bits are a little long or short, as other clocks are."""
    wire = [1] * 5
    for byte in data:
        begun = len(wire)
        drift = dice.uniform(-0.02, 0.02)
        for place in range(1, 11):
            bit = 0 if place == 1 else 1 if place == 10 else byte >> place - 2 & 1
            until = begun + round(place * divisor * (1 + drift))
            wire += [bit] * (until - len(wire))
        wire += [1] * dice.choice([0, 0, dice.randrange(3 * divisor)])
    return wire + [1] * 2 * divisor


@pytest.mark.parametrize("divisor", [4, 5, 16, 25])
def test_receiver(divisor: int) -> None:
    """All bytes come, once, whatever the phase, and two percent off."""
    dice = random.Random(divisor)
    data = [dice.randrange(256) for _ in range(60)]
    wire = levels(data, divisor, dice)
    trace = Stepper(Receiver(divisor=divisor)).run([{"i_rx": level} for level in wire])
    assert [seen.o_data for seen in trace if seen.o_valid] == data


@pytest.mark.parametrize("divisor", [8, 25])
def test_noise(divisor: int) -> None:
    """A pulse shorter than half a bit is no start bit, and a byte without a stop bit is dropped."""
    dice = random.Random(divisor)
    pulse = [0] * (divisor // 2 - 1) + [1] * 2 * divisor
    broken = levels([0x55], divisor, dice)[: 5 + 9 * divisor] + [0] * divisor + [1] * 12 * divisor
    good = levels([0xA7], divisor, dice)
    wire = [1] * 5 + pulse + broken + pulse + good
    trace = Stepper(Receiver(divisor=divisor)).run([{"i_rx": level} for level in wire])
    assert [seen.o_data for seen in trace if seen.o_valid] == [0xA7]


@pytest.mark.parametrize("divisor", [1, 4, 25])
def test_transmitter(divisor: int) -> None:
    """Every bit has its cycles, and bytes that are there follow without a pause."""
    dice = random.Random(divisor)
    data = [dice.randrange(256) for _ in range(20)]
    pauses = [dice.choice([0, 0, 7]) for _ in data]
    wire: list[int] = []

    def drive() -> Drive:
        for byte, pause in zip(data, pauses, strict=True):
            for _ in range(pause):
                seen = yield {"i_valid": 0}
                wire.append(seen.o_tx)
            while True:
                seen = yield {"i_valid": 1, "i_data": byte}
                wire.append(seen.o_tx)
                if seen.o_ready:
                    break
        for _ in range(10 * divisor):
            seen = yield {"i_valid": 0}
            wire.append(seen.o_tx)

    Stepper(Transmitter(divisor=divisor)).run(drive())
    found, begins, at = [], [], 0
    while 0 in wire[at:]:
        at = wire.index(0, at)
        bits = [wire[at + n * divisor : at + (n + 1) * divisor] for n in range(10)]
        assert all(len(set(bit)) == 1 and len(bit) == divisor for bit in bits)
        assert (bits[0][0], bits[9][0]) == (0, 1)
        found.append(sum(bit[0] << n for n, bit in enumerate(bits[1:9])))
        begins.append(at)
        at += 10 * divisor
    assert found == data
    for before, after, pause in zip(begins, begins[1:], pauses[1:], strict=False):
        assert after - before == 10 * divisor or pause

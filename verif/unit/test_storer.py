"""Every byte of a range is written once, and no other, in legal bursts."""

from __future__ import annotations

import random

import pytest

from hw.accelerator.config import BURST
from hw.accelerator.storer import Storer
from verif.lib.machines import SMALL
from verif.unit.stepper import LONG, Drive, Stepper

#: Bytes of a beat, bits of an address in memory and of one where the bytes come from.
SHAPES = [
    (4, 16, 12), (16, 16, 12), (64, 16, 12),
    *((one.axi_bytes, one.axi_addr_width, one.local_bits) for one in SMALL),
]  # fmt: skip


@pytest.mark.parametrize(("size", "bits", "local_bits"), SHAPES)
@pytest.mark.parametrize("first", ["address", "data", "either"])
@pytest.mark.parametrize("seed", range(2))
def test_ranges(size: int, bits: int, local_bits: int, first: str, seed: int) -> None:
    """Lengths and offsets of any kind, and a bus that takes its time on every channel.

    It may take no data before their address, no address before all its data, or either first.
    """
    dice = random.Random(seed)
    ranges = [
        (dice.randrange((1 << bits) - 1024), dice.choice([1, size, dice.randint(1, 900)]))
        for _ in range(8 * (1 + 3 * LONG))
    ]
    if LONG:
        ranges.append(
            (dice.randrange((1 << bits - 1) - 1024), dice.randrange((1 << local_bits) - size))
        )
    pace = dice.choice([0.3, 1.0])

    def drive() -> Drive:
        for address, count in ranges:
            source = bytes(dice.getrandbits(8) for _ in range(count))
            target: dict[int, int] = {}
            quiet = {"i_begin": 0, "i_address": None, "i_bytes": None, "i_local": None,
                     "i_stop": 0, "i_aw_ready": 0, "i_w_ready": 0, "i_b": 0}  # fmt: skip
            local = dice.randrange(1 << local_bits)
            begin = {"i_begin": 1, "i_address": address, "i_bytes": count, "i_local": local}
            yield quiet | begin
            way = [0, 0]  # what is read, in both steps of the memory
            bursts: list[tuple[int, int]] = []  # address and beats
            beats: list[tuple[int, int, int]] = []  # data, strobes, and whether it is the last one
            ends = done = answers = 0  # last beats; bursts that are whole, in number
            for _ in range(4000 + 20 * count):
                aw, w = (int(dice.random() < pace) for _ in range(2))
                aw &= first != "data" or ends > len(bursts) + done
                b = int(answers > 0 and dice.random() < pace)
                answers -= b
                quiet |= {"i_aw_ready": aw, "i_b": b}
                if first == "address":  # of the burst, in this cycle at the latest
                    w &= len(bursts) + done > ends
                seen = yield quiet | {"i_w_ready": w}
                data = way[1]
                if seen.o_read:
                    offset = (seen.o_local - local) % (1 << local_bits)
                    offset -= (1 << local_bits) * (offset >= (1 << local_bits) - size)
                    part = [source[offset + n] if 0 <= offset + n < count else dice.getrandbits(8)
                            for n in range(size)]  # fmt: skip
                    way = [int.from_bytes(bytes(part), "little"), way[0]]
                if seen.o_aw_valid and aw:
                    assert seen.o_aw_address % size == 0
                    end = seen.o_aw_address + (seen.o_aw_len + 1) * size - 1
                    assert seen.o_aw_address // BURST == end // BURST
                    bursts.append((seen.o_aw_address, seen.o_aw_len + 1))
                if seen.o_w_valid and w:
                    beats.append((data, seen.o_w_strobe, seen.o_w_last))
                    ends += seen.o_w_last
                    assert ends <= len(bursts) + done + 1  # a burst ahead of its address
                if bursts and ends > done:
                    where, length = bursts.pop(0)
                    assert [one[2] for one in beats[:length]] == [0] * (length - 1) + [1]
                    for at in range(length):
                        data, strobe, _ = beats.pop(0)
                        for n in range(size):
                            if strobe >> n & 1:
                                assert where + at * size + n not in target
                                target[where + at * size + n] = data >> 8 * n & 0xFF
                    done += 1
                    answers += 1
                if not seen.o_busy:
                    break
            else:
                raise AssertionError("it does not end")
            assert not (bursts or beats) and ends == done
            assert target == {address + n: byte for n, byte in enumerate(source)}

    Stepper(Storer(axi_bytes=size, address=bits, local=local_bits)).run(drive())

"""A header is good if all of it is right, and its fields are kept."""

from __future__ import annotations

import functools
import operator
import random

import pytest

from hw.accelerator.header import HEADER, MAGIC, Header
from hw.accelerator.registers import VERSION
from verif.lib.machines import SMALL
from verif.unit.stepper import Drive, Stepper

#: Bytes of a beat, and the fingerprint of a machine.
SHAPES = [(8, 0x12345678), (64, 0xFEDCBA98), *((one.axi_bytes, one.fingerprint) for one in SMALL)]


@pytest.mark.parametrize(("size", "fingerprint"), SHAPES)
def test_headers(size: int, fingerprint: int) -> None:
    """Right ones, with pauses and garbage around them, and one for every bit that is wrong.

    Of those that are compared, too, where the check is right all the same.
    """
    dice = random.Random(size)
    version = functools.reduce(lambda whole, part: whole << 8 | part, VERSION)

    def drive() -> Drive:
        bits = [(bit, False) for bit in range(7 * 32)] + [(bit, True) for bit in range(3 * 32)]
        for wrong, whole in [(-1, True)] * 20 + bits:
            kept = [dice.getrandbits(32) for _ in range(3)]
            fields = [MAGIC, version, fingerprint, *kept]
            fields.append(functools.reduce(operator.xor, fields))
            if whole and wrong >= 0:
                fields[-1] ^= 1 << wrong % 32
            header = sum(field << 32 * n for n, field in enumerate(fields))
            if wrong >= 0:
                header ^= 1 << wrong
            header |= dice.getrandbits(8 * HEADER - 7 * 32) << 7 * 32
            yield {"i_start": 1, "i_beat": 0}
            for beat in range(HEADER // size):
                for _ in range(dice.randrange(2)):
                    yield {"i_start": 0, "i_beat": 0}
                data = header >> 8 * size * beat & (1 << 8 * size) - 1
                yield {"i_start": 0, "i_beat": 1, "i_data": data}
            for _ in range(2):
                seen = yield {"i_start": 0, "i_beat": 0}
                assert seen.o_good == (wrong < 0), wrong
                if not 3 * 32 <= wrong < 6 * 32:
                    found = [seen.o_program_bytes, seen.o_weights_offset, seen.o_weights_bytes]
                    assert found == kept

    Stepper(Header(axi_bytes=size, fingerprint=fingerprint)).run(drive())

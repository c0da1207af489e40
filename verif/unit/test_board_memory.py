"""The memory of a board: bursts and a host at once, every byte, and when each beat comes."""

from __future__ import annotations

import random
from collections import deque
from types import SimpleNamespace

import pytest

from hw.boards.memory import LATENCY, WAITING, BoardMemory
from verif.unit.stepper import Drive, Inputs, Stepper

SIZE = 8192


@pytest.mark.parametrize("pace", [1.0, 0.6])
@pytest.mark.parametrize("size", [4, 8, 16])
def test_traffic(size: int, pace: float) -> None:
    """Reads, writes and the host's words in separate places; at full pace, to the cycle."""
    dice = random.Random(size)
    memory = bytearray(dice.randbytes(SIZE))
    third = SIZE // 4  # bytes that are only read; only written; the host's
    free = 0  # the first cycle in which the next burst's beats may come
    expected: deque[tuple[int, int, int, int, bytes]] = deque()  # due, id, response, last, data
    beats: deque[tuple[bytes, int, int]] = deque()  # of the burst that is written
    burst = (0, 0, False)  # where the next of them goes, its id, whether that is outside
    responses: deque[tuple[int, int]] = deque()
    host: tuple[int, int, bytes] | None = None
    answers: deque[tuple[int, bytes]] = deque()  # due, word
    counts = {"reads": 0, "writes": 0, "wrong": 0, "host": 0}

    def burst_at(base: int) -> tuple[int, int]:
        """Return address and beats of a burst in a third."""
        count = dice.randint(1, 256 // size)
        return base + size * dice.randrange((third - 256) // size), count

    def drive() -> Drive:
        nonlocal free, burst, host
        asked, begun = False, (0, 0)  # the address of a burst to write is on its way; that
        for at in range(0, SIZE, 4):  # the host writes all of it first
            word = int.from_bytes(memory[at : at + 4], "little")
            seen = yield {"i_arvalid": 0, "i_awvalid": 0, "i_wvalid": 0, "i_request": 1,
                          "i_write": 1, "i_address": at // 4, "i_write_data": word, "i_rready": 1,
                          "i_bready": 1}  # fmt: skip
            assert seen.o_grant
        for cycle in range(3000):
            ar = None
            if dice.random() < 0.004 * size * pace:
                where, count = burst_at(0)
                if dice.random() < 0.1:
                    where = SIZE + 4096 * dice.randrange(100)
                ar = (where, count, dice.randrange(4))
            if not beats and not responses and dice.random() < 0.2:
                where, count = burst_at(third)
                outside = dice.random() < 0.1
                asked, begun = True, (SIZE + where if outside else where, dice.randrange(4))
                burst = (where, begun[1], outside)
                for n in range(count):
                    beats.append(
                        (dice.randbytes(size), dice.getrandbits(size), int(n == count - 1))
                    )
            if host is None and not answers and cycle < 2900 and dice.random() < 0.3:
                where = 2 * third + 4 * dice.randrange(third // 4)
                host = (where, dice.randrange(2), dice.randbytes(4))
            named: Inputs = {
                "i_arvalid": int(ar is not None), "i_awvalid": int(asked),
                "i_wvalid": int(bool(beats) and dice.random() < pace),
                "i_request": int(host is not None), "i_rready": int(dice.random() < pace),
                "i_bready": int(dice.random() < pace),
            }  # fmt: skip
            if ar:
                named |= {"i_araddr": ar[0], "i_arlen": ar[1] - 1, "i_arid": ar[2]}
            if asked:
                named |= {"i_awaddr": begun[0], "i_awid": begun[1]}
            if named["i_wvalid"]:
                data, strobe, last = beats[0]
                named |= {"i_wdata": int.from_bytes(data, "little"), "i_wstrb": strobe,
                          "i_wlast": last}  # fmt: skip
            if host:
                named |= {"i_address": host[0] // 4, "i_write": host[1],
                          "i_write_data": int.from_bytes(host[2], "little")}  # fmt: skip
            seen = yield named
            _reads(cycle, ar, named, seen)
            asked &= not seen.o_awready
            if named["i_wvalid"] and seen.o_wready:
                assert not asked
                data, strobe, last = beats.popleft()
                where, number, outside = burst
                for n in range(size):
                    if strobe >> n & 1 and not outside:
                        memory[where + n] = data[n]
                burst = (where + size, number, outside)
                if last:
                    responses.append((number, 2 * outside))
                    counts["writes"] += 1
            if seen.o_bvalid and named["i_bready"]:
                assert (seen.o_bid, seen.o_bresp) == responses.popleft()
            if host and seen.o_grant:
                where, write, data = host
                if write:
                    memory[where : where + 4] = data
                else:
                    answers.append((cycle + 2, bytes(memory[where : where + 4])))
                host = None
                counts["host"] += 1
            if seen.o_answer:
                due, data = answers.popleft()
                assert seen.o_read_data == int.from_bytes(data, "little")
                assert cycle >= due and (pace < 1 or cycle == due)
        assert not answers

    def _reads(
        cycle: int, ar: tuple[int, int, int] | None, named: Inputs, seen: SimpleNamespace
    ) -> None:
        """Take the address of a burst, and a beat."""
        nonlocal free
        if ar and seen.o_arready:
            where, count, number = ar
            free = max(free, cycle + LATENCY)
            for n in range(count):
                outside = where >= SIZE
                at = where + n * size
                data = b"" if outside else bytes(memory[at : at + size])
                expected.append((free, number, 2 * outside, int(n == count - 1), data))
                free += 1
            counts["reads"] += 1
            counts["wrong"] += where >= SIZE
        elif ar:
            assert len(expected) > WAITING - 4
        due = bool(expected) and expected[0][0] <= cycle
        if pace == 1:
            assert seen.o_rvalid == due, cycle
        if seen.o_rvalid:
            _, number, response, last, data = expected[0]
            assert (seen.o_rid, seen.o_rresp, seen.o_rlast) == (number, response, last)
            if not response:
                assert seen.o_rdata == int.from_bytes(data, "little")
            if named["i_rready"]:
                expected.popleft()

    Stepper(BoardMemory(size=SIZE, axi_bytes=size, address=32)).run(drive())
    assert counts["reads"] > 20 and counts["writes"] > 20 and counts["host"] > 60
    assert counts["wrong"] > 0

"""The link does what whole packets ask for, answers them, and takes no notice of others."""

from __future__ import annotations

import random
import struct
import zlib
from collections import deque
from collections.abc import Iterator
from types import SimpleNamespace

import pytest

from hw.boards import link as packets
from hw.boards.link import LARGEST, Link
from sim.board.link import packet
from verif.unit.stepper import Drive, Inputs, Stepper

MEMORY, PATIENCE = 4096, 200
REGISTERS = packets.REGISTERS


class Bench:
    """The link between a wire and a memory with registers, whose timing is random."""

    def __init__(self, seed: int) -> None:
        self.dice = random.Random(seed)
        self.memory = [self.dice.getrandbits(32) for _ in range(MEMORY // 4)]
        self.registers = [self.dice.getrandbits(32) for _ in range(1024)]
        self.writes: list[tuple[int, int]] = []  # addresses and data, of both
        self.refused: set[int] = set()  # registers
        self.sent: deque[int | None] = deque()  # bytes, and cycles of silence
        self.found = bytearray()

    def send(self, data: bytes) -> None:
        """Put bytes on the wire."""
        self.sent.extend(data)

    def drive(self) -> Drive:
        """Go on until nothing has moved for a while."""
        dice = self.dice
        read: deque[int] = deque()  # of memory, on the way
        half: dict[str, int] = {}  # of a write to a register
        write_answer = read_answer = None
        quiet, limit = 0, 100_000 + 20 * len(self.sent)
        while quiet < 2 * PATIENCE:
            limit -= 1
            assert limit, "the link does not come to rest"
            byte = self.sent[0] if self.sent else None
            valid = int(byte is not None)
            answers = int(bool(read) and dice.random() < 0.5)
            grant, ready, *handshakes = (int(dice.random() < 0.5) for _ in range(5))
            named: Inputs = {
                "i_valid": valid, "i_data": byte, "i_ready": ready, "i_grant": grant,
                "i_answer": answers, "i_read_data": read[0] if answers else None,
                "i_awready": handshakes[0], "i_wready": handshakes[1], "i_arready": handshakes[2],
                "i_bvalid": 0, "i_rvalid": 0,
            }  # fmt: skip
            if write_answer is not None and dice.random() < 0.5:
                named |= {"i_bvalid": 1, "i_bresp": write_answer}
                write_answer = None
            if read_answer is not None and dice.random() < 0.5:
                named |= {"i_rvalid": 1, "i_rdata": read_answer[0], "i_rresp": read_answer[1]}
                read_answer = None
            seen: SimpleNamespace = yield named
            if answers:
                read.popleft()
            moved = bool(read) or seen.o_request or seen.o_valid
            if self.sent and (byte is None or seen.o_take):
                self.sent.popleft()
                moved = True
            if seen.o_valid and ready:
                self.found.append(seen.o_data)
            if seen.o_request and grant:
                assert seen.o_address < MEMORY // 4
                if seen.o_write:
                    self.memory[seen.o_address] = seen.o_write_data
                    self.writes.append((4 * seen.o_address, seen.o_write_data))
                else:
                    read.append(self.memory[seen.o_address])
            if seen.o_awvalid and handshakes[0]:
                assert "address" not in half
                half["address"] = seen.o_awaddr
            if seen.o_wvalid and handshakes[1]:
                assert "data" not in half
                half["data"] = seen.o_wdata
            if len(half) == 2:
                offset = half["address"]
                write_answer = 2 * (offset in self.refused)
                self.writes.append((REGISTERS + offset, half["data"]))
                if not write_answer:
                    self.registers[offset // 4] = half["data"]
                half = {}
            if seen.o_arvalid and handshakes[2]:
                offset = seen.o_araddr
                read_answer = (self.registers[offset // 4], 2 * (offset in self.refused))
            quiet = 0 if moved or half or write_answer is not None or read_answer else quiet + 1

    def answers(self) -> Iterator[tuple[int, int, bytes]]:
        """Return status, number and words of every answer; there is nothing else on the wire."""
        at = 0
        while at < len(self.found):
            assert self.found[at] == packets.ANSWER
            status, number, words = self.found[at + 1 : at + 4]
            end = at + 4 + 4 * words
            body = bytes(self.found[at + 1 : end])
            assert zlib.crc32(body) == int.from_bytes(self.found[end : end + 4], "little")
            yield status, number, body[3:]
            at = end + 4

    def run(self) -> list[tuple[int, int, bytes]]:
        """Run a link; return its answers."""
        link = Link(memory=MEMORY, clock=50_000_000, queue=1024, patience=PATIENCE)
        Stepper(link).run(self.drive(), seed=self.dice.getrandbits(16))
        return list(self.answers())


@pytest.mark.parametrize("seed", range(3))
def test_requests(seed: int) -> None:
    """Reads and writes of memory and registers, of all lengths; what is refused says so."""
    bench = Bench(seed)
    dice = bench.dice
    memory, registers = bench.memory.copy(), bench.registers.copy()
    bench.refused = set(range(0, 4096, 12))
    wanted: list[tuple[int, int, bytes]] = []
    written: list[tuple[int, int]] = []
    for number in range(40):
        words = dice.choice([1, 2, LARGEST, dice.randint(1, LARGEST)])
        kind = dice.choice(["memory", "memory", "register", "info", "operation", "place"])
        write = dice.random() < 0.5
        operation = packets.WRITE if write else packets.READ
        status, answer = 0, b""
        data = [dice.getrandbits(32) for _ in range(words)]
        address = 4 * dice.choice([0, MEMORY // 4 - words, dice.randint(0, MEMORY // 4 - words)])
        if kind == "register":
            words, data = 1, data[:1]
            offset = 4 * dice.randrange(1024)
            address = REGISTERS + offset
            refused = offset in bench.refused
            status = packets.REFUSED * refused
            if write:
                written.append((address, data[0]))
                if not refused:
                    registers[offset // 4] = data[0]
            elif not refused:
                answer = struct.pack("<I", registers[offset // 4])
        elif kind == "memory":
            if write:
                memory[address // 4 : address // 4 + words] = data
                written += [(address + 4 * n, one) for n, one in enumerate(data)]
            else:
                answer = struct.pack(f"<{words}I", *memory[address // 4 : address // 4 + words])
        elif kind == "info":
            operation = packets.INFO
            facts = (packets.IDENTITY, packets.VERSION, MEMORY, 50_000_000, 1024)
            answer = struct.pack("<5I", *facts)
        elif kind == "operation":
            operation, status = dice.randint(3, 255), packets.WRONG_OPERATION
        else:
            status = packets.WRONG_PLACE
            address = dice.choice(
                [MEMORY + 4 - 4 * words, MEMORY, 1 << 30, address + 2, REGISTERS - 4,
                 REGISTERS + 4100 - 4 * words, REGISTERS + 4096, 0xFFFFFFFC]
            )  # fmt: skip
        raw = struct.pack(f"<{words}I", *data) if operation == packets.WRITE else b""
        bench.send(packet(operation, number, words, address, raw))
        wanted.append((status, number, answer))
    assert bench.run() == wanted
    assert bench.writes == written
    assert (bench.memory, bench.registers) == (memory, registers)


def test_again() -> None:
    """A write that comes again is answered and not done again; a read is."""
    bench = Bench(1)
    start = packet(packets.WRITE, 7, 1, REGISTERS + 0x10, bytes([1, 0, 0, 0]))
    refused = packet(packets.WRITE, 8, 1, REGISTERS + 0x20, bytes(4))
    bench.refused = {0x20}
    for one in (start, start, refused, refused, start, packet(packets.READ, 7, 1, 0)):
        bench.send(one)
    answers = bench.run()
    assert [one[:2] for one in answers] == [(0, 7), (0, 7), (3, 8), (3, 8), (0, 7), (0, 7)]
    assert bench.writes == [(REGISTERS + 0x10, 1), (REGISTERS + 0x20, 0), (REGISTERS + 0x10, 1)]
    assert answers[-1][2] == struct.pack("<I", bench.memory[0])


@pytest.mark.parametrize("seed", range(2))
def test_broken_packets(seed: int) -> None:
    """Packets that are changed, cut off or made up write nothing; the next one is understood."""
    bench = Bench(seed)
    dice = bench.dice
    last = b""
    for number in range(25):
        words = dice.randint(1, 8)
        data = bytes(dice.getrandbits(8) for _ in range(4 * words))
        whole = packet(packets.WRITE, number, words, 4 * dice.randrange(500), data)
        kind = ("changed", "cut", "noise", "words", "size")[number % 5]
        broken = bytearray(whole)
        if kind == "changed":
            broken[dice.randrange(1, len(broken))] ^= 1 << dice.randrange(8)
        elif kind == "cut":
            del broken[dice.randrange(len(broken)) :]
        elif kind == "words":
            broken[3] = dice.choice([0, 65, 255])
        elif kind == "size":  # whole, but for its size
            words = dice.choice([0, LARGEST + 1, 200])
            broken = bytearray(packet(packets.WRITE, number, words, 64, dice.randbytes(4 * words)))
        else:
            broken = bytearray(dice.getrandbits(8) for _ in range(dice.randint(1, 40)))
        bench.send(bytes(broken))
        bench.sent.extend([None] * (PATIENCE + 20))  # so long that it is given up
        last = packet(packets.READ, number, 1, 4 * number)
        bench.send(last)
    answers = bench.run()
    assert [number for _, number, _ in answers] == list(range(25))
    assert all(data == struct.pack("<I", bench.memory[n]) for _, n, data in answers)
    assert not bench.writes

"""The host's end of a link: memory and registers of a board, whatever the wire does."""

from __future__ import annotations

import secrets
import struct
import zlib
from collections import deque
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Protocol

from hw.boards import link as packets
from report.errors import Failure

__all__ = ["Facts", "Link", "Port", "packet"]

_TRIES = 5
#: Bytes that are no answer, and answers that nobody asked for, that make a device a foreign one.
_NOISE, _STRANGERS = 1 << 16, 1000
#: Seconds after which nothing more comes: USB adapters wait up to 16 ms.
_QUIET = 0.02
_WRONG = {
    packets.WRONG_OPERATION: "it knows no such operation",
    packets.WRONG_PLACE: "there is nothing at that address",
    packets.REFUSED: "a register refused that",
}


class Port(Protocol):
    """A serial port: `serial.Serial`, or a simulated one."""

    timeout: float

    def write(self, data: bytes) -> object:
        """Send bytes."""

    def read(self, count: int) -> bytes:
        """Return so many bytes, or what has come when time is out."""


@dataclass(frozen=True, kw_only=True)
class Facts:
    """What a board says of itself.

    Parameters
    ----------
    memory : int
        Bytes.
    clock : int
        Cycles per second.
    queue : int
        Bytes that may be on their way to it.
    """

    memory: int
    clock: int
    queue: int


def packet(operation: int, number: int, words: int, address: int, data: bytes = b"") -> bytes:
    """Return a request; see `hw.boards.link.Link`."""
    body = struct.pack("<BBBI", operation, number, words, address) + data
    return bytes([packets.REQUEST]) + body + zlib.crc32(body).to_bytes(4, "little")


@dataclass
class _Request:
    """What is asked, and what was answered."""

    operation: int
    words: int
    address: int
    data: bytes = b""
    status: int = 0
    answer: bytes = b""


class Link:
    """Read and write memory and registers; what gets lost on the way is asked again.

    Parameters
    ----------
    port : Port

    Attributes
    ----------
    facts : Facts
    repeated : int
        Requests that had to be sent again.

    Raises
    ------
    Failure
        Here and below: if the board does not answer, or says that it cannot.
    """

    def __init__(self, port: Port) -> None:
        self._port = port
        self._number = secrets.randbelow(256)
        self._silence()
        self.repeated = 0
        self.facts = Facts(memory=0, clock=0, queue=64)
        (one,) = self._all([_Request(packets.INFO, 1, 0)])
        words = struct.unpack(f"<{len(one.answer) // 4}I", one.answer)
        if words[:2] != (packets.IDENTITY, packets.VERSION) or len(words) != 5:
            raise Failure(f"the board's packets are not of version {packets.VERSION}")
        self.facts = Facts(memory=words[2], clock=words[3], queue=words[4])

    def read(self, address: int, count: int) -> bytes:
        """Return bytes of memory."""
        begin, end = address // 4 * 4, -(-(address + count) // 4) * 4
        parts = range(begin, end, 4 * packets.LARGEST)
        requests = [
            _Request(packets.READ, min(packets.LARGEST, (end - at) // 4), at) for at in parts
        ]
        data = b"".join(one.answer for one in self._all(requests))
        return data[address - begin :][:count]

    def write(self, address: int, data: bytes) -> None:
        """Write bytes to memory, from a multiple of 4 on.

        Raises
        ------
        ValueError
            If the address or the number of bytes is none.
        """
        if address % 4 or len(data) % 4:
            raise ValueError(f"{len(data)} bytes at {address:#x} are not whole words")
        parts = range(0, len(data), 4 * packets.LARGEST)
        pieces = [data[at : at + 4 * packets.LARGEST] for at in parts]
        self._all(
            _Request(packets.WRITE, len(piece) // 4, address + at, piece)
            for at, piece in zip(parts, pieces, strict=True)
        )

    def read_register(self, offset: int) -> int:
        """Return a register of the accelerator."""
        (one,) = self._all([_Request(packets.READ, 1, packets.REGISTERS + offset)])
        return int.from_bytes(one.answer, "little")

    def write_register(self, offset: int, value: int) -> None:
        """Write a register of the accelerator."""
        self._all(
            [_Request(packets.WRITE, 1, packets.REGISTERS + offset, value.to_bytes(4, "little"))]
        )

    def _all(self, requests: Iterable[_Request]) -> list[_Request]:
        """Send requests, several ahead of their answers, and return them with these."""
        every = list(requests)
        waiting = deque(every)
        going: dict[int, tuple[_Request, bytes]] = {}  # by number
        tries, strangers = _TRIES, 0
        while waiting or going:
            room = self.facts.queue - sum(len(sent) for _, sent in going.values())
            while waiting:
                one = waiting[0]
                number = (self._number + 1) % 256
                sent = packet(one.operation, number, one.words, one.address, one.data)
                if len(sent) > room or number in going:
                    break
                self._port.write(sent)
                going[number] = waiting.popleft(), sent
                self._number = number
                room -= len(sent)
            answered = self._answer()
            if answered and not self._fits(answered, going):  # of one that was sent twice, or older
                strangers += 1
                if strangers > _STRANGERS:
                    raise Failure("what answers is no board: nobody asked for that")
                continue
            if answered is None:
                tries -= 1
                if not tries:
                    raise Failure("the board does not answer")
                self.repeated += len(going)
                for _, sent in going.values():
                    self._port.write(sent)
                continue
            status, number, data = answered
            one, _ = going.pop(number)
            tries, strangers = _TRIES, 0
            if status:
                what = (
                    f"{'read' if one.operation == packets.READ else 'write'} at {one.address:#010x}"
                )
                raise Failure(f"the board does not {what}: {_WRONG.get(status, status)}")
            one.answer = data
        return every

    def _fits(
        self, answered: tuple[int, int, bytes], going: dict[int, tuple[_Request, bytes]]
    ) -> bool:
        """Return whether an answer is one to a request that is on its way."""
        status, number, data = answered
        if number not in going:
            return False
        one, _ = going[number]
        wanted = {packets.READ: 4 * one.words, packets.WRITE: 0, packets.INFO: 20}[one.operation]
        return len(data) == (0 if status else wanted)

    def _silence(self) -> None:
        """Take what is still coming of an earlier host's answers."""
        patience, self._port.timeout = self._port.timeout, _QUIET
        for _ in range(_NOISE // 256):
            if not self._port.read(256):
                self._port.timeout = patience
                return
        raise Failure("what answers is no board: it does not stop")

    def _answer(self) -> tuple[int, int, bytes] | None:
        """Return status, number and words of the next answer, or None if there is none in time."""
        for _ in range(_NOISE):
            byte = self._port.read(1)
            if not byte:
                return None
            if byte[0] != packets.ANSWER:
                continue
            head = self._port.read(3)
            if len(head) < 3:
                break
            rest = self._port.read(4 * head[2] + 4)
            if len(rest) < 4 * head[2] + 4:
                break
            body, check = head + rest[:-4], rest[-4:]
            if zlib.crc32(body) == int.from_bytes(check, "little"):
                return head[0], head[1], rest[:-4]
        return None

"""A board's design, Verilated, with the end of a wire in the place of a serial port."""

from __future__ import annotations

import struct
from collections.abc import Callable, Iterable
from pathlib import Path

from hw.boards.config import BoardConfig
from hw.emit import emit_board
from report.errors import Failure

from ..rtl.process import Ended, Process, cached

__all__ = ["Pins"]

_HARNESS, _CHIP, _CELLS = map(Path(__file__).with_name, ("pins.cpp", "sdram.cpp", "cells.v"))
_ANSWER = struct.Struct("<IIQ")


class Pins:
    """What `serial.Serial` does, as far as it is needed, at the pins of a simulated board.

    The board's time goes on in `write` and `read` only.

    Parameters
    ----------
    design : BoardConfig

    Attributes
    ----------
    timeout : float
        Seconds of the board's time that `read` waits.
    cycles : int
        Since the board was switched on.
    lights : int
        Busy, done and error, from bit 0 on.

    Raises
    ------
    Failure
        If the simulator cannot be built.
    """

    def __init__(self, design: BoardConfig) -> None:
        self.design = design
        self.timeout = 0.1 + 3000 / design.baud
        self.cycles = self.lights = 0
        sources, defines = {"core.v": emit_board(design)}, {"DIVISOR": design.divisor}
        harness = _HARNESS.read_text()
        if design.sdram:
            sources["cells.v"], defines["SDRAM_CLOCK"] = _CELLS.read_text(), design.clock
            harness = _CHIP.read_text() + harness
        self._binary = cached("board", sources, top="stos_board", harness=harness, defines=defines)
        self._process = Process(self._binary)

    def write(self, data: bytes) -> None:
        """Send bytes."""
        self.send(data)

    def send(self, items: Iterable[int]) -> None:
        """Send bytes; 256 more is a wrong stop bit, multiples of 512 are bits of silence before."""
        self._ask(list(items), 0, 0)

    def read(self, count: int) -> bytes:
        """Return so many bytes, or what has come when time is out."""
        return self._ask([], count, int(self.timeout * self.design.clock))

    def close(self) -> None:
        """Switch the board off."""
        self._process.close()

    def _ask(self, items: list[int], wanted: int, patience: int) -> bytes:
        request = struct.pack(f"<IIQ{len(items)}H", len(items), wanted, patience, *items)
        data = b""

        def answer(read: Callable[[int], bytes]) -> bool:
            nonlocal data
            head = read(_ANSWER.size)
            if len(head) < _ANSWER.size:
                return False
            count, self.lights, self.cycles = _ANSWER.unpack(head)
            data = read(count)
            return len(data) == count

        try:
            self._process.ask(request, answer)
        except Ended as error:
            raise Failure(str(error)) from error
        return data

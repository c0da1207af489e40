"""A board with an accelerator, used over a link."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from numpy.typing import NDArray

from hw.accelerator.config import BURST, AcceleratorConfig
from hw.accelerator.registers import COUNTERS, ERRORS, IDENTITY, REGISTERS
from report.errors import Failure, UserError

from ..accelerator.compiler import Program
from ..accelerator.run import Placed
from .link import Link

__all__ = ["Board", "BoardRun"]

_OFFSET = {one.name: one.offset for one in REGISTERS}


@dataclass(frozen=True, kw_only=True)
class BoardRun:
    """What a run on a board gave.

    Parameters
    ----------
    outputs : list of arrays
        Of the program, as inside the graph.
    cycles : int
    counters : dict of str to int
        What they were spent on, and bytes.
    seconds : dict of str to float
        How long it took to send the image and the inputs, to run, and to read the outputs.
    """

    outputs: list[NDArray[Any]]
    cycles: int
    counters: dict[str, int]
    seconds: dict[str, float]


class Board:
    """An accelerator behind a link.

    Parameters
    ----------
    link : Link
    config : AcceleratorConfig
        What it is to be.
    now : callable
        Returns the time in seconds: of the board, if it is a simulated one.

    Raises
    ------
    Failure
        Here and below: if the board does not answer, or refuses.
    UserError
        If it has another array.
    """

    def __init__(
        self, link: Link, config: AcceleratorConfig, now: Callable[[], float] = time.monotonic
    ) -> None:
        self.link, self.config, self._now = link, config, now
        read = link.read_register
        if read(_OFFSET["ID"]) != IDENTITY:
            raise Failure("there is no accelerator behind the link")
        shape, array = read(_OFFSET["SHAPE"]), config.array
        found = shape & 0xFFFF, shape >> 16, bool(read(_OFFSET["FEATURES"]) & 1)
        if found != (array.rows, array.cols, array.st_os):
            raise UserError(
                f"the board has {found[0]} x {found[1]}{' ST-OS' * found[2]}, not "
                f"{array.rows} x {array.cols}{' ST-OS' * array.st_os}"
            )

    def run(
        self, program: Program, values: Sequence[NDArray[Any]], seconds: float = 10.0
    ) -> BoardRun:
        """Load a network and its inputs, run it, and fetch its outputs.

        Parameters
        ----------
        program : Program
        values : sequence of arrays
            Of its inputs, as inside the graph.
        seconds : float
            How long a run may take.

        Raises
        ------
        UserError
            If the memory is too small.
        """
        sizes = [
            len(program.image),
            *(program.offsets(some)[-1] + math.prod(some[-1].shape)
              for some in (program.inputs, program.outputs)),
            program.scratch_bytes,
        ]  # fmt: skip
        addresses, top = [], 0
        for size in sizes:
            addresses.append(top)
            top += -(-size // BURST) * BURST  # bursts are as the cycle model has them
        if top > self.link.facts.memory:
            raise UserError(
                f"image, inputs and outputs need {-(-top // 1024)} KiB, the board has "
                f"{self.link.facts.memory // 1024}"
            )
        link = self.link
        if link.read_register(_OFFSET["STATUS"]) & 1:  # of a host that did not wait
            link.write_register(_OFFSET["CONTROL"], 2)
            self._ended(1.0)
        took: dict[str, float] = {}
        last = self._now()

        def ended(what: str) -> None:
            nonlocal last
            took[what], last = self._now() - last, self._now()

        link.write(0, _padded(program.image))
        ended("image")
        inputs = bytearray(addresses[2] - addresses[1])
        for tensor, offset, value in zip(
            program.inputs, program.offsets(program.inputs), values, strict=True
        ):
            raw = tensor.outside(value).tobytes()
            inputs[offset : offset + len(raw)] = raw
        link.write(addresses[1], bytes(inputs))
        ended("inputs")
        self._start(addresses)
        self._wait(seconds)
        ended("run")
        memory = bytearray(top)
        memory[addresses[2] : addresses[2] + sizes[2]] = link.read(addresses[2], sizes[2])
        ended("outputs")
        placed = Placed(memory=b"", addresses=tuple(addresses))  # type: ignore[arg-type]
        names = [*(f"{name}_CYCLES" for name in COUNTERS), "BYTES_READ", "BYTES_WRITTEN"]
        counters = {name.removesuffix("_CYCLES"): self._long(name) for name in names}
        return BoardRun(
            outputs=placed.output(program, bytes(memory)), cycles=self._long("CYCLES"),
            counters=counters, seconds=took,
        )  # fmt: skip

    def _start(self, addresses: Sequence[int]) -> None:
        """Begin a run."""
        link = self.link
        for name, address in zip(("IMAGE", "INPUT", "OUTPUT", "SCRATCH"), addresses, strict=True):
            link.write_register(_OFFSET[name], address)
            link.write_register(_OFFSET[name] + 4, 0)
        link.write_register(_OFFSET["IRQ_PENDING"], 3)
        link.write_register(_OFFSET["CONTROL"], 1)

    def _ended(self, seconds: float) -> int:
        """Return the status once a run has ended."""
        end = self._now() + seconds
        while (status := self.link.read_register(_OFFSET["STATUS"])) & 1:
            if self._now() > end:
                raise Failure(f"the run did not end in {seconds} s; it is at job {status >> 16}")
        return status

    def _wait(self, seconds: float) -> None:
        status = self._ended(seconds)
        code = status >> 8 & 0xFF
        if code:
            raise Failure(f"the run ended at job {status >> 16}: {ERRORS.get(code, code)}")

    def _long(self, name: str) -> int:
        """Return a register of 64 bits."""
        low, high = (self.link.read_register(_OFFSET[name] + 4 * half) for half in range(2))
        return low | high << 32


def _padded(data: bytes) -> bytes:
    """Return data with zeros up to a whole word."""
    return data + bytes(-len(data) % 4)

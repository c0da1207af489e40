"""Driver of the ST-OS accelerator for Linux boards with Python, such as those with PYNQ.

It needs NumPy only. With PYNQ::

    from pynq import MMIO, Overlay, allocate
    overlay = Overlay("design.bit")
    device = stos.Device(MMIO(overlay.ip_dict["stos"]["phys_addr"], 4096))
    network = stos.Network(device, "MODEL.bin", allocate)    # MODEL.json lies beside it
    scores, = network.run(picture)

Without PYNQ, anything with ``read(offset)`` and ``write(offset, value)`` is an MMIO, and anything
that returns buffers as PYNQ's `allocate` does.
"""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

import numpy as np

__all__ = ["Device", "Network", "StosError"]

MAGIC, IDENTITY, MAJOR = 0x474D4953, 0x53544F53, 1
_ID, _VERSION, _SHAPE, _FEATURES, _CONTROL, _STATUS = 0x00, 0x04, 0x08, 0x0C, 0x10, 0x14
_IRQ_ENABLE, _IRQ_PENDING, _IMAGE = 0x18, 0x1C, 0x20
_COUNTERS = {
    "cycles": 0x40, "array": 0x48, "weights": 0x50, "activations": 0x58, "results": 0x60,
    "bytes_read": 0x68, "bytes_written": 0x70,
}  # fmt: skip
_ERRORS = {
    1: "aborted",
    2: "bad image: magic, version, or the image of another machine",
    3: "illegal job",
    4: "AXI read error",
    5: "AXI write error",
    6: "misaligned address",
}


class StosError(Exception):
    """A run that did not end well; `code` is that of the machine, or 0."""

    def __init__(self, text: str, code: int = 0) -> None:
        super().__init__(text)
        self.code = code


class Device:
    """The registers of an accelerator.

    Parameters
    ----------
    mmio : object
        ``read(offset)`` returns 32 bits, ``write(offset, value)`` writes them.

    Raises
    ------
    StosError
        If there is no accelerator, or one of another version.
    """

    def __init__(self, mmio: Any) -> None:
        self.mmio = mmio
        if mmio.read(_ID) != IDENTITY:
            raise StosError(f"no accelerator at this address: ID is {mmio.read(_ID):#010x}")
        self.version = int(mmio.read(_VERSION))
        if self.version >> 16 != MAJOR:
            raise StosError(f"an accelerator of version {self.version >> 16}, not {MAJOR}")
        shape, features = int(mmio.read(_SHAPE)), int(mmio.read(_FEATURES))
        self.rows, self.cols, self.st_os = shape & 0xFFFF, shape >> 16, bool(features & 1)

    def check(self, image: bytes) -> None:
        """Look at an image: whether it is one, of this version, and as long as it says.

        Raises
        ------
        StosError
            If it is not. Whether it is for this very machine, the machine says.
        """
        if len(image) >= 64:
            header = np.frombuffer(image[:28], "<u4")
            magic, version, _, program, begin, length, _ = map(int, header)
            inside = program <= len(image) - 64 and begin + length <= len(image)
            whole = not np.bitwise_xor.reduce(header)
            if (magic, version) == (MAGIC, self.version) and whole and inside:
                return
        raise StosError("bad image: not one of this version, or cut off", 2)

    def start(self, image: int, inputs: int, outputs: int, scratch: int) -> None:
        """Begin a run; all are addresses as the machine sees them, `image` a multiple of 64.

        Raises
        ------
        StosError
            If the machine is busy, or the address of the image is none.
        """
        if self.mmio.read(_STATUS) & 1:
            raise StosError("the accelerator is busy")
        if image % 64:
            raise StosError(f"misaligned address: {image:#x} is no multiple of 64", 6)
        for number, address in enumerate(map(int, (image, inputs, outputs, scratch))):
            self.mmio.write(_IMAGE + 8 * number, address & 0xFFFFFFFF)
            self.mmio.write(_IMAGE + 8 * number + 4, address >> 32)
        self.mmio.write(_IRQ_PENDING, 3)
        self.mmio.write(_IRQ_ENABLE, 3)
        self.mmio.write(_CONTROL, 1)

    def wait(self, seconds: float = 10.0, pause: Callable[[], object] | None = None) -> None:
        """Wait until the run has ended; `pause` is called between two looks at the status.

        Raises
        ------
        StosError
            If it ended with an error, or not in time.
        """
        end = time.monotonic() + seconds
        while (status := int(self.mmio.read(_STATUS))) & 1:
            if time.monotonic() > end:
                raise StosError(f"the run did not end in {seconds} s; it is at job {status >> 16}")
            if pause:
                pause()
        self.mmio.write(_IRQ_PENDING, 3)
        code = status >> 8 & 0xFF
        if code:
            raise StosError(f"{_ERRORS.get(code, 'unknown error')}, at job {status >> 16}", code)

    def abort(self) -> None:
        """End the run at the next safe point; `wait` then raises an error of code 1."""
        self.mmio.write(_CONTROL, 2)

    def counters(self) -> dict[str, int]:
        """Return what the cycles of the last run were spent on, and the bytes moved."""
        return {
            name: int(self.mmio.read(offset)) | int(self.mmio.read(offset + 4)) << 32
            for name, offset in _COUNTERS.items()
        }


class Network:
    """A compiled network in memory.

    Parameters
    ----------
    device : Device
    image : path
        As `python -m sim.compile` has written it, with its side-car beside it.
    allocate : callable
        ``allocate(shape=(n,), dtype=uint8)`` returns an array in memory that the machine sees, with
        `device_address`, `flush()` and `invalidate()`: PYNQ's.

    Raises
    ------
    StosError
        If the image is none, or for another machine, or not that of the side-car.

    What the host does before and after (`facts["host_before"]`, `facts["host"]`) is the caller's:
    inputs are quantized, and the outputs are those in front of SOFTMAX and the like.
    """

    def __init__(self, device: Device, image: str | Path, allocate: Callable[..., Any]) -> None:
        path = Path(image)
        content = path.read_bytes()
        self.device = device
        self.facts: dict[str, Any] = json.loads(path.with_suffix(".json").read_text())
        device.check(content)
        array = self.facts["config"]
        wanted = (array["rows"], array["cols"], array["st_os"])
        if wanted != (device.rows, device.cols, device.st_os):
            raise StosError(
                f"{path.name} is for {wanted[0]} x {wanted[1]}{' ST-OS' * wanted[2]}, the "
                f"accelerator is {device.rows} x {device.cols}{' ST-OS' * device.st_os}", 2,
            )  # fmt: skip
        fingerprint = int.from_bytes(content[8:12], "little")
        if (len(content), fingerprint) != (self.facts["image_bytes"], self.facts["fingerprint"]):
            raise StosError(f"{path.name} is not the image of its side-car", 2)
        self._image = allocate(shape=(len(content),), dtype=np.uint8)
        self._image[:] = np.frombuffer(content, np.uint8)
        self._image.flush()
        self._inputs, self._outputs = (
            allocate(shape=(max(one["offset"] + one["bytes"] for one in self.facts[what]),),
                     dtype=np.uint8)
            for what in ("inputs", "outputs")
        )  # fmt: skip
        self._scratch = allocate(shape=(max(1, self.facts["scratch_bytes"]),), dtype=np.uint8)
        for one in (self._outputs, self._scratch):  # no dirty line is written over results later
            one.flush()

    def _stop(self) -> None:
        """End a run that nobody waits for any more."""
        self.device.abort()
        with suppress(StosError):
            self.device.wait(1.0)

    def run(
        self, *inputs: Any, seconds: float = 10.0, pause: Callable[[], object] | None = None
    ) -> list[Any]:
        """Run the network once; return its outputs, as the side-car describes them.

        Parameters
        ----------
        *inputs : int8 or uint8 arrays
            In the order, the shapes and the types of the side-car.
        seconds, pause
            As of `Device.wait`.

        Raises
        ------
        StosError
            If an input has another shape or type, or the run fails.
        """
        wanted = self.facts["inputs"]
        if len(inputs) != len(wanted):
            raise StosError(f"{len(inputs)} inputs; the network has {len(wanted)}")
        for value, one in zip(inputs, wanted, strict=True):
            value = np.asarray(value)
            if (str(value.dtype), list(value.shape)) != (one["dtype"], one["shape"]):
                raise StosError(
                    f"input {one['name']} is {value.dtype} {value.shape}, "
                    f"not {one['dtype']} {tuple(one['shape'])}"
                )
            raw = np.ascontiguousarray(value).view(np.uint8).ravel()
            self._inputs[one["offset"] : one["offset"] + one["bytes"]] = raw
        self._inputs.flush()
        self.device.start(
            *(one.device_address
              for one in (self._image, self._inputs, self._outputs, self._scratch))
        )  # fmt: skip
        try:
            self.device.wait(seconds, pause)
        except BaseException:  # nothing may write to the buffers when they are gone
            self._stop()
            raise
        self._outputs.invalidate()
        return [
            np.array(self._outputs[one["offset"] : one["offset"] + one["bytes"]])
            .view(one["dtype"])
            .reshape(one["shape"])
            for one in self.facts["outputs"]
        ]

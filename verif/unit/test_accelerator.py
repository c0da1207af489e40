"""A run from memory to memory: registers, image, input, layers, output, interrupt, counters."""

from __future__ import annotations

import random
from collections import deque
from types import SimpleNamespace

import numpy as np
import pytest

from hw.accelerator.accelerator import Accelerator
from hw.accelerator.config import AcceleratorConfig
from hw.accelerator.jobs import Base, Kind
from hw.accelerator.registers import COUNTERS, REGISTERS
from hw.config import ArrayConfig
from sim.accelerator import jobs
from sim.accelerator.image import image
from verif.unit.stepper import Drive, Stepper, Talk
from verif.unit.test_machine import convolution, depthwise

OFFSET = {one.name: one.offset for one in REGISTERS}
IMAGE, INPUT, OUTPUT = 0x400, 0x103, 0x205
GUARD = 0xA5


class Bus:
    """A memory behind the AXI4 port: reads after a fixed latency, one beat per cycle."""

    def __init__(self, size: int, latency: int, pace: float) -> None:
        self.memory = bytearray([GUARD] * 0x8000)
        self.size, self.latency, self.pace = size, latency, pace
        self.dice = random.Random(latency)
        self.reads: deque[tuple[int, int, int, int]] = deque()  # cycle, id, address, last
        self.writes: deque[int] = deque()  # addresses of beats
        self.answers: deque[int] = deque()
        self.cycle = 0
        self.fail_at = -1  # the read beat that is answered with an error
        self.beats = 0

    def inputs(self) -> dict[str, int | None]:
        """Return what the memory gives in this cycle."""
        self.cycle += 1
        found: dict[str, int | None] = {
            "m_axi_arready": int(self.dice.random() < self.pace),
            "m_axi_awready": int(self.dice.random() < self.pace),
            "m_axi_wready": int(self.dice.random() < self.pace),
            "m_axi_rvalid": 0, "m_axi_bvalid": int(bool(self.answers)), "m_axi_bresp": 0,
        }  # fmt: skip
        if self.reads and self.reads[0][0] <= self.cycle and self.dice.random() < self.pace:
            _, number, address, last = self.reads[0]
            data = bytes(self.memory[address : address + self.size])
            found |= {"m_axi_rvalid": 1, "m_axi_rid": number, "m_axi_rlast": last,
                      "m_axi_rresp": 2 * (self.beats == self.fail_at),
                      "m_axi_rdata": int.from_bytes(data, "little")}  # fmt: skip
        return found

    def take(self, given: dict[str, int | None], seen: SimpleNamespace) -> None:
        """Take what the accelerator gave in the same cycle."""
        if given["m_axi_rvalid"]:
            assert seen.m_axi_rready
            self.reads.popleft()
            self.beats += 1
        if given["m_axi_bvalid"] and seen.m_axi_bready:
            self.answers.popleft()
        if seen.m_axi_arvalid and given["m_axi_arready"]:
            count = seen.m_axi_arlen + 1
            assert (1 << seen.m_axi_arsize, seen.m_axi_arburst) == (self.size, 1)
            for n in range(count):
                address = seen.m_axi_araddr + n * self.size
                due = self.cycle + self.latency
                self.reads.append((due, seen.m_axi_arid, address, int(n == count - 1)))
        if seen.m_axi_awvalid and given["m_axi_awready"]:
            self.writes.extend(
                seen.m_axi_awaddr + n * self.size for n in range(seen.m_axi_awlen + 1)
            )
        if seen.m_axi_wvalid and given["m_axi_wready"]:
            address = self.writes.popleft()
            for n in range(self.size):
                if seen.m_axi_wstrb >> n & 1:
                    self.memory[address + n] = seen.m_axi_wdata >> 8 * n & 0xFF
            if seen.m_axi_wlast:
                self.answers.append(0)


class Host:
    """What drives the registers, while the bus goes on."""

    def __init__(self, bus: Bus) -> None:
        self.bus, self.irq = bus, 0

    def cycle(self, **inputs: int) -> Talk:
        """Go through a cycle."""
        quiet = {
            f"s_axi_ctl_{name}": 0 for name in ("awvalid", "wvalid", "bready", "arvalid", "rready")
        }
        given = self.bus.inputs()
        seen = yield quiet | given | inputs
        self.bus.take(given, seen)
        self.irq = seen.irq
        return seen

    def write(self, name: str, data: int, half: int = 0) -> Talk:
        """Write a register."""
        yield from self.cycle(
            s_axi_ctl_awvalid=1, s_axi_ctl_awaddr=OFFSET[name] + 4 * half, s_axi_ctl_wvalid=1,
            s_axi_ctl_wdata=data, s_axi_ctl_wstrb=15,
        )  # fmt: skip
        while True:
            seen = yield from self.cycle(s_axi_ctl_bready=1)
            if seen.s_axi_ctl_bvalid:
                return seen.s_axi_ctl_bresp

    def read(self, name: str) -> Talk:
        """Return the low half of a register."""
        yield from self.cycle(s_axi_ctl_arvalid=1, s_axi_ctl_araddr=OFFSET[name])
        while True:
            seen = yield from self.cycle(s_axi_ctl_rready=1)
            if seen.s_axi_ctl_rvalid:
                return seen.s_axi_ctl_rdata

    def run(self) -> Talk:
        """Start, wait for the interrupt, and return STATUS."""
        yield from self.write("CONTROL", 1)
        for _ in range(20000):
            yield from self.cycle()
            if self.irq:
                break
        else:
            raise AssertionError("no interrupt")
        status = yield from self.read("STATUS")
        yield from self.write("IRQ_PENDING", 3)
        return status


@pytest.mark.parametrize(
    ("rows", "cols", "size", "latency", "pace"),
    [(4, 4, 4, 40, 1.0), (8, 4, 8, 0, 1.0), (4, 4, 16, 7, 0.5)],
)
def test_network(rows: int, cols: int, size: int, latency: int, pace: float) -> None:
    """Two layers from memory to memory, twice, an error between; nothing else is written."""
    array = ArrayConfig(rows=rows, cols=cols, st_os=True)
    config = AcceleratorConfig(array=array, axi_width=8 * size, act_kib=2, wgt_kib=1)
    x = np.random.default_rng(1).integers(-128, 128, (4, 5, 3)).astype(np.int8)
    first = x.tobytes()
    here = 3
    every = [jobs.transfer(Kind.LOAD, Base.INPUT, 0, here, len(first), flip=True)]
    top = here + len(first)
    for seed, make in enumerate((convolution, depthwise)):
        layer = make(seed + rows, config, here, x, top)
        every.append(layer.job)
        x, here, top = layer.result, top, top + layer.result.size
    wanted = x.tobytes()
    every += [jobs.transfer(Kind.STORE, Base.OUTPUT, 0, here, len(wanted)), jobs.end()]
    content = image(every, config)
    first = (np.frombuffer(first, np.uint8) ^ 128).tobytes()
    bus = Bus(size, latency, pace)
    bus.memory[IMAGE : IMAGE + len(content)] = content
    bus.memory[INPUT : INPUT + len(first)] = first
    before = bytes(bus.memory)
    after = bytearray(before)
    after[OUTPUT : OUTPUT + len(wanted)] = wanted
    host = Host(bus)

    def drive() -> Drive:
        for name, value in (
            ("IMAGE", IMAGE),
            ("INPUT", INPUT),
            ("OUTPUT", OUTPUT),
            ("IRQ_ENABLE", 3),
        ):
            assert (yield from host.write(name, value)) == 0
        for attempt in range(3):
            bus.memory[:] = before
            bus.fail_at = bus.beats + 30 if attempt == 1 else -1
            status = yield from host.run()
            if attempt == 1:
                assert status & 0xFF06 == 0x406
                assert not bus.reads and not bus.answers and not bus.writes
                continue
            assert status & 0xFF07 == 2
            assert bytes(bus.memory) == bytes(after)
            counted = 0
            for name in COUNTERS:
                counted += yield from host.read(f"{name}_CYCLES")
            assert counted == (yield from host.read("CYCLES")) > 0
        assert (yield from host.write("IMAGE", IMAGE + 4)) == 0
        assert (yield from host.run()) & 0xFF06 == 0x606
        bus.memory[IMAGE + 8] ^= 1
        assert (yield from host.write("IMAGE", IMAGE)) == 0
        assert (yield from host.run()) & 0xFF06 == 0x206

    Stepper(Accelerator(config=config)).run(drive())

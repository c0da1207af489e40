"""The cocotb bench of the accelerator: an AXI4-Lite master, an AXI4 memory, and the interrupt.

It shares nothing with the C++ harness. Started by `test_cocotb_accelerator.py`, with the folder of
memory, addresses and expected outputs in the environment variable STOS_RUN.
"""

from __future__ import annotations

import itertools
import json
import os
import random
from pathlib import Path
from typing import Any

import cocotb
import numpy as np
from cocotb.clock import Clock
from cocotb.task import bridge, resume
from cocotb.triggers import ClockCycles, RisingEdge, with_timeout
from cocotbext.axi import AxiBus, AxiLiteBus, AxiLiteMaster, AxiRam, AxiResp

from driver import stos
from hw.accelerator.registers import IDENTITY, REGISTERS

FOLDER = Path(os.environ["STOS_RUN"])
OFFSETS = {one.name: one.offset for one in REGISTERS}
ADDRESSES = ("IMAGE", "INPUT", "OUTPUT", "SCRATCH")


class Bench:
    """Master, memory, clock, and a program to run."""

    def __init__(self, dut: Any) -> None:
        self.dut = dut
        self.facts = json.loads((FOLDER / "facts.json").read_text())
        self.memory = (FOLDER / "memory.bin").read_bytes()
        Clock(dut.clk, 10, "ns").start()
        self.master = AxiLiteMaster(AxiLiteBus.from_prefix(dut, "s_axi_ctl"), dut.clk, dut.rst)
        size = 1 << (len(self.memory) - 1).bit_length()
        self.ram = AxiRam(AxiBus.from_prefix(dut, "m_axi"), dut.clk, dut.rst, size=size)
        self.ram.write(0, self.memory)

    async def reset(self) -> None:
        """Hold reset for four cycles."""
        self.dut.rst.value = 1
        await ClockCycles(self.dut.clk, 4)
        self.dut.rst.value = 0
        await ClockCycles(self.dut.clk, 2)

    def pause(self, probability: float, seed: int) -> None:
        """Let every channel of both ports pause at random."""
        channels = [
            self.ram.write_if.aw_channel, self.ram.write_if.w_channel, self.ram.write_if.b_channel,
            self.ram.read_if.ar_channel, self.ram.read_if.r_channel,
            self.master.write_if.aw_channel, self.master.write_if.w_channel,
            self.master.write_if.b_channel, self.master.read_if.ar_channel,
            self.master.read_if.r_channel,
        ]  # fmt: skip
        for number, channel in enumerate(channels):
            dice = random.Random(f"{seed} {number}")
            channel.set_pause_generator(dice.random() < probability for _ in itertools.count())

    async def read(self, name: str) -> int:
        """Return a register of 32 bits, or the low half of one."""
        return int(await self.master.read_dword(OFFSETS[name]))

    async def start(self) -> None:
        """Write the addresses, enable both interrupts and start."""
        for name, address in zip(ADDRESSES, self.facts["addresses"], strict=True):
            await self.master.write_qword(OFFSETS[name], address)
        await self.master.write_dword(OFFSETS["IRQ_ENABLE"], 3)
        await self.master.write_dword(OFFSETS["CONTROL"], 1)

    async def finish(self) -> int:
        """Wait for the interrupt, clear it; return STATUS."""
        if not self.dut.irq.value:
            await with_timeout(RisingEdge(self.dut.irq), self.facts["limit"] * 10, "ns")
        pending = await self.read("IRQ_PENDING")
        status = await self.read("STATUS")
        assert pending == (3 if status & 4 else 1)  # done, and error
        await self.master.write_dword(OFFSETS["IRQ_PENDING"], pending)
        assert not self.dut.irq.value
        return status

    def check(self) -> None:
        """Compare the outputs; nothing else but what is behind SCRATCH was written."""
        wanted = bytearray(self.memory)
        for offset, name in self.facts["outputs"]:
            data = (FOLDER / name).read_bytes()
            begin = self.facts["addresses"][2] + offset
            wanted[begin : begin + len(data)] = data
        found = bytearray(self.ram.read(0, len(self.memory)))
        scratch = self.facts["addresses"][3]
        end = scratch + self.facts["scratch_bytes"]
        found[scratch:end] = wanted[scratch:end]
        wrong = [n for n, pair in enumerate(zip(found, wanted, strict=True)) if pair[0] != pair[1]]
        assert not wrong, f"{len(wrong)} bytes differ, the first one at {wrong[0]:#x}"


@cocotb.test()
async def network(dut: Any) -> None:
    """Run a network twice in turn, from the registers to the interrupt; the counters add up."""
    bench = Bench(dut)
    await bench.reset()
    assert await bench.read("ID") == IDENTITY
    for _ in range(bench.facts["runs"]):
        await bench.start()
        assert await bench.finish() & 0xFF07 == 2
        bench.check()
        counters = [
            int(await bench.master.read_qword(one.offset))
            for one in REGISTERS if one.name.endswith("_CYCLES")
        ]  # fmt: skip
        assert sum(counters) == int(await bench.master.read_qword(OFFSETS["CYCLES"]))


@cocotb.test()
async def paused(dut: Any) -> None:
    """Run it while every channel of both ports pauses at random."""
    bench = Bench(dut)
    await bench.reset()
    bench.pause(0.4, 1)
    await bench.start()
    assert await bench.finish() & 0xFF07 == 2
    bench.check()


class Mmio:
    """The registers for the driver in Python, which knows nothing of simulators."""

    def __init__(self, bench: Bench) -> None:
        self.read = resume(bench.master.read_dword)
        write = resume(bench.master.write_dword)

        def checked(offset: int, value: int) -> None:
            assert type(value) is int, f"PYNQ writes no {type(value)}"
            write(offset, value)

        self.write = checked


class Buffer:
    """Memory as PYNQ allocates it: the machine sees what was flushed."""

    def __init__(self, ram: AxiRam, address: int, count: int) -> None:
        self.ram, self.device_address = ram, address
        self.cache = np.full(count, 0x5A, np.uint8)

    def __getitem__(self, where: slice) -> Any:
        return self.cache[where]

    def __setitem__(self, where: slice, values: Any) -> None:
        self.cache[where] = values

    def flush(self) -> None:
        """Write it."""
        self.ram.write(self.device_address, self.cache.tobytes())

    def invalidate(self) -> None:
        """Read it again."""
        self.cache[:] = np.frombuffer(self.ram.read(self.device_address, len(self.cache)), np.uint8)


@cocotb.test()
async def driver(dut: Any) -> None:
    """Let the driver in Python run the network, abort it, and refuse what is wrong."""
    bench = Bench(dut)
    await bench.reset()
    top = len(bench.memory)  # the place of the image and what else is there is free

    def allocate(shape: tuple[int], dtype: Any) -> Buffer:
        nonlocal top
        assert dtype is np.uint8
        top -= -(-shape[0] // 4096) * 4096
        return Buffer(bench.ram, top, shape[0])

    inputs = [np.load(FOLDER / name) for name in bench.facts["inputs"]]
    wanted = [(FOLDER / name).read_bytes() for _, name in bench.facts["outputs"]]

    @resume
    async def later() -> None:
        await ClockCycles(bench.dut.clk, 100)

    def aborted(device: stos.Device) -> None:
        device.abort()
        device.wait(9, later)

    @bridge
    def use() -> None:
        device = stos.Device(Mmio(bench))
        assert (device.rows, device.cols, device.st_os) == tuple(bench.facts["shape"])
        network = stos.Network(device, FOLDER / "model.bin", allocate)
        for _ in range(2):
            found = network.run(*inputs, pause=later)
            assert [value.tobytes() for value in found] == wanted
        counters = device.counters()
        assert counters["cycles"] == sum(
            counters[name] for name in ("array", "weights", "activations", "results")
        )
        device.start(network._image.device_address, 0, 0, 0)
        for call, text in (
            (lambda: network.run(*inputs), "is busy"),
            (lambda: device.wait(0, later), "did not end in 0 s"),
            (lambda: aborted(device), "aborted"),
            (lambda: device.start(68, 0, 0, 0), "no multiple of 64"),
            (lambda: device.check(bytes(64)), "bad image"),
            (lambda: device.check((FOLDER / "model.bin").read_bytes()[:-64]), "cut off"),
            (lambda: network.run(), "0 inputs; the network has 1"),
            (lambda: network.run(*inputs, seconds=0, pause=later), "did not end in 0"),
            (lambda: stos.Network(device, FOLDER / "other.bin", allocate), "is for 8 x 8"),
            (lambda: stos.Network(device, FOLDER / "cut.bin", allocate), "of its side-car"),
            (lambda: network.run(inputs[0][:, 1:]), "not int8"),
        ):
            try:
                call()
            except stos.StosError as error:
                assert text in str(error), str(error)
            else:
                raise AssertionError(f"nobody said {text!r}")
        assert [value.tobytes() for value in network.run(*inputs, pause=later)] == wanted

    await use()


@cocotb.test()
async def refusals(dut: Any) -> None:
    """Start while busy, read a register that is none, run a bad image: each is answered."""
    bench = Bench(dut)
    await bench.reset()
    await bench.start()
    answer = await bench.master.write(OFFSETS["CONTROL"], (1).to_bytes(4, "little"))
    assert answer.resp == AxiResp.SLVERR
    answer = await bench.master.read(0xF00, 4)
    assert answer.resp == AxiResp.SLVERR
    assert await bench.finish() & 0xFF07 == 2
    bench.check()
    bench.ram.write(bench.facts["addresses"][0], b"\0")
    await bench.start()
    assert await bench.finish() & 0xFF07 == 0x0206

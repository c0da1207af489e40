"""An independent end of a board's wire: the UART models of cocotbext, and packets made by hand."""

from __future__ import annotations

import json
import os
import struct
import zlib
from pathlib import Path
from typing import Any

import cocotb
from cocotb.clock import Clock
from cocotb.triggers import ClockCycles
from cocotbext.uart import UartSink, UartSource


async def exchange(source: Any, sink: Any, operation: int, number: int, words: int, address: int,
                   data: bytes = b"") -> bytes:  # fmt: skip
    """Send a request as the contract has it, and return the words of its answer."""
    body = bytes([operation, number, words]) + struct.pack("<I", address) + data
    await source.write(b"\xa5" + body + struct.pack("<I", zlib.crc32(body)))
    answer = b""
    while len(answer) < 4 or len(answer) < 8 + 4 * answer[3]:
        answer += bytes(await sink.read(1))
    assert answer[0] == 0x5A
    assert answer[1:3] == bytes([0, number]), answer
    assert struct.unpack("<I", answer[-4:]) == (zlib.crc32(answer[1:-4]),)
    return answer[4:-4]


@cocotb.test()
async def network(dut: Any) -> None:
    """Load an image and inputs, run, and read the outputs."""
    facts = json.loads(Path(os.environ["FACTS"]).read_text())
    folder = Path(os.environ["FACTS"]).parent
    Clock(dut.clk, facts["period_ns"], "ns").start()
    source = UartSource(dut.i_rx, baud=facts["baud"], bits=8)
    sink = UartSink(dut.o_tx, baud=facts["baud"], bits=8)
    dut.rst.value = 1
    await ClockCycles(dut.clk, 5)
    dut.rst.value = 0
    await ClockCycles(dut.clk, 5)
    number = 0

    async def ask(operation: int, address: int, words: int, data: bytes = b"") -> bytes:
        nonlocal number
        number += 1
        return await exchange(source, sink, operation, number % 256, words, address, data)

    info = struct.unpack("<5I", await ask(0, 0, 1))
    assert info == (0x4B4C5453, 1, facts["memory"], facts["clock"], 1024)
    for address, name in facts["load"]:
        data = (folder / name).read_bytes()
        data += bytes(-len(data) % 4)
        for at in range(0, len(data), 256):
            part = data[at : at + 256]
            await ask(2, address + at, len(part) // 4, part)
    base = 1 << 31
    for n, address in enumerate(facts["addresses"]):
        await ask(2, base + 0x20 + 8 * n, 1, struct.pack("<I", address))
    await ask(2, base + 0x10, 1, struct.pack("<I", 1))
    for _ in range(1000):
        (status,) = struct.unpack("<I", await ask(1, base + 0x14, 1))
        if not status & 1:
            break
    assert status & 0xFFFF == 2
    (cycles,) = struct.unpack("<I", await ask(1, base + 0x40, 1))
    assert cycles == facts["cycles"]
    await ClockCycles(dut.clk, 5000)
    assert (int(dut.o_busy.value), int(dut.o_done.value), int(dut.o_error.value)) == (0, 1, 0)
    wanted = (folder / "output.bin").read_bytes()
    begin = facts["addresses"][2]
    found = b""
    for at in range(0, len(wanted), 256):
        words = min(64, -(-(len(wanted) - at) // 4))
        found += await ask(1, begin + at, words)
    assert found[: len(wanted)] == wanted

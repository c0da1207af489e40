"""The model of a chip of SDRAM: it keeps what is written, and says what a chip does not allow."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

CHIP = Path(__file__).parents[1] / "sim/board/sdram.cpp"
#: Pins as Verilator has them, and a line per cycle: command, bank, address, data driven or not,
#: mask, and how often.
PINS = """\
#include <cstdint>
struct Vcore {
    uint16_t i_sdram_dq = 0, o_sdram_dq = 0, o_sdram_dq_oe = 0, o_sdram_a = 0;
    uint8_t o_sdram_ba = 0, o_sdram_cke = 1, o_sdram_cs_n = 0, o_sdram_ras_n = 1;
    uint8_t o_sdram_cas_n = 1, o_sdram_we_n = 1, o_sdram_dm = 0;
};
"""
MAIN = """
int main() {
    Vcore core;
    Sdram chip(50e6);
    int command, bank, address, data, mask, times;
    while (std::scanf("%d %d %d %d %d %d", &command, &bank, &address, &data, &mask, &times) == 6)
        while (times--) {
            core.o_sdram_ras_n = command >> 2 & 1;
            core.o_sdram_cas_n = command >> 1 & 1;
            core.o_sdram_we_n = command & 1;
            core.o_sdram_ba = bank;
            core.o_sdram_a = address;
            core.o_sdram_dq = data;
            core.o_sdram_dq_oe = data < 0 ? 0 : 0xFFFF;
            core.o_sdram_dm = mask;
            chip.step(core);
            std::printf("%d\\n", core.i_sdram_dq);
        }
}
"""
MODE, REFRESH, CLOSE, OPEN, WRITE, READ = range(6)
NOTHING, TEN = 7, 1 << 10


def step(command=NOTHING, bank=0, address=0, data=-1, mask=0, times=1):
    """Return a line of the program's input."""
    return f"{command} {bank} {address} {data} {mask} {times}\n"


def wait(times):
    return step(times=times)


#: A chip that is ready: CAS latency 2.
READY = [wait(5001), step(CLOSE, address=TEN), wait(3), step(REFRESH), wait(5), step(REFRESH),
         wait(5), step(MODE, address=2 << 4), wait(2)]  # fmt: skip


@pytest.fixture(scope="module")
def chip(tmp_path_factory):
    """Return what runs the chip with some lines: what it drives in every cycle, what it says."""
    folder = tmp_path_factory.mktemp("chip")
    (folder / "Vcore.h").write_text(PINS)
    (folder / "chip.cpp").write_text(CHIP.read_text() + MAIN)
    subprocess.run(["g++", "-O1", "-std=c++17", "chip.cpp", "-o", "chip"], cwd=folder, check=True)

    def run(*lines):
        ended = subprocess.run(
            [folder / "chip"], input="".join(lines), capture_output=True, text=True, check=False
        )
        return list(map(int, ended.stdout.split())), ended.stderr.strip()

    return run


@pytest.mark.parametrize("latency", [2, 3])
def test_words(chip, latency):
    """Words come back, when they should; a masked byte stays."""
    ready = [*READY[:-2], step(MODE, address=latency << 4), wait(2)]
    seen, said = chip(
        *ready, step(OPEN, 1, 77), wait(1), step(WRITE, 1, 5, 0x1234), step(WRITE, 1, 6, 0xABCD),
        step(WRITE, 1, 5, 0xFFFF, mask=1), wait(1), step(READ, 1, 5), step(READ, 1, 6), wait(4),
    )  # fmt: skip
    assert not said
    after = seen[-6 + latency - 1 :]  # the first of these is taken at the next edge
    assert after[:2] == [0xFF34, 0xABCD]


@pytest.mark.parametrize(
    ("lines", "wanted"),
    [
        ([wait(10), step(CLOSE, address=TEN), step(OPEN)], "before the mode is set"),
        ([wait(10), step(REFRESH)], "before all rows are closed once"),
        ([*READY[:4], wait(5), step(MODE, address=32)], "before two refreshes"),
        ([wait(9), *READY[1:7], step(MODE, address=32)], "sooner than 100 us"),
        ([*READY[:-2], step(MODE, address=33)], "bursts of more than a word"),
        ([*READY[:-2], step(MODE, address=64)], "no such CAS latency"),
        ([*READY[:-1], step(OPEN)], "tMRD"),
        ([*READY, step(OPEN), step(OPEN)], "that has one open"),
        ([*READY, step(OPEN), wait(1), step(MODE, address=32)], "while a row is open"),
        ([*READY, step(READ)], "without an open row"),
        ([*READY, step(OPEN), step(WRITE)], "nobody drives"),
        ([*READY, step(OPEN), wait(1), step(READ, mask=1)], "masked"),
        ([*READY, step(OPEN), step(READ), step(), step(data=1)], "both sides"),
        ([*READY, step(OPEN), step(CLOSE)], "tRAS"),
        ([*READY, step(OPEN), wait(2), step(REFRESH)], "while a row is open"),
        ([*READY, step(REFRESH), step(REFRESH)], "tRFC"),
        ([*READY, step(REFRESH), wait(1), step(OPEN)], "tRFC"),
        ([*READY, wait(4000)], "a refresh is late"),
        ([*READY, step(6)], "a burst is stopped"),
    ],
)
def test_what_is_not_allowed(chip, lines, wanted):
    """Every rule is said when it is broken."""
    _, said = chip(*lines)
    assert wanted in said

"""The registers: reset values, masks, strobes, both orders of a write, errors, the interrupt."""

from __future__ import annotations

import random

import pytest

from hw.accelerator.registers import IDENTITY, REGISTERS, Registers
from verif.lib.machines import SMALL
from verif.unit.stepper import LONG, Drive, Stepper, Talk

OKAY, SLVERR = 0, 2
BY_NAME = {one.name: one for one in REGISTERS}
WORDS = {one.offset + 4 * half: one for one in REGISTERS for half in range(one.bits // 32)}
COUNTERS = (
    "i_cycles", "i_array_cycles", "i_weights_cycles", "i_activations_cycles", "i_results_cycles",
    "i_bytes_read", "i_bytes_written",
)  # fmt: skip


class Client:
    """An AXI4-Lite master in front of the registers."""

    def __init__(self, seed: int = 0) -> None:
        self.dice = random.Random(seed)
        self.irqs: list[int] = []
        self.starts = 0
        self.job = self.dice.getrandbits(16)
        self.counters = {name: self.dice.getrandbits(64) for name in COUNTERS}

    def cycle(self, **inputs: int) -> Talk:
        """Go through a cycle; what is not named is quiet."""
        quiet = {
            f"s_axi_ctl_{name}": 0 for name in ("awvalid", "wvalid", "bready", "arvalid", "rready")
        }
        quiet |= {"i_done": 0, "i_code": 0, "i_job": self.job} | self.counters
        seen = yield quiet | inputs
        self.irqs.append(seen.o_irq)
        self.starts += seen.o_start
        return seen

    def read(self, offset: int) -> Talk:
        """Return the answer and the data of a read."""
        asked = {"s_axi_ctl_arvalid": 1, "s_axi_ctl_araddr": offset}
        while not (yield from self.cycle(**asked)).s_axi_ctl_arready:
            pass
        while True:
            ready = self.dice.randint(0, 1)
            seen = yield from self.cycle(s_axi_ctl_rready=ready)
            if ready and seen.s_axi_ctl_rvalid:
                return seen.s_axi_ctl_rresp, seen.s_axi_ctl_rdata

    def write(self, offset: int, data: int, strobe: int = 15, order: str = "both") -> Talk:
        """Return the answer of a write, its address and data in some order."""
        parts = {
            "aw": {"s_axi_ctl_awvalid": 1, "s_axi_ctl_awaddr": offset},
            "w": {"s_axi_ctl_wvalid": 1, "s_axi_ctl_wdata": data, "s_axi_ctl_wstrb": strobe},
        }
        steps = {"both": ["aw w"], "aw": ["aw", "w"], "w": ["w", "aw"]}[order]
        for step in steps:
            asked = {key: value for one in step.split() for key, value in parts[one].items()}
            yield from self.cycle(**asked)
            for _ in range(self.dice.randint(0, 2)):
                yield from self.cycle()
        while True:
            ready = self.dice.randint(0, 1)
            seen = yield from self.cycle(s_axi_ctl_bready=ready)
            if ready and seen.s_axi_ctl_bvalid:
                return seen.s_axi_ctl_bresp


#: Rows, columns and features.
MACHINES = [
    (16, 32, 0x401),
    *((one.array.rows, one.array.cols, 1 | (one.axi_bytes.bit_length() - 1) << 8) for one in SMALL),
]
on_all = pytest.mark.parametrize("machine", MACHINES)


def run(drive: Drive, machine: tuple[int, int, int]) -> None:
    rows, cols, features = machine
    Stepper(Registers(shape=(rows, cols), features=features)).run(drive)


@on_all
@pytest.mark.parametrize("seed", range(2))
def test_reset_values(seed: int, machine: tuple[int, int, int]) -> None:
    """After reset every register has its value, and what does not exist is an error."""
    client = Client(seed)
    found = {}

    def drive() -> Drive:
        for offset in range(0, 0x1000 if LONG else 0x100, 4):
            found[offset] = yield from client.read(offset)
        for offset in (0x200, 0x400, 0x800):
            found[offset] = yield from client.read(offset)

    run(drive(), machine)
    for offset, (answer, value) in found.items():
        if offset not in WORDS:
            assert (answer, value) == (SLVERR, 0)
            continue
        assert answer == OKAY
        name, half = WORDS[offset].name, (offset - WORDS[offset].offset) // 4
        counted = f"i_{name.lower()}"
        wanted = {
            "ID": IDENTITY, "VERSION": 0x00010000, "SHAPE": machine[0] | machine[1] << 16,
            "FEATURES": machine[2], "STATUS": client.job << 16,
        }.get(name, 0)  # fmt: skip
        if counted in COUNTERS:
            wanted = client.counters[counted] >> 32 * half & 0xFFFFFFFF
        assert value == wanted, name


@on_all
@pytest.mark.parametrize("order", ["both", "aw", "w"])
def test_writes(order: str, machine: tuple[int, int, int]) -> None:
    """Registers take the bytes of the strobe, and no other register changes."""
    client, dice = Client(1), random.Random(2)
    model = {offset: 0 for offset, one in WORDS.items() if one.access == "rw"}

    def drive() -> Drive:
        for _ in range(200):
            offset = dice.choice([*model, 0x000, 0x014, 0x040, 0x0F0, 0x800])
            data, strobe = dice.getrandbits(32), dice.getrandbits(4)
            answer = yield from client.write(offset, data, strobe, order)
            assert answer == (OKAY if offset in model else SLVERR)
            if offset in model:
                mask = sum(0xFF << 8 * n for n in range(4) if strobe >> n & 1)
                mask &= WORDS[offset].mask
                model[offset] = model[offset] & ~mask | data & mask
            where = dice.choice(list(model))
            assert (yield from client.read(where)) == (OKAY, model[where])

    run(drive(), machine)


@on_all
def test_a_run_and_its_interrupt(machine: tuple[int, int, int]) -> None:
    """Start, busy, start again refused, done with an error, interrupt until it is cleared."""
    client = Client(3)
    job = client.job << 16
    control, status, pending = (BY_NAME[n].offset for n in ("CONTROL", "STATUS", "IRQ_PENDING"))

    def drive() -> Drive:
        assert (yield from client.write(BY_NAME["IRQ_ENABLE"].offset, 2)) == OKAY
        assert (yield from client.write(control, 1, strobe=14)) == OKAY and client.starts == 0
        assert (yield from client.write(control, 1)) == OKAY and client.starts == 1
        assert (yield from client.read(status)) == (OKAY, job | 1)
        assert (yield from client.write(control, 1)) == SLVERR and client.starts == 1
        yield from client.cycle(i_done=1, i_code=0)
        assert (yield from client.read(status)) == (OKAY, job | 2)
        assert not any(client.irqs)
        assert (yield from client.read(pending)) == (OKAY, 1)
        assert (yield from client.write(control, 1)) == OKAY and client.starts == 2
        assert (yield from client.read(status)) == (OKAY, job | 1)
        yield from client.cycle(i_done=1, i_code=4)
        assert (yield from client.read(status)) == (OKAY, job | 4 << 8 | 6)
        assert client.irqs[-1] == 1
        assert (yield from client.write(pending, 1)) == OKAY
        assert (yield from client.read(pending)) == (OKAY, 2) and client.irqs[-1] == 1
        assert (yield from client.write(pending, 2)) == OKAY
        assert (yield from client.read(pending)) == (OKAY, 0) and client.irqs[-1] == 0

    run(drive(), machine)

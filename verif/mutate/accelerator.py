"""Accelerators with mutants, and the runs that are to notice them."""

from __future__ import annotations

import functools
import random
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from hw.accelerator.accelerator import Accelerator
from hw.accelerator.config import AcceleratorConfig
from hw.accelerator.jobs import Base, Kind
from hw.accelerator.registers import COUNTERS, REGISTERS
from hw.emit import emit_accelerator
from hw.share import ModuleLibrary
from report.errors import UserError
from sim.accelerator import jobs
from sim.accelerator.compiler import Program, compile_graph
from sim.accelerator.image import image
from sim.accelerator.rtl import AcceleratorResult, AcceleratorSimulator, Access
from sim.accelerator.run import Placed, place
from sim.rtl import RtlError
from verif.lib.attacks import kept
from verif.lib.machines import SMALL
from verif.lib.models import SAME, Net, load
from verif.lib.wild import inputs, wild

from .netlist import Netlist
from .unit import Unit

__all__ = [
    "BATCHES", "COMPONENTS", "CONFIGS", "components", "netlist", "questions", "simulator", "units",
]  # fmt: skip

_TOP = "stos_accelerator"

#: Components beyond those of the core, and the modules that each is emitted as. Memories and their
#: ports have no mutants.
COMPONENTS = {
    "accelerator": [""],
    "machine": ["machine"],
    "engine": ["engine"],
    "requantizer": ["requantizer"],
    "combiner": ["combiner", "combiner_lane"],
    "pacer": ["gemm_pacer"],
    "loader": ["loader"],
    "corner turn": ["corner_turn", "rotator"],
    "activation memory": ["activations", "coarse_rotator", "fine_rotator"],
    "GEMM reader": ["gemm_reader"],
    "GEMM writer": ["gemm_writer"],
    "stream reader": ["stream_reader"],
    "stream writer": ["stream_writer"],
    "rings": ["weight_ring", "job_ring"],
    "fetchers": ["program_fetcher", "weights_fetcher", "tensor_fetcher"],
    "storer": ["storer", "span", "load_fifo"],
    "registers": ["registers"],
    "header": ["header"],
    "counters": ["counters"],
    "paced drain": ["drain"],
    "paced controller": ["controller"],
    "paced array": ["pe", "row", "grid", "deskew"],
}

#: Components whose mutants share a build.
BATCHES = (
    ("accelerator", "machine", "registers", "header", "counters"),
    ("engine", "requantizer", "combiner", "pacer", "loader", "corner turn", "paced drain",
     "paced controller", "paced array"),
    ("activation memory", "GEMM reader", "GEMM writer", "stream reader", "stream writer", "rings",
     "fetchers", "storer"),
)  # fmt: skip

#: Whose mutants are proved equivalent where they are: what the solver can hold.
PROVED = ("counters", "fetchers", "header", "loader", "pacer", "paced drain", "registers", "storer")

#: No run is so long that it is kept for some.
LONG = ()

CONFIGS = SMALL

#: Unit tests of modules, and the modules that others are tested in.
_TESTS = {
    "engine": "engine", "requantizer": "requantizer", "gemm_pacer": "pacer",
    "corner_turn": "corner_turn", "activations": "activation_memory", "gemm_reader": "reader",
    "gemm_writer": "writer", "stream_reader": "streams", "stream_writer": "streams",
    "weight_ring": "ring", "job_ring": "ring", "program_fetcher": "fetcher",
    "weights_fetcher": "fetcher", "tensor_fetcher": "fetcher", "storer": "storer", "span": "span",
    "load_fifo": "fifo", "registers": "registers", "loader": "loader", "counters": "counters",
    "header": "header",
}  # fmt: skip
_INSIDE = {
    "combiner": "engine", "combiner_lane": "engine", "rotator": "corner_turn",
    "coarse_rotator": "activations", "fine_rotator": "activations",
}  # fmt: skip

#: Random networks, from this seed on.
_NETWORKS = range(1, 25)


def components(config: AcceleratorConfig) -> list[str]:
    """Return the components of an accelerator that are measured."""
    paced = config.rows_per_lane > 1  # as they are without, the core's campaign measures them
    return [name for name in COMPONENTS if paced or not name.startswith("paced")]


def netlist(config: AcceleratorConfig) -> Netlist:
    """Return the netlist of an accelerator."""
    return Netlist(emit_accelerator(config), _TOP, COMPONENTS)


def units(
    config: AcceleratorConfig, verilog: str, given: Netlist, modules: set[str]
) -> dict[str, Unit]:
    """Return modules with mutants and their unit tests, by name; and check that these pass.

    Parameters
    ----------
    config : AcceleratorConfig
    verilog : str
        The machine with mutants.
    given : Netlist
        The one without.
    modules : set of str
        Those that are wanted.
    """
    library = ModuleLibrary(_TOP)
    library.rtlil(Accelerator(config=config))
    done = {"core"}
    while rest := library.components.keys() - done:
        for kind in rest:
            library.rtlil(library.components[kind])
        done |= rest
    built: dict[str, Unit] = {}
    found = {}
    for module in sorted(modules):
        kind = module.removeprefix(f"{_TOP}_")
        whole = _INSIDE.get(kind, kind)
        if whole not in _TESTS:
            continue
        if whole not in built:
            name, tests = f"{_TOP}_{whole}", (f"verif/unit/test_{_TESTS[whole]}.py",)
            built[whole] = Unit.of(
                verilog, _TOP, library.components[whole], given.ports(name), tests
            )
            assert not built[whole].notices(0), f"{whole} fails its unit tests without a mutant"
        found[module] = built[whole]
    return found


def simulator(config: AcceleratorConfig, verilog: str) -> AcceleratorSimulator:
    """Return the simulator of an accelerator with mutants."""
    return AcceleratorSimulator(config, verilog=verilog, mutants=True)


@dataclass(kw_only=True)
class _Question:
    """A run, and what the machine without a fault does.

    A test would see another memory, code, sum of the counters, or register; without pauses the
    cycles and counters, too, as the cycle model predicts them.
    """

    group: str
    program: Program
    placed: Placed
    memory: bytes
    addresses: tuple[int, int, int, int]
    options: dict[str, Any]
    found: AcceleratorResult
    long = False

    @property
    def cycles(self) -> int:
        """How long it takes."""
        return self.found.cycles

    def ask(self, core: AcceleratorSimulator, mutant: int) -> AcceleratorResult:
        """Run it."""
        limit = 2 * self.cycles + 3_000
        return core.run(
            self.memory, self.addresses, reset=1, mutant=mutant, limit=limit, **self.options
        )

    def killed(self, core: AcceleratorSimulator, mutant: int) -> bool:
        """Return whether a test would fail."""
        try:
            one = self.ask(core, mutant)
        except RtlError:
            return True
        wanted = self.found
        if (one.done, one.code) != (wanted.done, wanted.code):
            return True
        if one.answers != wanted.answers:
            return True
        if sum(one.counters[name] for name in COUNTERS) != one.cycles:
            return True
        if wanted.code:  # what is written before an error is up to the machine, within its windows
            return not kept(self.program, self.placed, self.memory, one.memory)
        if one.memory != wanted.memory:
            return True
        exact = "stall" not in self.options
        return exact and (one.cycles, one.counters) != (wanted.cycles, wanted.counters)


def _programs(config: AcceleratorConfig) -> list[tuple[Program, Placed]]:
    """Return random networks that fit."""
    found = []
    models = [
        *(model for seed in range(4) for model in _large(random.Random(seed))), *_streams(),
        *(wild(seed, 600) for seed in _NETWORKS),
    ]  # fmt: skip
    dice = random.Random(2)
    with tempfile.TemporaryDirectory() as folder:
        for seed, model in enumerate(models):
            graph = load(model, Path(folder))
            try:
                program = compile_graph(graph, config)
            except UserError:
                continue
            some = inputs(graph, seed)
            values = dict(zip(graph.inputs, some, strict=True))
            given = [values[one] for one in program.inputs]
            found.append((program, place(program, given, dice.randrange(4096))))
    return found


def _large(dice: random.Random) -> list[bytes]:
    """Return networks whose counts are large, each in its own way: they end high in counters."""
    found = []
    seed = dice.getrandbits(16)
    net = Net(seed, (1, 1, dice.randint(4000, 16000), 1))  # a line
    found.append(net.done(net.conv(net.input, (1, 1), dice.randint(1, 3))))
    net = Net(seed, (1, dice.randint(600, 1200), 5, 5))  # lines
    found.append(net.done(net.depthwise(net.input, (3, 3), StrideH=2, StrideW=1)))
    net = Net(seed, (1, 1, dice.randint(8000, 16000), 1))  # a signal
    found.append(net.done(net.depthwise(net.input, (1, 3), StrideW=dice.randint(1, 3))))
    net = Net(seed, (1, 1, 1, dice.randint(2000, 16000)))  # products
    found.append(net.done(net.conv(net.input, (1, 1), 7)))
    net = Net(seed, (1, 1, 1, 5))  # rounds
    found.append(net.done(net.conv(net.input, (1, 1), dice.randint(2000, 9000))))
    net = Net(seed, (1, 2, 3, dice.randint(500, 4000)))  # blocks of channels
    found.append(net.done(net.depthwise(net.input, (2, 3))))
    net = Net(seed, (1, 90, 11, dice.randint(5, 9)))  # words
    kernel = dice.randint(3, 9), dice.randint(3, 6)
    x = net.pool("MAX_POOL_2D", net.input, kernel, StrideH=1, StrideW=1, Padding=SAME)
    found.append(net.done(net.sum(x, net.input)))
    net = Net(seed, (1, 90, 9, 2))  # rows of a kernel
    kernel = dice.randint(20, 80), dice.randint(1, 3)
    found.append(net.done(net.conv(net.input, kernel, 4, StrideH=9, StrideW=4)))
    return found


def _streams() -> list[bytes]:
    """Return depthwise layers for ST-OS: passes, folds, bands and strides in all their mixtures."""
    layers = (
        ((6, 6, 11), (1, 3), (3, 1)), ((4, 13, 6), (3, 2), (2, 2)), ((3, 14, 4), (2, 2), (2, 2)),
        ((4, 6, 11), (2, 2), (1, 1)), ((5, 9, 5), (2, 2), (2, 1)), ((10, 14, 1), (3, 2), (2, 2)),
        ((4, 7, 8), (2, 3), (3, 2)), ((4, 4, 7), (5, 2), (1, 3)), ((4, 11, 1), (1, 2), (2, 3)),
        ((8, 4, 6), (4, 2), (2, 3)), ((9, 3, 2), (2, 4), (1, 3)), ((12, 8, 4), (3, 1), (1, 3)),
        ((5, 9, 7), (1, 3), (3, 2)), ((3, 9, 8), (3, 3), (3, 1)), ((4, 3, 8), (1, 4), (2, 3)),
    )  # fmt: skip
    found = []
    for seed, (shape, kernel, (down, across)) in enumerate(layers):
        net = Net(seed, (1, *shape))
        x = net.depthwise(net.input, kernel, StrideH=down, StrideW=across)
        found.append(net.done(x))
    return found


def _accesses(dice: random.Random) -> list[Access]:
    """Return register accesses of all kinds that begin no run, and after each of them a read."""
    offsets = [
        one.offset + 4 * half for one in REGISTERS for half in range(one.bits // 32)
    ] + [0x78, 0x7C, 0x80, 0x100, 0xFFC, 1 << dice.randrange(2, 12)]  # fmt: skip
    dice.shuffle(offsets)
    found = []
    for offset in offsets:
        value = dice.getrandbits(32) & ~(offset == 0x10)  # CONTROL begins no run
        found += [
            Access(offset=offset, write=True, value=value, order=dice.randrange(3),
                   strobe=dice.choice([15, dice.randrange(16)]), late=dice.randrange(3)),
            Access(offset=offset, late=dice.randrange(3)),
        ]  # fmt: skip
    return found


@functools.lru_cache(maxsize=1)
def questions(config: AcceleratorConfig) -> list[_Question]:
    """Return all runs, the short ones first: most mutants die in the first few."""
    core = AcceleratorSimulator(config)
    dice = random.Random(1)
    found: list[_Question] = []

    def add(
        group: str, program: Program, placed: Placed, memory: bytes = b"", where: int = 0,
        **options: Any,
    ) -> AcceleratorResult:  # fmt: skip
        given, addresses = memory or placed.memory, (where, *placed.addresses[1:])
        limit = 200_000 + 100 * program.timing().cycles
        options["base"] = dice.randrange(1 << 19) << 12
        result = core.run(given, addresses, reset=1, limit=limit, **options)
        assert result.done
        found.append(
            _Question(
                group=group,
                program=program,
                placed=placed,
                memory=given,
                addresses=addresses,
                options=options,
                found=result,
            )  # fmt: skip
        )
        return result

    programs = sorted(_programs(config), key=lambda one: one[0].timing().cycles)
    for index, (program, placed) in enumerate(programs):
        add("networks", program, placed, latency=(40, 0, 150)[index % 3])
        add("stalled", program, placed, stall=(0.2, 0.5)[index % 2], seed=index + 1)
    program, placed = programs[1]
    whole = add("networks", program, placed)
    size = len(program.image)
    for beat in dice.sample(range(1, whole.beats + 1), 6):
        add("bus errors", program, placed, bad_read=beat, response=dice.choice([2, 3]))
    for burst in range(1, whole.bursts + 1):
        add("bus errors", program, placed, bad_write=burst, response=dice.choice([2, 3]))
    for program, placed in programs[1::3]:
        for cycle in dice.sample(range(2, program.timing().cycles - 10), 3):
            add("aborts", program, placed, abort=cycle, stall=dice.choice([0.0, 0.4]), seed=cycle)
    program, placed = programs[1]
    for byte in (*range(0, 28, 3), *dice.sample(range(64, size), 6)):
        changed = bytearray(placed.memory)
        changed[byte] ^= 1 << dice.randrange(8)
        add("images", program, placed, bytes(changed))
    for kind, base in ((Kind.LOAD, Base.INPUT), (Kind.STORE, Base.OUTPUT)):
        for count in (0, *(1 << bit for bit in range(config.local_bits + 1, 32))):
            moved = image([jobs.transfer(kind, base, 0, 0, count), jobs.end()], config)
            add("images", program, placed, moved + placed.memory[len(moved) :])
    for bit in range(2, 6):
        add("images", program, placed, where=1 << bit)
    for program, placed in programs[:4]:
        add("registers", program, placed, accesses=_accesses(dice))
    order: dict[str, int] = {}
    turns = []
    for one in found:
        order[one.group] = order.get(one.group, -1) + 1
        turns.append((order[one.group], one.cycles))
    return [found[n] for n in sorted(range(len(found)), key=turns.__getitem__)]

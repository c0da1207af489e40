"""Run images on the generated Verilog of an accelerator, with a memory behind it."""

from __future__ import annotations

import struct
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from hw.accelerator.config import AcceleratorConfig
from hw.accelerator.registers import COUNTERS
from hw.emit import emit_accelerator

from ..rtl.process import Ended, Process, cached
from ..rtl.runner import RtlError

__all__ = ["MOVES", "Access", "AcceleratorResult", "AcceleratorSimulator", "JobTrace", "Watch"]

_HARNESS = Path(__file__).with_name("harness.cpp")
_TOP = "stos_accelerator"
_FAULTS = (
    "a payload of m_axi changed, or its valid fell, while it waited",
    "a burst of m_axi crosses 4 KiB, is misaligned, or has a wrong type",
    "an address of m_axi is not in the memory",
    "m_axi_rready or m_axi_bready was low",
    "m_axi_wlast at the wrong beat",
    "something was outstanding at the end of the run",
    "a register access was answered with an error",
)
#: What a trace says of every cycle, from bit 0 on.
MOVES = (
    "register write", "ar", "r, jobs and parameters", "r, weights", "r, tensors",
    "operands enter the array", "results", "aw", "w", "b", "irq",
)  # fmt: skip
_NAMES = (*COUNTERS, "BYTES_READ", "BYTES_WRITTEN")


#: Registers that are read after a run with accesses.
_READ = 0x80 // 4


@dataclass(frozen=True, kw_only=True)
class Access:
    """A register access.

    Parameters
    ----------
    offset : int
        Of the register, in bytes.
    write : bool
    value, strobe : int
        Of a write.
    order : int
        Of a write: 0 for both its parts at once, 1 for its address first, 2 for its data first.
    late : int
        Cycles until its answer is taken.
    """

    offset: int
    write: bool = False
    value: int = 0
    strobe: int = 15
    order: int = 0
    late: int = 0


@dataclass(frozen=True, kw_only=True)
class Watch:
    """Bytes of the activation memory to look at when a job has ended.

    Parameters
    ----------
    job : int
        Index of the job.
    address, bytes : int
    loaded : bool
        Look only when nothing is on its way from memory: a LOAD ends when it has begun.
    """

    job: int
    address: int
    bytes: int
    loaded: bool = False


@dataclass(frozen=True, kw_only=True)
class JobTrace:
    """When a job began, and what the counters were.

    Parameters
    ----------
    cycle : int
        After the start.
    counters : dict of str to int
    """

    cycle: int
    counters: dict[str, int]


@dataclass(frozen=True, kw_only=True)
class AcceleratorResult:
    """What a run gave.

    Parameters
    ----------
    memory : bytes
        All of it, after the run.
    done : bool
        Whether there was an interrupt within the limit.
    code : int
        Of the error; 0 for none.
    job : int
        Index of the last job.
    cycles : int
    counters : dict of str to int
    jobs : list of JobTrace
    seen : list of bytes
        What was watched.
    beats, bursts : int
        Beats read, and bursts written.
    answers : tuple of int
        To the accesses, and to reads of all registers after the run: data, above them the response.
    trace : tuple of int
        With `trace`: bits of `MOVES` for every cycle from the first register access on.
    """

    memory: bytes
    done: bool
    code: int
    job: int
    cycles: int
    counters: dict[str, int]
    jobs: list[JobTrace]
    seen: list[bytes]
    beats: int
    bursts: int
    answers: tuple[int, ...] = ()
    trace: tuple[int, ...] = ()


@dataclass(eq=False)
class AcceleratorSimulator:
    """An accelerator of one configuration, built once and cached by content.

    The accelerator stays alive from run to run.

    Parameters
    ----------
    config : AcceleratorConfig
    cache : Path, optional
        As of `sim.rtl.Simulator`.
    driver : Path, optional
        Folder of the C driver: it does what the host does. There are no watches then.
    verilog : str, optional
        Of the accelerator; emitted if left out.
    mutants : bool
        Whether it has an input `mutant` (32 bits) that chooses one of its planted faults. There are
        no watches then, and no times of jobs.
    trace : bool
        Whether results say what moved in every cycle.
    coverage : Path, optional
        As of `sim.rtl.Simulator`.

    Raises
    ------
    Failure
        If Verilator or the compiler fails, or no cache can be written.
    """

    config: AcceleratorConfig
    cache: Path | None = None
    driver: Path | None = None
    verilog: str | None = None
    mutants: bool = False
    trace: bool = False
    coverage: Path | None = None

    def __post_init__(self) -> None:
        """Build the simulator unless the cache has it."""
        config = self.config
        verilog = self.verilog or emit_accelerator(config)
        large = config.array.rows > 8 or config.array.cols > 8
        public = "".join(
            f'public_flat_rd -module "{module}" -var "{name}"\n'
            for module, names in (
                (f"{_TOP}_activation_bank", ["memory"]),
                (f"{_TOP}_machine", ["index", "o_completes"]),
                (f"{_TOP}_counters", [f"{name.lower()}_cycles" for name in COUNTERS]),
                (f"{_TOP}_counters", ["cycles", "beats_read", "beats_written"]),
                (_TOP, ["arriving"]),
                (f"{_TOP}_machine", ["o_array"] * self.trace),
                (f"{_TOP}_engine", ["o_valid"] * self.trace),
            )
            for name in names
        )
        rows = 'no_inline -module "*_row"\nno_inline -module "*_requantizer"\n' * large
        public *= not self.mutants
        sources = {"core.vlt": f"`verilator_config\n{public}{rows}", "core.v": verilog}
        harness = _HARNESS.read_text()
        if self.driver:
            source = (self.driver / "stos.c").read_text().replace('#include "stos.h"', "")
            harness = f"{(self.driver / 'stos.h').read_text()}{source}{harness}"
        defines = {
            "BUS_BYTES": config.axi_bytes, "WORD_BYTES": config.word,
            "BANK_ROWS": config.bank_rows, "ADDRESS_BITS": config.axi_addr_width,
            **({"STOS_DRIVER": 1} if self.driver else {}),
            **({"MUTANTS": 1} if self.mutants else {}), **({"TRACE": 1} if self.trace else {}),
        }  # fmt: skip
        self.binary = cached(
            "accelerator", sources, top=_TOP, harness=harness, defines=defines, cache=self.cache,
            coverage=self.coverage is not None,
        )  # fmt: skip
        self._process = Process(self.binary, self.coverage)

    def close(self) -> None:
        """End the program, if it runs."""
        self._process.close()

    def run(
        self,
        memory: bytes,
        addresses: tuple[int, int, int, int],
        *,
        latency: int = 40,
        stall: float = 0.0,
        seed: int = 1,
        limit: int = 10_000_000,
        bad_read: int = 0,
        bad_write: int = 0,
        response: int = 2,
        abort: int = 0,
        reset: int = 0,
        watches: Sequence[Watch] = (),
        accesses: Sequence[Access] = (),
        base: int = 0x9E37_79B9_7F4A_6000,
        mutant: int = 0,
    ) -> AcceleratorResult:
        """Run what lies in a memory.

        Parameters
        ----------
        memory : bytes
        addresses : (int, int, int, int)
            IMAGE, INPUT, OUTPUT, SCRATCH, in that memory.
        latency : int
            Cycles from a read's address to its first beat, then one beat per cycle.
        stall : float
            Probability that a ready is low, or an answer late, in a cycle.
        seed : int
        limit : int
            Cycles.
        bad_read, bad_write : int
            Index, from 1 on, of a beat read, or a burst written, that is answered with `response`.
        response : int
            2 (SLVERR) or 3 (DECERR).
        abort : int
            Cycles after the start in which an abort is written.
        reset : int
            1: reset before the run; more: and cut the run off in that cycle after its start.
        watches : sequence of Watch
            By their jobs.
        accesses : sequence of Access
            Before the run.
        base : int
            Where the memory lies on the bus, a multiple of 4,096; bits that the bus does not have
            do not count. The registers get the addresses from there on.
        mutant : int
            Of an accelerator with `mutants`; 0 for none.

        Raises
        ------
        RtlError
            If the accelerator breaks a rule of AXI4.
        """
        if not self._process.alive:
            reset = reset or 1
        base %= 1 << self.config.axi_addr_width
        head = struct.pack(
            "<18Q", len(memory), base, *addresses, latency, int(stall * 2**32), seed, limit,
            bad_read, bad_write, response, abort, reset, len(watches), len(accesses), mutant,
        )  # fmt: skip
        accessed = b"".join(
            struct.pack("<6Q", one.write, one.offset, one.value, one.strobe, one.order, one.late)
            for one in accesses
        )
        watched = b"".join(
            struct.pack("<4Q", one.job, one.address, one.bytes, one.loaded) for one in watches
        )
        found: list[bytes] = []
        trace: list[int] = []

        def read(take: Callable[[int], bytes]) -> bool:
            found.append(take(96))
            count = struct.unpack("<12Q", found[0])[9] if len(found[0]) == 96 else 0
            answers = 8 * (len(accesses) + _READ) if accesses else 0
            sizes = [56 * count, *(one.bytes for one in watches), answers, len(memory)]
            found.extend(map(take, sizes))
            whole = [len(one) for one in found] == [96, *sizes]
            if self.trace and whole:
                (count,) = struct.unpack("<Q", take(8))
                trace.extend(struct.unpack(f"<{count}I", take(4 * count)))
            return whole

        try:
            self._process.ask(head + accessed + watched + memory, read)
        except Ended as error:
            raise RtlError(str(error)) from None
        status, faults, cycles, *counters, _, beats, bursts = struct.unpack("<12Q", found[0])
        jobs = list(struct.iter_unpack("<7Q", found[1]))
        seen, (answers, after) = found[2:-2], found[-2:]
        for bit, text in enumerate(_FAULTS):
            if faults >> bit & 1:
                raise RtlError(text)
        done = status != 2**64 - 1
        return AcceleratorResult(
            memory=after, done=done, code=status >> 8 & 0xFF if done else 0,
            job=status >> 16 & 0xFFFF if done else len(jobs) - 1, cycles=cycles,
            counters=dict(zip(_NAMES, counters, strict=True)),
            jobs=[JobTrace(cycle=one[0], counters=dict(zip(_NAMES, one[1:], strict=True)))
                  for one in jobs],
            seen=seen, beats=beats, bursts=bursts,
            answers=struct.unpack(f"<{len(answers) // 8}Q", answers), trace=tuple(trace),
        )  # fmt: skip

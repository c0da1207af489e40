"""Cores with mutants, and the suite that is to notice them."""

from __future__ import annotations

import functools
import struct
from dataclasses import dataclass
from typing import Any

from hw.config import ArrayConfig
from hw.emit import emit_verilog
from sim.rtl import Simulator
from verif.lib.suite import GROUPS, check, runs

from .netlist import Netlist

__all__ = [
    "BATCHES", "COMPONENTS", "CONFIGS", "components", "netlist", "questions", "simulator", "units",
]  # fmt: skip

#: Components of `hw/`, and the modules that each is emitted as.
COMPONENTS = {
    "pe": ["pe"],
    "row": ["row"],
    "grid": ["grid"],
    "skew": ["act_skew", "wgt_skew"],
    "deskew": ["deskew"],
    "drain": ["drain"],
    "skid": ["skid"],
    "controller": ["controller"],
    "core": [""],
}

#: Components whose mutants share a build: few enough places that it runs fast.
BATCHES = (
    ("controller", "drain"),
    ("pe", "row"),
    ("grid", "core", "skew", "deskew", "skid"),
)

#: Only these have runs that take tens of thousands of cycles: what counts so far, and feeds it.
LONG = ("controller", "core")

#: Whose mutants are proved equivalent where they are: what the solver can hold.
PROVED = tuple(COMPONENTS)

#: Small cores that have every parameter at two values, and every shape.
CONFIGS = (
    ArrayConfig(rows=3, cols=5, st_os=True),
    ArrayConfig(rows=5, cols=3, st_os=True, accumulators=1),
    ArrayConfig(rows=3, cols=4, act_width=4, weight_width=4, acc_width=8),
    ArrayConfig(rows=4, cols=3, st_os=True, act_width=16, weight_width=16, acc_width=64),
    ArrayConfig(rows=3, cols=5, st_os=True, mac_stages=2),
    ArrayConfig(rows=1, cols=1, st_os=True),
    ArrayConfig(rows=2, cols=3, accumulators=1),
)

#: Of a single PE, which has no neighbours, most wires go nowhere: it is there for these.
_ALONE = ("controller", "core", "skid")

# Where `Simulator.run` writes the cycle limit and the mutant in a request.
_LIMIT, _MUTANT = 9 * 8, 12 * 8


def components(config: ArrayConfig) -> list[str]:
    """Return the components of a core that are measured."""
    return list(_ALONE if config.rows * config.cols == 1 else COMPONENTS)


def netlist(config: ArrayConfig) -> Netlist:
    """Return the netlist of a core."""
    return Netlist(emit_verilog(config), "stos_core", COMPONENTS)


def simulator(config: ArrayConfig, verilog: str) -> Simulator:
    """Return the simulator of a core with mutants."""
    return Simulator(config, verilog, mutants=True)


def units(config: ArrayConfig, verilog: str, given: Netlist, modules: set[str]) -> dict[str, Any]:
    """Return nothing: a core's runs notice what there is to be noticed."""
    return {}


class _Recorder(Simulator):
    """Keeps what was sent to the program and what it answered."""

    request: bytes
    answer: tuple[tuple[int, ...], bytes]

    def _ask(self, request: bytes) -> tuple[tuple[int, ...], bytes]:
        self.request = request
        self.answer = super()._ask(request)
        return self.answer


@dataclass(kw_only=True)
class _Question:
    """One run of the suite, and how the core answers.

    The models need not be asked again for every mutant: what `check` compares with them is
    compared with the answer of the core without a fault, which `check` has found right.
    """

    group: str
    request: bytearray
    answer: tuple[tuple[int, ...], bytes]
    timed: bool  # `check` compares the cycles
    unstalled: bool  # and when the first command is taken

    @property
    def long(self) -> bool:
        """Whether it takes tens of thousands of cycles."""
        return self.answer[0][0] > 20_000

    def killed(self, simulator: Simulator, mutant: int) -> bool:
        """Return whether `check` would raise for the mutant, or it takes twice as long."""
        struct.pack_into("<Q", self.request, _MUTANT, mutant)
        try:
            answer, beats = simulator._ask(bytes(self.request))
        except RuntimeError:
            return True
        (cycles, count, error, faults, *_, start), expected = answer, self.answer[0]
        return (
            faults != 0
            or (count, error) != expected[1:3]
            or beats != self.answer[1]
            or (self.timed and cycles != expected[0])
            or (self.unstalled and start != expected[-1])
        )


@functools.lru_cache(maxsize=1)
def questions(config: ArrayConfig) -> list[_Question]:
    """Put the core through the suite, and remember what was sent and answered."""
    simulator = _Recorder(config)
    questions = []
    for group in GROUPS:
        for run in runs(config, group):
            result = check(simulator, run)
            answer = simulator.answer
            request = bytearray(simulator.request)
            # A core that takes much longer hangs.
            beats = sum(answer[0][4:7])
            struct.pack_into("<Q", request, _LIMIT, 2 * result.cycles + 4 * beats + 500)
            questions.append(
                _Question(
                    group=group, request=request, answer=answer, timed=run.timed,
                    unstalled=run.stalls is None,
                )
            )  # fmt: skip
    simulator.close()
    # Short runs first, groups in turn: most mutants die in the first few.
    questions.sort(key=lambda one: one.answer[0][0])
    turns: dict[str, int] = {}
    order = []
    for question in questions:
        turns[question.group] = turns.get(question.group, -1) + 1
        order.append((question.long, turns[question.group]))
    return [questions[n] for n in sorted(range(len(questions)), key=order.__getitem__)]

"""Run the suite on cores with mutants, and see which mutants it notices."""

from __future__ import annotations

import functools
import struct
from collections.abc import Sequence
from dataclasses import dataclass

from hw.config import ArrayConfig
from sim.rtl import Simulator
from verif.lib.suite import GROUPS, check, runs

from .equivalence import Machine
from .netlist import Mutant, Netlist

__all__ = ["BATCHES", "Bench", "Verdict", "judge"]

#: Components whose mutants share a build: few enough places that it runs fast.
BATCHES = (
    ("controller", "drain"),
    ("pe", "row"),
    ("grid", "core", "skew", "deskew", "skid"),
)

# Where `Simulator.run` writes the cycle limit and the mutant in a request.
_LIMIT, _MUTANT = 9 * 8, 12 * 8


@dataclass(frozen=True, kw_only=True)
class Verdict:
    """What became of a mutant.

    Parameters
    ----------
    mutant : Mutant
    killer : str
        Group of the run that noticed it, or nothing.
    equivalent : str
        Why no run can notice it, or nothing.
    """

    mutant: Mutant
    killer: str = ""
    equivalent: str = ""

    @property
    def survived(self) -> bool:
        """Whether it is a hole in the suite."""
        return not self.killer and not self.equivalent


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
def _questions(config: ArrayConfig) -> list[_Question]:
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


class Bench:
    """A core with mutants, and the suite for its configuration.

    Parameters
    ----------
    config : ArrayConfig
        The machine.
    mutants : sequence of Mutant
        What can be switched on.

    Raises
    ------
    AssertionError
        If the core without a fault does not pass.
    """

    def __init__(self, config: ArrayConfig, mutants: Sequence[Mutant]) -> None:
        self._verilog = Netlist(config).planted(mutants)
        self._machines: dict[str, Machine] = {}
        self.simulator = Simulator(config, self._verilog, mutants=True)
        self._questions = _questions(config)
        failed = self.killer(0)
        assert not failed, f"the core with mutants fails without one, in {failed}"

    def killer(self, mutant: int, *, long: bool | None = None) -> str:
        """Return the group of the first run that notices the mutant, or nothing.

        Parameters
        ----------
        mutant : int
            Its number.
        long : bool, optional
            Only runs that are long, or only those that are not.
        """
        for question in self._questions:
            if long in (None, question.long) and question.killed(self.simulator, mutant):
                return question.group
        return ""

    def machine(self, module: str) -> Machine:
        """Return a module with its mutants, for proofs."""
        if module not in self._machines:
            self._machines[module] = Machine(self._verilog, module)
        return self._machines[module]

    def judge(self, mutant: Mutant) -> Verdict:
        """Run the suite on a mutant until it is noticed; if it is not, try to prove why."""
        killer = self.killer(mutant.number, long=False)
        if killer:
            return Verdict(mutant=mutant, killer=killer)
        equivalent = self.machine(mutant.module).equivalent(mutant.number)
        if equivalent:
            return Verdict(mutant=mutant, equivalent=equivalent)
        # Only the controller, and what brings it the commands, can tell long runs from short ones.
        if mutant.component in ("controller", "core"):
            killer = self.killer(mutant.number, long=True)
        return Verdict(mutant=mutant, killer=killer)


def judge(config: ArrayConfig, mutants: Sequence[Mutant]) -> list[Verdict]:
    """Return what becomes of each mutant, all planted in one core: a job of its own."""
    bench = Bench(config, mutants)
    return [bench.judge(mutant) for mutant in mutants]

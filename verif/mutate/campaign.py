"""Run the suite on machines with mutants, and see which mutants it notices."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, TypeAlias

from hw.accelerator.config import AcceleratorConfig
from hw.config import ArrayConfig

from . import accelerator, core
from .equivalence import Machine
from .netlist import Mutant

__all__ = ["COMPONENTS", "CONFIGS", "Bench", "Config", "Verdict", "judge", "kind"]

#: A core, or an accelerator.
Config: TypeAlias = ArrayConfig | AcceleratorConfig

CONFIGS: tuple[Config, ...] = (*core.CONFIGS, *accelerator.CONFIGS)
COMPONENTS = [*core.COMPONENTS, *accelerator.COMPONENTS]


def kind(config: Config) -> Any:
    """Return the module that knows about a kind of machine: `core` or `accelerator`."""
    return core if isinstance(config, ArrayConfig) else accelerator


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


class Bench:
    """A machine with mutants, and the suite for its configuration.

    Parameters
    ----------
    config : ArrayConfig or AcceleratorConfig
        The machine.
    mutants : sequence of Mutant
        What can be switched on.

    Raises
    ------
    AssertionError
        If the machine without a fault does not pass.
    """

    def __init__(self, config: Config, mutants: Sequence[Mutant]) -> None:
        self._kind = kind(config)
        netlist = self._kind.netlist(config)
        self._verilog = netlist.planted(mutants)
        self._machines: dict[str, Machine] = {}
        self.simulator = self._kind.simulator(config, self._verilog)
        self._questions = self._kind.questions(config)
        failed = self.killer(0)
        assert not failed, f"the machine with mutants fails without one, in {failed}"
        modules = {mutant.module for mutant in mutants}
        self._units: dict[str, Any] = self._kind.units(config, self._verilog, netlist, modules)

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
        unit = self._units.get(mutant.module)
        if not killer and unit and unit.notices(mutant.number):
            killer = "unit tests"
        if killer:
            return Verdict(mutant=mutant, killer=killer)
        if mutant.component in self._kind.PROVED:
            equivalent = self.machine(mutant.module).equivalent(mutant.number)
        else:
            equivalent = ""
        if equivalent:
            return Verdict(mutant=mutant, equivalent=equivalent)
        if mutant.component in self._kind.LONG:
            killer = self.killer(mutant.number, long=True)
        return Verdict(mutant=mutant, killer=killer)


def judge(config: Config, mutants: Sequence[Mutant]) -> list[Verdict]:
    """Return what becomes of each mutant, all planted in one machine: a job of its own."""
    bench = Bench(config, mutants)
    return [bench.judge(mutant) for mutant in mutants]

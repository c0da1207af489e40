"""Components with mutants, and the unit tests that are to notice them.

A unit test steps a component under Amaranth's simulator. Here it steps the same component as it is
in the emitted netlist of a machine, with a fault: ``python -m verif.mutate.unit SPEC MUTANT``.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import pytest

from hw.share import SharedComponent
from sim.rtl.process import cached
from verif.unit import stepper

__all__ = ["Unit"]

_HARNESS = Path(__file__).with_name("unit.cpp").read_text()
#: Seconds after which a test is given up, as pytest itself would not.
_PATIENCE = 300
_STRICT = "STOS_STRICT"


@dataclass(frozen=True, kw_only=True)
class Unit:
    """A module of a machine with mutants, and the tests of its component.

    Parameters
    ----------
    binary : str
        The simulator of the module.
    kind : str
        What the module is called without the machine's name.
    parameters : str
        Of its component.
    inputs, outputs : dict of str to int
        Widths of its ports, in the order in which the simulator has them; without the clock.
    tests : tuple of str
        Files.
    """

    binary: str
    kind: str
    parameters: str
    inputs: dict[str, int]
    outputs: dict[str, int]
    tests: tuple[str, ...]

    @classmethod
    def of(
        cls, verilog: str, top: str, component: SharedComponent, ports: dict[str, Any],
        tests: tuple[str, ...],
    ) -> Unit:  # fmt: skip
        """Build the simulator of a module with mutants.

        Parameters
        ----------
        verilog : str
            Of the whole machine.
        top : str
            First part of the module's name.
        component : SharedComponent
            What it was emitted of.
        ports : dict
            As Yosys' JSON has them.
        tests : tuple of str
        """
        widths = {
            direction: {
                name: len(port["bits"]) for name, port in ports.items()
                if port["direction"] == direction and name not in ("clk", "mutant")
            }
            for direction in ("input", "output")
        }  # fmt: skip
        harness = _HARNESS
        for name, own in (("INPUTS", widths["input"]), ("OUTPUTS", widths["output"])):
            items = (
                f"{{&core->{port}, sizeof(core->{port}), {-(-width // 8)}}}"
                for port, width in own.items()
            )
            harness = harness.replace(f"{{{name}}}", f"{{{', '.join(items)}}}")
        binary = cached(
            "unit", {"core.v": verilog}, top=f"{top}_{component.kind}", harness=harness, defines={}
        )
        return cls(
            binary=str(binary), kind=component.kind, parameters=repr(component.parameters),
            inputs=widths["input"], outputs=widths["output"], tests=tests,
        )  # fmt: skip

    def notices(self, mutant: int) -> bool:
        """Return whether a test fails.

        Raises
        ------
        AssertionError
            If no test is about this component.
        """
        command = [sys.executable, "-m", "verif.mutate.unit", json.dumps(asdict(self)), str(mutant)]
        # Tests of other machines are skipped.
        own = {name: value for name, value in os.environ.items() if name not in ("CI", _STRICT)}
        own["STOS_LONG"] = "1"
        try:
            ended = subprocess.run(
                command, capture_output=True, text=True, timeout=_PATIENCE, check=False, env=own
            )
        except subprocess.TimeoutExpired:
            return True
        code = ended.returncode
        assert code in (pytest.ExitCode.OK, pytest.ExitCode.TESTS_FAILED), ended.stdout
        assert code or " passed" in ended.stdout, f"no test of {self.tests} steps a {self.kind}"
        return bool(code)


class _Netlist:
    """The simulator of a module, in the place of Amaranth's.

    Parameters
    ----------
    unit : Unit
    mutant : int
    """

    def __init__(self, unit: Unit, mutant: int) -> None:
        self._unit = unit
        self._process = subprocess.Popen(
            [unit.binary, str(mutant)], stdin=subprocess.PIPE, stdout=subprocess.PIPE
        )

    def begin(self, seed: int, ones: bool) -> None:
        """Power up with garbage, or ones, in all registers."""
        assert self._process.stdin
        self._process.stdin.write((b"o" if ones else b"b") + seed.to_bytes(4, "little"))

    def cycle(self, values: dict[str, int]) -> dict[str, int]:
        """Return the outputs just before the edge of the clock, and go on to the next cycle."""
        stdin, stdout = self._process.stdin, self._process.stdout
        assert stdin
        assert stdout
        parts = [b"c"]
        parts += [
            values[name].to_bytes(-(-width // 8), "little")
            for name, width in self._unit.inputs.items()
        ]
        stdin.write(b"".join(parts))
        stdin.flush()
        found = {}
        for name, width in self._unit.outputs.items():
            found[name] = int.from_bytes(stdout.read(-(-width // 8)), "little")
        return found


def main(argv: list[str]) -> int:
    """Run the tests of a unit with a mutant; return pytest's exit status."""
    fields = json.loads(argv[0])
    unit = Unit(**{**fields, "tests": tuple(fields["tests"])})
    machine = _Netlist(unit, int(argv[1]))

    def instead(component: SharedComponent) -> _Netlist:
        """Return the netlist if it is the component; skip the test of one with other parameters."""
        members = dict(component.signature.members)
        own: dict[str, dict[str, int]] = {"In": {"rst": 1} if component.resets else {}, "Out": {}}
        for name, member in members.items():
            own[member.flow.name][name] = len(getattr(component, name))
        same = (own["In"], own["Out"]) == (unit.inputs, unit.outputs)
        if not same or repr(component.parameters) != unit.parameters:
            pytest.skip("another machine's")
        return machine

    stepper.instead = instead
    unused = "ignore::amaranth.UnusedElaboratable"  # as the components of Amaranth are
    return int(pytest.main(["-q", "-x", "-p", "no:cacheprovider", "-W", unused, *unit.tests]))


if __name__ == "__main__":
    raise SystemExit(main(sys.argv[1:]))

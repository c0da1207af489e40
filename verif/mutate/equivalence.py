"""Prove mutants equivalent to the core, so that nobody looks for a test that kills them.

Yosys turns a module with its mutants into an AND-inverter graph. A mutant and the module share
its inputs and registers; a SAT solver then looks for values under which an output or the next
value of a register differs.
"""

from __future__ import annotations

from dataclasses import dataclass, field

from pysat.solvers import Solver

from synth.tools import run_yosys

__all__ = ["Machine"]

_SCRIPT = """\
read_verilog mutants.v
hierarchy -top {module}
proc
flatten
opt_clean
techmap
opt_expr
aigmap
opt_clean
write_aiger -ascii -symbols mutants.aag
"""


@dataclass
class Graph:
    """AND gates, each pair of inputs once, and their clauses in a SAT solver.

    A literal is twice the number of a node, plus 1 if it is inverted; 0 is false, 1 is true.
    """

    gates: list[tuple[int, int] | None] = field(default_factory=lambda: [None])
    solver: Solver = field(default_factory=lambda: Solver("cadical153"))
    _known: dict[tuple[int, int], int] = field(default_factory=dict)
    _encoded: set[int] = field(default_factory=set)

    def variable(self) -> int:
        """Return a new literal that can have any value."""
        self.gates.append(None)
        return 2 * len(self.gates) - 2

    def both(self, a: int, b: int) -> int:
        """Return the literal of ``a and b``."""
        if a > b:
            a, b = b, a
        if a == 0 or a ^ b == 1:
            return 0
        if a == 1 or a == b:
            return b
        known = self._known.get((a, b))
        if known is None:
            self.gates.append((a, b))
            known = self._known[a, b] = 2 * len(self.gates) - 2
        return known

    def either(self, a: int, b: int) -> int:
        """Return the literal of ``a or b``."""
        return self.both(a ^ 1, b ^ 1) ^ 1

    def differ(self, a: int, b: int) -> int:
        """Return the literal of ``a xor b``."""
        return self.both(self.both(a, b) ^ 1, self.both(a ^ 1, b ^ 1) ^ 1)

    def number(self, literal: int) -> int:
        """Return the literal as the solver knows it; what it depends on is added."""
        todo = [literal >> 1]
        while todo:
            node = todo.pop()
            if node in self._encoded:
                continue
            self._encoded.add(node)
            gate = self.gates[node]
            if gate is not None:
                out = node + 1
                a, b = (self._bare(one) for one in gate)
                self.solver.append_formula([[-out, a], [-out, b], [out, -a, -b]])
                todo += [one >> 1 for one in gate]
            elif node == 0:
                self.solver.add_clause([-1])
        return self._bare(literal)

    @staticmethod
    def _bare(literal: int) -> int:
        return -(literal // 2 + 1) if literal & 1 else literal // 2 + 1

    def possible(self, *literals: int) -> bool:
        """Return whether all literals can be true at once."""
        if 0 in literals:
            return False
        return self.solver.solve(assumptions=[self.number(one) for one in literals])


class Machine:
    """A module with mutants as an AND-inverter graph.

    Parameters
    ----------
    verilog : str
        What `Netlist.planted` returns.
    module : str
        The module to look at, with all that is in it.
    """

    def __init__(self, verilog: str, module: str) -> None:
        folder = run_yosys("mutate-prove", {"mutants.v": verilog}, _SCRIPT.format(module=module))
        lines = (folder / "mutants.aag").read_text().splitlines()
        _, _, inputs, latches, outputs, gates = lines[0].split()
        counts = [int(inputs), int(latches), int(outputs), int(gates)]
        rows = iter(lines[1:])
        parts = [[[int(n) for n in next(rows).split()] for _ in range(n)] for n in counts]
        names: dict[str, str] = dict(
            line.split(" ", 1) for line in rows if line[:1] in "ilo" and " " in line
        )
        self.inputs = {names.get(f"i{n}", f"i{n}"): row[0] for n, row in enumerate(parts[0])}
        self.latches = {
            names.get(f"l{n}", f"l{n}"): (row[0], row[1]) for n, row in enumerate(parts[1])
        }
        self.outputs = {names.get(f"o{n}", f"o{n}"): row[0] for n, row in enumerate(parts[2])}
        self.gates = parts[3]
        self.size = int(lines[0].split()[1]) + 1
        self.graph = Graph()
        # One value for every input and register, in the machine and in all of its mutants.
        self.values = [0] * self.size
        for name, literal in self.inputs.items():
            if not name.startswith("mutant["):
                self.values[literal >> 1] = self.graph.variable()
        for literal, _ in self.latches.values():
            self.values[literal >> 1] = self.graph.variable()
        for out, a, b in self.gates:
            self.values[out >> 1] = self.graph.both(self._of(a), self._of(b))

    def _of(self, literal: int) -> int:
        return self.values[literal >> 1] ^ literal & 1

    def differences(self, mutant: int) -> dict[str, tuple[int, int]]:
        """Return the outputs and next registers' values that a mutant may change.

        Returns
        -------
        dict
            The literals without and with the mutant, by name.
        """
        changed: dict[int, int] = {}
        for name, literal in self.inputs.items():
            if name.startswith("mutant[") and mutant >> int(name[7:-1]) & 1:
                changed[literal >> 1] = 1
        values, both = self.values, self.graph.both
        for out, a, b in self.gates:
            if a >> 1 in changed or b >> 1 in changed:
                new = both(
                    changed.get(a >> 1, values[a >> 1]) ^ a & 1,
                    changed.get(b >> 1, values[b >> 1]) ^ b & 1,
                )
                if new != values[out >> 1]:
                    changed[out >> 1] = new
        ends = {name: literal for name, literal in self.outputs.items()}
        ends |= {f"next {name}": after for name, (_, after) in self.latches.items()}
        return {
            name: (values[one >> 1] ^ one & 1, changed[one >> 1] ^ one & 1)
            for name, one in ends.items()
            if one >> 1 in changed
        }

    def same(self, mutant: int) -> bool:
        """Return whether no output can ever differ, whatever the inputs are.

        Registers start equal; only those that outputs depend on need to stay equal.
        """
        changes = self.differences(mutant)
        different = {
            name
            for name, (before, after) in changes.items()
            if self.graph.possible(self.graph.differ(before, after))
        }
        return not different or not different & self._observed(changes)

    def _observed(self, changes: dict[str, tuple[int, int]]) -> set[str]:
        """Return what outputs depend on, in the module or in the mutant."""
        registers = {self.values[now >> 1] >> 1: name for name, (now, _) in self.latches.items()}
        ends = dict(self.outputs)
        ends |= {f"next {name}": after for name, (_, after) in self.latches.items()}
        found = set(self.outputs)
        todo = list(found)
        seen: set[int] = set()
        while todo:
            name = todo.pop()
            here = self._of(ends[name])
            nodes = [one >> 1 for one in changes.get(name, (here,))]
            while nodes:
                node = nodes.pop()
                if node in seen:
                    continue
                seen.add(node)
                gate = self.graph.gates[node]
                if gate is not None:
                    nodes += [one >> 1 for one in gate]
                elif node in registers and f"next {registers[node]}" not in found:
                    found.add(f"next {registers[node]}")
                    todo.append(f"next {registers[node]}")
        return found

"""Prove mutants equivalent to the core, so that nobody looks for a test that kills them.

Yosys turns a module with its mutants into an AND-inverter graph; a SAT solver looks for inputs and
registers under which a mutant differs. If that needs registers' values that the module never
has, or a difference that the module never looks at again, induction shows it: the module and the
mutant run side by side from reset, and of many guesses about their registers those are kept that
hold in the next cycle whenever all hold in this one (Houdini).
"""

from __future__ import annotations

import random
import re
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, field
from itertools import combinations

from pysat.solvers import Solver

from synth.tools import run_yosys

__all__ = ["Machine"]

#: Rounds, and conflicts of the solver in each, after which a proof is given up. Those that
#: succeed take a few.
_ROUNDS = 60
_CONFLICTS = 3000

#: Outputs that nobody looks at unless another one is 1.
_VALID = {
    "o_last": "o_valid",
    "o_bypass": "o_valid",
}

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
class _Graph:
    """AND gates, each pair of inputs once.

    A literal is twice the number of a node, plus 1 if it is inverted; 0 is false, 1 is true.
    """

    gates: list[tuple[int, int] | None] = field(default_factory=lambda: [None])
    _known: dict[tuple[int, int], int] = field(default_factory=dict)

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

    def differ(self, a: int, b: int) -> int:
        """Return the literal of ``a xor b``."""
        return self.both(self.both(a, b) ^ 1, self.both(a ^ 1, b ^ 1) ^ 1)


class _Question:
    """A SAT solver that knows the gates of a graph as far as they are needed."""

    def __init__(self, graph: _Graph) -> None:
        self.graph = graph
        self.solver = Solver("glucose4")
        self.solver.add_clause([-1])
        self._numbers = {0: 1}
        self._last = 1

    def fresh(self) -> int:
        """Return a new literal of the solver."""
        self._last += 1
        return self._last

    def number(self, literal: int) -> int:
        """Return a literal of the graph as the solver knows it."""
        numbers = self._numbers
        todo = [literal >> 1]
        while todo:
            node = todo[-1]
            gate = self.graph.gates[node]
            if node in numbers:
                todo.pop()
            elif gate is None:
                numbers[node] = self.fresh()
            else:
                missing = [one >> 1 for one in gate if one >> 1 not in numbers]
                if missing:
                    todo += missing
                    continue
                out = numbers[node] = self.fresh()
                a, b = (-numbers[one >> 1] if one & 1 else numbers[one >> 1] for one in gate)
                self.solver.append_formula([[-out, a], [-out, b], [out, -a, -b]])
        return -numbers[literal >> 1] if literal & 1 else numbers[literal >> 1]

    def possible(self, *literals: int) -> bool:
        """Return whether all literals of the graph can be true at once."""
        if 0 in literals:
            return False
        return bool(self.solver.solve(assumptions=[self.number(one) for one in literals]))


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
        numbers = [int(word) for word in lines[0].split()[1:]]
        rows = iter(lines[1:])
        parts = [[[int(n) for n in next(rows).split()] for _ in range(n)] for n in numbers[1:]]
        names = dict(line.split(" ", 1) for line in rows if re.match(r"[ilo]\d+ ", line))
        self.inputs = {names[f"i{n}"]: row[0] for n, row in enumerate(parts[0])}
        self.registers = {names[f"l{n}"]: (row[0], row[1]) for n, row in enumerate(parts[1])}
        self.outputs = {names[f"o{n}"]: row[0] for n, row in enumerate(parts[2])}
        self.gates = parts[3]
        self.graph = _Graph()
        # One value for every input and register, in the module and in all of its mutants.
        self.values = [0] * (numbers[0] + 1)
        for name, literal in self.inputs.items():
            if not name.startswith("mutant["):
                self.values[literal >> 1] = self.graph.variable()
        for literal, _ in self.registers.values():
            self.values[literal >> 1] = self.graph.variable()
        for out, a, b in self.gates:
            self.values[out >> 1] = self.graph.both(self._of(a), self._of(b))
        self._question = _Question(self.graph)
        self._invariants: list[int] | None = None

    def _of(self, literal: int) -> int:
        return self.values[literal >> 1] ^ literal & 1

    def _faulty(self, mutant: int, registers: dict[int, int] | None = None) -> dict[int, int]:
        """Return what differs in the mutant from `values`; it may have registers of its own."""
        changed = dict(registers or {})
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
        return changed

    def equivalent(self, mutant: int) -> str:
        """Return how it was proved that no output ever differs, or nothing."""
        changed = self._faulty(mutant)

        def differs(literal: int) -> bool:
            if literal >> 1 not in changed:
                return False
            after = changed[literal >> 1] ^ literal & 1
            return self._question.possible(self.graph.differ(self._of(literal), after))

        outputs = [name for name, literal in self.outputs.items() if differs(literal)]
        registers = {name for name, (_, after) in self.registers.items() if differs(after)}
        if not outputs and not registers:
            return "same function"
        if not outputs and not registers & self._observed(changed):
            return "not observed"
        if "rst" in self.inputs and self._by_induction(mutant):
            return "induction"
        return ""

    def _observed(self, changed: dict[int, int]) -> set[str]:
        """Return the registers that outputs depend on, in the module or in the mutant."""
        names = {self._of(now) >> 1: name for name, (now, _) in self.registers.items()}
        found: set[str] = set()
        seen: set[int] = set()
        todo = list(self.outputs.values())
        while todo:
            literal = todo.pop()
            nodes = [self._of(literal) >> 1]
            if literal >> 1 in changed:
                nodes.append(changed[literal >> 1] >> 1)
            while nodes:
                node = nodes.pop()
                if node in seen:
                    continue
                seen.add(node)
                gate = self.graph.gates[node]
                if gate is not None:
                    nodes += [one >> 1 for one in gate]
                elif node in names:
                    found.add(names[node])
                    todo.append(self.registers[names[node]][1])
        return found

    # --- Induction ---

    def _steering(self) -> list[str]:
        """Return the registers of few bits: those that steer."""
        widths = Counter(re.sub(r"\[\d+\]", "", name) for name in self.registers)
        return [name for name in self.registers if widths[re.sub(r"\[\d+\]", "", name)] <= 4]

    def invariants(self) -> list[int]:
        """Return literals that are never true: values of two registers that never meet.

        A register's values are those of its bits, and whether all bits are 0.
        """
        if self._invariants is None:
            registers = {self._of(now): self._of(after) for now, after in self.registers.values()}
            values = []
            zeros: dict[str, tuple[int, int]] = {}
            for name in self._steering():
                now, after = (self._of(one) for one in self.registers[name])
                values += [(now, after), (now ^ 1, after ^ 1)]
                word = re.sub(r"\[\d+\]", "", name)
                zero, then = zeros.get(word, (1, 1))
                zeros[word] = (
                    self.graph.both(zero, now ^ 1),
                    self.graph.both(then, after ^ 1),
                )
            for zero, then in zeros.values():
                values += [(zero, then), (zero ^ 1, then ^ 1)]
            guesses = {
                self.graph.both(a[0], b[0]): self.graph.both(a[1], b[1])
                for a, b in combinations(values, 2)
            }
            held, _ = self._held(registers, guesses, ())
            self._invariants = list(held)
        return self._invariants

    def _held(
        self,
        registers: dict[int, int],
        guesses: dict[int, int],
        known: Iterable[int],
        twins: dict[int, int] | None = None,
    ) -> tuple[list[int], _Question]:
        """Return the guesses that are false from reset on, for ever.

        Parameters
        ----------
        registers : dict
            Next value by value.
        guesses : dict
            Literal in the next cycle by literal in this one.
        known : iterable of int
            Literals that are always false.
        twins : dict, optional
            Registers that have the same value, whichever it is, when the power comes up.
        """
        twins = twins or {}
        guesses = {now: then for now, then in guesses.items() if now != 0}
        seen = self._simulate(registers, list(guesses), twins)
        guesses = {now: then for now, then in guesses.items() if now not in seen}
        reset = self._of(self.inputs["rst"])
        start = _Question(self.graph)
        start.solver.add_clause([start.number(reset)])
        for one, other in twins.items():
            a, b = start.number(one), start.number(other)
            start.solver.append_formula([[a, -b], [-a, b]])
        guesses = _without(start, guesses, assume=False)
        step = _Question(self.graph)
        for literal in known:
            step.solver.add_clause([-step.number(literal)])
        return list(_without(step, guesses, assume=True)), step

    def _simulate(
        self, registers: dict[int, int], watched: list[int], twins: dict[int, int]
    ) -> set[int]:
        """Return which literals are true at some time after a reset, with random inputs."""
        rng = random.Random(1)
        width, cycles = 1024, 120
        everything = (1 << width) - 1
        names = {
            self._of(literal): name
            for name, literal in self.inputs.items()
            if not name.startswith("mutant[")
        }
        order = self._cone([*registers.values(), *watched])
        values = {0: 0}
        state = {now: rng.getrandbits(width) for now in registers}
        state |= {other: state[one] for one, other in twins.items()}

        def value(literal: int) -> int:
            return values[literal >> 1] ^ (everything if literal & 1 else 0)

        seen: set[int] = set()
        for cycle in range(cycles):
            for literal, name in names.items():
                values[literal >> 1] = self._stimulus(rng, name, width, cycle)
            for now, bits in state.items():
                values[now >> 1] = bits
            for node, (a, b) in order:
                left = values[a >> 1] ^ (everything if a & 1 else 0)
                values[node] = left & (values[b >> 1] ^ (everything if b & 1 else 0))
            if cycle:
                seen.update(
                    literal for literal in watched if literal not in seen and value(literal)
                )
            state = {now: value(after) for now, after in registers.items()}
        return seen

    @staticmethod
    def _stimulus(rng: random.Random, name: str, width: int, cycle: int) -> int:
        """Return random values of an input: mostly legal commands, reset seldom."""
        if name == "rst":
            seldom = rng.getrandbits(width)
            for _ in range(5):
                seldom &= rng.getrandbits(width)
            return (1 << width) - 1 if cycle == 0 else seldom if cycle > 60 else 0
        value = rng.getrandbits(width)
        word = re.search(r"cmd\[(\d+)\]", name)
        if word:
            steps = 2 if int(word[1]) in (0, 1, 2, 16, 17, 32, 33, 34, 48, 49) else 9
            for _ in range(steps - 1):
                value &= rng.getrandbits(width)
        return value

    def _cone(self, literals: Iterable[int]) -> list[tuple[int, tuple[int, int]]]:
        """Return the gates that some literals depend on; each after what it depends on."""
        gates = self.graph.gates
        found: set[int] = set()
        todo = [literal >> 1 for literal in literals]
        while todo:
            node = todo.pop()
            gate = gates[node]
            if gate is not None and node not in found:
                found.add(node)
                todo += [one >> 1 for one in gate]
        return [(node, gate) for node in sorted(found) if (gate := gates[node]) is not None]

    def _by_induction(self, mutant: int) -> bool:
        """Return whether the module and the mutant, side by side from reset, stay alike."""
        graph = self.graph
        invariants = self.invariants()
        own = {now >> 1: graph.variable() for now, _ in self.registers.values()}
        changed = self._faulty(mutant, own)

        def faulty(literal: int) -> int:
            return changed.get(literal >> 1, self.values[literal >> 1]) ^ literal & 1

        # Guesses: a register is the same in both, or is while one that steers has some value.
        registers: dict[int, int] = {}
        guesses: dict[int, int] = {}
        steering = [self.registers[name] for name in self._steering()]
        for now, after in self.registers.values():
            registers[self._of(now)] = self._of(after)
            registers[faulty(now)] = faulty(after)
            before = graph.differ(self._of(now), faulty(now))
            then = graph.differ(self._of(after), faulty(after))
            guesses[before] = then
            for steer, steered in steering:
                for inverted in (0, 1):
                    now_too = graph.both(before, self._of(steer) ^ inverted)
                    guesses[now_too] = graph.both(then, self._of(steered) ^ inverted)
        twins = {self._of(now): faulty(now) for now, _ in self.registers.values()}
        _, question = self._held(registers, guesses, invariants, twins)
        for name, literal in self.outputs.items():
            seen = [graph.differ(self._of(literal), faulty(literal))]
            if name in _VALID:
                seen.append(self._of(self.outputs[_VALID[name]]))
            if question.possible(*seen):
                return False
        return True


def _without(question: _Question, guesses: dict[int, int], *, assume: bool) -> dict[int, int]:
    """Return the guesses whose literal of the next cycle is never true; none after many rounds.

    Parameters
    ----------
    assume : bool
        Whether all that are returned are false in this cycle; then they are facts for the
        question from now on.
    """
    solver = question.solver
    switches = {}
    if assume:
        for now in guesses:
            switches[now] = question.fresh()
            solver.add_clause([-switches[now], -question.number(now)])
    for _ in range(_ROUNDS):
        ask = question.fresh()
        then = {now: question.number(literal) for now, literal in guesses.items() if literal}
        solver.add_clause([-ask, *then.values()])
        facts = [switches[now] for now in guesses] if assume else []
        solver.conf_budget(_CONFLICTS)
        answer = solver.solve_limited(assumptions=[ask, *facts])
        if answer is None:
            return {}
        if not answer:
            break
        model = set(solver.get_model())
        wrong = {now for now, number in then.items() if number in model}
        guesses = {now: literal for now, literal in guesses.items() if now not in wrong}
    else:
        return {}
    for fact in facts:
        solver.add_clause([fact])
    return guesses

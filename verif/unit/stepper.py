"""Step one component under Amaranth's simulator: what every unit test is made of.

A test says, cycle by cycle, the inputs that matter. Every input that it does not name is garbage,
and so is every register at power-up: a result that depends on them differs from what the test
expects.
"""

from __future__ import annotations

import contextlib
import os
import random
from collections.abc import Awaitable, Callable, Generator, Iterable, Iterator
from types import SimpleNamespace
from typing import Any

from amaranth.hdl import Cat, ClockDomain, Fragment, Signal
from amaranth.lib.wiring import In
from amaranth.sim import Simulator

from hw.share import SharedComponent

#: Values by name; None is garbage, as what is not named.
Inputs = dict[str, Any]
#: Yields the inputs of a cycle, and is sent its outputs.
Drive = Generator[Inputs, SimpleNamespace, None]
#: A part of one that returns something.
Talk = Generator[Inputs, SimpleNamespace, Any]


#: Whether tests have long cases, too, which end high in counters: `make soak` and the mutation
#: campaign say so.
LONG = os.environ.get("STOS_LONG") == "1"

#: Returns what simulates a component in the place of Amaranth's simulator, by `begin` and `cycle`:
#: the mutation campaign has it.
instead: Callable[[SharedComponent], Any] | None = None


class Stepper:
    """A component and its clock.

    Parameters
    ----------
    component : SharedComponent
        The component, simulated as its plain self.
    """

    def __init__(self, component: SharedComponent) -> None:
        self.component: Any = component
        members = component.signature.members
        ports = {name: getattr(component, name) for name in members}
        self.inputs = {name: ports[name] for name in members if members[name].flow == In}
        self.outputs = {name: ports[name] for name in members if name not in self.inputs}
        self._machine = instead(component) if instead else None
        if self._machine:
            return
        fragment = Fragment.get(component, None)
        self.registers = list(registers(fragment))
        self.domain: Any = ClockDomain("sync")
        fragment.add_domains(self.domain)
        self.simulator = Simulator(fragment)
        self.simulator.add_clock(1e-6, domain=self.domain)
        self._ran = False

    def run(
        self, cycles: Iterable[Inputs], *, seed: int = 0, ones: bool = False
    ) -> list[SimpleNamespace]:
        """Power up, reset for one cycle if the component has a reset, and go through the cycles.

        Parameters
        ----------
        cycles : iterable of {input: value}
            The inputs of every cycle, `rst` included; None is garbage too. A generator is sent
            the outputs of the cycle whose inputs it yielded, so that it can react to them.
        seed : int
            Of the garbage.
        ones : bool
            All registers begin with ones in place of garbage, and there is no reset: counters are
            at their ends.

        Returns
        -------
        list of namespaces
            The outputs of every cycle, as they are just before its clock edge.
        """
        self._cycles, self._dice, self._ones = iter(cycles), random.Random(seed), ones
        self._trace: list[SimpleNamespace] = []
        if self._machine:
            with contextlib.suppress(StopIteration):  # it never waits for anything
                self._elsewhere().send(None)
            return self._trace
        if self._ran:
            self.simulator.reset()
        else:
            self.simulator.add_testbench(self._testbench)
        self._ran = True
        self.simulator.run()
        return self._trace

    def _values(self, named: Inputs) -> dict[str, int]:
        """Return the values of all inputs, garbage where none is named."""
        assert named.keys() <= self.inputs.keys() | {"rst"}, f"no such input: {named}"
        values = {"rst": named.get("rst", 0)}
        for name, port in self.inputs.items():
            value = named.get(name)
            if value is None:
                value = self._dice.getrandbits(len(port))
            assert 0 <= value < 1 << len(port), f"{name} has {len(port)} bits, not for {value}"
            values[name] = value
        return values

    async def _testbench(self, ctx: Any) -> None:
        for register in self.registers:
            value = (
                (1 << len(register)) - 1 if self._ones else self._dice.getrandbits(len(register))
            )
            ctx.set(register, _as_shaped(value, register))
        drive = Cat(self.domain.rst, *self.inputs.values())
        watch = Cat(self.outputs.values())
        widths = [1, *map(len, self.inputs.values())]
        tick = ctx.tick()

        async def cycle(values: dict[str, int]) -> dict[str, int]:
            vector = position = 0
            for value, width in zip(values.values(), widths, strict=True):
                vector |= value << position
                position += width
            ctx.set(drive, vector)
            vector = ctx.get(watch)
            seen = {}
            for name, port in self.outputs.items():
                width = len(port)
                seen[name] = vector & (1 << width) - 1
                vector >>= width
            await tick
            return seen

        await self._go(cycle)

    async def _elsewhere(self) -> None:
        machine: Any = self._machine
        machine.begin(self._dice.getrandbits(32), self._ones)

        async def cycle(values: dict[str, int]) -> dict[str, int]:
            found: dict[str, int] = machine.cycle(values)
            return found

        await self._go(cycle)

    async def _go(self, cycle: Callable[[dict[str, int]], Awaitable[dict[str, int]]]) -> None:
        """Reset the component, and go through the cycles."""
        if self.component.resets and not self._ones:
            await cycle(self._values({"rst": 1}))
        cycles = self._cycles
        seen = None
        while True:
            try:
                named = cycles.send(seen) if isinstance(cycles, Generator) else next(cycles)
            except StopIteration:
                return
            seen = SimpleNamespace(**await cycle(self._values(named)))
            self._trace.append(seen)


def registers(fragment: Any) -> Iterator[Signal]:
    """Yield the registers of an elaborated component and of those inside it."""
    for domain, statements in fragment.statements.items():
        if domain != "comb":
            yield from statements._lhs_signals()
    for inner, *_ in fragment.subfragments:
        yield from registers(inner)


def _as_shaped(bits: int, signal: Signal) -> int:
    return signed(bits, len(signal)) if signal.shape().signed else bits


def signed(value: int, width: int) -> int:
    """Return a number modulo ``2**width``, from ``-2**(width-1)`` on."""
    half = 1 << width - 1
    return (value + half) % (2 * half) - half


def pack(values: Iterable[int], width: int) -> int:
    """Return numbers as one vector, the first one in the low bits."""
    return sum(int(value) % (1 << width) << width * i for i, value in enumerate(values))


def unpack(vector: int, width: int, count: int) -> list[int]:
    """Return the signed numbers of a vector, the lowest one first."""
    return [signed(vector >> width * i, width) for i in range(count)]


def number(dice: random.Random, width: int) -> int:
    """Return a random signed number, every fourth one extreme."""
    low, high = -(1 << width - 1), (1 << width - 1) - 1
    return dice.choice([low, high]) if dice.random() < 0.25 else dice.randint(low, high)


def check_stalls(stepper: Stepper, steps: list[Inputs], stall: Inputs) -> None:
    """Check that cycles with the inputs `stall` change nothing, wherever they come.

    None, one or two of them before every step, in every order, with garbage on all other inputs:
    the outputs of the steps are those of a run without them.
    """
    plain = stepper.run(steps)
    for shift in range(3):
        slow, places = [], []
        for index, step in enumerate(steps):
            slow += [stall] * ((index + shift) % 3)
            places.append(len(slow))
            slow.append(step)
        trace = stepper.run(slow)
        for index, place in enumerate(places):
            assert trace[place] == plain[index], f"step {index} is not as without stalls"

"""A part of the controller by itself: what its `build` takes and what it tells become ports."""

from __future__ import annotations

from typing import Any

from amaranth.hdl import Module, Signal
from amaranth.lib.wiring import In, Out

from hw.control.command_port import CommandPort, NextCommand
from hw.control.rules import Changeover, Results
from hw.control.sequencer import Sequencer
from hw.share import SharedComponent

Part = CommandPort | Sequencer | Results | Changeover


class Alone(SharedComponent):
    """A part whose ports are its inputs and outputs.

    Parameters
    ----------
    part : Part
    inputs : dict
        Bits of every keyword of its `build`.
    command : bool
        `build` also takes a command: the fields of `NextCommand` are inputs, ``next_depth_1`` and
        so on.
    """

    def __init__(self, part: Part, inputs: dict[str, int], *, command: bool = False) -> None:
        self.part = part
        self.inputs = list(inputs)
        self.command = NextCommand(config=part.config) if command else None
        outputs = _signals(part)
        if isinstance(part, CommandPort):
            outputs |= _signals(part.next, "next_")
        elif self.command:
            inputs = inputs | {n: len(s) for n, s in _signals(self.command, "next_").items()}
        self.told = outputs
        signature: dict[str, Any] = {name: In(width) for name, width in inputs.items()}
        signature |= {f"o_{name}": Out(len(signal)) for name, signal in outputs.items()}
        super().__init__(kind="part", parameters=part.config, signature=signature, resets=True)

    def body(self, platform: object) -> Module:
        """Build the part between the ports."""
        m = Module()
        inputs: dict[str, Any] = {name: getattr(self, name) for name in self.inputs}
        if self.command:
            for name, signal in _signals(self.command, "next_").items():
                m.d.comb += signal.eq(getattr(self, name))
            inputs["command"] = self.command
        self.part.build(m, **inputs)
        for name, signal in self.told.items():
            m.d.comb += getattr(self, f"o_{name}").eq(signal)
        return m


def _signals(owner: object, prefix: str = "") -> dict[str, Signal]:
    """Return the public signals of an object by name."""
    return {
        prefix + name: value
        for name, value in vars(owner).items()
        if isinstance(value, Signal) and not name.startswith("_")
    }

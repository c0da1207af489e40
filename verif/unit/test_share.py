"""Shared components: one Verilog module per kind, an instance wherever one is used."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any

import pytest
from amaranth.hdl import ClockSignal, Fragment, Instance, Module, ResetSignal, Signal
from amaranth.lib.wiring import In, Out

from hw.array import PE, Grid, Row, Skew
from hw.config import ArrayConfig
from hw.control import Controller, Drain, Skid
from hw.emit.verilog import emit_component
from hw.share import ModuleLibrary, SharedComponent
from hw.top import Top
from verif.unit.stepper import Stepper, registers


class Inverter(SharedComponent):
    """``o(t + 1) = ~i(t)``, one bit or more, with or without reset."""

    i: Signal
    o: Signal

    def __init__(self, *, width: int = 1, resets: bool = False) -> None:
        signature: dict[str, Any] = {"i": In(width), "o": Out(width)}
        super().__init__(kind="inverter", parameters=width, signature=signature, resets=resets)
        self.width = width

    def body(self, platform: object) -> Module:
        """Register the input."""
        m = Module()
        state = Signal(self.width, reset_less=not self.resets)
        m.d.sync += state.eq(~self.i)
        m.d.comb += self.o.eq(state)
        return m


class Pair(SharedComponent):
    """Two inverters in a row."""

    i: Signal
    o: Signal

    def __init__(self, name: str = "first", driven: bool = True) -> None:
        super().__init__(kind="core", parameters=None, signature={"i": In(1), "o": Out(1)})
        self.name, self.driven = name, driven

    def body(self, platform: object) -> Module:
        """Chain them."""
        m = Module()
        first, second = Inverter(), Inverter()
        m.submodules[self.name], m.submodules.second = first, second
        m.d.comb += [first.i.eq(self.i), second.i.eq(first.o)]
        if self.driven:
            m.d.comb += self.o.eq(second.o)
        return m


def test_plain_when_simulated() -> None:
    """Without a library there are no instances, and the logic works."""
    trace = Stepper(Pair()).run([{"i": bit} for bit in (1, 0, 1, 1, 0)])
    assert [seen.o for seen in trace[2:]] == [1, 0, 1]


def test_instance() -> None:
    """For a library a component is an instance of its module, wired port by port."""
    library = ModuleLibrary("mine")
    inverter = Inverter(width=3)
    found = Fragment.get(inverter, library)
    assert isinstance(found, Instance)
    instance: Any = found
    assert instance.type == "mine_inverter"
    ports = {name: (direction, port) for name, (port, direction) in instance.ports.items()}
    assert repr(ports.pop("clk")) == repr(("i", ClockSignal()))
    assert ports == {"i": ("i", inverter.i), "o": ("o", inverter.o)}
    instance = Fragment.get(Inverter(width=1, resets=True), ModuleLibrary("mine"))
    port, direction = instance.ports["rst"]
    assert direction == "i" and repr(port) == repr(ResetSignal())


def test_rtlil() -> None:
    """A component is converted once: instances inside it, a reset only if it has one."""
    library = ModuleLibrary("mine")
    text = library.rtlil(Pair())
    assert re.findall(r"^module (\S+)", text, re.M) == [r"\mine"]  # the core has the bare name
    assert re.findall(r"cell (\S+) (\S+)", text) == [
        (r"\mine_inverter", r"\first"),
        (r"\mine_inverter", r"\second"),
    ]
    assert list(library.components) == ["core", "inverter"]
    inner = library.rtlil(library.components["inverter"])
    assert re.findall(r"^module (\S+)", inner, re.M) == [r"\mine_inverter"]
    wires = re.findall(r"wire(?: width \d+)? (input|output) \d+ +(\S+)", inner)
    assert sorted(wires) == [("input", r"\clk"), ("input", r"\i"), ("output", r"\o")]
    with_reset = ModuleLibrary("mine").rtlil(Inverter(resets=True))
    assert re.search(r"wire width 1 input \d+ +\\rst", with_reset)


def test_same_kind_other_parameters() -> None:
    """Two modules of one name would be one module: that is refused."""
    library = ModuleLibrary("mine")
    Fragment.get(Inverter(width=3), library)
    Fragment.get(Inverter(width=3), library)
    for other in (Inverter(width=4), Inverter(width=3, resets=True)):
        with pytest.raises(ValueError, match="two different modules are called inverter: 3 and"):
            Fragment.get(other, library)
    Fragment.get(Inverter(width=4), ModuleLibrary("mine"))
    assert list(library.components) == ["inverter"]


CONFIG = ArrayConfig(rows=2, cols=3, st_os=True, mac_stages=2)


@pytest.mark.parametrize(
    "build",
    [
        lambda: PE(config=CONFIG),
        lambda: Row(config=CONFIG),
        lambda: Grid(config=CONFIG),
        lambda: Drain(config=CONFIG),
        lambda: Controller(config=CONFIG),
        lambda: Top(config=CONFIG),
        lambda: Skew(kind="skew", lanes=3, width=2),
        lambda: Skid(width=3),
    ],
    ids=["pe", "row", "grid", "drain", "controller", "top", "skew", "skid"],
)
def test_without_reset_nothing_is_reset(build: Callable[[], SharedComponent]) -> None:
    """A module without `rst` has no register that a simulation of the plain design would reset."""
    component = build()
    fragment = Fragment.get(component, None)
    control = [register.name for register in registers(fragment) if not register.reset_less]
    assert bool(control) == component.resets, control


def test_what_cannot_be_emitted() -> None:
    """A part whose name Verilog reserves, and an output that nothing drives, are refused."""
    assert "pair_inverter first (" in emit_component(Pair(), "pair", "")
    with pytest.raises(ValueError, match="a part of pair_inverter is called 'program', a keyword"):
        emit_component(Pair("program"), "pair", "")
    with pytest.raises(ValueError, match="nothing drives o of core"):
        emit_component(Pair(driven=False), "pair", "")

"""Emit each distinct component once, as a Verilog module of its own.

Amaranth writes one module per *instance*: a naive 32 x 32 array is a thousand identical modules.
Here a `SharedComponent` elaborates to an `Instance` when it is elaborated for a `ModuleLibrary`,
and the library remembers one component per module name, to be converted once. Elaborated for any
other platform (a simulation, say) it is its plain self.
"""

from __future__ import annotations

from typing import Any

from amaranth.back import rtlil  # type: ignore[attr-defined]  # amaranth-stubs leave it out
from amaranth.hdl import ClockDomain, ClockSignal, Instance, Module, ResetSignal, Value
from amaranth.lib import wiring
from amaranth.lib.wiring import In

__all__ = ["ModuleLibrary", "SharedComponent"]


class SharedComponent(wiring.Component):
    """A component that is emitted once per library, however often it is instantiated.

    Its ports are plain bit vectors: a port with a richer shape would add an alias per field to
    every instance. Subclasses define `body` instead of `elaborate`.

    Parameters
    ----------
    kind : str
        The last part of the Verilog module's name; the first is the name of the core.
    parameters : object
        What the body depends on: two components of one kind must agree in it.
    signature : dict
        The ports, as `wiring.Component` takes them.
    resets : bool
        Whether the body uses the reset; a component without one gets no `rst` port.
    planes : int
        How often the logic of `plane()` is there, side by side; the ports that are as wide as
        there are common to all.
    """

    def __init__(
        self,
        *,
        kind: str,
        parameters: object,
        signature: dict[str, Any],
        resets: bool = False,
        planes: int = 1,
    ) -> None:
        super().__init__(signature)
        self.kind = kind
        self.parameters = parameters
        self.resets = resets
        self.planes = planes

    def plane(self) -> SharedComponent:
        """Return what is emitted for this component, each of its bits `planes` bits wide.

        It makes the emission of wide components fast: Amaranth takes its time for every bit.
        """
        return self

    def verilog(self, name: str) -> str | None:
        """Return the text of the module, where it is not to be made of `body`: a memory, say."""
        return None

    def body(self, platform: object) -> Module:
        """Return the logic; `platform` is to be passed to nested components unchanged."""
        raise NotImplementedError

    def elaborate(self, platform: object) -> Module | Instance:
        """Return an instance of the shared module, or the logic itself without a library."""
        if not isinstance(platform, ModuleLibrary):
            return self.body(platform)
        if platform.converting is not self:
            return platform.instance(self)
        m = self.body(platform)
        m.domains.sync = ClockDomain("sync", reset_less=not self.resets)
        return m


class ModuleLibrary:
    """The set of modules that a core is made of, in the order in which they are first used.

    Parameters
    ----------
    prefix : str
        First part of every module's name: the name of the core, so that two cores with
        different names can live in one design.
    bit_planes : bool
        Whether a component with planes is instances of one, which a tool reads once.
    """

    def __init__(self, prefix: str, *, bit_planes: bool = False) -> None:
        self.prefix = prefix
        self.bit_planes = bit_planes
        self.components: dict[str, SharedComponent] = {}
        self.converting: SharedComponent | None = None

    def instance(self, component: SharedComponent, reset: Value | None = None) -> Instance:
        """Return an `Instance` of the component's module, wired to the component's ports.

        Parameters
        ----------
        component : SharedComponent
        reset : Value, optional
            What resets it, if not the reset alone.

        Raises
        ------
        ValueError
            If another component of the same kind has other parameters.
        """
        first = self.components.setdefault(component.kind, component)
        if (first.parameters, first.resets) != (component.parameters, component.resets):
            raise ValueError(
                f"two different modules are called {component.kind}: "
                f"{first.parameters} and {component.parameters}"
            )
        ports: dict[str, Any] = {"i_clk": ClockSignal()}
        if component.resets:
            ports["i_rst"] = ResetSignal() if reset is None else reset
        for name, member in component.signature.members.items():
            direction = "i" if member.flow == In else "o"
            ports[f"{direction}_{name}"] = getattr(component, name)
        return Instance(self.module_name(component.kind), **ports)

    def module_name(self, kind: str) -> str:
        """Return the name of the Verilog module; the core itself has the bare prefix."""
        return self.prefix if kind == "core" else f"{self.prefix}_{kind}"

    def rtlil(self, component: SharedComponent) -> str:
        """Return the RTLIL of one component; those inside it become instances."""
        self.components.setdefault(component.kind, component)
        self.converting = component
        signals: dict[str, Value] = {"clk": ClockSignal()}
        if component.resets:
            signals["rst"] = ResetSignal()
        signals |= {name: getattr(component, name) for name in component.signature.members}
        # No directions: what the component drives is an output.
        ports = {name: (signal, None) for name, signal in signals.items()}
        name = self.module_name(component.kind)
        return rtlil.convert(component, name=name, platform=self, ports=ports, emit_src=False)

"""What drives the nets of a module, every net under one name."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import replace
from typing import NamedTuple

from .expression import Operation, operation
from .rtlil import Cell, Chunk, Netlist, Spec, Wire, cut, width_of

__all__ = ["Design", "Instance", "Register"]


class Register(NamedTuple):
    """What a register takes at every rising edge of a clock."""

    data: Spec
    clock: Spec


class Instance(NamedTuple):
    """An instance of a module: what its inputs are, and which nets its outputs drive."""

    module: str
    name: str
    inputs: dict[str, Spec]
    outputs: dict[str, str]


class Design:
    """A module as a writer wants it: each net has one name, and is driven as a whole.

    Parameters
    ----------
    netlists : mapping
        All modules by name.
    name : str
        The module.

    Attributes
    ----------
    wires : dict
        All nets and ports by name.
    values : dict
        What combinational nets and outputs are.
    registers : dict
        What registers take.
    instances : list of Instance
    """

    def __init__(self, netlists: Mapping[str, Netlist], name: str) -> None:
        netlist = netlists[name]
        self.wires = dict(netlist.wires)
        self.values: dict[str, Operation | Spec] = {}
        self.registers: dict[str, Register] = {}
        self.instances: list[Instance] = []
        self._pieces: dict[str, list[tuple[Chunk, Spec]]] = {}
        self._aliases: dict[str, list[str]] = {}
        self._names: dict[str, str] = {}
        for cell in netlist.cells:
            self._add(cell, netlists)
        for left, right in netlist.connections:
            self._connect(left, right)
        for name, pieces in self._pieces.items():
            self._join(name, pieces)
        self._choose_names()
        self._use_names()

    def _add(self, cell: Cell, netlists: Mapping[str, Netlist]) -> None:
        """Take over a cell."""
        if cell.kind == "$dff":
            register = Register(cell.ports["D"], cell.ports["CLK"])
            self.registers[self._whole(cell.ports["Q"]).wire] = register
        elif cell.kind.startswith("\\"):
            module = cell.kind[1:]
            instance = Instance(module, cell.name[1:], {}, {})
            for port, spec in cell.ports.items():
                if netlists[module].wires[f"\\{port}"].direction == "output":
                    instance.outputs[port] = self._whole(spec).wire
                else:
                    instance.inputs[port] = spec
            self.instances.append(instance)
        elif cell.kind in ("$shr", "$shift", "$sshr") and self._narrows(cell):
            # All of what is shifted, of which some bits are wanted.
            width = width_of(cell.ports["A"])
            whole = Chunk(f"$shifted{len(self.wires)}", 0, width)
            self.wires[whole.wire] = Wire(whole.wire, width)
            ports = cell.ports | {"Y": (whole,)}
            wanted = self._whole(cell.ports["Y"])
            self.values[whole.wire] = operation(replace(cell, ports=ports))
            self.values[wanted.wire] = (whole._replace(width=wanted.width),)
        elif cell.kind == "$pmux":
            self._choose(cell)
        else:
            self.values[self._whole(cell.ports["Y"]).wire] = operation(cell)

    def _choose(self, cell: Cell) -> None:
        """Take over a choice of several, of which at most one is asked for, as a chain of two."""
        target = self._whole(cell.ports["Y"])
        width, selects = target.width, cell.ports["S"]
        value = cell.ports["A"]
        for index in reversed(range(width_of(selects))):
            chunk = target
            if index:
                chunk = Chunk(f"$choice{len(self.wires)}", 0, width)
                self.wires[chunk.wire] = Wire(chunk.wire, width)
            one = cut(cell.ports["B"], index * width, width)
            self.values[chunk.wire] = Operation("?", (cut(selects, index, 1), one, value))
            value = (chunk,)

    def _narrows(self, cell: Cell) -> bool:
        return width_of(cell.ports["A"]) > width_of(cell.ports["Y"])

    def _whole(self, spec: Spec) -> Chunk:
        """Return a whole net that is driven by what drives `spec`."""
        first = spec[0]
        if len(spec) == 1 and first.width == self.wires[first.wire].width:
            return first
        named = next((chunk for chunk in spec if chunk.wire[0] == "\\"), None)
        name = f"$part{len(self.wires)}"
        if named:
            name = f"{named.wire}_{named.low + named.width - 1}_{named.low}"
        self.wires[name] = Wire(name, width_of(spec))
        net = Chunk(name, 0, width_of(spec))
        self._connect(spec, (net,))
        return net

    def _connect(self, left: Spec, right: Spec) -> None:
        low = width_of(left)
        for chunk in left:
            low -= chunk.width
            piece = cut(right, low, chunk.width)
            self._pieces.setdefault(chunk.wire, []).append((chunk, piece))

    def _join(self, name: str, pieces: list[tuple[Chunk, Spec]]) -> None:
        """Make one value of the parts of a net."""
        value: Spec = ()
        top = self.wires[name].width
        for chunk, piece in sorted(pieces, reverse=True):
            gap = top - chunk.low - chunk.width  # driven by nothing, and read by nothing
            value += (*((Chunk("", 0, gap, "x" * gap),) if gap else ()), *piece)
            top = chunk.low
        if top:
            value += (Chunk("", 0, top, "x" * top),)
        only = value[0]
        if len(value) == 1 and only.wire and only.width == self.wires[only.wire].width:
            self._aliases.setdefault(only.wire, []).append(name)
        self.values[name] = value

    # --- One name for each net ---

    def _choose_names(self) -> None:
        """Choose between the names of a net: registers are called what the source calls them."""
        ports = {port for one in self.instances for port in (*one.inputs, *one.outputs)}
        for root, others in self._aliases.items():
            if self.wires[root].direction == "input":
                continue
            register = root in self.registers

            def rank(name: str, register: bool = register) -> tuple[bool, ...]:
                is_port = bool(self.wires[name].direction)
                source, dollar, _ = name[1:].partition("$")
                of_instance = source in ports and not is_port
                return name[0] == "$", is_port == register, of_instance, bool(dollar)

            name = min([root, *others], key=rank)
            if name != root:
                self._rename(root, name)

    def _rename(self, root: str, name: str) -> None:
        """Move what drives `root` to its other name."""
        self._names[root] = name
        del self.values[name], self._pieces[name]
        if root in self.registers:
            self.registers[name] = self.registers.pop(root)
        elif root in self.values:
            self.values[name] = self.values[root]
        self.values[root] = (Chunk(name, 0, self.wires[name].width),)

    def _use_names(self) -> None:
        for name, value in self.values.items():
            if isinstance(value, Operation):
                operands = tuple(self._read(spec) for spec in value.operands)
                self.values[name] = value._replace(operands=operands)
            else:
                self.values[name] = self._read(value)
        for name, register in self.registers.items():
            self.registers[name] = register._replace(data=self._read(register.data))
        for instance in self.instances:
            for port, spec in instance.inputs.items():
                instance.inputs[port] = self._read(spec)
            for port, net in instance.outputs.items():
                instance.outputs[port] = self._names.get(net, net)

    def _read(self, spec: Spec) -> Spec:
        """Return a value in terms of nets that something drives as a whole."""
        return tuple(found for chunk in spec for found in self._found(chunk))

    def _found(self, chunk: Chunk) -> Iterator[Chunk]:
        if chunk.wire in self._names:
            yield chunk._replace(wire=self._names[chunk.wire])
        elif chunk.wire in self._pieces and not self.wires[chunk.wire].direction:
            value = self.values[chunk.wire]
            assert not isinstance(value, Operation)
            yield from self._read(cut(value, chunk.low, chunk.width))
        else:
            yield chunk

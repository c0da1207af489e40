"""Read RTLIL, the text form of Yosys' netlists."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from typing import NamedTuple

__all__ = ["Cell", "Chunk", "Netlist", "Spec", "Wire", "cut", "read_rtlil", "widen", "width_of"]


class Chunk(NamedTuple):
    """Neighbouring bits of a wire; without a wire the constant `bits`, as in ``01x``."""

    wire: str
    low: int
    width: int
    bits: str = ""


#: A value: chunks, the most significant first.
Spec = tuple[Chunk, ...]


class Wire(NamedTuple):
    """A wire of a module; `direction` is "input" or "output" if it is a port."""

    name: str
    width: int
    direction: str = ""


@dataclass
class Cell:
    """An operation, a register or an instance of a module."""

    kind: str
    name: str
    parameters: dict[str, int] = field(default_factory=dict)
    ports: dict[str, Spec] = field(default_factory=dict)


@dataclass
class Netlist:
    """One module. Names are as in RTLIL: with a backslash from the source, else with a dollar."""

    name: str
    wires: dict[str, Wire] = field(default_factory=dict)
    cells: list[Cell] = field(default_factory=list)
    connections: list[tuple[Spec, Spec]] = field(default_factory=list)  # left is driven by right


def width_of(spec: Spec) -> int:
    """Return the bits of a value."""
    return sum(chunk.width for chunk in spec)


def cut(spec: Spec, low: int, width: int) -> Spec:
    """Return `width` bits of a value, from bit `low` on."""
    found = []
    top = width_of(spec)
    for chunk in spec:
        top -= chunk.width  # now the position of the chunk's lowest bit
        first, last = max(low - top, 0), min(low + width - top, chunk.width)
        if first < last:
            bits = chunk.bits[chunk.width - last : chunk.width - first]
            found.append(Chunk(chunk.wire, chunk.low + first * (not bits), last - first, bits))
    return tuple(found)


def read_rtlil(text: str) -> dict[str, Netlist]:
    """Return the modules of a text by name, without the backslash.

    Processes and memories must have become cells.
    """
    lines = (line.split() for line in text.splitlines())
    modules = {}
    for words in lines:
        if words[:1] == ["module"]:
            module = _module(words[1], lines)
            modules[module.name.removeprefix("\\")] = module
    return modules


def _module(name: str, lines: Iterator[list[str]]) -> Netlist:
    module = Netlist(name)
    for words in lines:
        match words[:1]:
            case ["end"]:
                break
            case ["wire"]:
                width = int(words[words.index("width") + 1]) if "width" in words else 1
                direction = next((word for word in words if word in ("input", "output")), "")
                module.wires[words[-1]] = Wire(words[-1], width, direction)
            case ["cell"]:
                module.cells.append(_cell(words, lines, module.wires))
            case ["connect"]:
                left, right = _specs(words[1:], module.wires)
                module.connections.append((left, right))
            case ["process"] | ["memory"]:
                raise ValueError(f"{name}: a {words[0]} is no cell")
    return module


def _cell(words: list[str], lines: Iterator[list[str]], wires: dict[str, Wire]) -> Cell:
    cell = Cell(words[1], words[2])
    for words in lines:
        match words[:1]:
            case ["end"]:
                break
            case ["parameter"]:
                cell.parameters[words[-2][1:]] = _parameter(words[-1])
            case ["connect"]:
                (cell.ports[words[1][1:]],) = _specs(words[2:], wires)
    return cell


def _parameter(word: str) -> int:
    """Return the value of a number, as in ``8``, or of bits, as in ``4'1000``."""
    return int(word.partition("'")[2], 2) if "'" in word else int(word)


def _specs(words: Iterable[str], wires: dict[str, Wire]) -> list[Spec]:
    """Return the values that stand one after the other."""
    specs: list[list[Chunk]] = []
    braces = False
    for word in words:
        if word == "{":
            specs.append([])
            braces = True
        elif word == "}":
            braces = False
        elif word[0] == "[":  # of the wire before
            high, _, low = word[1:-1].partition(":")
            wire = specs[-1][-1].wire
            specs[-1][-1] = Chunk(wire, int(low or high), int(high) - int(low or high) + 1)
        else:
            if not braces:
                specs.append([])
            specs[-1].append(_chunk(word, wires))
    return [tuple(spec) for spec in specs]


def _chunk(word: str, wires: dict[str, Wire]) -> Chunk:
    if word in wires:
        return Chunk(word, 0, wires[word].width)
    bits = word.partition("'")[2] if "'" in word else f"{int(word):032b}"
    return Chunk("", 0, len(bits), bits)


def widen(netlist: Netlist, planes: int, common: Iterable[str]) -> Netlist:
    """Return a module with the logic of `netlist` once for every plane.

    Parameters
    ----------
    netlist : Netlist
        Registers and choices.
    planes : int
        Bits that take the place of each bit.
    common : iterable of str
        Ports that are the same for all planes, and stay as they are.

    Raises
    ------
    ValueError
        If there is anything else in the netlist.
    """
    fixed = {f"\\{name}" for name in common}

    def wide(spec: Spec) -> Spec:
        if not all(chunk.wire for chunk in spec):
            raise ValueError(f"{netlist.name}: a constant cannot be widened")
        return tuple(
            chunk
            if chunk.wire in fixed
            else Chunk(chunk.wire, chunk.low * planes, chunk.width * planes)
            for chunk in spec
        )

    result = Netlist(netlist.name)
    for name, wire in netlist.wires.items():
        width = wire.width * (1 if name in fixed else planes)
        result.wires[name] = wire._replace(width=width)
    for cell in netlist.cells:
        if cell.kind not in ("$mux", "$dff"):
            raise ValueError(f"{netlist.name}: a cell of kind {cell.kind} cannot be widened")
        ports = {port: wide(spec) for port, spec in cell.ports.items()}
        result.cells.append(Cell(cell.kind, cell.name, cell.parameters, ports))
    result.connections = [(wide(left), wide(right)) for left, right in netlist.connections]
    return result

"""Read a mapped netlist: what each module holds, and which part of it a cell belongs to."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from functools import lru_cache
from pathlib import Path
from typing import Any

from hw.config import ArrayConfig
from hw.emit import emit_verilog

from .targets import Target
from .tools import run_yosys

__all__ = ["TOP", "Part", "add", "count", "map_text", "subtract", "synthesize", "tree"]

TOP = "stos_core"

Resources = dict[str, float]


def add(terms: Iterable[Resources]) -> Resources:
    """Return the sum of resources, name by name."""
    total: Resources = {}
    for term in terms:
        for name, value in term.items():
            total[name] = total.get(name, 0) + value
    return total


def subtract(left: Resources, right: Resources) -> Resources:
    """Return left - right, name by name."""
    return {name: left.get(name, 0) - right.get(name, 0) for name in left | right}


@dataclass(kw_only=True)
class Part:
    """A part of a core.

    Parameters
    ----------
    name : str
    count : int
        How many of it one parent has.
    unit : dict
        Resources of one of it, its own parts included.
    parts : list of Part
        What it is made of. They add up to it: ``sum(p.count * p.unit) == unit``.
    """

    name: str
    count: int
    unit: Resources
    parts: list[Part] = field(default_factory=list)

    def find(self, *names: str) -> Part:
        """Return the part under a path of names.

        Raises
        ------
        KeyError
            If there is none.
        """
        part = self
        for name in names:
            found = [inner for inner in part.parts if inner.name == name]
            if not found:
                raise KeyError(name)
            part = found[0]
        return part

    def to_dict(self) -> dict[str, Any]:
        """Return the tree as plain data."""
        return {
            "name": self.name,
            "count": self.count,
            "unit": self.unit,
            "parts": [part.to_dict() for part in self.parts],
        }


@lru_cache(maxsize=64)  # every target asks for the same ones
def _text(config: ArrayConfig, name: str) -> str:
    return emit_verilog(config, name=name, bit_planes=True)


def synthesize(
    config: ArrayConfig, target: Target, *, flat: bool = False, name: str = TOP
) -> tuple[dict[str, Any], Path]:
    """Map a core, and return its netlist (as Yosys writes it in JSON) and the run's folder.

    Raises
    ------
    ToolError
        If Yosys fails.
    """
    return map_text(_text(config, name), config, target, name, flat=flat)


def map_text(
    text: str, config: ArrayConfig, target: Target, name: str, *, flat: bool = False
) -> tuple[dict[str, Any], Path]:
    """Map Verilog with an array of that configuration in it; see `synthesize`."""
    files = target.inputs(config, name) | {"core.v": text}
    script = (
        f"read_verilog core.v\n{target.commands(config, name, flat=flat)}"
        "write_verilog -noattr netlist.v\nwrite_json netlist.json\n"
    )
    label = target.name.replace(", ", "-").replace(" ", "-") + ("-flat" if flat else "")
    folder = run_yosys(f"{label}-{config.rows}x{config.cols}", files, script)
    return json.loads((folder / "netlist.json").read_text()), folder


def count(config: ArrayConfig, target: Target, flat: bool) -> tuple[Part, str, Resources]:
    """Return what a core is made of, the run's folder, and its total synthesized flat if asked for.

    Raises
    ------
    ToolError
        If Yosys fails, or maps to a cell that the target does not know.
    """
    netlist, folder = synthesize(config, target)
    core = tree(netlist, config, target, TOP)
    if not flat:
        return core, str(folder), {}
    netlist, _ = synthesize(config, target, flat=True)
    cells = netlist["modules"][TOP]["cells"].values()
    return core, str(folder), add(target.cost(cell["type"]) for cell in cells)


def tree(
    netlist: dict[str, Any], config: ArrayConfig, target: Target, top: str, *, name: str = "core"
) -> Part:
    """Return what a design is made of, down to the parts of a processing element.

    Parameters
    ----------
    netlist : dict
        As Yosys writes it in JSON. Modules that are black boxes are cells of the target, or have
        no cost: memories.
    config : ArrayConfig
    target : Target
    top : str
        Name of the top module.
    name : str
        What the whole is. Of a core, what is in its parts is not listed, but for the grid.
    """
    modules = netlist["modules"]
    library = {
        name
        for name, module in modules.items()
        if int(module["attributes"].get("blackbox", "0"), 2)
    }
    known: dict[str, Part] = {}
    shown = ("grid", "row", "pe")

    def visit(module: str) -> Part:
        if module in known:
            return known[module]
        cells = modules[module]["cells"].values()
        own: list[str] = []
        inner: dict[str, int] = {}
        for cell in cells:
            kind = cell["type"]
            if kind in modules and kind not in library:
                inner[kind] = inner.get(kind, 0) + 1
            elif not (kind in library and kind.startswith(f"{top}_")):  # a memory
                own.append(kind)
        children = [visit(kind) for kind in inner]
        kind = module.removeprefix(f"{top}_") if module != top else name
        rule = _RULES.get(kind)
        if rule and own:
            parts = _split(modules[module], modules, library, config, target, rule)
        elif own:
            parts = [Part(name="own", count=1, unit=add(target.cost(cell) for cell in own))]
        else:
            parts = []
        if kind == "core" and parts:
            parts = [Part(name="streams", count=1, unit=add(p.unit for p in parts), parts=parts)]
        for child in children:
            parts.append(
                Part(
                    name=child.name,
                    count=inner[f"{top}_{child.name}"],
                    unit=child.unit,
                    parts=child.parts if child.name in shown or name != "core" else [],
                )
            )
        unit = add({k: v * part.count for k, v in part.unit.items()} for part in parts)
        unit = {name: unit.get(name, 0) for name in target.resources}
        known[module] = Part(name=kind, count=1, unit=unit, parts=parts)
        return known[module]

    return visit(top)


# --- Parts inside a module ---------------------------------------------------------------------
#
# Synthesis dissolves the boundaries inside a module, but not its registers. A cell between
# registers is told by what it can see and what it can reach: the registers and ports at the far
# end of the logic in front of it (sources) and behind it (sinks).

_OPERANDS = frozenset({"activation", "weight", "valid", "mark"})
_PRODUCT = frozenset({"product", "valid_q", "mark_q"})
_SUMS = frozenset({"acc", "result", "held"})


def _pe_part(
    register: str | None, sources: frozenset[str], sinks: frozenset[str], config: ArrayConfig
) -> str:
    if register in _OPERANDS:
        return "operand registers"
    if register in _PRODUCT:
        return "product register"
    if register:
        return "accumulators"
    if sources <= {"activation", "weight"} and not sinks <= _OPERANDS:
        return "multiplier"
    if sinks == {"multiplier"}:  # a DSP, which may add, too
        return "adder" if sources & _SUMS else "multiplier"
    if sinks <= _OPERANDS | {"multiplier"}:  # a DSP may have a copy of the operand registers
        return "operand registers"
    if sinks <= _PRODUCT:
        return "product register"
    starts = {"mark", "mark_q"} if config.accumulators == 1 else set()
    if sources <= {"activation", "weight", "product", "acc"} | starts:
        return "adder"
    return "accumulators"


def _core_part(
    register: str | None, sources: frozenset[str], sinks: frozenset[str], config: ArrayConfig
) -> str:
    if "s_axis_act_tdata" in sources:
        return "activation registers"
    if "s_axis_wgt_tdata" in sources:
        return "weight registers"
    if not register and sinks <= {"grid.i_broadcast", "grid.i_broadcast_en"}:
        return "broadcast lines"
    return "tags and glue"


_Rule = Callable[[str | None, frozenset[str], frozenset[str], ArrayConfig], str]
_RULES: dict[str, _Rule] = {"pe": _pe_part, "core": _core_part}
_REGISTERS = _OPERANDS | _PRODUCT | _SUMS


def _split(
    module: dict[str, Any],
    modules: dict[str, Any],
    library: set[str],
    config: ArrayConfig,
    target: Target,
    rule: _Rule,
) -> list[Part]:
    """Sort the cells of a module, but not of the modules in it, into parts."""
    names: dict[int, str] = {}
    for name, net in module["netnames"].items():
        for bit in net["bits"]:
            if isinstance(bit, int) and (bit not in names or name in _REGISTERS):
                names[bit] = name
    # Where each net comes from and goes to: cells, and the far ends of paths.
    driver: dict[int, str] = {}
    loads: dict[int, list[str]] = {}
    source: dict[int, str] = {}
    sink: dict[int, set[str]] = {}
    inputs: dict[str, list[int]] = {}
    outputs: dict[str, list[int]] = {}
    register: dict[str, str] = {}
    for name, port in module["ports"].items():
        for bit in port["bits"]:
            if port["direction"] == "input":
                source[bit] = name
            else:
                sink.setdefault(bit, set()).add(name)
    for cell, data in module["cells"].items():
        kind = data["type"]
        is_module = kind in modules and kind not in library
        is_dsp = not is_module and "DSP" in target.cost(kind)
        inputs[cell], outputs[cell] = [], []
        for port, bits in data["connections"].items():
            is_input = data["port_directions"][port] == "input"
            for bit in bits:
                if not isinstance(bit, int):
                    continue
                if is_module or is_dsp:
                    if is_input:
                        end = "multiplier" if is_dsp else f"{cell}.{port}"
                        sink.setdefault(bit, set()).add(end)
                    else:
                        source[bit] = "product" if is_dsp else f"{cell}.{port}"
                elif is_input:
                    inputs[cell].append(bit)
                    loads.setdefault(bit, []).append(cell)
                else:
                    outputs[cell].append(bit)
                    driver[bit] = cell
        if not is_module and target.is_flip_flop(kind):
            found = [names.get(bit, "") for bit in outputs[cell]]
            register[cell] = next((n for n in found if n in _REGISTERS), found[0] if found else "")
    for cell, name in register.items():
        for bit in outputs[cell]:
            source[bit] = name
            driver.pop(bit, None)

    seen: dict[str, frozenset[str]] = {}
    reached: dict[str, frozenset[str]] = {}

    def sources(cell: str) -> frozenset[str]:
        if cell not in seen:
            seen[cell] = frozenset()  # a cycle of cells would end here
            found: set[str] = set()
            for bit in inputs[cell]:
                if bit in source:
                    found.add(source[bit])
                elif bit in driver:
                    found |= sources(driver[bit])
            seen[cell] = frozenset(found - {"clk"})
        return seen[cell]

    def sinks(cell: str) -> frozenset[str]:
        if cell not in reached:
            reached[cell] = frozenset()
            found: set[str] = set()
            for bit in outputs[cell]:
                found |= sink.get(bit, set())
                for load in loads.get(bit, []):
                    found |= {register[load]} if load in register else sinks(load)
            reached[cell] = frozenset(found)
        return reached[cell]

    totals: dict[str, Resources] = {}
    for cell, data in module["cells"].items():
        kind = data["type"]
        if kind in modules and kind not in library:
            continue
        cost = target.cost(kind)
        if "DSP" in cost:
            part = "multiplier"
        else:
            part = rule(register.get(cell), sources(cell), sinks(cell), config)
        totals[part] = add([totals.get(part, {}), cost])
    return [Part(name=name, count=1, unit=totals[name]) for name in sorted(totals)]

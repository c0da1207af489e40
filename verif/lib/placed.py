"""A placed netlist of an ECP5, as nextpnr writes it, as Verilog that can be simulated.

Cells are what nextpnr has packed the design into: halves of slices, multipliers, pads, clock
buffers; routing is not in it. What they do is Lattice's, as Project Trellis documents it; a pin
without a net is 1 in a look-up table, as in the device.
"""

from __future__ import annotations

from typing import Any

__all__ = ["placed_verilog"]


def placed_verilog(netlist: dict[str, Any], name: str) -> str:
    """Return the Verilog of a placed netlist.

    Parameters
    ----------
    netlist : dict
        The JSON that nextpnr's ``--write`` gives.
    name : str
        Of the module.

    Raises
    ------
    ValueError
        If it has a cell, or a mode of one, that this does not know.
    """
    (top,) = netlist["modules"].values()
    ports, lines, nets = [], [], set[int]()
    for port, one in top["ports"].items():
        bits = one["bits"]
        size = f"[{len(bits) - 1}:0] " if len(bits) > 1 else ""
        ports.append(f"  {one['direction']} wire {size}{port}")
        for index, bit in enumerate(bits):
            pin = f"{port}[{index}]" if size else port
            lines.append(f"assign n{bit} = {pin};" if one["direction"] == "input" else
                         f"assign {pin} = n{bit};")  # fmt: skip
    for number, cell in enumerate(top["cells"].values()):
        wires = {pin: f"n{bits[0]}" for pin, bits in cell["connections"].items() if bits}
        nets.update(bits[0] for bits in cell["connections"].values() if bits)
        lines += _CELLS[cell["type"]](f"c{number}", wires, cell["parameters"])
    head = f"module {name} (\n" + ",\n".join(ports) + "\n);\n"
    return "\n".join([head, *(f"wire n{one};" for one in sorted(nets)), *lines, "endmodule\n"])


def _must(holds: bool, what: object) -> None:
    if not holds:
        raise ValueError(f"a cell of the placed netlist that is not known: {what}")


def _half_slice(cell: str, wires: dict[str, str], parameters: dict[str, str]) -> list[str]:
    """Return a look-up table; with a carry, or a choice between it and its neighbour's."""
    mode = parameters.get("MODE", "LOGIC")
    _must(mode in ("LOGIC", "CCU2"), parameters)
    a, b, c, d = (wires.get(pin, "1'b1") for pin in "ABCD")
    lines = [
        f"wire [15:0] {cell}_init = 16'b{parameters['INITVAL']};",
        f"wire {cell}_lut = {cell}_init[{{{d}, {c}, {b}, {a}}}];",
    ]
    value, carry = f"{cell}_lut", wires.get("FCI", "1'b0")
    if mode == "CCU2":
        injects = parameters["CCU2_INJECT1"] == "YES"
        if not injects:
            value = f"{cell}_lut ^ {carry}"
        if "FCO" in wires:
            generates = "1'b0" if injects else f"{cell}_init[{{{b}, {a}}}]"
            lines.append(f"assign {wires['FCO']} = {cell}_lut ? {carry} : {generates};")
    if "F" in wires:
        lines.append(f"assign {wires['F']} = {value};")
    if "OFX" in wires:
        low, high = (wires[one] for one in ("FXA", "FXB")) if "FXA" in wires else (
            f"{cell}_lut", wires["F1"])  # fmt: skip
        lines.append(f"assign {wires['OFX']} = {wires['M']} ? {high} : {low};")
    return lines


def _register(cell: str, wires: dict[str, str], parameters: dict[str, str]) -> list[str]:
    """Return a flip-flop with an enable and a synchronous set or reset."""
    mode = parameters.get("SRMODE", "CE_OVER_LSR")
    _must(
        mode in ("CE_OVER_LSR", "LSR_OVER_CE")
        and parameters["CLKMUX"] == "CLK"
        and parameters["LSRMUX"] == "LSR"
        and parameters.get("CEMUX", "CE").strip() in ("CE", "1"),
        parameters,
    )
    data = wires["DI" if parameters["SD"].strip() == "1" else "M"]
    enable, reset = wires.get("CE", "1'b1"), wires.get("LSR", "1'b0")
    value = "1'b1" if parameters["REGSET"] == "SET" else "1'b0"
    first = f"if ({reset}) {cell} <= {value}; else if ({enable}) {cell} <= {data};"
    if mode == "CE_OVER_LSR":
        first = f"if ({enable}) {cell} <= {reset} ? {value} : {data};"
    clocked = f"always @(posedge {wires['CLK']}) {first}"
    return [f"reg {cell};", clocked, f"assign {wires['Q']} = {cell};"]


def _multiplier(cell: str, wires: dict[str, str], parameters: dict[str, str]) -> list[str]:
    """Return a multiplier of 18 x 18 bits, without registers."""
    clocked = {key: value for key, value in parameters.items() if key.startswith("REG_")}
    _must(all(value.strip() == "NONE" for value in clocked.values()), clocked)

    def operand(pin: str) -> str:
        bits = ", ".join(wires[f"{pin}{bit}"] for bit in reversed(range(18)))
        return f"{{{wires[f'SIGNED{pin}']} & {wires[f'{pin}17']}, {bits}}}"

    lines = [
        f"wire signed [18:0] {cell}_a = {operand('A')}, {cell}_b = {operand('B')};",
        f"wire signed [37:0] {cell}_p = {cell}_a * {cell}_b;",
    ]
    return lines + [
        f"assign {wires[f'P{bit}']} = {cell}_p[{bit}];" for bit in range(36) if f"P{bit}" in wires
    ]


def _pad(cell: str, wires: dict[str, str], parameters: dict[str, str]) -> list[str]:
    """Return an input or an output."""
    _must(parameters["DIR"] in ("INPUT", "OUTPUT"), parameters)
    if parameters["DIR"] == "INPUT":
        return [f"assign {wires['O']} = {wires['B']};"] if "O" in wires else []
    return [f"assign {wires['B']} = {wires['I']};"]


def _clock(cell: str, wires: dict[str, str], parameters: dict[str, str]) -> list[str]:
    """Return a clock buffer."""
    return [f"assign {wires['CLKO']} = {wires['CLKI']};"]


_CELLS = {
    "TRELLIS_COMB": _half_slice, "TRELLIS_FF": _register, "MULT18X18D": _multiplier,
    "TRELLIS_IO": _pad, "DCCA": _clock,
}  # fmt: skip

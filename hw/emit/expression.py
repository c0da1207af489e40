"""Verilog expressions, each exactly as wide as its value.

All operands of an operator have the width of its result (or, in comparisons, the same width), so
that Verilog's rules for extending operands never apply: an expression means the same wherever it
stands, and lint has nothing to say. The exception is multiplication, which takes its width from
what it is assigned to.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from itertools import accumulate, groupby
from typing import NamedTuple

from .rtlil import Cell, Chunk, Spec, cut, width_of

__all__ = ["ALONE", "Expression", "Operation", "concatenation", "constant", "lines", "operation"]

#: The greatest length of a line of code.
LINE = 100

_BITWISE = {"$and": "&", "$or": "|", "$xor": "^", "$add": "+", "$sub": "-"}
_COMPARE = {"$eq": "==", "$ne": "!=", "$lt": "<", "$le": "<=", "$gt": ">", "$ge": ">="}
_SHIFTS = {"$shl": "<<", "$shr": ">>", "$shift": ">>", "$sshr": ">>>"}
#: Operators whose meaning depends on what stands around them: each is assigned to a net.
ALONE = ("*", ">>>")
_ZERO = {"$logic_not": "==", "$reduce_bool": "!="}  # comparisons with zero
_REDUCE = {"$reduce_and": "&", "$reduce_or": "|", "$reduce_bool": "|", "$reduce_xor": "^"}


class Operation(NamedTuple):
    """An operator, and its operands as wide as they must be."""

    operator: str
    operands: tuple[Spec, ...]
    signed: bool = False


class Expression(NamedTuple):
    """A text, and its outermost operator: nothing if it can be an operand as it is."""

    text: str
    operator: str = ""


def operation(cell: Cell) -> Operation:
    """Return what a cell computes.

    Raises
    ------
    ValueError
        If the emitter does not know its kind.
    """
    kind, ports = cell.kind, cell.ports
    signed = all(cell.parameters.get(f"{port}_SIGNED", 0) for port in "AB" if port in ports)
    width = width_of(ports["Y"])

    def operand(port: str, size: int = width) -> Spec:
        return _resize(ports[port], size, signed)

    if kind == "$mux":
        return Operation("?", (ports["S"], operand("B"), operand("A")))
    if kind == "$not":
        return Operation("~", (operand("A"),))
    if kind == "$neg":
        return Operation("-", (_resize((), width, False), operand("A")))
    if kind in _BITWISE:
        return Operation(_BITWISE[kind], (operand("A"), operand("B")))
    if kind == "$mul":
        if min(width_of(ports["A"]), width_of(ports["B"])) > width:
            raise ValueError("a product must not be narrower than its factors")
        return Operation("*", (ports["A"], ports["B"]), signed)
    if kind in _SHIFTS:
        if width_of(ports["A"]) > width or (kind == "$shift" and cell.parameters["B_SIGNED"]):
            raise ValueError(f"a {kind} must be as wide as what it shifts, by a positive number")
        shifts_in = bool(cell.parameters["A_SIGNED"])
        operator = _SHIFTS[kind] if shifts_in or kind != "$sshr" else ">>"
        return Operation(operator, (_resize(ports["A"], width, shifts_in), ports["B"]))
    if width == 1:
        if kind in _COMPARE:
            size = max(width_of(ports["A"]), width_of(ports["B"]))
            return Operation(_COMPARE[kind], (operand("A", size), operand("B", size)), signed)
        if kind in _ZERO and width_of(ports["A"]) > 1:
            return Operation(_ZERO[kind], (ports["A"], _resize((), width_of(ports["A"]), False)))
        if kind == "$logic_not":
            return Operation("~", (ports["A"],))
        if kind in _REDUCE:
            return Operation(f"r{_REDUCE[kind]}", (ports["A"],))
    raise ValueError(f"the emitter cannot write a cell of kind {kind} with {width} bits")


def _resize(spec: Spec, width: int, signed: bool) -> Spec:
    """Cut a value, or extend it."""
    missing = width - width_of(spec)
    if missing <= 0:
        return cut(spec, 0, width)
    if signed:
        return cut(spec, width_of(spec) - 1, 1) * missing + spec
    return (Chunk("", 0, missing, "0" * missing), *spec)


def combine(what: Operation, operands: list[Expression]) -> Expression:
    """Return the expression of an operation on expressions."""
    operator = what.operator
    if operator == "?":
        condition, yes, no = operands
        first = _closed(yes) if yes.operator == "?" else yes.text
        return Expression(f"{_closed(condition)} ? {first}\n: {no.text}", "?")
    if operator == "~":
        return Expression(f"~{_closed(operands[0])}", "~")
    if operator[0] == "r":
        if width_of(what.operands[0]) == 1:
            return operands[0]
        return Expression(f"{operator[1]}{_closed(operands[0])}", "~")
    if operator == ">>>":
        return Expression(f"$signed({operands[0].text}) >>> {_closed(operands[1])}", operator)
    if what.signed:
        operands = [Expression(f"$signed({one.text})") for one in operands]
    chains = operator in "&|^"  # of one operator, brackets make no difference
    words = [one.text if chains and one.operator == operator else _closed(one) for one in operands]
    return Expression(f" {operator} ".join(words), operator)


def _closed(expression: Expression) -> str:
    """Return an expression as an operand."""
    inverse = expression.operator == "~" and expression.text[0] == "~"
    if not expression.operator or inverse:
        return expression.text
    return f"({expression.text})".replace("\n", " ")


def concatenation(spec: Spec, show: Callable[[Chunk], Expression]) -> Expression:
    """Return a value as an expression; `show` gives that of a chunk of a wire."""
    items = []
    for chunk, same in groupby(_merged(spec)):
        count = len(list(same))
        text = show(chunk).text.replace("\n", " ") if chunk.wire else constant(chunk.bits)
        items.append(f"{{{count}{{{text}}}}}" if count > 1 else text)
    if len(items) > 1:
        return Expression(f"{{{', '.join(items)}}}")
    if len(spec) == 1 and spec[0].wire:
        return show(spec[0])
    return Expression(items[0])


def _merged(spec: Spec) -> Iterable[Chunk]:
    """Join the constants that stand side by side."""
    for fixed, chunks in groupby(spec, key=lambda chunk: not chunk.wire):
        if fixed:
            bits = "".join(chunk.bits for chunk in chunks)
            yield Chunk("", 0, len(bits), bits)
        else:
            yield from chunks


def constant(bits: str) -> str:
    """Return a number with its width: decimal, or binary where bits are unknown."""
    if set(bits) - {"0", "1"} or len(bits) == 1:
        return f"{len(bits)}'b{bits}"
    value = int(bits, 2)
    return f"{len(bits)}'d{value}" if value < 1 << 16 else f"{len(bits)}'h{value:x}"


def lines(indent: int, text: str) -> str:
    """Return a statement in lines that are not too long.

    The arms of a longer choice are a line each; all else is broken at spaces, where there are
    few brackets around.
    """
    flat = text.replace("\n", " ")
    if indent + len(flat) <= LINE and text.count("\n") < 2:
        return f"{' ' * indent}{flat}\n"
    result = ""
    for number, arm in enumerate(text.split("\n")):
        margin = indent + 4 * (number > 0)
        rest = arm
        while margin + len(rest) > LINE and (end := _break(rest, LINE - margin)):
            result += f"{' ' * margin}{rest[:end]}\n"
            margin, rest = indent + 4 * (number > 0) + 4, rest[end + 1 :]
        result += f"{' ' * margin}{rest}\n"
    return result


def _break(text: str, room: int) -> int:
    """Return where to break a line: late, between brackets, in front of an operator."""
    depths = list(accumulate((char in "({[") - (char in ")}]") for char in text[:room]))
    spaces = [place for place in range(1, len(depths)) if text[place] == " "]
    late = [place for place in spaces if place > room // 2] or spaces
    return min(
        late, key=lambda place: (depths[place], text[place - 1] in "&|^+-=", -place), default=0
    )

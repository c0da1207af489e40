"""What the bits of a vector mean: operands, tags, drain tokens, commands and lanes.

Ports between shared modules are plain bit vectors (see `hw.share`); inside a module a
`data.View` of one of these layouts gives their bits names. Registers are plain vectors with a
view, too: a signal *with* a layout would add an alias per field to the Verilog.
"""

from __future__ import annotations

import operator
from collections.abc import Mapping, Sequence
from typing import Any

from amaranth.hdl import Mux, Shape, Value, signed
from amaranth.lib.data import ArrayLayout, Layout, StructLayout

from .config import COMMAND_FIELDS, ArrayConfig

__all__ = [
    "COMMAND", "TAGS", "TOKEN", "choose", "encode", "lanes", "operand_layout", "result_layout",
]  # fmt: skip

#: The command word. The fields lie one after the other, as `COMMAND_FIELDS` states them.
COMMAND = StructLayout({name: width for name, _, width in COMMAND_FIELDS})

#: What rides with a weight: whether to multiply, and where a sum ends or begins (see `PE`).
TAGS = StructLayout({"valid": 1, "mark": 1})

#: A drain token: a result beat, the first one of a fold (which releases the row), and the last
#: one of a command.
TOKEN = StructLayout({"valid": 1, "first": 1, "last": 1})


def encode(layout: Layout, fields: Mapping[str, Any]) -> int:
    """Return the bits of a constant; fields that are not named are 0.

    Raises
    ------
    ValueError
        If a field does not have that many bits.
    """
    bits = 0
    for name, value in fields.items():
        field = layout[name]
        if isinstance(field.shape, Layout):
            inner = encode(field.shape, value)
        else:
            shape = Shape.cast(field.shape)
            low = -(1 << shape.width - 1) if shape.signed else 0
            high = low + (1 << shape.width) - 1
            inner = operator.index(value)
            if not low <= inner <= high:
                raise ValueError(f"{name} is {inner:,}; it can be {low:,} to {high:,}")
        bits |= (inner & (1 << field.width) - 1) << field.offset
    return bits


def operand_layout(config: ArrayConfig) -> StructLayout:
    """Return the layout of a weight and the tags that ride with it."""
    return StructLayout({"weight": signed(config.weight_width), "tags": TAGS})


def choose(values: Sequence[Any], index: Value) -> Any:
    """Return one of several values, a power of two of them, by its index."""
    while len(values) > 1:
        pairs = zip(values[::2], values[1::2], strict=True)
        values, index = [Mux(index[0], odd, even) for even, odd in pairs], index[1:]
    return values[0]


def lanes(count: int, width: int) -> ArrayLayout:
    """Return the layout of a beat: `count` signed elements of `width` bits, lane 0 first."""
    return ArrayLayout(signed(width), count)


def result_layout(config: ArrayConfig) -> StructLayout:
    """Return the layout of a result beat: a sum of every row, and whether it ends a command."""
    return StructLayout({"data": lanes(config.rows, config.acc_width), "last": 1})

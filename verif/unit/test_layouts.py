"""The layouts: their fields lie where the interface says."""

from __future__ import annotations

from typing import Any

from hw.config import COMMAND_FIELDS, ArrayConfig, Command
from hw.layouts import COMMAND, TAGS, TOKEN, lanes, operand_layout, result_layout


def test_command_word() -> None:
    """The layout has the offsets of `COMMAND_FIELDS`, and reads what `Command.encode` writes."""
    assert COMMAND.size == 64
    assert [(name, field.offset, field.width) for name, field in COMMAND] == list(COMMAND_FIELDS)
    command = Command(depth=513, emit=7, folds=258, st_os=True, accumulate=False)
    word: Any = COMMAND.from_bits(command.encode())
    assert (word.depth, word.folds, word.emit) == (513, 258, 7)
    assert (word.st_os, word.accumulate, word.reserved) == (1, 0, 0)


def test_operands_and_results() -> None:
    """A weight below its tags, lane 0 in the low bits, `last` above the sums."""
    config = ArrayConfig(rows=2, cols=3, act_width=4, weight_width=4, acc_width=9)
    operand: Any = operand_layout(config).from_bits(0b10_1111)
    assert (operand.weight, operand.tags.valid, operand.tags.mark) == (-1, 0, 1)
    beat: Any = lanes(2, 4).from_bits(0x8_7)
    assert (beat[0], beat[1]) == (7, -8)
    result: Any = result_layout(config).from_bits(1 << 18 | 0x1FF << 9 | 5)
    assert (result.data[0], result.data[1], result.last) == (5, -1, 1)
    assert (TAGS.size, TOKEN.size) == (2, 3)

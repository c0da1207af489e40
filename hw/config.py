"""The description of one machine, and of the commands it takes.

Everything in the project that needs to know the shape of an array takes an `ArrayConfig`;
everything that drives one builds `Command` words. This module imports nothing but the standard
library, so that the golden model and the cycle model can use it without the gateware.
"""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass, fields, replace
from typing import Any

__all__ = ["COMMAND_FIELDS", "ArrayConfig", "Command", "CommandError", "integer"]


def integer(name: str, value: object, low: int, high: int) -> int:
    """Return `value` if it is an integer from `low` to `high`; raise otherwise."""
    if isinstance(value, bool) or not hasattr(value, "__index__"):
        raise TypeError(f"{name} must be an integer from {low} to {high}, not {value!r}")
    number = int(value.__index__())
    if not low <= number <= high:
        raise ValueError(f"{name} must be an integer from {low} to {high}, not {number}")
    return number


def _boolean(name: str, value: object) -> bool:
    if not isinstance(value, bool):
        raise TypeError(f"{name} must be True or False, not {value!r}")
    return value


def _bytes_of(width: int) -> int:
    """Whole bytes that hold `width` bits: the pitch of one lane of a stream."""
    return (width + 7) // 8


@dataclass(frozen=True, kw_only=True)
class ArrayConfig:
    """One machine: an array of `rows` x `cols` processing elements.

    Parameters
    ----------
    rows, cols : int
        Size of the array, 1 to 256 each.
    st_os : bool
        Whether rows can run independent 1-D convolutions with a broadcast weight (ST-OS).
    act_width, weight_width : int
        Bits of one activation and one weight, two's complement, 2 to 16.
    acc_width : int
        Bits of an accumulator, ``act_width + weight_width`` to 64; sums wrap modulo
        ``2**acc_width``.
    accumulators : int
        Accumulator-wide registers per PE: with 2, a row drains one tile while it computes the
        next; with 1, the two take turns.
    mac_stages : int
        Steps of a multiply-accumulate: 1, or 2 with a register between multiplier and adder.

    Raises
    ------
    TypeError
        If a field has the wrong kind.
    ValueError
        If a field is out of its range.
    """

    rows: int
    cols: int
    st_os: bool = False
    act_width: int = 8
    weight_width: int = 8
    acc_width: int = 32
    accumulators: int = 2
    mac_stages: int = 1

    def __post_init__(self) -> None:
        """Check every field, and turn NumPy integers into plain ones."""

        def check(name: str, low: int, high: int) -> None:
            object.__setattr__(self, name, integer(name, getattr(self, name), low, high))

        check("rows", 1, 256)
        check("cols", 1, 256)
        check("act_width", 2, 16)
        check("weight_width", 2, 16)
        check("acc_width", self.act_width + self.weight_width, 64)
        check("accumulators", 1, 2)
        check("mac_stages", 1, 2)
        _boolean("st_os", self.st_os)

    @property
    def act_bytes(self) -> int:
        """Bytes of one lane of `s_axis_act`."""
        return _bytes_of(self.act_width)

    @property
    def weight_bytes(self) -> int:
        """Bytes of one lane of `s_axis_wgt`."""
        return _bytes_of(self.weight_width)

    @property
    def acc_bytes(self) -> int:
        """Bytes of one lane of `m_axis_out`."""
        return _bytes_of(self.acc_width)

    @property
    def weight_lanes(self) -> int:
        """Lanes of `s_axis_wgt`: one per column, and with ST-OS at least one per row."""
        return max(self.rows, self.cols) if self.st_os else self.cols

    def replace(self, **changes: Any) -> ArrayConfig:
        """Return a copy with some fields changed."""
        return replace(self, **changes)

    def to_json(self) -> str:
        """Return the fields as a JSON object; `from_json` is the inverse."""
        return json.dumps(asdict(self))

    @classmethod
    def from_json(cls, text: str) -> ArrayConfig:
        """Build a configuration from the JSON object that `to_json` writes.

        Raises
        ------
        ValueError
            If the text is not a JSON object of known fields.
        """
        data = json.loads(text)
        known = [field.name for field in fields(cls)]
        if not isinstance(data, dict) or not {"rows", "cols"} <= set(data) <= set(known):
            raise ValueError(f"a configuration is a JSON object of {', '.join(known)}, not {text}")
        return cls(**data)

    def __str__(self) -> str:
        """Return the machine in words, as in ``16 x 16 ST-OS, 2 accumulators``."""
        kind = "ST-OS" if self.st_os else "plain"
        plural = "s" * (self.accumulators > 1)
        words = [f"{self.rows} x {self.cols} {kind}", f"{self.accumulators} accumulator{plural}"]
        if self.acc_width != 32:
            words[-1] += f" of {self.acc_width} bits"
        if (self.act_width, self.weight_width) != (8, 8):
            words.append(f"{self.act_width}-bit x {self.weight_width}-bit operands")
        if self.mac_stages > 1:
            words.append(f"{self.mac_stages} MAC stages")
        return ", ".join(words)

    def flags(self) -> str:
        """Return the command line flags of `hw.gen` that describe this machine."""
        words = [f"--rows {self.rows} --cols {self.cols}"]
        if self.st_os:
            words.append("--st-os")
        for field in fields(self):
            value = getattr(self, field.name)
            if field.name not in ("rows", "cols", "st_os") and value != field.default:
                words.append(f"--{field.name.replace('_', '-')} {value}")
        return " ".join(words)


#: Fields of the 64-bit command word as (name, least significant bit, width).
COMMAND_FIELDS = (
    ("depth", 0, 16),
    ("folds", 16, 16),
    ("emit", 32, 16),
    ("st_os", 48, 1),
    ("accumulate", 49, 1),
    ("reserved", 50, 14),
)


class CommandError(ValueError):
    """A command that the core would take, ignore, and report on `cmd_error`."""


@dataclass(frozen=True, kw_only=True)
class Command:
    """One command of the core (64 bits on `s_axis_cmd`).

    Parameters
    ----------
    depth : int
        K, the length of the reduction: 1 to 65535 for GEMM, 1 to `cols` for ST-OS.
    emit : int
        Outputs per row of the last fold, 1 to `cols`; 0 keeps the accumulators for the next
        command and sends nothing.
    folds : int
        F, folds of `cols` outputs in an ST-OS pass; 1 for GEMM.
    st_os : bool
        False: a GEMM tile. True: an ST-OS pass.
    accumulate : bool
        False: start from zero. True: continue from the accumulators that the previous
        ``emit = 0`` command kept.
    """

    depth: int
    emit: int
    folds: int = 1
    st_os: bool = False
    accumulate: bool = False

    def __post_init__(self) -> None:
        """Check that every field fits the command word."""
        for name in ("depth", "emit", "folds"):
            object.__setattr__(self, name, integer(name, getattr(self, name), 0, 0xFFFF))
        _boolean("st_os", self.st_os)
        _boolean("accumulate", self.accumulate)

    def encode(self) -> int:
        """Return the 64-bit command word."""
        return sum(int(getattr(self, name)) << low for name, low, _ in COMMAND_FIELDS[:-1])

    @classmethod
    def decode(cls, word: int) -> Command:
        """Return the command of a 64-bit word.

        Raises
        ------
        CommandError
            If a reserved bit is set.
        """
        values = {name: word >> low & (1 << width) - 1 for name, low, width in COMMAND_FIELDS}
        if values.pop("reserved") or word >> 64:
            raise CommandError(f"bits 63:50 of a command must be zero, not 0x{word:016x}")
        st_os, accumulate = bool(values.pop("st_os")), bool(values.pop("accumulate"))
        return cls(**values, st_os=st_os, accumulate=accumulate)

    def check(self, config: ArrayConfig, *, kept: bool = False) -> None:
        """Raise `CommandError` if a core of `config` would refuse this command.

        Parameters
        ----------
        config : ArrayConfig
            The machine.
        kept : bool
            Whether the previous command was one with ``emit = 0``.
        """
        if self.st_os and not config.st_os:
            raise CommandError("st_os must be False on a core built without ST-OS")
        longest = config.cols if self.st_os else 0xFFFF
        if not 1 <= self.depth <= longest:
            kind = "an ST-OS pass (its taps)" if self.st_os else "a GEMM tile"
            raise CommandError(f"depth of {kind} must be from 1 to {longest}, not {self.depth}")
        if self.emit > config.cols:
            raise CommandError(f"emit must be from 0 to {config.cols}, not {self.emit}")
        if self.folds == 0:
            raise CommandError("folds must be from 1 to 65535, not 0")
        if self.folds != 1 and not (self.st_os and self.emit and not self.accumulate):
            raise CommandError(
                f"folds must be 1 for GEMM, with emit = 0 and with accumulate, not {self.folds}"
            )
        if self.accumulate and not kept:
            raise CommandError("accumulate must follow a command with emit = 0")

    def act_beats(self, config: ArrayConfig) -> int:
        """Beats that the command takes from `s_axis_act`."""
        return self.folds * config.cols + self.depth - 1 if self.st_os else self.depth

    @property
    def weight_beats(self) -> int:
        """Beats that the command takes from `s_axis_wgt`."""
        return self.folds * self.depth

    def out_beats(self, config: ArrayConfig) -> int:
        """Beats that the command sends on `m_axis_out`."""
        return (self.folds - 1) * config.cols + self.emit

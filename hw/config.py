"""The description of one machine, and of the commands it takes.

Everything in the project that needs to know the shape of an array takes an `ArrayConfig`;
everything that drives one builds `Command` words. Beside the standard library this module needs
`report.errors` only, so that the golden model and the cycle model can use it without the gateware.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Callable, Mapping
from dataclasses import MISSING, asdict, dataclass, field, fields, replace
from typing import Any

from report.errors import UserError

__all__ = ["COMMAND_FIELDS", "ArrayConfig", "Command", "CommandError", "integer"]


def integer(name: str, value: object, low: int, high: int) -> int:
    """Return `value` if it is an integer from `low` to `high`; raise otherwise."""
    if isinstance(value, bool) or not hasattr(value, "__index__"):
        raise TypeError(f"{name} must be an integer from {low} to {high}, not {value!r}")
    number = int(value.__index__())
    if not low <= number <= high:
        raise UserError(f"{name} must be an integer from {low} to {high}, not {number}")
    return number


def _boolean(name: str, value: object) -> bool:
    if not isinstance(value, bool):
        raise TypeError(f"{name} must be True or False, not {value!r}")
    return value


def _bytes_of(width: int) -> int:
    """Whole bytes that hold `width` bits: the pitch of one lane of a stream."""
    return (width + 7) // 8


def _number(text: str, low: Any, high: int, default: Any = MISSING) -> Any:
    """Return a field with an integer from `low`, a number or a function of the machine."""
    return field(default=default, metadata={"help": text, "low": low, "high": high})


@dataclass(frozen=True, kw_only=True)
class ArrayConfig:
    """One machine: an array of `rows` x `cols` processing elements.

    Here is all that is known of a parameter: its meaning, default and range. The options of the
    commands, their help and the checks come from it.

    Raises
    ------
    TypeError
        If a field has the wrong kind.
    UserError
        If a field is out of its range.
    """

    rows: int = _number("rows of PEs, 1 to 256", 1, 256)
    cols: int = _number("columns of PEs, 1 to 256", 1, 256)
    st_os: bool = field(
        default=False,
        metadata={"help": "rows can run independent 1-D convolutions with a broadcast weight"},
    )
    act_width: int = _number("bits of an activation (two's complement), 2 to 16", 2, 16, 8)
    weight_width: int = _number("bits of a weight (two's complement), 2 to 16", 2, 16, 8)
    acc_width: int = _number(
        "bits of an accumulator, which wraps: act + weight to 64",
        lambda machine: machine.act_width + machine.weight_width, 64, 32,
    )  # fmt: skip
    accumulators: int = _number(
        "accumulators per PE, 1 or 2: with 2, a row drains a tile while it computes the next",
        1, 2, 2,
    )  # fmt: skip
    mac_stages: int = _number(
        "steps of a multiply-accumulate: 2 puts a register behind the multiplier", 1, 2, 1
    )

    def __post_init__(self) -> None:
        """Check every field, and turn NumPy integers into plain ones."""
        for one in fields(self):
            value, facts = getattr(self, one.name), one.metadata
            if "low" not in facts:
                _boolean(one.name, value)
                continue
            low = facts["low"](self) if callable(facts["low"]) else facts["low"]
            object.__setattr__(self, one.name, integer(one.name, value, low, facts["high"]))

    @classmethod
    def add_options(
        cls,
        parser: argparse.ArgumentParser,
        *,
        sizes: str = "required",
        lists: Mapping[str, Callable[[str], Any]] | None = None,
    ) -> None:
        """Add an option for every field; `from_options` reads them.

        Parameters
        ----------
        parser : ArgumentParser
        sizes : str
            Whether --rows and --cols are ``"required"``, ``"optional"`` or ``"absent"``.
        lists : mapping, optional
            Fields of which an option takes several values, and what parses these.
        """
        array = parser.add_argument_group("array")
        for one in fields(cls):
            name, text = f"--{one.name.replace('_', '-')}", one.metadata["help"]
            if one.default is MISSING:
                if sizes != "absent":
                    array.add_argument(
                        name, type=int, required=sizes == "required", default=argparse.SUPPRESS,
                        help=text,
                    )  # fmt: skip
            elif lists and one.name in lists:
                array.add_argument(
                    name, type=lists[one.name], default=str(one.default), metavar="N,N",
                    help=f"{text}; some as 1,2",
                )  # fmt: skip
            elif "low" in one.metadata:
                array.add_argument(name, type=int, default=one.default, help=text)
            else:
                action = argparse.BooleanOptionalAction
                array.add_argument(name, action=action, default=one.default, help=text)

    @classmethod
    def from_options(cls, arguments: argparse.Namespace, **changes: Any) -> ArrayConfig:
        """Return the machine that parsed options describe, with some fields changed.

        Raises
        ------
        UserError
            If a value is out of its range.
        """
        values = vars(arguments) | changes
        return cls(**{one.name: values[one.name] for one in fields(cls)})

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
        TypeError, UserError
            If the text is not a JSON object of known fields, or a value is not legal.
        """
        try:
            data = json.loads(text)
        except json.JSONDecodeError as error:
            raise UserError(f"a configuration is a JSON object, not {text!r} ({error})") from None
        known = {one.name: one.default is MISSING for one in fields(cls)}
        needed = {name for name, required in known.items() if required}
        if not isinstance(data, dict) or not needed <= set(data) <= set(known):
            raise UserError(f"a configuration is a JSON object of {', '.join(known)}, not {text}")
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
        for one in fields(self):
            value = getattr(self, one.name)
            if one.name not in ("rows", "cols", "st_os") and value != one.default:
                words.append(f"--{one.name.replace('_', '-')} {value}")
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


class CommandError(UserError):
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

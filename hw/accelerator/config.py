"""The description of one accelerator: its array, its memories, its bus."""

from __future__ import annotations

import argparse
import json
import zlib
from dataclasses import dataclass, field, fields
from typing import Any

from report.errors import UserError

from ..config import ArrayConfig, integer
from .jobs import JOB
from .requantizer import PARAMETERS

__all__ = ["BURST", "AcceleratorConfig"]

#: Bytes of a burst on the bus, and what it is aligned to: it never crosses 4 KiB.
BURST = 256


def _number(text: str, low: int, high: int, default: int) -> Any:
    return field(default=default, metadata={"help": text, "low": low, "high": high})


@dataclass(frozen=True, kw_only=True)
class AcceleratorConfig:
    """One accelerator.

    Parameters
    ----------
    array : ArrayConfig
        Of 8-bit operands, 32-bit sums and two accumulators.

    Raises
    ------
    TypeError, UserError
        If a field has the wrong kind, or is out of its range.
    """

    array: ArrayConfig
    act_kib: int = _number("KiB of activation memory, 1 to 8192", 1, 8192, 96)
    wgt_kib: int = _number("KiB of the ring of weights, a power of two, 1 to 1024", 1, 1024, 32)
    axi_width: int = _number("bits of AXI4 data: 32, 64, 128, 256 or 512", 32, 512, 128)
    rows_per_lane: int = _number("rows that share a requantization lane: 1, 2, 4 or 8", 1, 8, 1)
    axi_addr_width: int = _number("bits of an AXI4 address, 32 to 64", 32, 64, 32)

    def __post_init__(self) -> None:
        """Check every field."""
        for one in fields(self):
            if one.metadata:
                value = getattr(self, one.name)
                low, high = one.metadata["low"], one.metadata["high"]
                object.__setattr__(self, one.name, integer(one.name, value, low, high))
        for name in ("wgt_kib", "axi_width", "rows_per_lane"):
            value = getattr(self, name)
            if value & (value - 1):
                raise UserError(f"{name} must be a power of two, not {value}")
        array = self.array
        if array.rows % self.rows_per_lane:
            raise UserError(
                f"rows_per_lane must divide the {array.rows} rows, which {self.rows_per_lane} "
                "does not"
            )
        for name, wanted in (
            ("act_width", 8), ("weight_width", 8), ("acc_width", 32), ("accumulators", 2),
        ):  # fmt: skip
            if getattr(array, name) != wanted:
                raise UserError(
                    f"{name} of an accelerator must be {wanted}, not {getattr(array, name)}"
                )
        if self.ring_words < 64:
            raise UserError(
                f"wgt_kib must be at least {self.word * 64 // 1024} with words of {self.word} "
                f"bytes, not {self.wgt_kib}"
            )

    @property
    def word(self) -> int:
        """Bytes of a word: a power of two, for every row, every column, and the bus."""
        array = self.array
        return 1 << max(1, (max(array.rows, array.cols, self.axi_bytes) - 1).bit_length())

    @property
    def axi_bytes(self) -> int:
        """Bytes of a beat."""
        return self.axi_width // 8

    @property
    def bank_rows(self) -> int:
        """Words of one of the two banks of activations."""
        return self.act_kib * 1024 // (2 * self.word)

    @property
    def local_bits(self) -> int:
        """Bits of the address of a byte of activations."""
        return (self.act_kib * 1024 - 1).bit_length()

    @property
    def ring_words(self) -> int:
        """Words of the ring of weights."""
        return self.wgt_kib * 1024 // self.word

    @property
    def largest_block(self) -> int:
        """Words of weights that can be read more than once: beside them there is room for a burst.

        With less room, a burst that brings the last ones would never be asked for.
        """
        return self.ring_words - max(self.word, BURST // self.word)

    @property
    def program_words(self) -> int:
        """Words of the ring of jobs and parameters: a burst, and as much again."""
        return max(64, 2 * BURST // self.word)

    @property
    def fingerprint(self) -> int:
        """What an image says of the machine that it is for, and of the layout of its jobs."""
        array = self.array
        own = (
            array.rows, array.cols, array.st_os, self.word, self.act_kib, self.wgt_kib,
            self.rows_per_lane,
        )  # fmt: skip
        return zlib.crc32(f"{own} {JOB!r} {PARAMETERS!r}".encode())

    def flags(self) -> str:
        """Return the options that describe the machine, those of the array included."""
        own = [
            f"--{one.name.replace('_', '-')} {getattr(self, one.name)}"
            for one in fields(self)
            if one.metadata and getattr(self, one.name) != one.default
        ]
        return " ".join(["--accelerator", self.array.flags(), *own])

    def to_dict(self) -> dict[str, Any]:
        """Return the fields, those of the array among them."""
        own = {one.name: getattr(self, one.name) for one in fields(self) if one.metadata}
        found: dict[str, Any] = json.loads(self.array.to_json())
        return found | own

    def to_json(self) -> str:
        """Return the fields as a JSON object; `from_json` is the inverse."""
        return json.dumps(self.to_dict())

    @classmethod
    def from_json(cls, text: str) -> AcceleratorConfig:
        """Build a configuration from the JSON object that `to_json` writes.

        Raises
        ------
        TypeError, UserError
            As of `ArrayConfig.from_json`.
        """
        data: dict[str, Any] = json.loads(text)
        own = {one.name: data.pop(one.name) for one in fields(cls) if one.name in data}
        return cls(array=ArrayConfig.from_json(json.dumps(data)), **own)

    def __str__(self) -> str:
        """Return the machine in words."""
        words = [f"{self.array}", f"AXI4 of {self.axi_width} bits"]
        if self.rows_per_lane > 1:
            words.append(f"{self.rows_per_lane} rows per lane")
        return ", ".join(words)

    @classmethod
    def add_options(cls, parser: argparse.ArgumentParser, about: str | None = None) -> None:
        """Add an option for every field beside the array; `from_options` reads them.

        `about` stands above them in the help text.
        """
        group = parser.add_argument_group("accelerator", about)
        for one in fields(cls):
            if one.metadata:
                name = f"--{one.name.replace('_', '-')}"
                group.add_argument(name, type=int, default=one.default, help=one.metadata["help"])

    @classmethod
    def refuse_without(cls, options: argparse.Namespace, accelerator: bool) -> None:
        """Raise `UserError` if an option of the accelerator is given without --accelerator."""
        for one in fields(cls):
            if one.metadata and not accelerator and getattr(options, one.name) != one.default:
                raise UserError(
                    f"--{one.name.replace('_', '-')} {getattr(options, one.name)} is for "
                    "--accelerator only"
                )

    @classmethod
    def from_options(cls, array: ArrayConfig, options: argparse.Namespace) -> AcceleratorConfig:
        """Return the machine that the options describe."""
        return cls(
            array=array, **{one.name: getattr(options, one.name) for one in fields(cls)
                            if one.metadata}
        )  # fmt: skip

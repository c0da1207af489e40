"""Outputs of networks for people: classes, and the best places of what looks for something."""

from __future__ import annotations

import io
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from golden.int8.tensor import Tensor, extent
from report.errors import UserError
from report.tables import Sheet

__all__ = ["Result", "channels", "npz", "place_sheet", "read_labels"]

_SHOWN = 20  # channels in a table
_CLASSES = 5


def channels(value: Any) -> int:
    """Return how many classes, or channels, an output has: elements of its last axis."""
    return int(value.shape[-1]) if value.shape else 1


@dataclass(frozen=True, kw_only=True)
class Result:
    """An output of a network.

    Parameters
    ----------
    tensor : Tensor
    value : int8, uint8 or float32 array
        As in the file, batch included.
    labels : sequence of str
        Of the classes, or channels, if there are as many.
    """

    tensor: Tensor
    value: NDArray[Any] = field(repr=False)
    labels: Sequence[str] = ()

    def real(self, value: Any) -> float:
        """Return the real number of an element."""
        tensor = self.tensor
        if tensor.real:
            return float(value)
        return tensor.scale * (int(value) - tensor.zero_point - tensor.offset)

    @property
    def is_row(self) -> bool:
        """Whether it is one row, of classes or of numbers."""
        return self.value.size == channels(self.value)

    @property
    def classes(self) -> list[tuple[int, Any, float]]:
        """Class, score as in the file and its real value, the best first; empty if it is no row."""
        if not self.is_row:
            return []
        row = self.value.reshape(-1)
        order = np.argsort(-row.astype(float), kind="stable")
        return [(int(i), row[i].item(), self.real(row[i])) for i in order]

    @property
    def places(self) -> list[tuple[int, tuple[int, ...], Any, float]]:
        """Channel, place of its greatest element, that and its real value; empty if it is a row."""
        if self.is_row:
            return []
        inner = self.value[0] if self.value.shape[0] == 1 else self.value
        rows = inner.reshape(-1, inner.shape[-1])
        best = rows.argmax(0)
        return [
            (
                channel,
                tuple(int(i) for i in np.unravel_index(place, inner.shape[:-1])),
                rows[place, channel].item(),
                self.real(rows[place, channel]),
            )
            for channel, place in enumerate(best.tolist())
        ]

    def name(self, index: int) -> str:
        """Return the label of a class or a channel with a space before it, or nothing."""
        return f" {self.labels[index]}" if len(self.labels) == channels(self.value) else ""

    def lines(self) -> Iterator[str]:
        """Yield the best classes of a row; of a single number that."""
        for index, value, score in self.classes[:_CLASSES]:
            whole = "" if self.tensor.real else f" ({self.tensor.dtype} {value})"
            name = f"class {index}{self.name(index)}" if self.value.size > 1 else "value"
            yield f"{name}: {score:.4f}{whole}"

    def to_dict(self) -> dict[str, Any]:
        """Return everything as plain data."""
        return {
            "name": self.tensor.name,
            "shape": self.value.shape,
            "dtype": self.tensor.dtype,
            "values": self.value.tolist(),
            "places": [
                {"channel": channel, "place": place, "value": value, "score": score}
                for channel, place, value, score in self.places
            ],
        }


def place_sheet(results: Sequence[Result]) -> Sheet:
    """Return a table: per channel the greatest element, and where it is."""
    rows: list[tuple[str, ...]] = []
    for number, one in enumerate(results):
        places = one.places
        for channel, place, value, score in places[:_SHOWN]:
            rows.append(
                (
                    f"{number}: {extent(one.value.shape)}", f"{channel}{one.name(channel)}",
                    ", ".join(map(str, place)), f"{score:.4f}",
                    "" if one.tensor.real else f"{value}",
                )
            )  # fmt: skip
        if len(places) > _SHOWN:
            rows.append((f"{number}: {len(places) - _SHOWN} channels more", *[""] * 4))
    columns = ("output", "channel", "place", "greatest", "integer")
    return Sheet(title="where every channel is greatest", columns=columns, rows=rows)


def npz(results: Sequence[Result]) -> bytes:
    """Return a .npz file with all outputs as in the model, ``output0`` and so on."""
    buffer = io.BytesIO()
    arrays: dict[str, Any] = {f"output{i}": one.value for i, one in enumerate(results)}
    np.savez_compressed(buffer, **arrays)
    return buffer.getvalue()


def read_labels(path: Path) -> list[str]:
    """Return the lines of a file.

    Raises
    ------
    OSError, UserError
        If it cannot be read, or is no text.
    """
    try:
        found = path.read_text(encoding="utf-8-sig").split("\n")
    except UnicodeDecodeError:
        raise UserError(f"{path}: labels must be text, one in a line") from None
    return [line.strip() for line in found[: len(found) - (found[-1] == "")]]

"""A run: a folder with its configuration, log, curves, checkpoint and weights.

==================  ============================================================================
``config.json``     what was asked for, with the versions of what computed it
``log.jsonl``       a line of JSON for every epoch, and one for the end
``curves.svg``      loss and accuracy over the epochs
``checkpoint.pt``   weights and optimizer after the last epoch: an interrupted run goes on from here
``weights.pt``      weights at the end
==================  ============================================================================
"""

from __future__ import annotations

import fcntl
import io
import json
import pickle
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from report.errors import UserError, reading
from report.files import write_atomically
from report.plots import PALETTE, picture, pyplot

__all__ = ["FORMAT", "Run"]

#: Raised when a folder of before can no longer be read.
FORMAT = 1


@dataclass(frozen=True)
class Run:
    """A run in its folder.

    Parameters
    ----------
    folder : Path
    config : dict
        Plain data.
    """

    folder: Path
    config: dict[str, Any]

    @classmethod
    def create(cls, folder: Path, config: dict[str, Any]) -> Run:
        """Begin a run, or go on with one that was asked for in the same words.

        Raises
        ------
        UserError
            If the folder holds something else.
        """
        config = {"format": FORMAT, **json.loads(json.dumps(config))}
        if not folder.exists() or not any(folder.iterdir()):
            write_atomically({folder / "config.json": json.dumps(config, indent=1) + "\n"})
            return cls(folder, config)
        there = cls.open(folder)
        different = [
            key
            for key in sorted({*config, *there.config} - {"command", "versions"})
            if config.get(key) != there.config.get(key)
        ]
        if different:
            raise UserError(
                f"{folder} holds a run with another {', '.join(different)}; name another folder"
            )
        return there

    @classmethod
    def open(cls, folder: Path) -> Run:
        """Read a run.

        Raises
        ------
        OSError, UserError
            If the folder is none, or of another version.
        """
        path = folder / "config.json"
        if not path.exists():
            raise UserError(f"{folder} is no run: it has no config.json")
        with reading(path):
            text = path.read_text()
        try:
            config = json.loads(text)
            version = config["format"]
        except (json.JSONDecodeError, KeyError, TypeError):
            raise UserError(f"{path} is not what a run writes") from None
        if version != FORMAT:
            raise UserError(f"{folder} is a run of format {version}; this version reads {FORMAT}")
        return cls(folder, config)

    @contextmanager
    def alone(self) -> Iterator[None]:
        """Keep other processes from writing to the folder.

        Raises
        ------
        UserError
            If one does already.
        """
        with open(self.folder / "config.json") as file:
            try:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                raise UserError(
                    f"another process trains in {self.folder}; wait, or name another folder"
                ) from None
            yield

    @property
    def log(self) -> list[dict[str, Any]]:
        """The lines of the log."""
        path = self.folder / "log.jsonl"
        if not path.exists():
            return []
        with reading(path):
            text = path.read_text()
        try:
            return [json.loads(line) for line in text.splitlines()]
        except json.JSONDecodeError:
            raise UserError(f"{path} is not what a run writes") from None

    @property
    def epochs(self) -> list[dict[str, Any]]:
        """The lines of the log that are about epochs."""
        return [line for line in self.log if "epoch" in line]

    @property
    def end(self) -> dict[str, Any] | None:
        """The last line of a run that is finished."""
        return next((line for line in self.log if line.get("end")), None)

    def write(self, lines: list[dict[str, Any]], **parts: Any) -> None:
        """Write what there is by file name without suffix, and then the log that speaks of it."""
        files: dict[Path, str | bytes] = {}
        for name, value in parts.items():
            buffer = io.BytesIO()
            torch.save(value, buffer)
            files[self.folder / f"{name}.pt"] = buffer.getvalue()
        files[self.folder / "log.jsonl"] = "".join(f"{json.dumps(line)}\n" for line in lines)
        write_atomically(files)

    @property
    def checkpoint(self) -> Any:
        """What was last written as ``checkpoint``; None if nothing was."""
        return self.load("checkpoint") if (self.folder / "checkpoint.pt").exists() else None

    def load(self, name: str) -> Any:
        """Return what `write` has written as ``name.pt``.

        Raises
        ------
        UserError
            If it is not there, or cannot be read.
        """
        path = self.folder / f"{name}.pt"
        if not path.exists():
            raise UserError(f"{self.folder} has no {path.name}: the run is not finished")
        with reading(path):
            try:
                return torch.load(path, weights_only=True)
            except (pickle.UnpicklingError, EOFError, RuntimeError) as error:
                raise UserError(f"{path} cannot be read: {str(error).splitlines()[0]}") from None

    def draw(self) -> None:
        """Write the curves, if there are any."""
        if not self.epochs:
            return
        plt = pyplot()
        drawing, (left, right) = plt.subplots(1, 2, figsize=(9, 3.2), layout="constrained")
        lines = self.epochs
        numbers = [line["epoch"] for line in lines]
        for axes, what, names in (
            (left, "loss", ("loss", "held_out_loss")),
            (right, "accuracy, %", ("accuracy", "held_out_accuracy")),
        ):
            for name, label, colour in zip(names, ("training", "held out"), PALETTE, strict=False):
                values = [line.get(name) for line in lines]
                if any(value is not None for value in values):
                    axes.plot(numbers, values, color=colour, label=label)
            axes.set(xlabel="epoch", ylabel=what)
            axes.grid(alpha=0.3)
        right.legend(frameon=False)
        write_atomically({self.folder / "curves.svg": picture(drawing, "svg")})

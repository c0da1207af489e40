"""Import of quantized TensorFlow Lite models: ``load(path)`` returns a `Graph`."""

from __future__ import annotations

import os
from pathlib import Path

from report.errors import UserError

from .diagnosis import LFS_POINTER
from .flatbuffer import read
from .graph import Graph
from .importer import Builder
from .kinds import KINDS

__all__ = ["SUPPORTED", "ModelError", "load"]

#: Kinds of operators that `load` takes.
SUPPORTED = tuple(sorted(KINDS))

_LONGEST = 1000  # characters of a message


class ModelError(UserError):
    """A model that is damaged, or not supported; the text is one line.

    Parameters
    ----------
    path : path
    text : str
        What is wrong; cut off if it is long, as in a damaged file nearly anything can be.
    """

    def __init__(self, path: object, text: str) -> None:
        short = text if len(text) <= _LONGEST else f"{text[: _LONGEST - 3]}..."
        super().__init__(f"{path}: {short}")


def load(path: str | os.PathLike[str]) -> Graph:
    """Load a quantized TensorFlow Lite model.

    One subgraph, batch 1, operators of `SUPPORTED`; int8, or uint8 as before 2019, with float32
    inputs and outputs. What depends on shapes alone is computed here. Operators' versions are those
    that LiteRT 2.3 has kernels for. Constants lie in the flatbuffer or behind it. Scales of weights
    may be 0, as of pruned channels; scales of activations are above 0.

    Parameters
    ----------
    path : path
        A ``.tflite`` file.

    Raises
    ------
    OSError
        If the file cannot be read.
    ModelError
        If the file is damaged, or has what is not supported: one line that names all operators
        that are missing, with counts, or the operator at fault and its index, and what to do.
    """
    content = Path(path).read_bytes()
    if content.startswith(LFS_POINTER):
        text = "a Git LFS pointer, not the model itself: run `git lfs pull` where it comes from"
        raise ModelError(path, text)
    if content[4:8] != b"TFL3":
        raise ModelError(path, "not a TensorFlow Lite model (no TFL3 in bytes 4 to 7)")
    try:
        file = read(content)
    except Exception as error:  # see there
        raise ModelError(path, "damaged, or cut off: its tables do not fit the file") from error
    behind = min((one.offset for one in file.buffers if one.behind), default=len(content))
    if behind < len(content):
        try:
            file = read(content[:behind])
        except Exception as error:
            text = f"damaged: buffers lie behind its tables from byte {behind} on, inside them"
            raise ModelError(path, text) from error
    try:
        return Builder(file, content, KINDS).build()
    except UserError as error:
        raise ModelError(path, str(error)) from None

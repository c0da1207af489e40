"""An activation: shape, type and quantization."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from report.errors import UserError

__all__ = ["DTYPES", "Tensor", "extent", "image", "signed"]

#: Types of activations in a file.
DTYPES = {"int8": np.int8, "uint8": np.uint8, "float32": np.float32}


def extent(shape: tuple[int, ...]) -> str:
    """Return a shape for people, batch left out, as in ``48x48x8``."""
    return "x".join(map(str, shape[1:] if len(shape) > 1 and shape[0] == 1 else shape)) or "1"


def signed(values: NDArray[np.uint8]) -> NDArray[np.int8]:
    """Return uint8 values, less 128, as int8."""
    return (values ^ np.uint8(128)).view(np.int8)


@dataclass(frozen=True, eq=False, kw_only=True)
class Tensor:
    """An activation, quantized per tensor, or of real numbers.

    Inside a graph the values of a uint8 tensor are int8, 128 less than in the file, and so is its
    zero point here: every formula of the kernels that knows zero points gives the same then.

    Parameters
    ----------
    name : str
    shape : tuple of int
        Batch 1 included, as in ``(1, H, W, C)``.
    scale : float
        A float32 value; real numbers are ``scale * (q - zero_point)``. 1 for float32.
    zero_point : int
        -128 to 127. 0 for float32.
    dtype : str
        One of `DTYPES`: what it is in the file, for who runs the network.
    data : int8 or float32 array, optional
        Of a constant, as inside a graph.
    """

    name: str
    shape: tuple[int, ...]
    scale: float = 1.0
    zero_point: int = 0
    dtype: str = "int8"
    data: NDArray[Any] | None = field(default=None, repr=False)

    @property
    def real(self) -> bool:
        """Whether it has real numbers."""
        return self.dtype == "float32"

    @property
    def quantization(self) -> tuple[str, float, int]:
        """What two tensors share if the same values stand for the same real numbers."""
        return self.dtype, self.scale, self.zero_point

    @property
    def offset(self) -> int:
        """What the values in the file are more than those inside a graph."""
        return 128 if self.dtype == "uint8" else 0

    def inside(self, value: NDArray[Any]) -> NDArray[Any]:
        """Return values as they are in the file as they are inside a graph."""
        return signed(value) if self.offset else value

    def outside(self, value: NDArray[Any]) -> NDArray[Any]:
        """Return values as they are inside a graph as they are in the file."""
        return value.view(np.uint8) ^ np.uint8(128) if self.offset else value


def image(tensor: Tensor) -> tuple[int, int, int]:
    """Return height, width and channels of an image."""
    if len(tensor.shape) != 4 or tensor.shape[0] != 1:
        raise UserError(f"the input must be 1 x H x W x C, not {tensor.shape}")
    return tensor.shape[1], tensor.shape[2], tensor.shape[3]

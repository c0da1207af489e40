"""An int8 activation: shape and quantization."""

from __future__ import annotations

from dataclasses import dataclass, field

from report.errors import UserError

from ..arith.quant import Int8Array

__all__ = ["Tensor", "extent", "image"]


def extent(shape: tuple[int, ...]) -> str:
    """Return a shape for people, batch left out, as in ``48x48x8``."""
    return "x".join(map(str, shape[1:] if len(shape) > 1 and shape[0] == 1 else shape)) or "1"


@dataclass(frozen=True, eq=False, kw_only=True)
class Tensor:
    """An int8 activation, quantized per tensor.

    Parameters
    ----------
    name : str
    shape : tuple of int
        Batch 1 included, as in ``(1, H, W, C)``.
    scale : float
        A float32 value; real numbers are ``scale * (q - zero_point)``.
    zero_point : int
        -128 to 127.
    data : int8 array, optional
        Of a constant.
    """

    name: str
    shape: tuple[int, ...]
    scale: float
    zero_point: int
    data: Int8Array | None = field(default=None, repr=False)


def image(tensor: Tensor) -> tuple[int, int, int]:
    """Return height, width and channels of an image."""
    if len(tensor.shape) != 4 or tensor.shape[0] != 1:
        raise UserError(f"the input must be 1 x H x W x C, not {tensor.shape}")
    return tensor.shape[1], tensor.shape[2], tensor.shape[3]

"""Inputs of networks: arrays and pictures."""

from __future__ import annotations

import warnings
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from golden.arith.quant import Int8Array
from golden.int8.tensor import Tensor, extent
from report.errors import UserError

__all__ = ["PIXELS", "read_input"]

#: What the pixels 0 to 255 of a picture can stand for in a network's input.
PIXELS = ((0.0, 1.0), (-1.0, 1.0), (0.0, 255.0))


def read_input(path: Path, target: Tensor) -> tuple[Int8Array, str]:
    """Read the input of a network.

    A .npy file is taken as it is. A picture is cropped in the middle to the shape of the input,
    resized (bilinear, over all pixels that it merges), and quantized: its pixels 0 to 255 stand
    for that range of `PIXELS` which the input's int8 values span. What is transparent is white.

    Parameters
    ----------
    path : Path
        A .npy file, or a picture that Pillow reads.
    target : Tensor
        The network's input.

    Returns
    -------
    int8 array, str
        The input, batch included; and in words what it is.

    Raises
    ------
    OSError, UserError
        If the file cannot be read, or does not fit the input.
    """
    if path.suffix == ".npy":
        return _array(path, target), f"{path.name}, int8 as it is"
    if len(target.shape) != 4 or target.shape[3] not in (1, 3):
        raise UserError(
            f"{path}: a picture fits an input with 1 or 3 channels, not {extent(target.shape)}; "
            "give int8 values as .npy"
        )
    height, width, channels = target.shape[1:]
    low, high = (target.scale * (q - target.zero_point) for q in (-128, 127))
    black, white = min(PIXELS, key=lambda ends: _distance(ends, (low, high)))
    if _distance((black, white), (low, high)) > 0.1:
        raise UserError(
            f"{path}: the model's input ({extent(target.shape)}) spans {low:.4g} to {high:.4g}, "
            "and pixels are taken as 0 to 1, -1 to 1 or 0 to 255; give int8 values as .npy"
        )
    pixels, size = _pixels(path, height, width, channels)
    real = black + pixels[None] / 255.0 * (white - black)
    value = np.clip(np.rint(real / target.scale) + target.zero_point, -128, 127).astype(np.int8)
    return value, (
        f"{path.name}, {size[0]} x {size[1]} pixels, cropped and resized to {width} x {height}, "
        f"0 to 255 taken as {black:g} to {white:g}"
    )


def _array(path: Path, target: Tensor) -> Int8Array:
    """Return the int8 values of a .npy file, batch included."""
    try:
        stored = np.lib.format.open_memmap(path, mode="r")
    except OSError:
        raise
    except Exception as error:  # NumPy reads the header as Python, so it can be anything
        raise UserError(f"{path}: no array of numbers in NumPy's format") from error
    if stored.dtype != np.int8:
        raise UserError(
            f"{path}: must be int8, round(x / {target.scale:.8g}) + {target.zero_point} for "
            f"real x, not {stored.dtype}"
        )
    if stored.shape not in (target.shape, target.shape[1:]):
        raise UserError(f"{path}: must be {extent(target.shape)}, not {extent((1, *stored.shape))}")
    return np.array(stored).reshape(target.shape)


def _pixels(
    path: Path, height: int, width: int, channels: int
) -> tuple[NDArray[np.uint8], tuple[int, int]]:
    """Return a picture's pixels ``(height, width, channels)``, and its width and height before."""
    from PIL import Image, ImageOps  # extra sim

    mode = "RGB" if channels == 3 else "L"
    try:
        with warnings.catch_warnings(), Image.open(path) as picture:
            warnings.simplefilter("error", Image.DecompressionBombWarning)
            size, found = picture.size, picture.mode
            upright = ImageOps.exif_transpose(picture)
            if upright.has_transparency_data:
                sheet = Image.new("RGBA", upright.size, "white")
                upright = Image.alpha_composite(sheet, upright.convert("RGBA"))
            upright = upright.convert(mode)
    except (Image.DecompressionBombWarning, Image.DecompressionBombError):
        raise UserError(f"{path}: the picture is too large; give a smaller one") from None
    except (Image.UnidentifiedImageError, SyntaxError, ValueError):
        raise UserError(f"{path}: neither .npy nor a picture that can be read") from None
    if found[0] in "IF":  # converting has clipped them
        raise UserError(f"{path}: pictures must have 8 bits per channel, not mode {found}")
    across = max(1, min(upright.width, round(upright.height * width / height)))
    down = max(1, min(upright.height, round(upright.width * height / width)))
    left, top = (upright.width - across) // 2, (upright.height - down) // 2
    cropped = upright.crop((left, top, left + across, top + down))
    fitted = cropped.resize((width, height), Image.Resampling.BILINEAR)
    return np.asarray(fitted).reshape(height, width, channels), size


def _distance(ends: tuple[float, float], others: tuple[float, float]) -> float:
    """Return how far two ranges are apart, relative to the first."""
    gaps = [abs(a - b) for a, b in zip(ends, others, strict=True)]
    return max(gaps) / (ends[1] - ends[0])

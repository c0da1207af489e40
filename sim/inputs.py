"""Models from files, and their inputs: arrays and pictures."""

from __future__ import annotations

import argparse
import math
import warnings
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from golden.int8.elementwise import Quantize
from golden.int8.graph import Graph
from golden.int8.tensor import DTYPES, Tensor, extent
from report.errors import UserError, needs_extra, reading

from .results import channels, read_labels

__all__ = [
    "PIXELS", "Normalization", "add_inputs", "inputs_of", "labels_of", "read_input", "read_model",
]  # fmt: skip


def read_model(path: Path, option: str = "") -> Graph:
    """Return the graph of a .tflite file, as it is.

    Parameters
    ----------
    path : Path
    option : str
        As of `report.errors.needs_extra`.

    Raises
    ------
    UserError
        If it cannot be read.
    """
    with needs_extra("sim", option):
        from golden.int8 import tflite
    with reading(path):
        return tflite.load(path)


@dataclass(frozen=True, kw_only=True)
class Normalization:
    """What the pixels 0 to 255 of a picture stand for: ``(pixel - mean) / deviation``.

    Parameters
    ----------
    mean, deviation : tuple of float
        Per channel, or one for all.
    name : str
        In words, for people.
    """

    mean: tuple[float, ...]
    deviation: tuple[float, ...]
    name: str = ""

    def __str__(self) -> str:
        """Return it in words."""
        if self.name:
            return self.name
        if len(self.mean) == len(self.deviation) == 1:
            black, white = ((x - self.mean[0]) / self.deviation[0] for x in (0, 255))
            return f"0 to 255 taken as {black:g} to {white:g}"
        mean, deviation = (
            ", ".join(f"{x:g}" for x in some) for some in (self.mean, self.deviation)
        )
        return f"less {mean}, divided by {deviation}"

    @property
    def ends(self) -> tuple[float, float]:
        """The least and the greatest real number that a pixel can be."""
        pairs = list(zip(*np.broadcast_arrays(self.mean, self.deviation), strict=True))
        with np.errstate(over="ignore"):
            return min(-m / d for m, d in pairs), max((255 - m) / d for m, d in pairs)

    def __call__(self, pixels: NDArray[np.uint8]) -> NDArray[np.float64]:
        """Return the real numbers of pixels ``(H, W, C)``."""
        return (pixels - np.array(self.mean)) / np.array(self.deviation)


def _range(black: float, white: float) -> Normalization:
    deviation = 255 / (white - black)
    return Normalization(mean=(-black * deviation,), deviation=(deviation,))


#: What is tried, in this order, if nothing is said.
PIXELS = (
    _range(0, 1), _range(-1, 1), _range(0, 255), _range(-128, 127),
    Normalization(
        mean=(123.675, 116.28, 103.53), deviation=(58.395, 57.12, 57.375),
        name="less ImageNet's mean, divided by its deviation",
    ),
)  # fmt: skip


def read_input(
    path: Path, graph: Graph, target: Tensor, normalization: Normalization | None = None
) -> tuple[NDArray[Any], str]:
    """Read an input of a network.

    A .npy file is taken as it is. A picture is cropped in the middle to the shape of the input
    (NHWC, or NCHW), and resized (bilinear, over all pixels that it merges); what is transparent is
    white. For a uint8 input its pixels are taken as they are. Else they stand for real numbers:
    those that `normalization` says, or that one of `PIXELS` whose range is what the input spans;
    these are quantized, for an int8 input.

    Parameters
    ----------
    path : Path
        A .npy file, or a picture that Pillow reads.
    graph : Graph
    target : Tensor
        The input.
    normalization : Normalization, optional

    Returns
    -------
    int8, uint8 or float32 array, str
        The input, batch included; and in words what it is.

    Raises
    ------
    OSError, UserError
        If the file cannot be read, or does not fit the input.
    """
    kind = target.dtype
    if path.suffix == ".npy":
        if normalization:
            raise UserError(f"--normalize is about pictures, and {path} is taken as it is")
        return _array(path, target), f"{path.name}, {kind} as it is"
    if path.suffix == ".npz":
        raise UserError(f"{path}: holds several arrays; give one of them as .npy")
    if path.suffix.lower() in (".wav", ".mp3", ".flac", ".ogg"):
        raise UserError(
            f"{path}: what turns sound into the {extent(target.shape)} features of this network is "
            f"not in the model; give them as .npy, {kind}"
        )
    shape = target.shape
    channels_first = len(shape) == 4 and shape[1] in (1, 3) and shape[3] not in (1, 3)
    if len(shape) != 4 or shape[1 if channels_first else 3] not in (1, 3):
        raise UserError(
            f"{path}: a picture fits an input with 1 or 3 channels, not {extent(shape)}; "
            f"give {kind} values as .npy"
        )
    height, width, channels = (
        (shape[2], shape[3], shape[1]) if channels_first else (shape[1], shape[2], shape[3])
    )
    if normalization and len(normalization.mean + normalization.deviation) > 2 and channels == 1:
        raise UserError("--normalize has a number for each of 3 channels, and the input has 1")
    words = ""
    if normalization is None and kind != "uint8":
        normalization = _guess(path, graph, target, channels)
        words = " (a guess: --normalize says it)"
    pixels, size = _pixels(path, height, width, channels)
    value: NDArray[Any] = pixels
    taken = "pixels as they are"
    if normalization:
        real, taken = normalization(pixels), f"{normalization}{words}"
        value = real.astype(np.float32)
        if kind != "float32":
            # In double: float32 would move what lies half way between two integers.
            steps = np.rint(real / target.scale) + target.zero_point
            clipped = np.clip(steps, -128, 127)
            value = target.outside(clipped.astype(np.int8))
            lost = float((np.abs(clipped - steps) > 2).mean())
            if lost:
                taken += f", {100 * lost:.1f} % of which the input does not span, and are cut off"
    order = (2, 0, 1) if channels_first else (0, 1, 2)
    return np.ascontiguousarray(value.transpose(order)[None]), (
        f"{path.name}, {size[0]} x {size[1]} pixels, cropped and resized to {width} x {height}, "
        f"{taken}"
    )


def _guess(path: Path, graph: Graph, target: Tensor, channels: int) -> Normalization:
    """Return the one of `PIXELS` that an input's range fits."""
    spans = target
    if target.real:
        found = [
            one.output
            for one in graph.operators
            if isinstance(one, Quantize) and one.inputs[0] is target
        ]
        if not found:
            raise UserError(
                f"{path}: what pixels are for this float32 input nothing tells; say it with "
                "--normalize MEAN STD, or give float32 values as .npy"
            )
        spans = found[0]
    low, high = (spans.scale * (q - spans.zero_point) for q in (-128, 127))
    tried = [one for one in PIXELS if channels == 3 or len(one.mean) == 1]
    best = min(tried, key=lambda one: _distance(one.ends, (low, high)))
    if _distance(best.ends, (low, high)) > 0.1:
        raise UserError(
            f"{path}: the model's input ({extent(target.shape)}) spans {low:.4g} to {high:.4g}, "
            "and pixels are taken as 0 to 1, -1 to 1, 0 to 255, -128 to 127 or as ImageNet's; say "
            f"what they are with --normalize MEAN STD, or give {target.dtype} values as .npy"
        )
    return best


def _array(path: Path, target: Tensor) -> NDArray[Any]:
    """Return the values of a .npy file, batch included."""
    try:
        stored = np.lib.format.open_memmap(path, mode="r")
    except OSError:
        raise
    except Exception as error:  # NumPy reads the header as Python, so it can be anything
        raise UserError(f"{path}: no array of numbers in NumPy's format") from error
    if stored.dtype != DTYPES[target.dtype]:
        formula = (
            f", round(x / {target.scale:.8g}) + {target.zero_point + target.offset} for real x"
        )
        raise UserError(
            f"{path}: must be {target.dtype}{'' if target.real else formula}, not {stored.dtype}"
        )
    if stored.shape not in (target.shape, target.shape[1:]):
        raise UserError(f"{path}: must be {extent(target.shape)}, not {extent((1, *stored.shape))}")
    found = np.array(stored).reshape(target.shape)
    if target.real and not np.isfinite(found).all():
        raise UserError(f"{path}: has values that are not finite")
    return found


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


def _numbers(text: str) -> tuple[float, ...]:
    try:
        found = tuple(float(word) for word in text.split(","))
    except ValueError:
        found = ()
    if len(found) not in (1, 3) or not all(map(math.isfinite, found)):
        raise argparse.ArgumentTypeError(f"must be one number or three like 1,2,3, not {text!r}")
    return found


def add_inputs(parser: argparse.ArgumentParser) -> None:
    """Add the options that `inputs_of` and `labels_of` read."""
    parser.add_argument(
        "--input", type=Path, required=True, metavar="FILE", action="append",
        default=argparse.SUPPRESS,
        help="a picture (cropped in the middle, resized, quantized), or values of the input's type "
        "as .npy; once for every input",
    )  # fmt: skip
    parser.add_argument(
        "--normalize", type=_numbers, nargs=2, metavar=("MEAN", "STD"), default=argparse.SUPPRESS,
        help="pixels 0 to 255 stand for (pixel - MEAN) / STD, each a number or one per channel as "
        "in 123.675,116.28,103.53 (default: a guess from what the input spans, which is stated)",
    )  # fmt: skip
    parser.add_argument(
        "--labels", type=Path, metavar="FILE", default=argparse.SUPPRESS,
        help="names of the classes, or channels, one in a line",
    )  # fmt: skip


def inputs_of(graph: Graph, arguments: argparse.Namespace) -> tuple[list[NDArray[Any]], list[str]]:
    """Return the inputs, and in words what they are.

    Raises
    ------
    UserError
        If they are not what the network takes, or cannot be read.
    """
    files = arguments.input
    if len(files) != len(graph.inputs):
        wanted = ", ".join(f"{t.name} ({extent(t.shape)} {t.dtype})" for t in graph.inputs)
        raise UserError(
            f"--input needs {len(graph.inputs)} file{'s' * (len(graph.inputs) > 1)}, not "
            f"{len(files)}: {wanted}"
        )
    normalization = None
    if hasattr(arguments, "normalize"):
        mean, deviation = arguments.normalize
        if 0 in deviation or len({len(mean), len(deviation)} - {1}) > 1:
            raise UserError("--normalize needs numbers for the same channels, and no STD of 0")
        normalization = Normalization(mean=mean, deviation=deviation)
        if not np.isfinite(normalization.ends).all():
            raise UserError("--normalize takes pixels to infinity")
    values, words = [], []
    for path, tensor in zip(files, graph.inputs, strict=True):
        with needs_extra("sim"), reading(path):
            value, source = read_input(path, graph, tensor, normalization)
        values.append(value)
        words.append(source)
    return values, words


def labels_of(graph: Graph, arguments: argparse.Namespace) -> list[str]:
    """Return the names of the classes, or channels, of some output; none if none are given.

    Raises
    ------
    UserError
        If they are those of no output, or cannot be read.
    """
    if not hasattr(arguments, "labels"):
        return []
    path: Path = arguments.labels
    with reading(path):
        found = read_labels(path)
    if len(found) not in map(channels, graph.outputs):
        counts = " or ".join(str(channels(tensor)) for tensor in graph.outputs)
        raise UserError(f"{path} has {len(found)} labels; the outputs have {counts} classes")
    return found

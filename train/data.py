"""Pictures to train on: CIFAR-10 and CIFAR-100, a folder of pictures, an .npz, or synthetic ones.

All are held in memory, as uint8. Networks see ``(pixel - 128) / 128``, so that an int8 input is
exactly ``pixel - 128``, at scale 1/128.
"""

from __future__ import annotations

import io
import os
import pickle
import zipfile
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from report.errors import UserError, reading

__all__ = ["Batches", "Data", "Pictures", "as_input", "load"]

#: Names that need no path.
NAMES = ("cifar10", "cifar100", "synthetic")

#: Pixels around a picture that a crop may reach into, mirrored.
MARGIN = 4

_SUFFIXES = (".png", ".jpg", ".jpeg", ".bmp", ".webp", ".ppm")
_MOST_BYTES = 8 << 30


@dataclass(frozen=True, eq=False)
class Pictures:
    """Pictures with their classes.

    Parameters
    ----------
    pixels : uint8 array (n, height, width, 3)
    labels : int64 array (n,)
    """

    pixels: NDArray[np.uint8]
    labels: NDArray[np.int64]

    def __len__(self) -> int:
        """Return how many there are."""
        return len(self.labels)

    def take(self, chosen: Any) -> Pictures:
        """Return some of them."""
        return Pictures(self.pixels[chosen], self.labels[chosen])

    def sample(self, count: int) -> Pictures:
        """Return so many of them at random, or all, in random order; always the same ones.

        Pictures may be in the order of their classes.
        """
        return self.take(np.random.default_rng(0).permutation(len(self))[:count])


@dataclass(frozen=True, eq=False)
class Data:
    """A data set.

    Parameters
    ----------
    name : str
        What is said beside every number, such as ``CIFAR-10, JPEG copy``.
    train, held_out, test : Pictures
        Those that are trained on, those that every choice is made with, and those that a final
        network is tested on.
    classes : tuple of str
    """

    name: str
    train: Pictures
    held_out: Pictures
    test: Pictures
    classes: tuple[str, ...]

    @property
    def size(self) -> int:
        """Height and width of the pictures."""
        return int(self.train.pixels.shape[1])


def as_input(pixels: NDArray[np.uint8] | torch.Tensor) -> torch.Tensor:
    """Return pixels ``(n, h, w, 3)`` as what networks see, float32 ``(n, 3, h, w)``, NHWC inside.

    ``(pixel - 128) / 128``, exact in float32.
    """
    x = torch.as_tensor(pixels).permute(0, 3, 1, 2)
    return (x.to(torch.float32) - 128) / 128


def check_batch(batch: int, pictures: int, parts: int = 1) -> None:
    """Raise `UserError` unless batches can be made of some pictures, for so many processes."""
    if not 1 <= batch <= pictures:
        raise UserError(f"batch must be from 1 to the {pictures} pictures, not {batch}")
    if batch % parts:
        raise UserError(f"batch must be a multiple of the {parts} processes, not {batch}")


class Batches:
    """The batches of every epoch: shuffled, cropped from a mirrored margin, flipped.

    What an epoch holds depends on the seed and its number alone, so that training can go on in the
    middle.

    Parameters
    ----------
    pictures : Pictures
    batch : int
        What is left over at the end of an epoch is left out.
    seed : int
    part, parts : int
        This is one of several processes that share every batch.
    """

    def __init__(
        self, pictures: Pictures, batch: int, seed: int, part: int = 0, parts: int = 1
    ) -> None:
        margin = ((0, 0), (MARGIN, MARGIN), (MARGIN, MARGIN), (0, 0))
        self._padded = torch.from_numpy(np.pad(pictures.pixels, margin, mode="reflect"))
        self._labels = torch.from_numpy(pictures.labels)
        self._size = int(pictures.pixels.shape[1])
        self._batch, self._seed, self._part, self._parts = batch, seed, part, parts
        check_batch(batch, len(pictures), parts)

    def __len__(self) -> int:
        """Return the batches of an epoch."""
        return len(self._labels) // self._batch

    def epoch(self, number: int) -> Iterator[tuple[torch.Tensor, torch.Tensor]]:
        """Yield the batches of an epoch, pictures as `as_input` returns them, and classes."""
        rng = np.random.default_rng([self._seed, number])
        order = torch.from_numpy(rng.permutation(len(self._labels)))
        corners = torch.from_numpy(rng.integers(0, 2 * MARGIN + 1, (len(order), 2)))
        flips = torch.from_numpy(rng.random(len(order)) < 0.5)
        span = torch.arange(self._size)
        each = self._batch // self._parts
        for index in range(len(self)):
            first = index * self._batch + self._part * each
            here = slice(first, first + each)
            rows = corners[here, 0, None] + span
            columns = torch.where(flips[here, None], span.flip(0), span) + corners[here, 1, None]
            chosen = order[here]
            found = self._padded[chosen[:, None, None], rows[:, :, None], columns[:, None, :]]
            yield as_input(found), self._labels[chosen]


def load(name: str, root: Path | None = None, *, held_out: int, size: int | None = None) -> Data:
    """Load a data set.

    Parameters
    ----------
    name : str
        ``cifar10`` or ``cifar100``, as torchvision keeps them, or CIFAR-10 in the .npz described in
        docs/training.md; ``synthetic``; an .npz of that kind; or a folder with a folder ``train``
        and a folder ``test``, and in each one folder of pictures for every class.
    root : Path, optional
        Where to look for CIFAR; ``$STOS_DATA``, ``data`` and ``../shared`` if left out.
    held_out : int
        Training pictures that are not trained on, at most a tenth: the same for every seed.
    size : int, optional
        Height and width to resize the pictures of a folder to.

    Raises
    ------
    OSError, UserError
        If there is no such data, or it is not what it should be.
    """
    if name == "synthetic":
        found = _synthetic(32 if size is None else size)
    elif name in NAMES:
        found = _cifar(name, root)
    elif Path(name).suffix == ".npz":
        found = _npz(Path(name))
    else:
        found = _folder(Path(name), size)
    if size not in (None, found.size):
        raise UserError(f"--size must be {found.size} for {found.name}, not {size}")
    count = len(found.train)
    held_out = min(held_out, count // 10)
    order = np.random.default_rng(0).permutation(count)
    kept, apart = np.sort(order[held_out:]), np.sort(order[:held_out])
    return replace(found, train=found.train.take(kept), held_out=found.train.take(apart))


def _places(root: Path | None) -> list[Path]:
    """Return the folders in which CIFAR may lie."""
    if root is not None:
        return [root, root / "data"]
    chosen = os.environ.get("STOS_DATA")
    tops = [*([Path(chosen)] if chosen else []), Path("data"), Path("..") / "shared"]
    return [folder for top in tops for folder in (top, top / "data")]


def _cifar(name: str, root: Path | None) -> Data:
    fine = name == "cifar100"
    folder = "cifar-100-python" if fine else "cifar-10-batches-py"
    places = _places(root)
    for place in places:
        if (place / folder).is_dir():
            return _pickled(place / folder, fine)
        if not fine and (place / "cifar10_jpeg.npz").exists():
            return _npz(place / "cifar10_jpeg.npz")
    wanted = folder if fine else f"{folder} or cifar10_jpeg.npz"
    raise UserError(f"no {wanted} in {', '.join(map(str, places))}: say where it is with --root")


class _Plain(pickle.Unpickler):
    """Reads NumPy arrays and plain data, and runs nothing else that a file may name."""

    _LEGAL = frozenset(
        (module, name)
        for module in ("numpy.core.multiarray", "numpy._core.multiarray", "numpy")
        for name in ("_reconstruct", "scalar", "ndarray", "dtype")
    )

    def find_class(self, module: str, name: str) -> Any:
        if (module, name) not in self._LEGAL:
            raise pickle.UnpicklingError(f"it names {module}.{name}")
        return super().find_class(module, name)


def _unpickle(path: Path) -> dict[bytes, Any]:
    with reading(path), open(path, "rb") as file:
        try:
            found = _Plain(file, encoding="bytes").load()
        except (pickle.UnpicklingError, EOFError, AttributeError, ValueError) as error:
            raise UserError(f"{path} is no batch of CIFAR: {error}") from None
    if not isinstance(found, dict):
        raise UserError(f"{path} is no batch of CIFAR: it holds no dictionary")
    return found


def _pickled(folder: Path, fine: bool) -> Data:
    """Read CIFAR as its authors publish it for Python, and torchvision keeps it."""
    names = ["train"] if fine else [f"data_batch_{n}" for n in range(1, 6)]
    label = b"fine_labels" if fine else b"labels"

    def pictures(some: list[str]) -> Pictures:
        batches = [_unpickle(folder / one) for one in some]
        try:
            pixels = np.concatenate([one[b"data"] for one in batches])
            labels = np.concatenate([one[label] for one in batches]).astype(np.int64)
            pixels = pixels.reshape(len(labels), 3, 32, 32).transpose(0, 2, 3, 1)
        except (KeyError, ValueError) as error:
            raise UserError(f"{folder} does not hold CIFAR: {error}") from None
        return Pictures(np.ascontiguousarray(pixels), labels)

    meta = _unpickle(folder / ("meta" if fine else "batches.meta"))
    words = meta.get(b"fine_label_names" if fine else b"label_names", [])
    train = pictures(names)
    return Data(
        "CIFAR-100" if fine else "CIFAR-10", train, train.take([]),
        pictures(["test" if fine else "test_batch"]), tuple(word.decode() for word in words),
    )  # fmt: skip


def _decode(path: Path, content: bytes) -> NDArray[np.uint8]:
    from PIL import Image, UnidentifiedImageError  # optional

    try:
        return np.asarray(Image.open(io.BytesIO(content)).convert("RGB"))
    except (UnidentifiedImageError, OSError):
        raise UserError(f"{path} holds what is no picture") from None


def _npz(path: Path) -> Data:
    """Read an .npz with JPEG files end to end: header, body, size, label, test, classes."""
    keys = ("header", "body", "size", "label", "test", "classes")
    with reading(path):
        try:
            with np.load(path, allow_pickle=False) as file:
                arrays = {key: file[key] for key in keys}
        except (KeyError, ValueError, AttributeError, zipfile.BadZipFile) as error:
            raise UserError(f"{path} is no .npz with {', '.join(keys)}: {error}") from None
    header, body = arrays["header"].tobytes(), arrays["body"].tobytes()
    ends = np.cumsum(arrays["size"].astype(np.int64)).tolist()
    starts = [0, *ends[:-1]]
    decoded = [_decode(path, header + body[a:b]) for a, b in zip(starts, ends, strict=True)]
    shapes = {one.shape for one in decoded}
    if len(shapes) != 1 or len({*shapes.pop()[:2]}) != 1:
        raise UserError(f"{path}: pictures must be square, and all of one size")
    pixels = np.stack(decoded)
    every = Pictures(pixels, arrays["label"].astype(np.int64))
    test = arrays["test"].astype(bool)
    train = every.take(~test)
    name = "CIFAR-10, JPEG copy" if path.name == "cifar10_jpeg.npz" else path.stem
    return Data(name, train, train.take([]), every.take(test), tuple(map(str, arrays["classes"])))


def _folder(path: Path, size: int | None) -> Data:
    from PIL import Image, UnidentifiedImageError  # optional

    if not path.exists():
        raise UserError(
            f"--data must be {', '.join(NAMES)}, an .npz or a folder of pictures, not {str(path)!r}"
        )
    parts = []
    folders = [path / "train", path / "test"]
    for part in folders:
        if not part.is_dir():
            raise UserError(f"{path} has no folder {part.name} with a folder for every class")
    classes = sorted(one.name for one in folders[0].iterdir() if one.is_dir())
    if len(classes) < 2:
        raise UserError(
            f"{folders[0]} has {len(classes)} folders of classes; at least 2 are needed"
        )
    for part in folders:
        pixels, labels = [], []
        for label, name in enumerate(classes):
            files = sorted(part.glob(f"{name}/*"))
            for file in (one for one in files if one.suffix.lower() in _SUFFIXES):
                try:
                    with reading(file), Image.open(file) as picture:
                        size = size or picture.height
                        resized = picture.convert("RGB").resize((size, size))
                except UnidentifiedImageError:
                    raise UserError(f"{file} is no picture that Pillow reads") from None
                pixels.append(np.asarray(resized))
                labels.append(label)
                if len(pixels) * 3 * size**2 > _MOST_BYTES:
                    raise UserError(f"{part} is larger than 8 GiB in memory; use a smaller --size")
        if not pixels:
            raise UserError(f"{part} holds no pictures ({', '.join(_SUFFIXES)}) of a class")
        parts.append(Pictures(np.stack(pixels), np.array(labels, np.int64)))
    return Data(path.name, parts[0], parts[0].take([]), parts[1], tuple(classes))


def _synthetic(size: int) -> Data:
    """Return 2,048 and 512 pictures of stripes in four directions, with noise."""
    if not 8 <= size <= 256:
        raise UserError(f"--size must be from 8 to 256 for synthetic pictures, not {size}")
    rng = np.random.default_rng(0)

    def pictures(count: int) -> Pictures:
        labels = rng.integers(0, 4, count)
        angle = (labels * np.pi / 4)[:, None, None]
        y, x = np.mgrid[:size, :size]
        wave = np.sin(
            (x * np.cos(angle) + y * np.sin(angle)) * np.pi / 3
            + rng.uniform(0, 2 * np.pi, (count, 1, 1))
        )
        colour = rng.uniform(20, 60, (count, 1, 1, 3))
        noisy = 128 + wave[..., None] * colour + rng.normal(0, 40, (count, size, size, 3))
        return Pictures(np.clip(np.rint(noisy), 0, 255).astype(np.uint8), labels.astype(np.int64))

    train, test = pictures(2048), pictures(512)
    return Data(
        "synthetic stripes", train, train.take([]), test,
        ("vertical", "falling", "horizontal", "rising"),
    )  # fmt: skip

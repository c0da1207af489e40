"""The analytical model of the FuSeConv paper (DATE 2021, arXiv 2105.13434), and its numbers.

It is kept for reproduction, as the paper and the code that its authors released have it; our own
machine is in `sim.network`.
"""

from __future__ import annotations

import math

from golden.nets.layers import Layer, Network
from golden.nets.networks import FUSE_VARIANTS, build

from . import published
from .item import Item

__all__ = ["gemm_cycles", "items", "layer_cycles", "network_cycles", "stream_cycles"]


def gemm_cycles(pixels: float, depth: int, filters: int, rows: int, cols: int) -> int:
    """Return the cycles of a GEMM: ``depth + r + c - 1`` for every fold of r x c outputs."""
    full_r, rest_r = divmod(pixels, rows)
    full_c, rest_c = divmod(filters, cols)
    cycles = full_r * full_c * (depth + rows + cols - 1)
    if rest_r:
        cycles += full_c * (depth + rest_r + cols - 1)
    if rest_c:
        cycles += full_r * (depth + rows + rest_c - 1)
    if rest_r and rest_c:
        cycles += depth + rest_r + rest_c - 1
    return int(cycles)


def stream_cycles(
    lines: int, length: int, k: int, stride: int, channels: int, rows: int, cols: int
) -> int:
    """Return the cycles of 1-D convolutions on ST-OS: `lines` signals of a padded `length`."""
    folds = math.ceil(lines * channels / rows)
    return math.ceil(folds / stride * (cols + k) * math.ceil(length / cols))


def layer_cycles(layer: Layer, rows: int, cols: int, *, released: bool = False) -> int:
    """Return the cycles of a layer in the paper's model.

    Parameters
    ----------
    layer : Layer
    rows, cols : int
    released : bool
        Divide as the released code does, in integers. The published numbers come from real
        division: a layer of stride 2 has fractional output sizes then.
    """
    work = layer.workload
    (height, width), (kh, kw) = work.window.size, work.window.kernel
    (sv, sh), (vertical, horizontal) = work.window.stride, map(sum, work.window.padding)
    if work.fused:
        each = work.c_out // 2
        row = stream_cycles(height, width + horizontal, kw, sv, each, rows, cols)
        return row + stream_cycles(width, height + vertical, kh, sh, each, rows, cols)
    pixels = 1.0
    for size, pad, k, stride in ((height, vertical, kh, sv), (width, horizontal, kw, sh)):
        reach = size + pad - k + stride
        pixels *= reach // stride if released else reach / stride
    if work.kind == "depthwise":
        return work.c_out * gemm_cycles(pixels, kh * kw, 1, rows, cols)
    return gemm_cycles(pixels, kh * kw * work.c_in, work.c_out, rows, cols)


def network_cycles(network: Network, rows: int, cols: int, *, released: bool = False) -> int:
    """Return the cycles of a network in the paper's model."""
    return sum(layer_cycles(layer, rows, cols, released=released) for layer in network.layers)


def items() -> list[Item]:
    """Return every number of the FuSeConv paper that the model gives, and the released code's."""
    found_items: list[Item] = []
    networks = {
        (ours, variant): build(ours, variant)
        for ours in published.FUSECONV_NAMES.values()
        for variant in FUSE_VARIANTS
    }
    table = "Table I, 64 x 64"
    for (name, variant), (macs, parameters, cycles, gain) in published.FUSECONV_TABLE1.items():
        ours = published.FUSECONV_NAMES[name]
        network, row = networks[ours, variant], f"{name} {variant}"
        count = network_cycles(network, 64, 64)
        base = network_cycles(networks[ours, "baseline"], 64, 64)
        found: list[tuple[str, str, float]] = [
            ("MMACs", macs, network.macs / 1e6),
            ("Mparams", parameters, network.parameters / 1e6),
            ("cycles", str(cycles), count),
            ("speed-up", gain, base / count),
        ]
        found_items += [
            Item(table=table, row=row, quantity=quantity, published=text, ours=value)
            for quantity, text, value in found
            if text
        ]
    table = "Array sizes, speed-up of full"
    for name, gains in published.FUSECONV_SPEEDUPS.items():
        ours = published.FUSECONV_NAMES[name]
        for size, text in zip(published.ARRAY_SIZES, gains, strict=True):
            base, full = (
                network_cycles(networks[ours, variant], size, size)
                for variant in ("baseline", "full")
            )
            found_items.append(
                Item(
                    table=table, row=name, quantity=f"{size} x {size}", published=text,
                    ours=base / full,
                )
            )  # fmt: skip
    table = "Released code"
    for (name, variant), (at_32, at_64, macs_now, held) in published.FUSECONV_RELEASED.items():
        network = networks[published.FUSECONV_NAMES[name], variant]
        exact: list[tuple[str, int, int]] = [
            ("cycles at 32", at_32, network_cycles(network, 32, 32, released=True)),
            ("cycles at 64", at_64, network_cycles(network, 64, 64, released=True)),
            ("MACs", macs_now, network.macs),
            ("parameters", held, network.parameters),
        ]
        found_items += [
            Item(
                table=table, row=f"{name} {variant}", quantity=quantity, published=str(number),
                ours=value,
            )
            for quantity, number, value in exact
        ]  # fmt: skip
    return found_items

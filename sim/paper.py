"""The analytical model of the FuSeConv paper, for reproduction; our own machine is `sim.network`.

Source: FuSeConv, DATE 2021 (arXiv 2105.13434), and the code its authors released.
"""

from __future__ import annotations

import math

from golden.networks import Layer, Network

__all__ = ["gemm_cycles", "layer_cycles", "network_cycles", "stream_cycles"]


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
    (height, width), k, stride = layer.size, layer.kernel, layer.stride
    if layer.kind in ("fuse_half", "fuse_full"):
        pad, each = 2 * layer.padding, layer.c_out // 2
        row = stream_cycles(height, width + pad, k, stride, each, rows, cols)
        return row + stream_cycles(width, height + pad, k, stride, each, rows, cols)
    pixels = 1.0
    for size in (height, width):
        reach = size + 2 * layer.padding - k + stride
        pixels *= reach // stride if released else reach / stride
    if layer.kind == "depthwise":
        return layer.c_in * gemm_cycles(pixels, k * k, 1, rows, cols)
    return gemm_cycles(pixels, k * k * layer.c_in, layer.c_out, rows, cols)


def network_cycles(network: Network, rows: int, cols: int, *, released: bool = False) -> int:
    """Return the cycles of a network in the paper's model."""
    return sum(layer_cycles(layer, rows, cols, released=released) for layer in network.layers)

"""Many inputs at once: what `Graph.run` computes for each, faster.

Sums of products are those of float32 or float64 matrix products, exact as long as every partial sum
is an integer below 2**24 or 2**53. Requantization is that of every operator.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..arith.quant import Int8Array
from ..arith.window import Window
from ..arith.wrap import IntArray
from .array_operators import ABConv2D, ArrayOperator, FullyConnected
from .elementwise import Function, Pair
from .graph import Graph
from .operators import Operator
from .pools import Mean
from .shapes import Reshape
from .tensor import Tensor

__all__ = ["run_batch"]


def run_batch(graph: Graph, inputs: NDArray[Any]) -> NDArray[Any]:
    """Return the network's output for many inputs.

    Parameters
    ----------
    graph : Graph
        With one input and one output, the first axis of all activations the batch, 1.
    inputs : int8, uint8 or float32 array (n, ...)

    Returns
    -------
    array (n, ...)
        Of the type of the output in the file.

    Raises
    ------
    TypeError, ValueError
        As `Graph.steps`.
    """
    (source,), (target,) = graph.inputs, graph.outputs
    graph.values([inputs[0]])  # refuses what does not fit
    values: dict[Tensor, NDArray[Any]] = {source: source.inside(inputs)}
    last = {t: index for index, one in enumerate(graph.operators) for t in one.inputs}
    for index, one in enumerate(graph.operators):
        values[one.output] = _apply(one, [values.get(t, t.data) for t in one.inputs], len(inputs))
        for tensor in set(one.inputs):
            if last[tensor] == index:
                values.pop(tensor, None)
    return target.outside(values[target])


def _apply(one: Operator, taken: list[Any], count: int) -> NDArray[Any]:
    """Return an operator's output for a batch."""
    if isinstance(one, ArrayOperator) and not one.weight_zero:
        whole = replace(one.output, shape=(count, *one.output.shape[1:]))
        if len(one.output.shape) > 1 and one.output.shape[0] == 1:
            return replace(one, output=whole).finish(_sums(one, taken[0]), taken[0])
    if isinstance(one, Reshape) and one.output.shape[:1] == (1,):
        return taken[0].reshape(count, *one.output.shape[1:])
    ranks = {len(tensor.shape) for tensor in one.inputs}
    same = isinstance(one, Function) or (isinstance(one, Pair) and len(ranks) == 1)
    if same or (isinstance(one, Mean) and 0 not in one.axes):
        return one(*taken)
    constant = [tensor.data is not None for tensor in one.inputs]
    pairs = list(zip(constant, taken, strict=True))
    return np.concatenate(
        [one(*(v if fixed else v[n : n + 1] for fixed, v in pairs)) for n in range(count)]
    )


def _sums(one: ArrayOperator, x: Int8Array) -> IntArray:
    """Return the sums of products ``(n, H_out, W_out, c_out)``."""
    work = one.workload
    pad, window = one.inputs[0].zero_point, work.window
    if isinstance(one, FullyConnected):
        return _product(x.reshape(len(x) * one.rows, -1), one.weights[0])
    if work.spatial:
        x = np.repeat(x, work._wide // work.c_in, axis=3)
        half = x.shape[3] // 2 if work.kind == "fuse_half" else x.shape[3]
        parts = (x,) if work.kind == "depthwise" else (x[..., :half], x[..., -half:])
        return np.concatenate(
            [
                _spatial(part, w, branch.window, pad)
                for part, w, branch in zip(parts, one.weights, work.branches, strict=True)
            ],
            axis=3,
        )
    if isinstance(one, ABConv2D):
        n, h, w, c = x.shape
        blocks = x.reshape(n, h, w, one.groups, -1).transpose(0, 3, 1, 2, 4)
        sums = _dense(blocks.reshape(n * one.groups, h, w, -1), one.weights[0], window, pad)
        folded = sums.reshape(n, one.groups, *work.output, -1).transpose(0, 2, 3, 1, 4)
        return folded.reshape(n, *work.output, work.c_out)
    return _dense(x, one.weights[0], window, pad)


def _product(a: NDArray[Any], b: Int8Array) -> IntArray:
    kind: Any = np.float32 if len(b) << 14 <= 1 << 24 else np.float64
    return (a.astype(kind) @ b.astype(kind)).astype(np.int64)


def _taps(x: Int8Array, window: Window, pad: int) -> Callable[[int, int], NDArray[np.int8]]:
    """Return what gives the elements that one tap of a window sees, ``(n, H_out, W_out, c)``."""
    amounts = np.maximum(window.padding, 0)
    cut = np.maximum(-np.array(window.padding), 0)
    padded = np.pad(x, ((0, 0), *map(tuple, amounts), (0, 0)), constant_values=pad)
    padded = padded[:, cut[0, 0] :, cut[1, 0] :]
    (sy, sx), (h, w) = window.stride, window.output

    def tap(u: int, v: int) -> NDArray[np.int8]:
        return padded[:, u : u + (h - 1) * sy + 1 : sy, v : v + (w - 1) * sx + 1 : sx]

    return tap


def _spatial(x: Int8Array, weights: Int8Array, window: Window, pad: int) -> IntArray:
    tap = _taps(x, window, pad)
    total = np.zeros((len(x), *window.output, x.shape[3]), np.int32)
    for u, v in np.ndindex(*window.kernel):
        total += np.multiply(tap(u, v), weights[u, v], dtype=np.int32)
    return total.astype(np.int64)


def _dense(x: Int8Array, weights: Int8Array, window: Window, pad: int) -> IntArray:
    tap = _taps(x, window, pad)
    columns = [tap(u, v) for u, v in np.ndindex(*window.kernel)]
    patches = np.concatenate(columns, axis=3) if len(columns) > 1 else columns[0]
    kernel = weights.reshape(-1, weights.shape[3])
    sums = _product(patches.reshape(-1, len(kernel)), kernel)
    return sums.reshape(len(x), *window.output, -1)

"""Channels that are the same for every input, folded into what reads them.

An output channel whose weights are all zero is a constant; so is one that sees only constants, if
padding does not show: where the constant is the zero point, or where there is no padding. What
reads such a channel has a sum that is known, which goes into its bias; then the channel is dropped,
from its maker, from all that passes it on channel by channel, and from the weights of its readers.
A channel that is read with zero weights only is dropped as well, constant or not.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..arith.wrap import IntArray, wrap
from .array_operators import ArrayOperator, Conv2D, Convolution, DepthwiseConv2D, FullyConnected
from .elementwise import Function, Pair
from .graph import Graph
from .operators import Operator
from .pools import AveragePool2D, MaxPool2D, Mean
from .shapes import Pad, Reshape, Resize
from .tensor import Tensor

__all__ = ["fold"]

Mask = NDArray[np.bool_]


@dataclass
class _Channels:
    """What is known of the channels of a tensor, its last axis.

    Parameters
    ----------
    first : int
        Number of its first channel among all channels.
    constant : bool array
    value : int64 array
        Where it is constant.
    """

    first: int
    constant: Mask
    value: IntArray

    @property
    def numbers(self) -> IntArray:
        return np.arange(self.first, self.first + len(self.constant))


def fold(graph: Graph) -> Graph:
    """Drop what is constant, or read by nothing: for every input the outputs stay the same.

    How much that is, is a property of a file: of a network that was trained with pruning, or whose
    channels died, it can be most.

    Parameters
    ----------
    graph : Graph

    Returns
    -------
    Graph
        With fewer channels, and other biases; inputs and outputs as they were.
    """
    while (smaller := _once(graph)) is not graph:
        graph = smaller
    graph.check()
    return graph


def _once(graph: Graph) -> Graph:
    """Return the graph without what can be dropped, or itself.

    What a dropped channel reads may be read by nothing else then.
    """
    known = _constants(graph)
    dropped = _droppable(graph, known)
    if not dropped.any():
        return graph
    moved: dict[Tensor, Tensor] = {}

    def smaller(tensor: Tensor) -> Tensor:
        """Return a tensor without what is dropped."""
        if tensor not in moved:
            kept = ~dropped[known[tensor].numbers] if tensor in known else None
            moved[tensor] = tensor if kept is None or kept.all() else _kept(tensor, kept)
        return moved[tensor]

    operators = []
    for one in graph.operators:
        changed: Any = replace(
            one, inputs=tuple(map(smaller, one.inputs)), output=smaller(one.output)
        )
        if isinstance(one, Conv2D | DepthwiseConv2D | FullyConnected):
            gone = [dropped[known[t].numbers] for t in (one.inputs[0], one.output) if t in known]
            if len(gone) == 2:
                changed = _without(one, changed, known[one.inputs[0]], *gone)
        elif isinstance(one, Reshape):
            changed = replace(changed, target=changed.output.shape)
        operators.append(changed)
    return replace(graph, operators=tuple(operators))


def _kept(tensor: Tensor, kept: Mask) -> Tensor:
    data = tensor.data if tensor.data is None else tensor.data[..., kept]
    return replace(tensor, shape=(*tensor.shape[:-1], int(kept.sum())), data=data)


def _weights(one: ArrayOperator) -> IntArray:
    """Return the weights less their zero point, ``(taps, c_in, c_out)``; c_in is 1 if depthwise."""
    found = one.weights[0].astype(np.int64) - one.weight_zero
    return found.reshape(
        -1, 1 if isinstance(one, DepthwiseConv2D) else found.shape[-2], one.channels
    )


def _aligned(one: FullyConnected) -> bool:
    """Whether the channels of the input are what the weights read."""
    return one.inputs[0].shape[-1] == len(one.weights[0])


def _hidden(one: ArrayOperator, seen: _Channels) -> Mask:
    """Return which channels of the input are constant, and padding does not show."""
    padded = isinstance(one, Convolution) and any(
        amount > 0 for pair in one.window.padding for amount in pair
    )
    return seen.constant & ((seen.value == one.inputs[0].zero_point) | (not padded))


# --- What is constant --------------------------------------------------------------------------


def _constants(graph: Graph) -> dict[Tensor, _Channels]:
    """Return what is known of the channels of every tensor that has some."""
    found: dict[Tensor, _Channels] = {}

    def add(tensor: Tensor, constant: Any = False, value: Any = 0) -> None:
        if tensor in found or not tensor.shape or tensor.real:
            return
        count = tensor.shape[-1]
        first = sum(len(one.constant) for one in found.values())
        found[tensor] = _Channels(
            first, np.broadcast_to(np.asarray(constant, bool), count).copy(),
            np.broadcast_to(np.asarray(value, np.int64), count).copy(),
        )  # fmt: skip

    for tensor in (*graph.inputs, *(t for one in graph.operators for t in one.inputs)):
        if tensor.data is not None and tensor.shape and not tensor.real:
            rows = tensor.data.reshape(-1, tensor.shape[-1])
            add(tensor, (rows == rows[0]).all(0), rows[0])
        elif tensor in graph.inputs:
            add(tensor)
    for one in graph.operators:
        add(one.output, *_of(one, found))
    return found


def _of(one: Operator, known: dict[Tensor, _Channels]) -> tuple[Any, Any]:
    """Return which channels of the output are constant, and their values."""
    if any(tensor not in known for tensor in one.inputs):
        return False, 0
    seen = [known[tensor] for tensor in one.inputs]
    if isinstance(one, Conv2D | DepthwiseConv2D | FullyConnected):
        return _of_weighted(one, seen[0])
    if not _passes(one):
        return False, 0
    if isinstance(one, Function | Pair):
        constant = np.logical_and.reduce(np.broadcast_arrays(*(each.constant for each in seen)))
        return constant, one(*(each.value.astype(np.int8) for each in seen))
    if isinstance(one, Pad):
        return seen[0].constant & (seen[0].value == one.output.zero_point), seen[0].value
    if isinstance(one, Mean):
        # Of a constant any number of elements has the mean that the kernel makes of so many.
        whole = np.broadcast_to(seen[0].value.astype(np.int8), one.inputs[0].shape)
        return seen[0].constant, one(whole).reshape(-1, len(seen[0].value))[0]
    if isinstance(one, AveragePool2D | MaxPool2D):
        return seen[0].constant, np.clip(seen[0].value, *one.limits(one.activation))
    return seen[0].constant, seen[0].value


def _of_weighted(one: ArrayOperator, seen: _Channels) -> tuple[Any, Any]:
    if isinstance(one, FullyConnected) and not _aligned(one):
        return False, 0
    weights, hidden = _weights(one), _hidden(one, seen)
    steps = np.where(hidden, seen.value - one.inputs[0].zero_point, 0)
    if isinstance(one, DepthwiseConv2D):
        hidden, steps = (np.repeat(each, one.multiplier) for each in (hidden, steps))
        constant: Mask = hidden | ~weights.any((0, 1))
        total = weights.sum((0, 1)) * steps
    else:
        constant = np.all(hidden[:, None] | ~weights.any(0), 0)
        total = steps @ weights.sum(0)
    bias = wrap(total + one.bias, 32)
    return constant, one.requantize(bias)


def _passes(one: Operator) -> bool:
    """Whether every channel of the output depends on the same channels of the inputs alone."""
    last = one.output.shape[-1:]
    if isinstance(one, Pair):
        return all(tensor.shape[-1:] == last for tensor in one.inputs)
    if isinstance(one, Pad):
        return one.amounts[-1] == (0, 0)
    if isinstance(one, Mean):
        return len(one.inputs[0].shape) - 1 not in one.axes
    if isinstance(one, Reshape):
        return one.inputs[0].shape[-1:] == last
    return isinstance(one, Function | AveragePool2D | MaxPool2D | Resize) and not any(
        tensor.real for tensor in (*one.inputs, one.output)
    )


# --- What can be dropped -----------------------------------------------------------------------


def _droppable(graph: Graph, known: dict[Tensor, _Channels]) -> Mask:
    """Return which of all channels can be dropped.

    Those that an operator passes on are dropped together, or not.
    """
    total = sum(len(one.constant) for one in known.values())
    parent, needed = list(range(total)), np.zeros(total, bool)

    def keep(*tensors: Tensor) -> None:
        for tensor in tensors:
            if tensor in known:
                needed[known[tensor].numbers] = True

    def root(number: int) -> int:
        while parent[number] != number:
            parent[number] = parent[parent[number]]
            number = parent[number]
        return number

    def join(a: IntArray, b: IntArray) -> None:
        """Put channels in one group, pair by pair."""
        for x, y in zip(a.tolist(), b.tolist(), strict=True):
            parent[root(y)] = root(x)

    keep(*graph.inputs, *graph.outputs)
    for one in graph.operators:
        source, target = known.get(one.inputs[0]), known.get(one.output)
        if source is None or target is None:
            keep(*one.inputs, one.output)
        elif isinstance(one, DepthwiseConv2D):
            join(np.repeat(source.numbers, one.multiplier), target.numbers)
        elif isinstance(one, Conv2D) or (isinstance(one, FullyConnected) and _aligned(one)):
            read = _weights(one).any((0, 2))
            needed[source.numbers[~_hidden(one, source) & read]] = True
        elif _passes(one):
            for tensor in one.inputs:
                join(target.numbers, known[tensor].numbers)
        else:
            keep(*one.inputs, *(() if isinstance(one, FullyConnected) else (one.output,)))
    group = np.array([root(number) for number in range(total)], np.int64)
    wanted = np.zeros(total, bool)
    np.logical_or.at(wanted, group, needed)
    for one_tensor in known.values():  # something is left of every tensor
        groups = group[one_tensor.numbers]
        if not wanted[groups].any():
            wanted[groups[0]] = True
    return ~wanted[group]


def _without(
    one: ArrayOperator, changed: Any, seen: _Channels, gone_in: Mask, gone_out: Mask
) -> ArrayOperator:
    """Return an operator without some channels of its input and of its output."""
    weights, bias, data = _weights(one), one.bias.astype(np.int64), one.weights[0]
    if isinstance(one, DepthwiseConv2D):
        data = data[..., ~gone_out]
    else:
        aligned = not isinstance(one, FullyConnected) or _aligned(one)
        if aligned:
            steps = np.where(_hidden(one, seen), seen.value - one.inputs[0].zero_point, 0)
            bias = bias + np.where(gone_in, steps, 0) @ weights.sum(0)
            data = data[..., ~gone_in, :]
        data = data[..., ~gone_out]
    scales = one.weight_scales
    result: ArrayOperator = replace(
        changed, weights=(np.ascontiguousarray(data),),
        bias=wrap(bias, 32)[~gone_out].astype(np.int32),
        weight_scales=scales if len(scales) == 1 else scales[~gone_out],
    )  # fmt: skip
    return result

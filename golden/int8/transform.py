"""Surgery: FuSe and ABConv layers in place of those that a network has.

The new layers get integer weights by rules that need no data (below). They keep the scales of
their outputs, so the rest of the network stays as it is. Nothing is trained: what the network
says afterwards is exact, but not accurate.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from report.errors import UserError

from ..arith.quant import Int8Array
from ..nets.abconv import expansion
from .array_operators import ABConv2D, ArrayOperator, Conv2D, DepthwiseConv2D, FuseConv2D
from .fold import fold
from .graph import Graph
from .operators import Operator
from .shapes import Concatenation, Reshape
from .tensor import Tensor

__all__ = ["abconv", "fold", "fuse", "quantize_weights", "recognize", "unfit"]

Real = NDArray[np.float64]


def _real(one: ArrayOperator) -> tuple[Real, Real]:
    """Return weights and bias as real numbers."""
    scales = np.broadcast_to(one.weight_scales.astype(np.float64), (one.channels,))
    return (
        one.weights[0].astype(np.float64) - one.weight_zero
    ) * scales, one.bias * scales * one.inputs[0].scale


def quantize_weights(
    weights: Sequence[Real], bias: Real, source: float
) -> tuple[tuple[Int8Array, ...], NDArray[np.float32], NDArray[np.int32]]:
    """Return real weights and bias as integers, with a scale per output channel.

    ``scale = max|w| / 127``, or more where the bias would not fit int32 otherwise.

    Parameters
    ----------
    weights : sequence of float arrays (..., c)
        Their channels end to end are the output channels, over and over if bias is longer.
    bias : float array (c_out,)
    source : float
        Scale of the input.
    """
    most = np.concatenate([np.abs(w).max(tuple(range(w.ndim - 1))) for w in weights])
    blocks = len(bias) // len(most)
    room = np.abs(bias).reshape(blocks, -1).max(0) / (source * 2.0**30)
    found = np.maximum(most / 127, room)
    # A channel that is nothing but zeros takes any scale.
    scales = np.where(found > 0, found, 1.0).astype(np.float32)
    parts = np.split(scales.astype(np.float64), np.cumsum([w.shape[-1] for w in weights])[:-1])
    integers = tuple(
        np.clip(np.rint(w / part), -127, 127).astype(np.int8)
        for w, part in zip(weights, parts, strict=True)
    )
    every = np.tile(scales, blocks)
    return integers, every, np.rint(bias / (every * np.float64(source))).astype(np.int32)


def _rebuild(graph: Graph, change: Callable[[Operator], list[Operator]]) -> Graph:
    """Return the graph with every operator changed to some, the last of which has its output."""
    moved: dict[Tensor, Tensor] = {}
    operators: list[Operator] = []
    for index, one in enumerate(graph.operators):
        inputs = tuple(moved.get(tensor, tensor) for tensor in one.inputs)
        try:
            found = change(replace(one, inputs=inputs))
        except UserError as error:
            raise UserError(f"operator {index} ({one.kind}): {error}") from None
        moved[one.output] = found[-1].output
        operators += found
    outputs = tuple(moved.get(tensor, tensor) for tensor in graph.outputs)
    changed = replace(graph, outputs=outputs, operators=tuple(operators))
    try:
        changed.check()
    except UserError as error:
        raise UserError(f"the changed network: {error}") from None
    return changed


def fuse(graph: Graph, variant: str) -> Graph:
    """Replace every depthwise convolution by FuSeConv.

    A row filter is the sum of the kernel's rows, ``r[v] = sum_u K[u, v]``, in the middle row; a
    column filter ``c[u] = sum_v K[u, v]``. Of all filters of their shape they are the best where
    the image does not change across the filter: there they give what the kernel gives.

    ``"half"``: row filters on the first half of the channels, column filters on the second.
    ``"full"``: both on all channels, twice as many results, each an estimate of what there was
    before. The convolutions that read them take the mean: their weights twice, each half as large.

    What does not fit stays as it is; `unfit` says which, and why.

    Parameters
    ----------
    graph : Graph
    variant : str
        ``"half"`` or ``"full"``.

    Raises
    ------
    UserError
        If no depthwise convolution can be replaced.
    """
    left = unfit(graph, variant)
    every = [
        (name, one.output)
        for name, one in zip(graph.names, graph.operators, strict=True)
        if isinstance(one, DepthwiseConv2D)
    ]
    if not every:
        raise UserError("there is no depthwise convolution to replace")
    chosen = {output for name, output in every if name not in left}
    if not chosen:
        reasons = "; ".join(f"{name}: {why}" for name, why in list(left.items())[:3])
        raise UserError(f"no depthwise convolution can be replaced by FuSe {variant}: {reasons}")
    doubled: set[Tensor] = set()

    def change(one: Operator) -> list[Operator]:
        if isinstance(one, Conv2D) and one.inputs[0] in doubled:
            return [_mean_of_two(one)]
        if not isinstance(one, DepthwiseConv2D) or one.output not in chosen:
            return [one]
        fused = _fused(one, variant)
        if variant == "full":
            doubled.add(fused.output)
        return [fused]

    return _rebuild(graph, change)


def unfit(graph: Graph, variant: str) -> dict[str, str]:
    """Return the depthwise convolutions that `fuse` leaves as they are, and why, by name.

    A kernel that is not square has no FuSe layer; ``"half"`` needs an even number of channels, and
    the results of ``"full"``, twice as many, can be read by convolutions only.

    Parameters
    ----------
    graph : Graph
    variant : str
        ``"half"`` or ``"full"``.
    """
    if variant not in ("half", "full"):
        raise UserError(f"variant must be 'half' or 'full', not {variant!r}")
    readers: dict[Tensor, set[str]] = {}
    for one in graph.operators:
        for tensor in one.inputs:
            readers.setdefault(tensor, set()).add(one.kind)
    found = {}
    for name, one in zip(graph.names, graph.operators, strict=True):
        if not isinstance(one, DepthwiseConv2D):
            continue
        others = sorted(readers.get(one.output, set()) - {"CONV_2D"})
        if one.kernel[0] != one.kernel[1]:
            found[name] = f"its kernel is {one.kernel[0]}x{one.kernel[1]}, not square"
        elif variant == "half" and one.channels % 2:
            found[name] = f"{one.channels} channels are odd"
        elif variant == "full" and one.output in graph.outputs:
            found[name] = "it is the network's output"
        elif variant == "full" and others:
            found[name] = f"{', '.join(others)} reads it"
    return found


def _fused(one: DepthwiseConv2D, variant: str) -> FuseConv2D:
    kernel, bias = _real(one)
    rows, columns = kernel.sum(0, keepdims=True), kernel.sum(1, keepdims=True)
    if variant == "half":
        half = one.channels // 2
        rows, columns = rows[..., :half], columns[..., half:]
        output = one.output
    else:
        bias = np.tile(bias, 2)
        shape = (*one.output.shape[:-1], 2 * one.channels)
        output = replace(one.output, shape=shape)
    weights, scales, integers = quantize_weights((rows, columns), bias, one.inputs[0].scale)
    return FuseConv2D(
        inputs=one.inputs, output=output, weights=weights, weight_scales=scales, bias=integers,
        activation=one.activation, stride=one.stride, padding=one.padding, variant=variant,
    )  # fmt: skip


def _mean_of_two(one: Conv2D) -> Conv2D:
    """Return a convolution that reads every input channel twice, and takes the mean."""
    weights, bias = _real(one)
    both = np.concatenate([weights, weights], axis=2) / 2
    integers, scales, bias_integers = quantize_weights((both,), bias, one.inputs[0].scale)
    return replace(one, weights=integers, weight_scales=scales, bias=bias_integers, weight_zero=0)


def abconv(graph: Graph, groups: int, *, expand: bool = False) -> Graph:
    """Replace every 1 x 1 convolution whose channels `groups` divides by ABConv.

    The shared weights are the mean of the diagonal blocks, ``w = sum_j W[j, j] / g``: of all w
    the one with ``kron(I_g, w)`` nearest to W (least squares). What W has beside the diagonal
    blocks is lost.

    With `expand` (ABConv-exp), w becomes two factors with `golden.abconv.expansion` channels
    between them, the nearest product of that rank (singular values, half of each on either
    side). The channels between are not activated, and scaled so that none can saturate.

    Parameters
    ----------
    graph : Graph
    groups : int
        g, at least 2.
    expand : bool

    Raises
    ------
    UserError
        If groups is less than 2, or divides the channels of no 1 x 1 convolution.
    """
    if isinstance(groups, bool) or not hasattr(groups, "__index__"):
        raise TypeError(f"groups must be an integer of at least 2, not {groups!r}")
    if groups < 2:
        raise UserError(f"groups must be an integer of at least 2, not {groups}")

    def eligible(one: Operator) -> bool:
        return (
            isinstance(one, Conv2D)
            and one.kernel == (1, 1)
            and not any(size % groups for size in one.weights[0].shape[2:])
        )

    if not any(map(eligible, graph.operators)):
        raise UserError(f"no 1x1 convolution has channels that {groups} groups divide")

    def change(one: Operator) -> list[Operator]:
        if not isinstance(one, Conv2D) or not eligible(one):
            return [one]
        return _shared(one, groups, expand)

    return _rebuild(graph, change)


def _shared(one: Conv2D, groups: int, expand: bool) -> list[Operator]:
    weights, bias = _real(one)
    c_in, c_out = weights.shape[2:]
    blocks = weights[0, 0].reshape(groups, c_in // groups, groups, c_out // groups)
    shared = np.mean([blocks[j, :, j] for j in range(groups)], axis=0)
    source, made = one.inputs[0], []
    common: dict[str, Any] = {"groups": groups}
    if expand:
        middle = expansion(c_in, c_out, 1)
        first, shared = _factors(shared, middle, source)
        # Every channel between reaches from -1 to 1.
        between = Tensor(
            name=f"{one.output.name}/expand",
            shape=(*source.shape[:-1], groups * middle),
            scale=float(np.float32(1 / 127)),
            zero_point=0,
        )
        zeros = np.zeros(groups * middle)
        integers, scales, zero = quantize_weights((first[None, None],), zeros, source.scale)
        made.append(
            ABConv2D(
                inputs=one.inputs,
                output=between,
                weights=integers,
                weight_scales=scales,
                bias=zero,
                **common,
            )  # fmt: skip
        )
        source = between
    integers, scales, bias_integers = quantize_weights((shared[None, None],), bias, source.scale)
    last = ABConv2D(
        inputs=(source,), output=one.output, weights=integers, weight_scales=scales,
        bias=bias_integers, activation=one.activation, stride=one.stride, padding=one.padding,
        **common,
    )  # fmt: skip
    return [*made, last]


def _factors(w: Real, rank: int, source: Tensor) -> tuple[Real, Real]:
    """Return ``first (c_in, rank) @ second (rank, c_out)`` nearest to w.

    No input can take a channel between them beyond 1 in magnitude. Channels beyond the rank of w
    are zeros.
    """
    left, values, right = np.linalg.svd(w, full_matrices=False)
    used = min(rank, len(values))
    # The sign of a singular vector is anyone's guess: make the largest element positive.
    largest = np.abs(left).argmax(0)
    signs = np.where(left[largest, np.arange(left.shape[1])] < 0, -1.0, 1.0)
    root = np.sqrt(values[:used])
    first = np.zeros((w.shape[0], rank))
    second = np.zeros((rank, w.shape[1]))
    first[:, :used] = (left * signs)[:, :used] * root
    second[:used] = ((right.T * signs).T)[:used] * root[:, None]
    low, high = (source.scale * (q - source.zero_point) for q in (-128, 127))
    reach = np.maximum(
        np.maximum(first * low, first * high).sum(0), -np.minimum(first * low, first * high).sum(0)
    )
    reach = np.where(reach > 0, reach, 1.0)
    return first / reach, second * reach[:, None]


def recognize(graph: Graph) -> Graph:
    """Return the network with FuSe and ABConv layers where operators compute just that.

    A DEPTHWISE_CONV_2D whose kernels are zero but for the middle row (first half of the channels)
    or the middle column (second half) is FuSe half; a CONCATENATION of one with row filters and one
    with column filters, on the same input, FuSe full; RESHAPE, 1 x 1 CONV_2D, RESHAPE, by which
    blocks of channels are pixels, ABConv. That is how `golden.int8.writer.to_tflite` writes them.
    Every output is the same, bit for bit.
    """
    makers = {one.output: one for one in graph.operators}
    readers: dict[Tensor, int] = dict.fromkeys(graph.outputs, 1)
    for one in graph.operators:
        for tensor in one.inputs:
            readers[tensor] = readers.get(tensor, 0) + 1
    found: dict[Operator, Operator] = {}
    gone: set[Operator] = set()
    for one in graph.operators:
        before = [makers.get(tensor) for tensor in one.inputs]
        private = all(readers[tensor] == 1 for tensor in one.inputs)
        if isinstance(one, DepthwiseConv2D) and (fused := _unmasked(one)):
            found[one] = fused
        elif isinstance(one, Concatenation) and private and (fused := _joined(one, before)):
            found[one] = fused
            gone.update(part for part in before if part)
        elif isinstance(one, Reshape) and private and isinstance(before[0], Conv2D):
            conv, first = before[0], makers.get(before[0].inputs[0])
            if isinstance(first, Reshape) and readers[conv.inputs[0]] == 1:
                shared = _blocked(first, conv, one)
                if shared:
                    found[one] = shared
                    gone |= {first, conv}
    operators = tuple(found.get(one, one) for one in graph.operators if one not in gone)
    return replace(graph, operators=operators) if found else graph


def _filters(one: DepthwiseConv2D, rows: slice, columns: slice) -> tuple[Int8Array, ...] | None:
    """Return row and column filters of some channels, if their kernels are zero elsewhere."""
    (k, width), kernel = one.kernel, one.weights[0]
    if k != width or k < 2 or one.weight_zero or one.dilation != (1, 1):
        return None
    around = np.arange(k) != k // 2
    if kernel[around][..., rows].any() or kernel[:, around][..., columns].any():
        return None
    return kernel[k // 2][None, :, rows], kernel[:, k // 2][:, None, columns]


def _fuse_of(
    one: DepthwiseConv2D, weights: Sequence[Int8Array], variant: str, **changed: Any
) -> FuseConv2D:
    common: dict[str, Any] = {
        "output": one.output, "weight_scales": one.weight_scales, "bias": one.bias
    } | changed  # fmt: skip
    return FuseConv2D(
        inputs=one.inputs, weights=tuple(map(np.ascontiguousarray, weights)),
        activation=one.activation, stride=one.stride, padding=one.padding, variant=variant,
        **common,
    )  # fmt: skip


def _unmasked(one: DepthwiseConv2D) -> FuseConv2D | None:
    """Return a depthwise convolution as FuSe half, if it is that."""
    half, odd = divmod(one.channels, 2)
    weights = _filters(one, slice(half), slice(half, None))
    return None if odd or weights is None else _fuse_of(one, weights, "half")


def _joined(one: Concatenation, parts: Sequence[Operator | None]) -> FuseConv2D | None:
    """Return two depthwise convolutions end to end as FuSe full, if they are that."""
    if len(parts) != 2 or one.axis not in (3, -1):
        return None
    first, second = parts
    if not (isinstance(first, DepthwiseConv2D) and isinstance(second, DepthwiseConv2D)):
        return None
    every, none = slice(None), slice(0)
    rows, columns = _filters(first, every, none), _filters(second, none, every)
    alike = [
        (part.inputs, part.activation, part.stride, part.padding, part.kernel, part.channels)
        for part in (first, second)
    ]
    if rows is None or columns is None or alike[0] != alike[1]:
        return None
    quantized = {part.output.quantization for part in (first, second)} | {one.output.quantization}
    if len(quantized) > 1:
        return None
    scales = [np.broadcast_to(p.weight_scales, (p.channels,)) for p in (first, second)]
    return _fuse_of(
        first, (rows[0], columns[1]), "full", output=one.output,
        weight_scales=np.concatenate(scales), bias=np.concatenate([first.bias, second.bias]),
    )  # fmt: skip


def _blocked(first: Reshape, conv: Conv2D, last: Reshape) -> ABConv2D | None:
    """Return a convolution between two reshapes as ABConv, if it is that."""
    source, target = first.inputs[0], last.output
    if len(source.shape) != 4 or len(target.shape) != 4 or conv.kernel != (1, 1):
        return None
    groups = source.shape[3] // conv.weights[0].shape[2]
    _, h, w, c = source.shape
    if groups < 2 or conv.stride != (1, 1) or conv.weight_zero:
        return None
    if conv.inputs[0].shape != (1, h, w * groups, c // groups):
        return None
    if target.shape != (1, h, w, groups * conv.channels):
        return None
    pairs = ((source, conv.inputs[0]), (conv.output, target))
    if any(a.quantization != b.quantization for a, b in pairs):
        return None
    return ABConv2D(
        inputs=(source,), output=target, weights=conv.weights, groups=groups,
        weight_scales=np.resize(conv.weight_scales, groups * conv.channels)
        if len(conv.weight_scales) > 1 else conv.weight_scales,
        bias=np.tile(conv.bias, groups), activation=conv.activation, padding=conv.padding,
    )  # fmt: skip

"""From a trained network to `golden.int8.graph.Graph`, by the formulas of the int8 reference.

Activations are quantized per tensor, between the least and the greatest value on some training
pictures, zero among them; weights per channel, symmetric, as
`golden.int8.transform.quantize_weights` does it; biases are int32 in units of
``input scale * weight scale``.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from golden.arith.window import Window
from golden.int8.array_operators import (
    ABConv2D,
    ArrayOperator,
    Conv2D,
    DepthwiseConv2D,
    FuseConv2D,
)
from golden.int8.elementwise import Add, HardSwish, Mul
from golden.int8.graph import Graph
from golden.int8.operators import Operator as GoldenOperator
from golden.int8.pools import MaxPool2D, Mean
from golden.int8.shapes import Reshape
from golden.int8.tensor import Tensor
from golden.int8.transform import quantize_weights
from report.errors import UserError

from .data import Pictures, as_input
from .networks import Net, Step
from .operators import FuseConv2d

__all__ = [
    "CALIBRATION",
    "INPUT_SCALE",
    "RELU6_RANGE",
    "Range",
    "calibrate",
    "quantization",
    "to_graph",
]

#: Pictures from which ranges of activations are taken.
CALIBRATION = 512

#: An int8 input is ``pixel - 128``.
INPUT_SCALE = 1 / 128


@dataclass(frozen=True)
class Range:
    """What an activation reaches.

    Parameters
    ----------
    low, high : float
    """

    low: float
    high: float

    @property
    def quantization(self) -> tuple[float, int]:
        """Scale, a float32 value, and zero point: both ends, and zero exactly, are in int8."""
        low, high = min(self.low, 0.0), max(self.high, 0.0)
        scale = float(np.float32((high - low) / 255)) if high > low else 1.0
        return scale, int(np.clip(np.rint(-128 - low / scale), -128, 127))


#: What is between the two operators that a hard sigmoid is written as.
RELU6_RANGE = Range(0, 6)


@torch.no_grad()
def calibrate(net: Net, pictures: Pictures, count: int = CALIBRATION) -> list[Range]:
    """Return what the result of every step reaches on some pictures, drawn at random."""
    net.eval()
    low = [np.inf] * len(net.steps)
    high = [-np.inf] * len(net.steps)
    some = pictures.sample(count)
    for first in range(0, len(some), 128):
        x = as_input(some.pixels[first : first + 128])
        for index, y in enumerate(net.run(x)):
            low[index] = min(low[index], float(y.min()))
            high[index] = max(high[index], float(y.max()))
    return [Range(a, b) for a, b in zip(low, high, strict=True)]


def quantization(steps: Sequence[Step], ranges: Sequence[Range], index: int) -> tuple[float, int]:
    """Return scale and zero point of the result of a step; those of the input for -1.

    A mean and a pool have those of what they read; a hard sigmoid is from 0 to 1.
    """
    if index < 0:
        return INPUT_SCALE, 0
    step = steps[index]
    if step.kind in ("mean", "pool"):
        return quantization(steps, ranges, step.sources[0])
    if step.activation == "HARD_SIGMOID":
        return Range(0, 1).quantization
    return ranges[index].quantization


def to_graph(net: Net, ranges: Sequence[Range]) -> Graph:
    """Return a network as an int8 graph.

    Parameters
    ----------
    net : Net
        Without normalizations (`Net.absorbed`).
    ranges : sequence of Range
        Of the result of every step.

    Raises
    ------
    UserError
        If the network has what int8 graphs have not.
    """
    return _Export(net, ranges).graph


class _Export:
    def __init__(self, net: Net, ranges: Sequence[Range]) -> None:
        size = net.network.size
        self.net = net
        self.operators: list[GoldenOperator] = []
        self.values = [
            Tensor(name="pictures", shape=(1, *size, 3), scale=INPUT_SCALE, zero_point=0)
        ]
        for index, step in enumerate(net.steps):
            self.values.append(self.step(step, quantization(net.steps, ranges, index)))
        last = self.values[-1]
        flat = Tensor(
            name="logits", shape=(1, last.shape[-1]), scale=last.scale, zero_point=last.zero_point
        )
        self.operators.append(Reshape(inputs=(last,), output=flat, target=flat.shape))
        self.graph = Graph(
            inputs=(self.values[0],), outputs=(flat,), operators=tuple(self.operators)
        )
        self.graph.check()

    def tensor(self, name: str, shape: Sequence[int], quantization: tuple[float, int]) -> Tensor:
        return Tensor(
            name=name, shape=(1, *shape), scale=quantization[0], zero_point=quantization[1]
        )

    def append(self, one: GoldenOperator) -> Tensor:
        self.operators.append(one)
        return one.output

    def step(self, step: Step, quantization: tuple[float, int]) -> Tensor:
        """Add the operators of a step; return its result."""
        sources = tuple(self.values[index + 1] for index in step.sources)
        first, name = sources[0], step.layer or f"{step.kind}{len(self.operators)}"
        if step.kind == "layer":
            return self.layer(step, first, quantization)
        if step.kind == "mean":
            output = self.tensor(name, (1, 1, first.shape[3]), quantization)
            return self.append(Mean(inputs=sources, output=output, axes=(1, 2), keep_dims=True))
        if step.kind == "pool":
            size = [-(-n // 2) for n in first.shape[1:3]]
            output = self.tensor(name, (*size, first.shape[3]), quantization)
            return self.append(MaxPool2D(inputs=sources, output=output, size=(3, 3), stride=(2, 2)))
        if step.kind == "activation":
            return self.activation(step, first, quantization)
        output = self.tensor(name, first.shape[1:], quantization)
        kind = Add if step.kind == "add" else Mul
        return self.append(kind(inputs=sources, output=output, activation=step.activation))

    def activation(self, step: Step, source: Tensor, quantization: tuple[float, int]) -> Tensor:
        """Add an activation that cannot be fused."""
        shape = source.shape[1:]
        name = f"{source.name}/{step.activation.lower()}"
        if step.activation == "HARD_SWISH":
            output = self.tensor(name, shape, quantization)
            return self.append(HardSwish(inputs=(source,), output=output))
        # A hard sigmoid: relu6(x + 3) / 6.
        three, sixth = (
            Tensor(
                name=f"{name}/{what}", shape=(1, 1, 1, 1), scale=float(np.float32(value / 127)),
                data=np.full((1, 1, 1, 1), 127, np.int8),
            )
            for what, value in (("three", 3.0), ("sixth", 1 / 6))
        )  # fmt: skip
        moved = self.append(
            Add(
                inputs=(source, three), activation="RELU6",
                output=self.tensor(f"{name}/sum", shape, RELU6_RANGE.quantization),
            )
        )  # fmt: skip
        output = self.tensor(name, shape, quantization)
        return self.append(Mul(inputs=(moved, sixth), output=output))

    def layer(self, step: Step, source: Tensor, quantization: tuple[float, int]) -> Tensor:
        """Add a layer."""
        unit = self.net.layer(step.layer)
        if unit.norm is not None:
            raise UserError(f"{step.layer} has a normalization")
        one, work = unit.operator, unit.operator.work
        window = work.window
        if window != Window.of(window.size, window.kernel, window.stride, "same"):
            raise UserError(f"{step.layer} must be padded as 'same', not by {window.padding}")
        bias = np.zeros(work.c_out) if one.bias is None else one.bias.detach().double().numpy()
        bias = np.tile(bias, work.c_out // len(bias))
        kernel = one.kernel().detach().double().numpy()
        more: dict[str, Any] = {"stride": work.window.stride}
        kind: type[ArrayOperator]
        parts: tuple[NDArray[np.float64], ...]
        if work.fused:
            assert isinstance(one, FuseConv2d)
            rows, columns = (part.detach().double().numpy().T for part in (one.rows, one.columns))
            kind, parts = FuseConv2D, (rows[None], columns[:, None])
            more["variant"] = work.kind.removeprefix("fuse_")
        elif work.kind == "depthwise":
            kind, parts = DepthwiseConv2D, (kernel[:, 0].transpose(1, 2, 0),)
        else:
            if work.kind == "linear":
                kernel = kernel[:, :, None, None]
            kind, parts = Conv2D, (kernel.transpose(2, 3, 1, 0),)
            if work.kind == "abconv":
                kind, more["groups"] = ABConv2D, work.groups
        weights, scales, integers = quantize_weights(parts, bias, source.scale)
        of: dict[str, Any] = {
            "inputs": (source,), "weights": weights, "weight_scales": scales, "bias": integers,
            "padding": "same", **more,
        }  # fmt: skip
        output = self.tensor(step.layer, (*work.output, work.c_out), quantization)
        return self.append(kind(output=output, activation=step.activation, **of))

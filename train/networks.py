"""Networks to train, from the layer records of `golden.nets.networks`.

A network is a program: a list of steps, each a layer of the records, or what stands between them.
Training, quantization and export all read the same program.
"""

from __future__ import annotations

import copy
import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from itertools import groupby
from typing import cast

import torch
from torch import nn
from torch.nn import functional

from golden.nets.layers import Layer, Network
from report.errors import UserError

from .operators import (
    ABConv2d,
    DepthwiseConv2d,
    FuseConv2d,
    Operator,
    ScaffoldedConv2d,
    operator,
)

__all__ = ["ACTIVATIONS", "FUSED", "Net", "Step", "Unit", "program", "transfer"]

#: Activations by their names in TensorFlow Lite; those of `FUSED` can be part of another operator.
ACTIVATIONS: dict[str, Callable[[torch.Tensor], torch.Tensor]] = {
    "NONE": lambda x: x,
    "RELU": lambda x: functional.relu(x, inplace=True),
    "RELU6": lambda x: functional.relu6(x, inplace=True),
    "HARD_SWISH": lambda x: functional.hardswish(x, inplace=True),
    "HARD_SIGMOID": lambda x: functional.hardsigmoid(x, inplace=True),
}


FUSED = ("NONE", "RELU", "RELU6")


@dataclass(frozen=True)
class Step:
    """One step of a network.

    Parameters
    ----------
    kind : str
        ``layer``; ``add``; ``multiply`` (by one number per channel); ``mean`` (over the image);
        ``pool`` (3 x 3 maximum with stride 2); ``activation``.
    sources : tuple of int
        Steps whose results it takes, -1 the network's input.
    layer : str
        Name of the layer.
    activation : str
        One of `ACTIVATIONS`, on its result; of steps of another kind than ``activation`` one of
        `FUSED`.
    """

    kind: str
    sources: tuple[int, ...]
    layer: str = ""
    activation: str = "NONE"


def _activation(network: Network, block: int, part: str) -> str:
    """Return the activation after a part of a block, 0 for what is in none."""
    family = network.name.removesuffix("_cifar100")
    if part in ("project", "conv3", "shortcut", "classifier"):
        return "NONE"
    if part == "squeeze":
        return "RELU"
    if part == "excite":
        return "HARD_SIGMOID"
    if family in ("mobilenet_v1", "mobilenet_v2"):
        return "RELU6"
    if family.startswith("mobilenet_v3"):
        first = 4 if family.endswith("small") else 7
        return "HARD_SWISH" if block == 0 or block >= first else "RELU"
    return "RELU"


def _shapes(layers: Sequence[Layer]) -> tuple[tuple[int, ...], tuple[int, ...]]:
    """Return the shape that goes into some layers, and the one that comes out."""
    first, last = layers[0].workload, layers[-1].workload
    return (*first.window.size, first.c_in), (*last.output, last.c_out)


def program(network: Network) -> list[Step]:
    """Return the steps of a network."""
    steps: list[Step] = []

    def step(kind: str, *sources: int, layer: str = "", activation: str = "NONE") -> int:
        fused = activation in FUSED
        steps.append(Step(kind, sources, layer, activation if fused else "NONE"))
        if not fused:
            steps.append(Step("activation", (len(steps) - 1,), activation=activation))
        return len(steps) - 1

    here = -1
    pooled = False
    for top, group in groupby(network.layers, lambda layer: layer.name.split(".")[0]):
        layers = list(group)
        block = int(top.removeprefix("block")) if top.startswith("block") else 0
        start = here
        last = "NONE"
        shortcut = None
        for layer in layers:
            words = layer.name.split(".")
            part = top if not block else words[-1] if words[-1] == "expand" else words[1]
            activation = _activation(network, block, part)
            if layer.workload.kind == "linear" and not pooled and part != "excite":
                flat = step("mean", here)
                if part == "squeeze":
                    spread, here = here, flat
                else:
                    here, pooled = flat, True
            if part == "shortcut":
                shortcut = step("layer", start, layer=layer.name)
                continue
            here = step("layer", here, layer=layer.name, activation=activation)
            if part == "excite":
                here = step("multiply", spread, here)
        parts = [layer.name.split(".")[-1] for layer in layers]
        if "conv3" in parts:
            last = "RELU"
            here = step("add", here, start if shortcut is None else shortcut, activation=last)
        elif parts[-1] == "project" and len(set(_shapes(layers))) == 1:
            here = step("add", here, start)
        if top == "stem" and network.name == "resnet50":
            here = step("pool", here)
    return steps


class Unit(nn.Module):
    """A layer: its operator, and the normalization after it.

    Parameters
    ----------
    layer : Layer
    scaffold : str
        What the adapters of a scaffolded depthwise convolution begin as; plain if empty.

    Notes
    -----
    The normalization of an ABConv layer is over the c_out/g channels of its shared kernel, and so
    shared by its blocks, as its weights are: that is what a TensorFlow Lite CONV_2D between two
    RESHAPEs can say. The papers' is over c_out.
    """

    def __init__(self, layer: Layer, scaffold: str = "") -> None:
        super().__init__()
        work = layer.workload
        self.operator: Operator = (
            ScaffoldedConv2d(work, scaffold)
            if scaffold and work.kind == "depthwise"
            else operator(work)
        )
        self.groups = work.groups
        self.norm = nn.BatchNorm2d(work.c_out // work.groups, eps=1e-3) if layer.norm else None

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Return the normalized result of the operator."""
        x = self.operator(x)
        if self.norm is None:
            return x
        if self.groups == 1:
            return cast(torch.Tensor, self.norm(x))
        n, c, h, w = x.shape
        blocks: torch.Tensor = self.norm(x.reshape(n * self.groups, c // self.groups, h, w))
        return blocks.reshape(n, c, h, w)

    def absorb(self) -> None:
        """Make the normalization, with its statistics as they are, part of the operator."""
        if self.norm is not None:
            mean, variance = self.norm.running_mean, self.norm.running_var
            assert mean is not None and variance is not None
            scale = self.norm.weight * (variance + self.norm.eps).rsqrt()
            self.operator.absorb(scale, self.norm.bias - mean * scale)
            self.norm = None


class Net(nn.Module):
    """A network to train.

    Parameters
    ----------
    network : Network
    scaffold : str
        As of `Unit`, for every depthwise convolution.
    """

    def __init__(self, network: Network, scaffold: str = "") -> None:
        super().__init__()
        self.network = network
        self.steps = program(network)
        self.units = nn.ModuleDict(
            {_key(layer.name): Unit(layer, scaffold) for layer in network.layers}
        )

    def layer(self, name: str) -> Unit:
        """Return the unit of a layer."""
        return cast(Unit, self.units[_key(name)])

    @property
    def scaffolds(self) -> list[ScaffoldedConv2d]:
        """The scaffolded convolutions, in order."""
        return [one for one in self.modules() if isinstance(one, ScaffoldedConv2d)]

    def fuse(self, chosen: Sequence[bool]) -> None:
        """Say which of the scaffolded convolutions are FuSe half from now on."""
        for one, fused in zip(self.scaffolds, chosen, strict=True):
            one.fused = fused

    def absorbed(self) -> Net:
        """Return the network without normalizations: what they do is in weights and biases."""
        net = copy.deepcopy(self).eval()
        for one in net.units.values():
            cast(Unit, one).absorb()
        return net

    def run(self, x: torch.Tensor) -> Iterator[torch.Tensor]:
        """Yield the result of every step."""
        values: list[torch.Tensor] = []
        for step in self.steps:
            sources = [x if index < 0 else values[index] for index in step.sources]
            values.append(self.result(step, sources))
            yield values[-1]

    def result(self, step: Step, sources: Sequence[torch.Tensor]) -> torch.Tensor:
        """Return the result of one step."""
        if step.kind == "layer":
            y = self.layer(step.layer)(sources[0])
        elif step.kind == "add":
            y = sources[0] + sources[1]
        elif step.kind == "multiply":
            y = sources[0] * sources[1][:, :, None, None]
        elif step.kind == "mean":
            y = sources[0].mean((2, 3))
        elif step.kind == "pool":
            x = sources[0]
            margin = (x.shape[3] % 2, 1, x.shape[2] % 2, 1)  # that of TensorFlow's SAME
            y = functional.max_pool2d(functional.pad(x, margin, value=-math.inf), 3, 2)
        else:
            y = sources[0]
        return ACTIVATIONS[step.activation](y)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Return the logits ``(batch, classes)`` of pictures ``(batch, 3, h, w)``."""
        for y in self.run(x):  # noqa: B007 the last is the result
            pass
        return y


def _key(name: str) -> str:
    return name.replace(".", "_")


@torch.no_grad()
def transfer(source: Net, target: Net) -> None:
    """Give a network the weights of another one of the same shape.

    A FuSe half layer gets the filters of a scaffolded depthwise convolution, or the middle rows and
    columns of a plain one; a scaffolded one gets the weights of a plain one. ABConv layers in place
    of a convolution keep the fresh weights that they have.

    Raises
    ------
    UserError
        If a layer of the target has no counterpart.
    """
    for layer in target.network.layers:
        unit = target.layer(layer.name)
        name = _key(layer.name)
        others = (name, name.replace("_fuse", "_depthwise"))
        found = next((source.units[one] for one in others if one in source.units), None)
        new, old = unit.operator, None if found is None else cast(Unit, found).operator
        if isinstance(new, ABConv2d) and not isinstance(old, ABConv2d):
            continue
        if isinstance(new, FuseConv2d) and isinstance(old, DepthwiseConv2d):
            middle = old.work.window.kernel[0] // 2
            rows, columns = (
                old.filters()
                if isinstance(old, ScaffoldedConv2d)
                else (
                    old.weight[: len(new.rows), 0, middle],
                    old.weight[len(new.rows) :, 0, :, middle],
                )
            )
            weights = {"rows": rows, "columns": columns}
        elif isinstance(new, ScaffoldedConv2d) and type(old) is DepthwiseConv2d:
            weights = new.state_dict() | old.state_dict()
        elif type(new) is DepthwiseConv2d and isinstance(old, DepthwiseConv2d):
            weights = {"weight": old.weight}
        elif old is not None and type(new) is type(old):
            weights = old.state_dict()
        else:
            raise UserError(f"{layer.name} has no counterpart in the network to start from")
        norm = cast(Unit, found).norm
        try:
            new.load_state_dict(weights)
            if unit.norm is not None and norm is not None:
                unit.norm.load_state_dict(norm.state_dict())
        except RuntimeError:
            raise UserError(
                f"{layer.name} has another shape than in the network to start from"
            ) from None

"""A network as a list of layers: workloads with names, and what is stored beside the weights."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import asdict, dataclass
from typing import Any

from hw.config import ArrayConfig
from report.errors import UserError

from ..arith.wrap import sum_width
from ..workload import Workload

__all__ = ["Layer", "Network", "check_int8", "check_widths"]


@dataclass(frozen=True, kw_only=True)
class Layer:
    """One layer with multiply-accumulates.

    Parameters
    ----------
    name : str
        Such as ``block3.depthwise``.
    workload : Workload
    bias : int
        Biases.
    norm : int
        Channels of the batch normalization that follows, 0 for none.
    acc_width : int, optional
        Bits that hold every sum, of a layer of an int8 model: its weights are known.
    """

    name: str
    workload: Workload
    bias: int = 0
    norm: int = 0
    acc_width: int | None = None

    @property
    def parameters(self) -> int:
        """Trained parameters: weights, biases, scale and shift of the normalization."""
        return self.workload.weights + self.bias + 2 * self.norm

    @property
    def statistics(self) -> int:
        """Stored means and variances of the normalization."""
        return 2 * self.norm

    def to_dict(self) -> dict[str, Any]:
        """Return everything as plain data."""
        work = self.workload
        return {
            "layer": self.name, "kind": work.kind, **asdict(work.window), "output": work.output,
            "c_in": work.c_in, "c_out": work.c_out, "groups": work.groups, "batch": work.batch,
            "operator": str(work), "bias": self.bias, "norm": self.norm,
        }  # fmt: skip


def check_int8(config: ArrayConfig) -> None:
    """Refuse, with a `UserError`, operands that int8 values do not fit."""
    for name, width in (("act", config.act_width), ("weight", config.weight_width)):
        if width < 8:
            raise UserError(f"--{name}-width must be at least 8 for int8 models, not {width}")


def check_widths(layers: Iterable[Layer], config: ArrayConfig) -> None:
    """Refuse accumulators that the worst operands of a layer would overflow.

    Weights that are not known all count as ``-2**(weight_width - 1)``; those that are known are
    int8, and must fit the operands.

    Raises
    ------
    UserError
        With the layer and the bits that its sums need.
    """
    for layer in layers:
        if layer.acc_width:
            check_int8(config)
        depth = layer.workload.depth
        least = layer.acc_width or sum_width(depth << config.weight_width - 1, config.act_width)
        if least > config.acc_width:
            case = "" if layer.acc_width else " in the worst case"
            hint = "" if layer.acc_width else " (fewer for known weights, as in a .tflite)"
            raise UserError(
                f"{layer.name}: sums of {depth} products need {least} bits{case}, and accumulators "
                f"have {config.acc_width}{hint}"
            )


@dataclass(frozen=True, kw_only=True)
class Network:
    """A network: its layers with multiply-accumulates, in order.

    Parameters
    ----------
    name, variant : str
    size : tuple of int
        Of the input, without channels: height and width of an image.
    layers : tuple of Layer
    unused : int
        Parameters that the published model holds and never uses.
    """

    name: str
    variant: str
    size: tuple[int, ...]
    layers: tuple[Layer, ...]
    unused: int = 0

    @property
    def title(self) -> str:
        """What it is, as in ``mobilenet_v2, half, 224 x 224``."""
        words = (self.name, self.variant, " x ".join(map(str, self.size)))
        return ", ".join(word for word in words if word)

    @property
    def macs(self) -> int:
        """Multiply-accumulates of all layers."""
        return sum(layer.workload.macs for layer in self.layers)

    @property
    def parameters(self) -> int:
        """Trained parameters of all layers, and those that are not used."""
        return self.unused + sum(layer.parameters for layer in self.layers)

    @property
    def statistics(self) -> int:
        """Stored means and variances of all normalizations."""
        return sum(layer.statistics for layer in self.layers)

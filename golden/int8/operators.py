"""What all operators of a network have in common.

Values are int8 arrays, batch 1 included, as in the file; those of uint8 tensors see `Tensor`, those
of float32 tensors are real.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import cached_property
from typing import Any, ClassVar

from numpy.typing import NDArray

from report.errors import UserError

from ..arith import quant
from ..arith.window import Padding, Window, window_text
from .tensor import Tensor, extent, image

__all__ = ["Operator", "Windowed"]


@dataclass(frozen=True, eq=False, kw_only=True)
class Operator:
    """One operator.

    Parameters
    ----------
    inputs : tuple of Tensor
        Activations; other operands are fields of their own.
    output : Tensor
    """

    kind: ClassVar[str]

    inputs: tuple[Tensor, ...]
    output: Tensor

    def __call__(self, *values: NDArray[Any]) -> NDArray[Any]:
        """Return the output for the values of the inputs."""
        raise NotImplementedError

    @property
    def shape(self) -> tuple[int, ...]:
        """Shape of the output, from those of the inputs.

        Raises
        ------
        UserError
            If the inputs do not fit the operator.
        """
        return self.inputs[0].shape

    @property
    def detail(self) -> str:
        """What the kind does not say, such as the size of a window."""
        return ""

    @property
    def host_operations(self) -> int:
        """How many elements the host computes or moves; 0 for what runs on the array."""
        return math.prod(self.output.shape)

    def limits(self, activation: str) -> tuple[int, int]:
        """Return the least and the greatest value of the output under an activation."""
        return quant.activation_range(activation, self.output.scale, self.output.zero_point)

    def check_types(self) -> None:
        """Raise `UserError` unless the types of the activations are what the operator takes."""
        types = [tensor.dtype for tensor in (*self.inputs, self.output)]
        if types[0] not in ("int8", "uint8") or len(set(types)) > 1:
            raise UserError(
                f"activations must all be int8 or all uint8, not {', '.join(dict.fromkeys(types))}"
                f"{' (float32 may only come in and go out)' * ('float32' in types)}"
            )

    def check(self) -> None:
        """Raise `UserError` unless types, shapes and quantization are what the operator takes."""
        self.check_types()
        if self.shape != self.output.shape:
            raise UserError(
                f"the output must be {extent(self.shape)}, not {extent(self.output.shape)}"
            )


@dataclass(frozen=True, eq=False, kw_only=True)
class Windowed(Operator):
    """An operator with a sliding window.

    Parameters
    ----------
    stride : (int, int)
        Vertical and horizontal.
    padding : str or amounts
        ``"same"`` or ``"valid"``, or as of `Window.of`.
    """

    stride: tuple[int, int] = (1, 1)
    padding: Padding = "same"

    @property
    def kernel(self) -> tuple[int, int]:
        """Height and width of the window."""
        raise NotImplementedError

    @cached_property
    def window(self) -> Window:
        """The window, with every choice resolved."""
        return Window.of(image(self.inputs[0])[:2], self.kernel, self.stride, self.padding)

    @property
    def detail(self) -> str:
        """Kernel and stride."""
        return window_text(self.kernel, self.stride)

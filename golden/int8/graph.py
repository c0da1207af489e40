"""A quantized network as a graph of operators, run bit for bit as TensorFlow Lite runs it."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from report.errors import UserError

from ..arith.wrap import IntArray
from ..nets.layers import Layer, Network
from .array_operators import ArrayOperator
from .operators import Operator
from .tensor import DTYPES, Tensor, extent

__all__ = ["Graph", "Step"]


@dataclass(frozen=True, kw_only=True)
class Step:
    """One operator of a run.

    Parameters
    ----------
    name : str
        As in ``op03_ADD``.
    operator : Operator
    inputs : tuple of int8 or float32 arrays
    sums : int64 array, optional
        Of an operator with multiply-accumulates: what `accumulate` returned.
    output : int8 or float32 array
    """

    name: str
    operator: Operator
    inputs: tuple[NDArray[Any], ...]
    sums: IntArray | None
    output: NDArray[Any]


@dataclass(frozen=True, eq=False, kw_only=True)
class Graph:
    """A network: operators in the order in which they run.

    Parameters
    ----------
    inputs, outputs : tuple of Tensor
    operators : tuple of Operator
    """

    inputs: tuple[Tensor, ...]
    outputs: tuple[Tensor, ...]
    operators: tuple[Operator, ...]

    @property
    def names(self) -> list[str]:
        """Names of the operators, as in ``op03_ADD``."""
        return [f"op{index:02d}_{one.kind}" for index, one in enumerate(self.operators)]

    @property
    def layers(self) -> tuple[Layer, ...]:
        """The operators that run on the array, as layers of a network."""
        return tuple(
            Layer(name=name, workload=one.workload, bias=one.channels, acc_width=one.acc_width)
            for name, one in zip(self.names, self.operators, strict=True)
            if isinstance(one, ArrayOperator)
        )

    def network(self, name: str, variant: str = "") -> Network:
        """Return its layers as a network."""
        shape = self.inputs[0].shape[1:]
        return Network(name=name, variant=variant, size=shape[:-1] or shape, layers=self.layers)

    def check(self) -> None:
        """Raise `UserError` unless every operator gets what it takes, from one before it."""
        if self.outputs == self.inputs:
            raise UserError("the output is the input")
        known = set(self.inputs)
        for index, one in enumerate(self.operators):
            try:
                for source in one.inputs:
                    if source not in known and source.data is None:
                        raise UserError(f"input {source.name} is not computed before it")
                one.check()
                if one.output in known or one.output.data is not None:
                    raise UserError(f"output {one.output.name} has a value already")
            except UserError as error:
                raise UserError(f"operator {index} ({one.kind}): {error}") from None
            known.add(one.output)
        for output in self.outputs:
            if output not in known and output.data is None:
                raise UserError(f"output {output.name} is not computed")

    def steps(self, *inputs: Any) -> Iterator[Step]:
        """Run the network operator by operator.

        Parameters
        ----------
        *inputs : int8, uint8 or float32 arrays
            Of the types and shapes of the inputs; batch may be left out.

        Raises
        ------
        TypeError, ValueError
            If there are more or fewer inputs, if one has another type or shape, or if the reference
            kernel of an operator cannot take its values either (see
            `golden.arith.activations.softmax`).
        """
        values = self.values(inputs)
        last = {t: index for index, one in enumerate(self.operators) for t in one.inputs}
        for index, (name, one) in enumerate(zip(self.names, self.operators, strict=True)):
            taken = tuple(values[t] if t.data is None else t.data for t in one.inputs)
            sums = None
            try:
                if isinstance(one, ArrayOperator):
                    sums = one.accumulate(taken[0])
                    output = one.finish(sums, taken[0])
                else:
                    output = one(*taken)
            except UserError as error:
                raise UserError(f"{name}: {error}") from None
            values[one.output] = output
            for tensor in set(one.inputs):
                if last[tensor] == index:  # nobody reads it any more
                    values.pop(tensor, None)
            yield Step(name=name, operator=one, inputs=taken, sums=sums, output=output)

    def values(self, inputs: Sequence[Any]) -> dict[Tensor, NDArray[Any]]:
        """Return the inputs as they are inside the graph, by tensor; errors as of `steps`."""
        if len(inputs) != len(self.inputs):
            raise UserError(f"the network has {len(self.inputs)} inputs, not {len(inputs)}")
        values = {}
        for given, tensor in zip(inputs, self.inputs, strict=True):
            value = np.asarray(given)
            if value.dtype != DTYPES[tensor.dtype]:
                raise TypeError(f"the input must be {tensor.dtype}, not {value.dtype}")
            if value.shape not in (tensor.shape, tensor.shape[1:]):
                given_shape = value.shape if value.ndim == len(tensor.shape) else (1, *value.shape)
                raise UserError(
                    f"the input must be {extent(tensor.shape)}, not {extent(given_shape)}"
                )
            values[tensor] = tensor.inside(value.reshape(tensor.shape))
        return values

    def results(self, computed: Mapping[Tensor, NDArray[Any]]) -> tuple[NDArray[Any], ...]:
        """Return the network's outputs as they are in the file, batch included.

        Parameters
        ----------
        computed : mapping of Tensor to array
            Every operator's output, as inside the graph, and the inputs if they are outputs, too.
        """
        found = []
        for tensor in self.outputs:
            value = computed[tensor] if tensor.data is None else tensor.data
            found.append(tensor.outside(value))
        return tuple(found)

    def run(self, *inputs: Any, return_all: bool = False) -> Any:
        """Return the network's output, batch left out.

        Parameters
        ----------
        *inputs : int8, uint8 or float32 arrays
            Of the types and shapes of the inputs; batch may be left out.
        return_all : bool
            Return the outputs of all operators.

        Returns
        -------
        array, tuple of arrays, or dict of str to array
            Of a network with several outputs all of them. With `return_all`, every operator's
            output by its name (`names`), in order. Types are those of the file. Batch is left out,
            but not of a RESHAPE, which says its result's shape itself.

        Raises
        ------
        TypeError, ValueError
            As `steps`.
        """
        computed, every = self.values(inputs), {}
        for one in self.steps(*inputs):
            tensor = one.operator.output
            if tensor in self.outputs:
                computed[tensor] = one.output
            if return_all:
                value = tensor.outside(one.output)
                every[one.name] = value if one.operator.kind == "RESHAPE" else _bare(value)
        if return_all:
            return every
        found = tuple(map(_bare, self.results(computed)))
        return found[0] if len(found) == 1 else found

    def __str__(self) -> str:
        """Return one line per operator."""

        def line(name: str, detail: str, tensor: Tensor) -> str:
            values = f"scale {tensor.scale:.6g}, zero point {tensor.zero_point + tensor.offset}"
            values = "real numbers" if tensor.real else values
            kind = f"{tensor.dtype}, " if tensor.offset else ""
            return f"{name:23} {detail:18} {extent(tensor.shape):12} {kind}{values}"

        lines = [line("input", "", tensor) for tensor in self.inputs]
        for name, one in zip(self.names, self.operators, strict=True):
            lines.append(line(name, one.detail, one.output))
        return "\n".join(lines)


def _bare(value: NDArray[Any]) -> NDArray[Any]:
    """Return a value with batch 1 left out."""
    return value[0] if value.ndim > 1 and value.shape[0] == 1 else value

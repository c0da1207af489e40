"""A quantized network as a graph of operators, run bit for bit as TensorFlow Lite runs it."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np

from report.errors import UserError

from ..arith.quant import Int8Array
from ..arith.wrap import IntArray
from ..nets.layers import Layer, Network
from .array_operators import ArrayOperator
from .operators import Operator, Reshape
from .tensor import Tensor, extent

__all__ = ["Graph", "Step"]


@dataclass(frozen=True, kw_only=True)
class Step:
    """One operator of a run.

    Parameters
    ----------
    name : str
        As in ``op03_ADD``.
    operator : Operator
    inputs : tuple of int8 arrays
    sums : int64 array, optional
        Of an operator with multiply-accumulates: what `accumulate` returned.
    output : int8 array
    """

    name: str
    operator: Operator
    inputs: tuple[Int8Array, ...]
    sums: IntArray | None
    output: Int8Array


@dataclass(frozen=True, eq=False, kw_only=True)
class Graph:
    """A network: operators in the order in which they run.

    Parameters
    ----------
    input, output : Tensor
    operators : tuple of Operator
    """

    input: Tensor
    output: Tensor
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
        shape = self.input.shape[1:]
        return Network(name=name, variant=variant, size=shape[:-1] or shape, layers=self.layers)

    def check(self) -> None:
        """Raise `UserError` unless every operator gets what it takes, from one before it."""
        if self.output is self.input:
            raise UserError("the output is the input")
        known = {self.input}
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
        if self.output not in known:
            raise UserError(f"output {self.output.name} is not computed")

    def steps(self, x: Any) -> Iterator[Step]:
        """Run the network operator by operator.

        Parameters
        ----------
        x : int8 array
            Of the input's shape; batch may be left out.

        Raises
        ------
        TypeError, ValueError
            If x is not int8, or has another shape, or the reference kernel of an operator cannot
            take its values either (see `golden.quant.softmax`).
        """
        value = np.asarray(x)
        if value.dtype != np.int8:
            raise TypeError(f"the input must be int8, not {value.dtype}")
        if value.shape not in (self.input.shape, self.input.shape[1:]):
            raise UserError(
                f"the input must be {extent(self.input.shape)}, not {extent((1, *value.shape))}"
            )
        values = {self.input: value.reshape(self.input.shape)}
        for name, one in zip(self.names, self.operators, strict=True):
            inputs = tuple(values[t] if t.data is None else t.data for t in one.inputs)
            sums = None
            try:
                if isinstance(one, ArrayOperator):
                    sums = one.accumulate(inputs[0])
                    output = one.finish(sums)
                else:
                    output = one(*inputs)
            except UserError as error:
                raise UserError(f"{name}: {error}") from None
            values[one.output] = output
            yield Step(name=name, operator=one, inputs=inputs, sums=sums, output=output)

    def run(self, x: Any, return_all: bool = False) -> Any:
        """Return the network's output, batch left out.

        Parameters
        ----------
        x : int8 array
            Of the input's shape; batch may be left out.
        return_all : bool
            Return the outputs of all operators.

        Returns
        -------
        int8 array, or dict of str to int8 array
            With `return_all`, every operator's output by its name (`names`), in order. Batch is
            left out, but not of a RESHAPE, which says its result's shape itself.

        Raises
        ------
        TypeError, ValueError
            As `steps`.
        """
        steps = list(self.steps(x))
        if return_all:
            return {
                one.name: one.output if isinstance(one.operator, Reshape) else _bare(one.output)
                for one in steps
            }
        return _bare(next(one.output for one in steps if one.operator.output is self.output))

    def __str__(self) -> str:
        """Return one line per operator."""

        def line(name: str, detail: str, tensor: Tensor) -> str:
            values = f"scale {tensor.scale:.6g}, zero point {tensor.zero_point}"
            return f"{name:23} {detail:18} {extent(tensor.shape):12} {values}"

        lines = [line("input", "", self.input)]
        for name, one in zip(self.names, self.operators, strict=True):
            lines.append(line(name, one.detail, one.output))
        return "\n".join(lines)


def _bare(value: Int8Array) -> Int8Array:
    """Return a value with batch 1 left out."""
    return value[0] if value.ndim > 1 and value.shape[0] == 1 else value

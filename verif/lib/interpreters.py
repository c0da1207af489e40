"""Two independent interpreters of TensorFlow Lite models, by which the golden model is judged."""

from __future__ import annotations

from typing import Any

import numpy as np
import tflite
from ai_edge_litert.interpreter import Interpreter, OpResolverType
from numpy.typing import NDArray
from tflite_micro.python.tflite_micro import runtime

__all__ = ["litert", "micro", "micro_steps", "reference"]

Array = NDArray[Any]


def _litert(content: bytes, inputs: tuple[Array, ...]) -> Interpreter:
    interpreter = Interpreter(
        model_content=content,
        experimental_op_resolver_type=OpResolverType.BUILTIN_REF,
        experimental_preserve_all_tensors=True,
    )
    interpreter.allocate_tensors()
    for detail, value in zip(interpreter.get_input_details(), inputs, strict=True):
        interpreter.set_tensor(detail["index"], value)
    interpreter.invoke()
    return interpreter


def reference(content: bytes, *inputs: Array) -> dict[str, Array]:
    """Return the first output of every operator by LiteRT's reference kernels."""
    interpreter = _litert(content, inputs)
    return {
        f"op{one['index']:02d}_{one['op_name']}": interpreter.get_tensor(one["outputs"][0])
        for one in interpreter._get_ops_details()
    }


def litert(content: bytes, *inputs: Array) -> list[Array]:
    """Return the outputs of a model by LiteRT's reference kernels."""
    interpreter = _litert(content, inputs)
    return [interpreter.get_tensor(one["index"]) for one in interpreter.get_output_details()]


def _micro(content: bytes, inputs: tuple[Array, ...]) -> Any:
    interpreter = runtime.Interpreter.from_bytes(
        content,
        arena_size=10 * len(content) + (1 << 22),
        intrepreter_config=runtime.InterpreterConfig.kPreserveAllTensors,
    )
    for index, value in enumerate(inputs):
        interpreter.set_input(value, index)
    interpreter.invoke()
    return interpreter


def _graph(content: bytes) -> Any:
    return tflite.Model.GetRootAs(content, 0).Subgraphs(0)


def micro_steps(content: bytes, *inputs: Array) -> list[Array]:
    """Return the first output of every operator by TensorFlow Lite for Microcontrollers."""
    interpreter, graph = _micro(content, inputs), _graph(content)
    outputs = [graph.Operators(index).Outputs(0) for index in range(graph.OperatorsLength())]
    return [interpreter.GetTensor(index, 0)["tensor_data"] for index in outputs]


def micro(content: bytes, *inputs: Array) -> list[Array]:
    """Return the outputs of a model by TensorFlow Lite for Microcontrollers."""
    interpreter = _micro(content, inputs)
    return [np.array(interpreter.get_output(i)) for i in range(_graph(content).OutputsLength())]

"""The golden model: what the array computes, in NumPy, and how layers become its commands.

`Operands` are a layer's shapes and data, `map_workload` lays a layer onto a machine, `execute`
computes what the core computes::

    data = Operands.of("depthwise", x, w, stride=2)
    plan = map_workload(data.workload, config)      # commands and exact cycles
    lowering = plan.tiles(data)                     # what enters the core
    sums = lowering.collect(execute(lowering.tiles, config))

The modules that users call have short names here: `golden.quant`, `golden.networks`,
`golden.abconv`, `golden.graph`, `golden.transform` and, with the extra `sim`, `golden.tflite`.
"""

from __future__ import annotations

import importlib
from types import ModuleType

from .arith import quant
from .arith.operators import (
    abconv2d,
    abconv_exp2d,
    conv2d,
    depthwise_conv2d,
    fuse_conv2d,
    linear,
    pointwise_conv2d,
)
from .int8 import graph, transform
from .machine.execute import execute
from .machine.schedule import cycles
from .machine.tile import Tile, gemm_tile, st_os_tile
from .mapping import MAPPINGS, Lowering, Plan, map_workload
from .nets import abconv, networks
from .workload import Operands, Workload

__all__ = [
    "MAPPINGS",
    "Lowering",
    "Operands",
    "Plan",
    "Tile",
    "Workload",
    "abconv",
    "abconv2d",
    "abconv_exp2d",
    "conv2d",
    "cycles",
    "depthwise_conv2d",
    "execute",
    "fuse_conv2d",
    "gemm_tile",
    "graph",
    "linear",
    "map_workload",
    "networks",
    "pointwise_conv2d",
    "quant",
    "st_os_tile",
    "transform",
]


def __getattr__(name: str) -> ModuleType:
    if name == "tflite":  # needs packages that nothing else here does
        return importlib.import_module("golden.int8.tflite")
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")

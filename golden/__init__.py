"""The golden model: what the array computes, in NumPy, and how operators become its commands."""

from .execute import execute
from .lower import (
    Lowering,
    lower_abconv2d,
    lower_abconv_exp2d,
    lower_conv2d,
    lower_depthwise_conv2d,
    lower_fuse_conv2d,
    lower_linear,
    lower_pointwise_conv2d,
)
from .operators import (
    abconv2d,
    abconv_exp2d,
    conv2d,
    depthwise_conv2d,
    fuse_conv2d,
    linear,
    pointwise_conv2d,
)
from .tile import Tile, gemm_tile, st_os_tile

__all__ = [
    "Lowering",
    "Tile",
    "abconv2d",
    "abconv_exp2d",
    "conv2d",
    "depthwise_conv2d",
    "execute",
    "fuse_conv2d",
    "gemm_tile",
    "linear",
    "lower_abconv2d",
    "lower_abconv_exp2d",
    "lower_conv2d",
    "lower_depthwise_conv2d",
    "lower_fuse_conv2d",
    "lower_linear",
    "lower_pointwise_conv2d",
    "pointwise_conv2d",
    "st_os_tile",
]

"""The golden model: what the array computes, in NumPy."""

from .execute import execute
from .tile import Tile, gemm_tile, st_os_tile

__all__ = ["Tile", "execute", "gemm_tile", "st_os_tile"]

"""From workloads to tiles: each mapping is a file; `map_workload` chooses the fastest."""

from .common import MAPPINGS
from .plan import Lowering, Plan, map_workload

__all__ = ["MAPPINGS", "Lowering", "Plan", "map_workload"]

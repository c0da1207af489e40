"""Which mapping a workload gets on a machine, its exact cycles, and its tiles.

A mapping knows shapes only. It gives the commands in closed form (`program`), and so the exact
cycles, before there is any data; `Plan.tiles` adds the data. Of the mappings of a workload the few
best in the steady state have their exact cycles counted, and the best of these wins.

Two ways are open to every core: GEMM strips (`golden.mapping.gemm`), and patches of depthwise
outputs (`golden.mapping.patches`). ST-OS streams (`golden.mapping.streams`) need a core built for
them.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from functools import cached_property, lru_cache
from itertools import chain, product

import numpy as np

from hw.config import ArrayConfig, Command
from report.errors import UserError

from ..arith.wrap import IntArray
from ..machine.schedule import Repeat, cycles, unroll
from ..machine.tile import Tile
from ..workload import Branch, Operands, Workload
from . import patches
from .common import MAPPINGS, check_mapping
from .gemm import GemmMapping, map_gemm
from .patches import PatchMapping
from .streams import StreamMapping, map_streams

__all__ = ["Lowering", "Plan", "map_workload"]

Parts = tuple[GemmMapping | PatchMapping | StreamMapping, ...]


@dataclass(frozen=True, kw_only=True)
class Lowering:
    """The tiles of one operator.

    Parameters
    ----------
    tiles : list of Tile
        In the order in which the core takes them.
    places : list of int64 arrays (out beats, rows)
        For every tile that emits: the flat index in the result of every output, -1 for none.
    shape : tuple of int
        Of the result.
    """

    tiles: list[Tile]
    places: list[IntArray]
    shape: tuple[int, ...]

    def collect(self, outputs: Iterable[IntArray]) -> IntArray:
        """Put output beats where they belong.

        Parameters
        ----------
        outputs : iterable of int64 arrays (out beats, rows)
            One per tile that emits (empty ones of other tiles are passed over).

        Raises
        ------
        ValueError
            If the outputs do not match the tiles, or an element of the result gets no value.
        """
        result = np.zeros(self.shape, np.int64)
        written = np.zeros(self.shape, bool)
        beats = [beat for beat in outputs if len(beat)]
        for place, beat in zip(self.places, beats, strict=True):
            used = place >= 0
            result.flat[place[used]] = beat[used]
            written.flat[place[used]] = True
        if not written.all():
            raise ValueError(f"{np.count_nonzero(~written)} elements of the result got no value")
        return result


@dataclass(frozen=True)
class Plan:
    """A workload on a machine: parts that run one after the other.

    Parameters
    ----------
    workload : Workload
    config : ArrayConfig
    parts : tuple of GemmMapping, PatchMapping or StreamMapping
    """

    workload: Workload
    config: ArrayConfig
    parts: Parts

    @property
    def name(self) -> str:
        """Name of the mapping."""
        return " + ".join(dict.fromkeys(part.name for part in self.parts))

    @property
    def program(self) -> list[Repeat]:
        """The commands in closed form."""
        return list(chain.from_iterable(part.program for part in self.parts))

    @property
    def commands(self) -> list[Command]:
        """Every command."""
        return list(unroll(self.program))

    @cached_property
    def cycles(self) -> int:
        """Clock cycles, exact: `golden.machine.schedule.cycles` of all commands."""
        return cycles(self.program, self.config)

    def tiles(self, data: Operands) -> Lowering:
        """Return the tiles that compute ``data.result()``; their commands are `commands`.

        Raises
        ------
        UserError
            If the data are those of another workload.
        """
        if data.workload != self.workload:
            raise UserError(f"the operands are of {data.workload}, not of {self.workload}")
        tiles, places = [], []
        for part in self.parts:
            for tile, place in part.tiles(data, self.config):
                tiles.append(tile)
                beats = tile.command.out_beats(self.config)
                if beats:
                    full = np.full((beats, self.config.rows), -1, np.int64)
                    full[: place.shape[0], : place.shape[1]] = place
                    places.append(full)
        return Lowering(tiles=tiles, places=places, shape=self.workload.shape)

    def __str__(self) -> str:
        """Say how."""
        return "; ".join(str(part) for part in self.parts)


@lru_cache(maxsize=4096)
def _map_branches(branches: tuple[Branch, ...], config: ArrayConfig, mapping: str) -> Parts:
    """Map depthwise convolutions that make up one workload."""
    best = mapping == "best"
    choices: list[Parts] = []
    if config.st_os:
        choices.append(tuple(map_streams(branches, config, joined=False)))
        if best:
            choices.append(tuple(map_streams(branches, config, joined=True)))
    if best or not config.st_os:
        for way in MAPPINGS if best else ("textbook",):
            found = [
                patches.candidates(index, branch, config, way)
                for index, branch in enumerate(branches)
            ]
            choices += product(*found)
    programs = (chain.from_iterable(part.program for part in parts) for parts in choices)
    counts = [cycles(program, config) for program in programs]
    return choices[counts.index(min(counts))]


def map_workload(workload: Workload, config: ArrayConfig, mapping: str = "best") -> Plan:
    """Lay a workload onto a machine.

    Parameters
    ----------
    workload : Workload
    config : ArrayConfig
    mapping : str
        One of `MAPPINGS`.

    Raises
    ------
    UserError
        If the mapping is unknown, or the workload is a grouped convolution.
    """
    check_mapping(mapping)
    parts: Parts
    if workload.spatial:
        parts = _map_branches(workload.branches, config, mapping)
    else:
        parts = (map_gemm(*workload.gemm, config, mapping),)
    return Plan(workload, config, parts)

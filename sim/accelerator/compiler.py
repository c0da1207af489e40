"""From a network to an image: where tensors lie, the jobs of layers, and what the host does."""

from __future__ import annotations

import itertools
import math
from collections import Counter
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any

from golden.int8.array_operators import ArrayOperator, Convolution
from golden.int8.elementwise import Function, Pair, Quantize
from golden.int8.graph import Graph
from golden.int8.operators import Operator, Windowed
from golden.int8.pools import Mean
from golden.int8.shapes import Concatenation, Pack, Pad, Reshape, Transpose
from golden.int8.tensor import Tensor
from hw.accelerator.config import AcceleratorConfig
from hw.accelerator.jobs import Base, Kind
from report.errors import UserError

from . import jobs
from .addresses import may_overlap, overwrites
from .cycles import Timing, simulate
from .image import image
from .jobs import Job, Place, image_shape
from .lower import Scratch, Unsupported, join, lower

__all__ = ["Layer", "Program", "compile_graph"]


@dataclass(frozen=True, kw_only=True)
class Layer:
    """An operator on the machine.

    Parameters
    ----------
    name : str
        As of `Graph.names`.
    operator : Operator
    first, jobs : int
        Index of its first job, and how many there are: none for what joins parts in their place.
    address, bytes : int
        Where its output lies when they have run; 0 bytes where it is not in one piece.
    axes : tuple of int
        Its axes in the order in which they lie there.
    spilled : int
        Where its output lies behind SCRATCH, if only there; -1 otherwise.
    mapping : str
    """

    name: str
    operator: Operator
    first: int
    jobs: int
    address: int
    bytes: int
    axes: tuple[int, ...]
    spilled: int
    mapping: str


@dataclass(frozen=True, kw_only=True)
class Program:
    """A network for a machine.

    Parameters
    ----------
    config : AcceleratorConfig
    jobs : list of Job
    layers : list of Layer
    inputs, outputs : list of Tensor
        What the machine takes from INPUT, and leaves at OUTPUT.
    before, after : list of Operator
        What the host does before and after.
    act_bytes, scratch_bytes : int
        Of activation memory, and behind SCRATCH, that are used.
    """

    config: AcceleratorConfig
    jobs: list[Job]
    layers: list[Layer]
    inputs: list[Tensor]
    outputs: list[Tensor]
    before: list[Operator]
    after: list[Operator]
    act_bytes: int
    scratch_bytes: int

    @cached_property
    def image(self) -> bytes:
        """The memory image."""
        return image(self.jobs, self.config)

    def timing(self, latency: int = 40) -> Timing:
        """Return when every job begins, with a memory of that latency."""
        return simulate(self.jobs, self.config, latency=latency)

    def layer_bytes(self, layer: Layer) -> int:
        """Return the bytes of the image that a layer takes."""
        own = self.jobs[layer.first : layer.first + layer.jobs]
        return sum(job.program_bytes(self.config.word) + job.weights.nbytes for job in own)

    def layer_cycles(self, layer: Layer, begins: Sequence[int]) -> int:
        """Return the cycles from the beginning of a layer to that of the next one."""
        return begins[layer.first + layer.jobs] - begins[layer.first]

    def to_dict(self, latency: int = 40) -> dict[str, Any]:
        """Return what the side-car says."""
        timing = self.timing(latency)

        def tensors(some: Sequence[Tensor]) -> list[dict[str, Any]]:
            return [
                {
                    "name": one.name, "offset": offset, "bytes": math.prod(one.shape),
                    "shape": list(one.shape), "dtype": one.dtype, "scale": float(one.scale),
                    "zero_point": one.zero_point + one.offset,
                }
                for one, offset in zip(some, self.offsets(some), strict=True)
            ]  # fmt: skip

        return {
            "image_bytes": len(self.image), "scratch_bytes": self.scratch_bytes,
            "cycles": timing.cycles, "memory_latency": latency, "counters": timing.counters,
            "config": self.config.to_dict(), "fingerprint": self.config.fingerprint,
            "inputs": tensors(self.inputs), "outputs": tensors(self.outputs),
            "host_before": [one.kind for one in self.before],
            "host": [one.kind for one in self.after],
            "jobs": len(self.jobs), "act_bytes": self.act_bytes,
            "layers": [
                {
                    "name": one.name, "operator": one.operator.kind, "mapping": one.mapping,
                    "cycles": self.layer_cycles(one, timing.begins),
                    "bytes": self.layer_bytes(one), "jobs": one.jobs,
                }
                for one in self.layers
            ],
        }  # fmt: skip

    @staticmethod
    def offsets(tensors: Sequence[Tensor]) -> list[int]:
        """Return where each of some tensors begins, behind INPUT or OUTPUT."""
        found, top = [], 0
        for tensor in tensors:
            found.append(top)
            top += -(-math.prod(tensor.shape) // 64) * 64
        return found


#: What the host does after the machine, with all that depends on it.
_ON_HOST = ("DEQUANTIZE", "SOFTMAX")


def _split(graph: Graph) -> tuple[list[Operator], list[Operator], list[Operator]]:
    """Return what the host does before, what the machine does, and what the host does after."""
    before: list[Operator] = []
    machine: list[Operator] = []
    after: list[Operator] = []
    late: set[Tensor] = set()
    for one in graph.operators:
        if isinstance(one, Quantize) and one.inputs[0].real and one.inputs[0] in graph.inputs:
            before.append(one)
        elif one.kind in _ON_HOST or any(tensor in late for tensor in one.inputs):
            late.add(one.output)
            after.append(one)
        else:
            machine.append(one)
    blocked = [one for one in after if isinstance(one, ArrayOperator)]
    if blocked:
        first = next(one for one in after if one.kind in _ON_HOST)
        raise UserError(
            f"the accelerator lacks {first.kind}, and {len(blocked)} layers depend on it"
        )
    # What only moves elements just before the host's part is the host's, too.
    while machine and isinstance(machine[-1], Reshape) and after:
        if any(machine[-1].output in one.inputs for one in machine):
            break
        after.insert(0, machine.pop())
    return before, machine, after


def _fold_pads(operators: Sequence[Operator], outputs: Sequence[Tensor]) -> list[Operator]:
    """Return operators in which convolutions take over the padding before them."""
    found: list[Operator] = list(operators)
    for pad in operators:
        if not isinstance(pad, Pad) or len(pad.amounts) != 4 or pad.output in outputs:
            continue
        batch, down, along, channels = pad.amounts
        readers = [one for one in found if pad.output in one.inputs]
        if batch != (0, 0) or channels != (0, 0) or not readers:
            continue
        if pad.inputs[0].quantization != pad.output.quantization:
            continue
        if not all(isinstance(one, Convolution) for one in readers):
            continue
        for one in readers:
            assert isinstance(one, Convolution)
            (top, bottom), (left, right) = one.window.padding
            wider = ((top + down[0], bottom + down[1]), (left + along[0], right + along[1]))
            found[found.index(one)] = replace(one, inputs=(pad.inputs[0],), padding=wider)
        found.remove(pad)
    return found


class _Memory:
    """The activation memory: which bytes are whose, and until when."""

    def __init__(self, config: AcceleratorConfig) -> None:
        self.size = config.act_kib * 1024
        self.slack = config.word  # what is written behind a tensor
        self.taken: list[tuple[int, int]] = []
        self.most = 0

    def take(self, count: int) -> int | None:
        """Return where some bytes are free, if there is room."""
        need = -(-(count + self.slack) // self.slack) * self.slack
        at = 0
        for first, last in sorted(self.taken):
            if first - at >= need:
                break
            at = max(at, last)
        if at + need > self.size:
            return None
        self.most = max(self.most, at + need)
        self.taken.append((at, at + need))
        return at

    def free(self, address: int) -> None:
        """Give back what was taken."""
        self.taken = [one for one in self.taken if one[0] != address]


def compile_graph(graph: Graph, config: AcceleratorConfig) -> Program:
    """Return a network as a program for a machine.

    Tensors lie in the activation memory as long as they are needed. Where there is no room, those
    that are needed last are stored to SCRATCH, and loaded again; a layer that does not fit by
    itself is computed band by band, a few rows of its output at a time.

    Raises
    ------
    UserError
        If the machine lacks operators, all of which are named, or memory.
    """
    return _Compiler(graph, config).program()


#: Stores others to make room for so many bytes; returns where they are.
Room = Callable[[int], int]


class _NoRoom(Exception):
    """There is no room for so many bytes."""


class _Compiler:
    """The state of a compilation; `program` is all of it."""

    def __init__(self, graph: Graph, config: AcceleratorConfig) -> None:
        self.config = config
        self.before, operators, self.after = _split(graph)
        if self.before and len(self.before) != len(graph.inputs):
            raise UserError("either all inputs or none must be real numbers")
        self.inputs = [one.output for one in self.before] or list(graph.inputs)
        later = {one.output for one in self.after}
        outputs = [t for one in self.after for t in one.inputs if t not in later and t.data is None]
        outputs += [t for t in graph.outputs if t not in later]
        self.outputs = list(dict.fromkeys(outputs))
        for tensor in (*self.inputs, *self.outputs):
            if tensor.real:
                raise UserError(f"the accelerator has no real numbers, as {tensor.name} needs")
            if tensor.data is not None:
                raise UserError(f"the accelerator has no job for {tensor.name}, a constant output")
        self.operators = _fold_pads(operators, self.outputs)
        self.names = dict(zip((one.output for one in graph.operators), graph.names, strict=True))
        self.stored = _turned(self.operators, self.outputs)
        # A tensor lives in a root: itself, or what it is another shape, or a part, of.
        self.root: dict[Tensor, tuple[Tensor, int]] = {}
        self.pixels: dict[Tensor, int] = {}  # bytes from a pixel to the next, where not dense
        for one in self.operators:
            if self._renames(one):
                self.root[one.output] = (one.inputs[0], 0)
        self.joined: set[tuple[Tensor, int]] = set()  # outputs, and inputs that lie in them
        for one in reversed(self.operators):
            if isinstance(one, Concatenation):
                self._alias(one)
        # When every root is read, by index of the operator; the end counts as one more.
        self.uses: dict[Tensor, list[int]] = {}
        for index, one in enumerate(self.operators):
            for tensor in (*one.inputs, one.output):
                self.uses.setdefault(self.resolve(tensor)[0], []).append(index)
        for tensor in self.outputs:
            self.uses.setdefault(self.resolve(tensor)[0], []).append(len(self.operators))
        self.memory = _Memory(config)
        self.address: dict[Tensor, int] = {}
        # Where a root lies outside of the machine.
        self.home: dict[Tensor, tuple[Base, int]] = {}
        for tensor, offset in zip(self.inputs, Program.offsets(self.inputs), strict=True):
            self.home[tensor] = (Base.INPUT, offset)
        self.places = dict(zip(self.outputs, Program.offsets(self.outputs), strict=True))
        self.scratch_bytes = 0
        self.jobs: list[Job] = []
        self.layers: list[Layer] = []
        self.lacking: Counter[str] = Counter()
        self.reasons: dict[str, str] = {}

    def _renames(self, one: Operator) -> bool:
        """Return whether the output is the input under another name: the same bytes."""
        turned = isinstance(one, Transpose) and one.output in self.stored
        return isinstance(one, Reshape) or turned

    def resolve(self, tensor: Tensor) -> tuple[Tensor, int]:
        """Return the root of a tensor, and where it begins in it."""
        offset = 0
        while tensor in self.root:
            tensor, more = self.root[tensor]
            offset += more
        return tensor, offset

    def _alias(self, one: Concatenation) -> None:
        """Let the inputs of a concatenation be parts of its output, where they can."""
        shape = one.output.shape
        axis = one.axis % len(shape)
        ends, last = math.prod(shape[:axis]) == 1, axis == len(shape) - 1
        gaps = one.output in self.pixels or not ends
        pixel = self.pixels.get(one.output, shape[-1])
        offset = 0
        for n, tensor in enumerate(one.inputs):
            alone = tensor not in self.root and tensor not in self.inputs and tensor.data is None
            alike = tensor.quantization == one.output.quantization
            # What is stored in one piece, or is another shape, too, has no gaps.
            whole = tensor in self.outputs or any(
                self._renames(other) and tensor in other.inputs for other in self.operators
            )
            if alone and alike and (ends or last) and not (gaps and whole):
                self.joined.add((one.output, n))
                self.root[tensor] = (one.output, offset)
                if gaps:
                    self.pixels[tensor] = pixel
            offset += tensor.shape[-1] if last else math.prod(tensor.shape[:-1]) * pixel

    def program(self) -> Program:
        """Compile all operators."""
        for index, one in enumerate(self.operators):
            if not self._renames(one):
                self._operator(index, one)
            for tensor in [t for t, at in self.uses.items() if at[-1] == index]:
                if tensor in self.address:
                    self.memory.free(self.address.pop(tensor))
        if self.lacking:
            what = ", ".join(
                f"{count} {kind} ({self.reasons[kind]})" for kind, count in self.lacking.items()
            )
            raise UserError(f"the accelerator lacks {what}")
        for tensor, offset in self.places.items():
            at = self.resolve(tensor)[0]
            if self.home.get(at) != (Base.OUTPUT, offset):
                place = self._resident(len(self.operators), tensor, [])
                self._move(Kind.STORE, Base.OUTPUT, offset, place.address, tensor, tensor.shape)
        self.jobs.append(jobs.end())
        self._overlap()
        return Program(
            config=self.config, jobs=self.jobs, layers=self.layers, inputs=self.inputs,
            outputs=self.outputs, before=self.before, after=self.after,
            act_bytes=self.memory.most, scratch_bytes=self.scratch_bytes,
        )  # fmt: skip

    def _overlap(self) -> None:
        """Say which jobs may begin while the one before, or a load before that, is on its way."""
        load: Job | None = None
        for before, job in itertools.pairwise(self.jobs):
            load = before if before.kind == Kind.LOAD else load
            overlap = may_overlap(before, job, self.config)
            if load and overlap:
                overlap = not overwrites(job, load)
            if not overlap:
                load = None
            job.fields["overlap"] = int(overlap)

    def _move(
        self, kind: Kind, base: Base, offset: int, local: int, tensor: Tensor,
        shape: Sequence[int],
    ) -> None:  # fmt: skip
        """Add a transfer of a tensor, or of some rows of it."""
        flip = tensor.dtype == "uint8" and base != Base.SCRATCH
        self.jobs.append(jobs.transfer(kind, base, offset, local, math.prod(shape), flip=flip))

    def _spill(self, root: Tensor) -> tuple[Base, int]:
        """Return where a root goes outside of the machine: its own place, if it is an output."""
        if root not in self.home:
            if root in self.places:
                self.home[root] = (Base.OUTPUT, self.places[root])
            else:
                self.home[root] = (Base.SCRATCH, self.scratch_bytes)
                self.scratch_bytes += -(-math.prod(root.shape) // _ALIGNED) * _ALIGNED
        return self.home[root]

    def _take(self, index: int, count: int, kept: Sequence[Tensor]) -> int:
        """Return where so many bytes are free; store what is needed last, but for some tensors.

        Raises
        ------
        _NoRoom
            If there is no room even then.
        """
        while True:
            found = self.memory.take(count)
            if found is not None:
                return found
            others = [t for t in self.address if t not in kept]
            if not others:
                raise _NoRoom
            self._evict(max(others, key=lambda t: min(at for at in self.uses[t] if at >= index)))

    def _evict(self, root: Tensor) -> None:
        """Store a tensor, unless it lies outside, too, and free its place."""
        if root not in self.home:
            base, offset = self._spill(root)
            self._move(Kind.STORE, base, offset, self.address[root], root, root.shape)
        self.memory.free(self.address.pop(root))

    def _resident(self, index: int, tensor: Tensor, kept: Sequence[Tensor]) -> Place:
        """Return where a tensor lies in the activation memory; load it if it does not yet."""
        root, offset = self.resolve(tensor)
        if root not in self.address:
            self.address[root] = self._take(index, math.prod(root.shape), kept)
            if root in self.home:
                base, place = self.home[root]
                self._move(Kind.LOAD, base, place, self.address[root], root, root.shape)
        shape = image_shape([tensor.shape[axis] for axis in self._axes(tensor)])
        dense = Place.dense(self.address[root] + offset, shape)
        pixel = self.pixels.get(tensor, shape[2])
        found = replace(dense, pixel=pixel, row=pixel * shape[1])
        return dense if found.gapless else found

    def _operator(self, index: int, one: Operator) -> None:
        """Compile one operator: as a whole if there is room, or else in bands."""
        first = len(self.jobs)
        kept = [self.resolve(t)[0] for t in (*one.inputs, one.output) if t.data is None]
        root = self.resolve(one.output)[0]
        address, inside, spilled = 0, False, -1

        def room(count: int) -> int:
            return self._take(index, count, kept)

        absent = [n for n in range(len(one.inputs)) if (one.output, n) not in self.joined]
        if isinstance(one, Concatenation) and not absent:  # its parts lie where they belong
            if root in self.address:
                address = self._resident(index, one.output, kept).address
                inside = one.output not in self.pixels
        else:
            try:
                sources = [
                    _NOWHERE if t.data is not None else self._resident(index, t, kept)
                    for t in one.inputs
                ]
                target = self._resident(index, one.output, kept)
                if isinstance(one, (Concatenation, Pack)):
                    for n in absent:
                        self._add(one, lambda scratch, n=n: join(  # type: ignore[misc]
                            one, n, self.config, sources[n], target, scratch
                        ), room)  # fmt: skip
                else:
                    self._lower(one, sources, target, room)
                # What lies outside of a tensor of several parts is older now.
                self.home.pop(root, None)
                address, inside = target.address, one.output not in self.pixels
            except _NoRoom:
                self._bands(one, kept)
                base, offset = self.home[one.output]
                spilled = offset if base == Base.SCRATCH else -1
        made = self.jobs[first:]
        self.layers.append(
            Layer(
                name=self.names[one.output], operator=one, first=first, jobs=len(made),
                address=address, bytes=math.prod(one.output.shape) if inside else 0,
                axes=self._axes(one.output), spilled=spilled,
                mapping=", ".join(dict.fromkeys(
                    job.text for job in made if job.kind not in (Kind.LOAD, Kind.STORE))),
            )
        )  # fmt: skip

    def _axes(self, tensor: Tensor) -> tuple[int, ...]:
        """Return the axes of a tensor in the order in which they lie in memory."""
        return tuple(self.stored.get(tensor, range(len(tensor.shape))))

    def _lower(
        self, one: Operator, sources: Sequence[Place], target: Place, room: Room | None = None
    ) -> None:
        """Add the jobs of an operator, or note that there are none."""
        stored = _as_stored(one, self.stored)
        self._add(one, lambda scratch: lower(stored, self.config, sources, target, scratch), room)

    def _add(self, one: Operator, make: Callable[[Scratch], list[Job]], room: Room | None) -> None:
        """Add the jobs that are made with room for copies, or note that there are none.

        Raises
        ------
        _NoRoom
            If there is no room for what must be copied, although `room` makes some.
        """
        temporary: list[int] = []

        def scratch(count: int, spare: bool = False) -> int:
            found = self.memory.take(count)
            if found is None:
                if spare:
                    raise Unsupported("there is no room for a copy")
                if room is None:
                    raise _NoRoom
                found = room(count)
            temporary.append(found)
            return found

        try:
            made = make(scratch)
            self.jobs += made  # what was stored to make room comes before
        except Unsupported as error:
            self.lacking[one.kind] += 1
            self.reasons.setdefault(one.kind, str(error))
        finally:
            for place in temporary:
                self.memory.free(place)

    def _bands(self, one: Operator, kept: Sequence[Tensor]) -> None:
        """Compile an operator band by band of rows: what is not in the machine comes and goes."""
        need = -(-sum(math.prod(t.shape) for t in kept) // 1024)
        refusal = UserError(
            f"{self.names[one.output]} does not fit --act-kib {self.config.act_kib} (inputs and "
            f"output alone are {need} KiB), and cannot be cut into bands of rows"
        )
        variable = [t for t in one.inputs if t.data is None]
        if (
            len(one.output.shape) != 4
            or any(t in self.root or t in self.stored for t in (*variable, one.output))
            or any(len(t.shape) != 4 for t in variable)
        ):
            raise refusal
        if one.output in self.address:
            self.memory.free(self.address.pop(one.output))
        # Others make room; inputs that are in the machine stay there if that leaves enough.
        height = one.output.shape[1]
        for some in (kept, []):
            for tensor in [t for t in self.address if t not in some]:
                self._evict(tensor)
            absent = [
                n for n, t in enumerate(one.inputs) if t in variable and t not in self.address
            ]
            for rows in _halves(height):
                try:
                    bands = [
                        _band(one, begin, min(begin + rows, height))
                        for begin in range(0, height, rows)
                    ]
                except UserError:
                    raise refusal from None
                counts = [max(math.prod(band.inputs[n].shape) for band, _ in bands) for n in absent]
                counts.append(math.prod(bands[0][0].output.shape))
                room = [self.memory.take(count) for count in counts]
                made = len(self.jobs)
                done = False
                with suppress(_NoRoom):
                    if None not in room:
                        self._run_bands(one, bands, room)
                        done = True
                for place in room:
                    if place is not None:
                        self.memory.free(place)
                if done:
                    return
                del self.jobs[made:]
        raise refusal

    def _run_bands(
        self, one: Operator, bands: Sequence[tuple[Operator, list[int]]],
        room: Sequence[int | None],
    ) -> None:  # fmt: skip
        """Add the jobs of all bands; `room` has an address for every band of theirs."""
        base, offset = self._spill(one.output)
        begin = 0
        for band, rows in bands:
            free = iter(room)
            sources = []
            for tensor, part, row in zip(one.inputs, band.inputs, rows, strict=True):
                if tensor.data is not None:
                    sources.append(_NOWHERE)
                    continue
                size = math.prod(tensor.shape[2:])
                if tensor in self.address:
                    at = self.address[tensor] + row * size
                else:
                    found = next(free)
                    assert found is not None
                    at = found
                    where, place = self.home[tensor]
                    self._move(Kind.LOAD, where, place + row * size, at, tensor, part.shape)
                sources.append(Place.dense(at, part.shape[1:]))
            out = room[-1]
            assert out is not None
            lacking = self.lacking.total()
            self._lower(band, sources, Place.dense(out, band.output.shape[1:]))
            if self.lacking.total() > lacking:  # so do the others
                return
            self._move(Kind.STORE, base, offset + begin, out, one.output, band.output.shape)
            begin += math.prod(band.output.shape)


#: Of a constant: it has no place.
_NOWHERE = Place.dense(0, (1, 1, 1))
#: What lies in SCRATCH is aligned to, so that bursts are.
_ALIGNED = 256


def _halves(height: int) -> list[int]:
    """Return rows per band: fewer and fewer."""
    return sorted({-(-height // parts) for parts in range(1, height + 1)}, reverse=True)


def _band(one: Operator, begin: int, end: int) -> tuple[Operator, list[int]]:
    """Return an operator that computes some rows of the output, and its inputs' first rows.

    Raises
    ------
    UserError
        If it cannot be cut.
    """
    changed: dict[str, Any] = {}
    if isinstance(one, Windowed):
        height = one.inputs[0].shape[1]
        (top, _), sides = one.window.padding
        low = begin * one.stride[0] - top
        high = (end - 1) * one.stride[0] - top + one.kernel[0]
        first, last = max(low, 0), min(high, height)
        changed["padding"] = ((first - low, high - last), sides)
    elif isinstance(one, Pad):
        top = one.amounts[1][0]
        low, high = begin - top, end - top
        first, last = max(low, 0), min(high, one.inputs[0].shape[1])
        changed["amounts"] = (one.amounts[0], (first - low, high - last), *one.amounts[2:])
    elif isinstance(one, (Pair, Function)):
        first, last = begin, end
    else:
        raise UserError("it has no bands")
    if last <= first:
        raise UserError("a band sees nothing but padding")

    def rows(tensor: Tensor, low: int, high: int) -> Tensor:
        if tensor.data is not None and (len(tensor.shape) < 3 or tensor.shape[-3] == 1):
            return tensor
        if tensor.shape[-3] != one.output.shape[1] and isinstance(one, Pair):
            raise UserError("operands of different heights")
        data = tensor.data[..., low:high, :, :] if tensor.data is not None else None
        shape = (*tensor.shape[:-3], high - low, *tensor.shape[-2:])
        return replace(tensor, shape=shape, data=data)

    inputs = tuple(rows(tensor, first, last) for tensor in one.inputs)
    band = replace(one, inputs=inputs, output=rows(one.output, begin, end), **changed)
    return band, [first] * len(inputs)


def _turned(operators: Sequence[Operator], outputs: Sequence[Tensor]) -> dict[Tensor, list[int]]:
    """Return tensors that lie in memory in another order: their axes in that order.

    They are those between a transposition of an image and the means that make it a vector.
    """
    stored: dict[Tensor, list[int]] = {}
    for one in operators:
        if isinstance(one, Transpose) and one.order == (0, 3, 1, 2):
            following = [one.output]
            # The first mean is over rows or over columns; then whatever is left but the batch.
            while following:
                readers = [other for other in operators if following[-1] in other.inputs]
                if len(readers) != 1 or not isinstance(readers[0], Mean) or readers[0].keep_dims:
                    break
                if following[-1] in outputs:  # as the axes are
                    break
                first = len(following) == 1
                if (readers[0].axes not in ((2,), (3,))) if first else 0 in readers[0].axes:
                    break
                following.append(readers[0].output)
            if len(following) == 3:
                # (1, C, H, W) lies as (1, H, W, C); without W, (1, C, H) as (1, H, C).
                stored[following[0]], stored[following[1]] = [0, 2, 3, 1], [0, 2, 1]
    return stored


def _as_stored(one: Operator, stored: dict[Tensor, list[int]]) -> Operator:
    """Return a mean whose axes, and input, are those that lie in memory."""
    if not isinstance(one, Mean) or one.inputs[0] not in stored:
        return one
    axes = stored[one.inputs[0]]
    source = one.inputs[0]
    moved = replace(source, shape=tuple(source.shape[axis] for axis in axes))
    return replace(one, inputs=(moved,), axes=tuple(sorted(axes.index(axis) for axis in one.axes)))

"""From a network to an image: where tensors lie, the jobs of layers, and what the host does."""

from __future__ import annotations

import itertools
import math
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

from golden.int8.array_operators import ArrayOperator, Convolution
from golden.int8.elementwise import Quantize
from golden.int8.graph import Graph
from golden.int8.operators import Operator
from golden.int8.pools import Mean
from golden.int8.shapes import Concatenation, Pad, Reshape, Transpose
from golden.int8.tensor import Tensor
from hw.accelerator.config import AcceleratorConfig
from hw.accelerator.jobs import Base, Kind
from report.errors import UserError

from . import jobs
from .addresses import may_overlap
from .cycles import Timing, simulate
from .image import image
from .jobs import Job, Place
from .lower import Unsupported, lower

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
        Index of its first job, and how many there are.
    address, bytes : int
        Where its output lies when they have run; 0 bytes where it is not in one piece.
    mapping : str
    """

    name: str
    operator: Operator
    first: int
    jobs: int
    address: int
    bytes: int
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
    act_bytes : int
        Of activation memory that are used.
    """

    config: AcceleratorConfig
    jobs: list[Job]
    layers: list[Layer]
    inputs: list[Tensor]
    outputs: list[Tensor]
    before: list[Operator]
    after: list[Operator]
    act_bytes: int

    @property
    def image(self) -> bytes:
        """The memory image."""
        return image(self.jobs, self.config)

    @property
    def scratch_bytes(self) -> int:
        """Bytes behind SCRATCH that a run needs."""
        return 0

    def timing(self, latency: int = 40) -> Timing:
        """Return when every job begins, with a memory of that latency."""
        return simulate(self.jobs, self.config, latency=latency)

    def layer_bytes(self, layer: Layer) -> int:
        """Return the bytes of the image that a layer takes."""
        own = self.jobs[layer.first : layer.first + layer.jobs]
        return sum(len(job.program(self.config.word)) + job.weights.nbytes for job in own)

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
_ON_HOST = ("DEQUANTIZE", "HARD_SWISH", "LOGISTIC", "SOFTMAX", "TANH")


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

    def take(self, count: int) -> int:
        """Return where some bytes are free."""
        need = -(-(count + self.slack) // self.slack) * self.slack
        at = 0
        for first, last in sorted(self.taken):
            if first - at >= need:
                break
            at = max(at, last)
        self.most = max(self.most, at + need)
        if at + need > self.size:
            raise UserError(
                f"the live tensors need {-(-(at + need) // 1024)} KiB of activation memory, "
                f"--act-kib is {self.size // 1024}"
            )
        self.taken.append((at, at + need))
        return at

    def free(self, address: int) -> None:
        """Give back what was taken."""
        self.taken = [one for one in self.taken if one[0] != address]


def compile_graph(graph: Graph, config: AcceleratorConfig) -> Program:
    """Return a network as a program for a machine.

    Raises
    ------
    UserError
        If the machine lacks operators, all of which are named, or memory.
    """
    before, operators, after = _split(graph)
    inputs = [one.output for one in before] or list(graph.inputs)
    if before and len(before) != len(graph.inputs):
        raise UserError("either all inputs or none must be real numbers")
    later = {one.output for one in after}
    outputs = [t for one in after for t in one.inputs if t not in later and t.data is None]
    outputs += [t for t in graph.outputs if t not in later]
    outputs = list(dict.fromkeys(outputs))
    operators = _fold_pads(operators, outputs)
    names = dict(zip((one.output for one in graph.operators), graph.names, strict=True))

    stored = _turned(operators)

    # A tensor lives in a root: itself, or what it is another shape, or a part, of.
    root: dict[Tensor, tuple[Tensor, int]] = {}
    parts: set[Tensor] = set()

    def resolve(tensor: Tensor) -> tuple[Tensor, int]:
        offset = 0
        while tensor in root:
            tensor, more = root[tensor]
            offset += more
        return tensor, offset

    pixels: dict[Tensor, int] = {}  # bytes from a pixel to the next, where not dense
    for one in operators:
        if isinstance(one, Reshape) or (isinstance(one, Transpose) and one.output in stored):
            root[one.output] = (one.inputs[0], 0)
    for one in reversed(operators):
        if isinstance(one, Concatenation):
            _alias(one, root, pixels, inputs, resolve)
            parts.update(one.inputs)
    last: dict[Tensor, int] = {}
    for index, one in enumerate(operators):
        for tensor in (*one.inputs, one.output):
            last[resolve(tensor)[0]] = index
    for tensor in outputs:
        last[resolve(tensor)[0]] = len(operators)

    memory = _Memory(config)
    address: dict[Tensor, int] = {}
    program: list[Job] = []
    layers: list[Layer] = []
    lacking: Counter[str] = Counter()
    reasons: dict[str, str] = {}

    def place(tensor: Tensor) -> Place:
        at, offset = resolve(tensor)
        if at not in address:
            address[at] = memory.take(math.prod(at.shape))
        shape = _image_shape(_stored_shape(tensor, stored))
        dense = Place.dense(address[at] + offset, shape)
        pixel = pixels.get(tensor, shape[2])
        return replace(dense, pixel=pixel, row=pixel * shape[1])

    temporary: list[int] = []

    def scratch(count: int) -> int:
        temporary.append(memory.take(count))
        return temporary[-1]

    for tensor, offset in zip(inputs, Program.offsets(inputs), strict=True):
        where = place(tensor)
        program.append(
            jobs.transfer(
                Kind.LOAD, Base.INPUT, offset, where.address, math.prod(tensor.shape),
                flip=tensor.dtype == "uint8",
            )
        )  # fmt: skip
    for index, one in enumerate(operators):
        if one.output in root and isinstance(one, (Reshape, Transpose)):
            pass
        elif not isinstance(one, Concatenation):
            sources = [
                place(t) if t.data is None else Place.dense(0, (1, 1, 1)) for t in one.inputs
            ]
            target = place(one.output)
            try:
                made = lower(_as_stored(one, stored), config, sources, target, scratch)
            except Unsupported as error:
                lacking[one.kind] += 1
                reasons.setdefault(one.kind, str(error))
                made = []
            while temporary:
                memory.free(temporary.pop())
            whole = one.output not in pixels and one.output not in stored
            layers.append(
                Layer(
                    name=names[one.output], operator=one, first=len(program), jobs=len(made),
                    address=target.address, bytes=math.prod(one.output.shape) * whole,
                    mapping=", ".join(dict.fromkeys(job.text for job in made)),
                )
            )  # fmt: skip
            program += made
        for tensor in [t for t, at in last.items() if at == index and t in address]:
            memory.free(address.pop(tensor))
    if lacking:
        what = ", ".join(f"{count} {kind} ({reasons[kind]})" for kind, count in lacking.items())
        raise UserError(f"the accelerator lacks {what}")
    for tensor, offset in zip(outputs, Program.offsets(outputs), strict=True):
        program.append(
            jobs.transfer(
                Kind.STORE, Base.OUTPUT, offset, place(tensor).address, math.prod(tensor.shape),
                flip=tensor.dtype == "uint8",
            )
        )  # fmt: skip
    program.append(jobs.end())
    for before_it, job in itertools.pairwise(program):
        job.fields["overlap"] = int(may_overlap(before_it, job, config))
    return Program(
        config=config, jobs=program, layers=layers, inputs=inputs, outputs=outputs, before=before,
        after=after, act_bytes=memory.most,
    )  # fmt: skip


def _stored_shape(tensor: Tensor, stored: dict[Tensor, list[int]]) -> list[int]:
    """Return the shape of a tensor as it lies in memory."""
    return [tensor.shape[axis] for axis in stored.get(tensor, range(len(tensor.shape)))]


def _turned(operators: Sequence[Operator]) -> dict[Tensor, list[int]]:
    """Return tensors that lie in memory in another order: their axes in that order.

    They are those between a transposition of an image and the means that make it a vector.
    """
    stored: dict[Tensor, list[int]] = {}
    for one in operators:
        if isinstance(one, Transpose) and one.order == (0, 3, 1, 2):
            following = [one.output]
            while following:
                readers = [other for other in operators if following[-1] in other.inputs]
                if len(readers) != 1 or not isinstance(readers[0], Mean) or readers[0].keep_dims:
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


def _image_shape(shape: Sequence[int]) -> tuple[int, int, int]:
    """Return height, width and channels: of what is no image, one pixel per row of elements."""
    if len(shape) == 4 and shape[0] == 1:
        return shape[1], shape[2], shape[3]
    *rest, channels = shape or (1,)
    return math.prod(rest), 1, channels


def _alias(
    one: Concatenation, root: dict[Tensor, tuple[Tensor, int]], pixels: dict[Tensor, int],
    inputs: Sequence[Tensor], resolve: Any,
) -> None:  # fmt: skip
    """Let the inputs of a concatenation be parts of its output."""
    axis = one.axis % len(one.output.shape)
    shape = one.output.shape
    offset = 0
    for tensor in one.inputs:
        if tensor in root or tensor in inputs or tensor.data is not None or tensor in pixels:
            raise UserError(f"a CONCATENATION of {tensor.name}, which lies elsewhere, is lacking")
        if math.prod(shape[:axis]) == 1:
            root[tensor] = (one.output, offset)
            offset += math.prod(tensor.shape)
        elif axis == len(shape) - 1:
            root[tensor] = (one.output, offset)
            pixels[tensor] = pixels.get(one.output, shape[-1])
            offset += tensor.shape[-1]
        else:
            raise UserError(f"a CONCATENATION along axis {axis} of {len(shape)} is lacking")
    del resolve

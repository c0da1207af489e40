"""The training loop: one recipe for all, on one process or, with torchrun, on several."""

from __future__ import annotations

import copy
import ctypes
import math
import os
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, nullcontext, suppress
from dataclasses import asdict, dataclass, field
from typing import Any, TypeVar, cast

import numpy as np
import torch
from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn, TimeRemainingColumn
from torch import nn
from torch.nn import functional

from report.errors import UserError

from .data import Batches, Data, Pictures, as_input
from .operators import ScaffoldedConv2d
from .runs import Run

__all__ = [
    "End",
    "Objective",
    "Processes",
    "Recipe",
    "Score",
    "carry_out",
    "evaluate",
    "held_out",
    "prepare",
    "processes",
    "recalibrate",
    "train",
]

T = TypeVar("T")

#: Pictures that the statistics of a normalization are computed again with.
RECALIBRATION = 2048

#: Learning rate of adapters as a share of that of weights: every adapter is shared by all channels,
#: and its gradient is the sum of theirs.
ADAPTER_RATE = 0.1

_EVALUATED = 250  # pictures at a time
_RECALIBRATED = 256


@dataclass(frozen=True, kw_only=True)
class Recipe:
    """How a network is trained: SGD with Nesterov momentum, one cycle of the learning rate.

    Parameters
    ----------
    epochs, batch, seed : int
    rate : float
        The highest learning rate, reached after a quarter of the steps.
    decay : float
        Weight decay, of weights only: not of normalizations, biases and adapters.
    smoothing : float
        Label smoothing.
    distillation : float
        Weight of the cross entropy to the teacher's probabilities (temperature 1).
    """

    epochs: int = 30
    batch: int = 64
    seed: int = 0
    rate: float = 0.2
    decay: float = 2e-4
    smoothing: float = 0.1
    distillation: float = 0.0

    def __post_init__(self) -> None:
        """Refuse what cannot be trained with."""
        for name, low, high in (
            ("epochs", 0, 100_000), ("batch", 1, 65_536), ("seed", 0, 2**32 - 1),
            ("rate", 1e-9, 100), ("decay", 0, 1), ("smoothing", 0, 0.99), ("distillation", 0, 100),
        ):  # fmt: skip
            value = getattr(self, name)
            if not low <= value <= high:
                raise UserError(f"--{name} must be from {low} to {high}, not {value}")


@dataclass(frozen=True)
class Score:
    """How well a network does on some pictures.

    Parameters
    ----------
    loss : float
        Mean cross entropy.
    accuracy : float
        Percent.
    pictures : int
    """

    loss: float
    accuracy: float
    pictures: int

    @property
    def error(self) -> float:
        """One standard error of the accuracy, for other pictures of the same kind."""
        p = self.accuracy / 100
        return 100 * math.sqrt(p * (1 - p) / self.pictures)


def prepare(threads: int = 1, device: str = "cpu") -> None:
    """Set up PyTorch: deterministic, and memory that is kept, not given back for every step.

    Without the latter, glibc returns every large tensor to the kernel, which then clears its pages
    again: training is 1.5 times slower.

    Raises
    ------
    UserError
        If there is no such device.
    """
    if not 1 <= threads <= 1024:
        raise UserError(f"--threads must be from 1 to 1024, not {threads}")
    if device == "cuda" and not torch.cuda.is_available():
        raise UserError("--device cuda: PyTorch finds no GPU here")
    torch.set_num_threads(threads)
    torch.use_deterministic_algorithms(True)
    os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")
    with suppress(OSError, AttributeError):
        libc = ctypes.CDLL(None)
        for option, value in ((-3, 1 << 30), (-1, 2**31 - 1), (-2, 1 << 28)):
            libc.mallopt(option, value)  # thresholds of mmap and of trimming, and padding


@dataclass(frozen=True)
class Processes:
    """One process among those that share the work.

    Parameters
    ----------
    rank, count : int
    """

    rank: int = 0
    count: int = 1

    def first(self, function: Callable[[], T]) -> T:
        """Return what a function returns in the first process: only there it is called."""
        found: list[Any] = [function() if self.rank == 0 else None]
        if self.count > 1:
            torch.distributed.broadcast_object_list(found)
        return cast(T, found[0])

    def total(self, values: torch.Tensor) -> torch.Tensor:
        """Return the sum of the values of all processes."""
        if self.count > 1:
            torch.distributed.all_reduce(values)
        return values


@contextmanager
def processes(device: str) -> Iterator[Processes]:
    """Join the processes that torchrun has started; alone without it.

    All but the first end here with the block: what comes after it is the first one's.
    """
    if "WORLD_SIZE" not in os.environ:
        yield Processes()
        return
    if device == "cuda":
        torch.cuda.set_device(int(os.environ["LOCAL_RANK"]))
    torch.distributed.init_process_group("nccl" if device == "cuda" else "gloo")
    try:
        work = Processes(torch.distributed.get_rank(), torch.distributed.get_world_size())
        yield work
    finally:
        torch.distributed.destroy_process_group()
    if work.rank:
        raise SystemExit(0)


@torch.no_grad()
def evaluate(model: nn.Module, pictures: Pictures, device: str = "cpu") -> Score:
    """Return the score of a network.

    Raises
    ------
    UserError
        If there are no pictures.
    """
    if not len(pictures):
        raise UserError("there are no pictures to judge with")
    model.eval()
    loss, right = 0.0, 0
    for first in range(0, len(pictures), _EVALUATED):
        some = pictures.take(slice(first, first + _EVALUATED))
        logits = model(as_input(some.pixels).to(device))
        labels = torch.from_numpy(some.labels).to(device)
        loss += float(functional.cross_entropy(logits, labels, reduction="sum"))
        right += int((logits.argmax(1) == labels).sum())
    return Score(loss / len(pictures), 100 * right / len(pictures), len(pictures))


@torch.no_grad()
def recalibrate(model: nn.Module, pictures: Pictures, device: str = "cpu") -> None:
    """Compute the statistics of all normalizations again, as the mean over batches.

    As once-for-all does for every network that it takes from a supernet. The pictures are drawn at
    random.
    """
    norms = [one for one in model.modules() if isinstance(one, nn.BatchNorm2d)]
    before = [one.momentum for one in norms]
    for one in norms:
        one.reset_running_stats()
        one.momentum = None  # a plain mean
    model.train()
    some = pictures.sample(RECALIBRATION)
    for first in range(0, len(some), _RECALIBRATED):
        model(as_input(some.pixels[first : first + _RECALIBRATED]).to(device))
    for one, momentum in zip(norms, before, strict=True):
        one.momentum = momentum


def _optimizer(model: nn.Module, recipe: Recipe) -> torch.optim.SGD:
    decayed: list[nn.Parameter] = []
    others: list[nn.Parameter] = []
    adapters: list[nn.Parameter] = []
    for module in model.modules():
        for name, parameter in module.named_parameters(recurse=False):
            plain = isinstance(module, nn.BatchNorm2d) or name == "bias"
            adapter = isinstance(module, ScaffoldedConv2d) and name.endswith("adapter")
            (adapters if adapter else others if plain else decayed).append(parameter)
    groups = [
        {"params": decayed, "weight_decay": recipe.decay, "lr": recipe.rate},
        {"params": others, "weight_decay": 0.0, "lr": recipe.rate},
        {"params": adapters, "weight_decay": 0.0, "lr": ADAPTER_RATE * recipe.rate},
    ]
    some = [group for group in groups if group["params"]]
    return torch.optim.SGD(some, momentum=0.9, nesterov=True, foreach=True)


#: Called before every step with the network, a random generator and the share of training that is
#: done, 0 to 1.
Draw = Callable[[Any, np.random.Generator, float], None]


def train(
    model: nn.Module,
    data: Data,
    recipe: Recipe,
    run: Run,
    *,
    teacher: nn.Module | None = None,
    draw: Draw | None = None,
    judge: Callable[[Any], dict[str, Score]] | None = None,
    device: str = "cpu",
    work: Processes | None = None,
    stop_after: int | None = None,
) -> None:
    """Train a network, or go on with it; write everything to the run's folder.

    Batches, draws and so weights depend on the seed and the number of the epoch alone, not on
    interruptions.

    Parameters
    ----------
    model : Module
        With the weights of the start.
    data : Data
    recipe : Recipe
    run : Run
    teacher : Module, optional
        Where the recipe distills from.
    draw : callable, optional
        Chooses the operators of every step.
    judge : callable, optional
        Returns scores by name, at the end of every epoch; one named ``held_out`` is drawn as a
        curve. The model itself on the held-out pictures if left out.
    device : str
        ``cpu`` or ``cuda``.
    work : Processes, optional
    stop_after : int, optional
        Epochs after which to return, as if interrupted.
    """
    work = work or Processes()
    model = model.to(device=device, memory_format=torch.channels_last)  # type: ignore[call-overload]
    batches = Batches(data.train, recipe.batch, recipe.seed, work.rank, work.count)
    steps = recipe.epochs * len(batches)
    if steps < 2:
        raise UserError("training must be at least 2 steps, not 1: use more --epochs")
    optimizer = _optimizer(model, recipe)
    rates = [group["lr"] for group in optimizer.param_groups]
    schedule = torch.optim.lr_scheduler.OneCycleLR(
        optimizer, rates, total_steps=steps, pct_start=max(0.25, 1.5 / steps), cycle_momentum=False
    )
    loss = Objective(recipe, teacher, device)
    with run.alone() if work.rank == 0 else nullcontext(), _bar(work) as bar:
        state = work.first(lambda: run.checkpoint)
        lines: list[dict[str, Any]] = state["lines"] if state else []
        if state:
            model.load_state_dict(state["model"])
            optimizer.load_state_dict(state["optimizer"])
            schedule.load_state_dict(state["schedule"])
        shared: nn.Module = model
        if work.count > 1:
            shared = nn.parallel.DistributedDataParallel(
                model, find_unused_parameters=draw is not None
            )
        task = bar.add_task("", total=steps, completed=len(lines) * len(batches), text="")
        for number in range(len(lines), recipe.epochs):
            if number == stop_after:
                return
            begun, cpu = time.monotonic(), time.process_time()
            shared.train()
            rng = np.random.default_rng([recipe.seed, number, 1])
            totals = torch.zeros(3, dtype=torch.float64)  # loss, right, seen
            for index, (x, labels) in enumerate(batches.epoch(number)):
                x, labels = x.to(device), labels.to(device)
                if draw is not None:
                    draw(model, rng, (number + index / len(batches)) / recipe.epochs)
                logits = shared(x)
                value = loss(logits, x, labels)
                optimizer.zero_grad()
                value.backward()
                optimizer.step()
                schedule.step()
                right = (logits.detach().argmax(1) == labels).sum()
                totals += torch.tensor([float(value.detach()), float(right), len(labels)])
                if index % 10 == 0:
                    done = (
                        f"loss {totals[0] / (index + 1):.2f}, {100 * totals[1] / totals[2]:.1f} %"
                    )
                    text = f"epoch {number + 1}, {done}"
                    bar.update(task, completed=number * len(batches) + index, text=text)
            spent = torch.tensor([time.process_time() - cpu], dtype=torch.float64)
            everywhere = work.total(torch.cat([totals, spent]).to(device)).tolist()
            lines = [*lines, _line(number + 1, everywhere, work.count * len(batches), schedule)]
            if not math.isfinite(everywhere[0]):
                raise UserError(
                    f"the loss is no longer a number in epoch {number + 1}: a --rate below "
                    f"{recipe.rate} may help"
                )
            if work.rank == 0:
                cpu = time.process_time()
                scores = judge(model) if judge else held_out(model, data, device)
                for name, score in scores.items():
                    lines[-1][f"{name}_loss"] = round(score.loss, 5)
                    lines[-1][f"{name}_accuracy"] = round(score.accuracy, 3)
                lines[-1]["seconds"] = round(time.monotonic() - begun, 1)
                lines[-1]["cpu_seconds_evaluation"] = round(time.process_time() - cpu, 2)
                state = {
                    "lines": lines,
                    "model": model.state_dict(),
                    "optimizer": optimizer.state_dict(),
                    "schedule": schedule.state_dict(),
                }
                run.write(lines, checkpoint=state)


def _line(number: int, totals: Sequence[float], steps: int, schedule: Any) -> dict[str, Any]:
    """Return the line of an epoch; totals are of loss, right, seen and CPU seconds."""
    loss, right, seen, cpu = totals
    return {
        "epoch": number,
        "loss": round(loss / steps, 5),
        "accuracy": round(100 * right / seen, 3),
        "rate": round(float(schedule.get_last_lr()[0]), 6),
        "cpu_seconds": round(cpu, 2),
        "pictures_per_cpu_second": round(seen / cpu, 1),
    }


class Objective:
    """What is minimized: cross entropy to the classes, and to the teacher's probabilities.

    Parameters
    ----------
    recipe : Recipe
    teacher : Module, optional
        Where the recipe distills from.
    device : str
    """

    def __init__(self, recipe: Recipe, teacher: nn.Module | None, device: str) -> None:
        self._recipe, self._teacher = recipe, None
        if teacher is not None and recipe.distillation:
            self._teacher = teacher.to(device=device, memory_format=torch.channels_last).eval()  # type: ignore[call-overload]

    def __call__(self, logits: torch.Tensor, x: torch.Tensor, labels: torch.Tensor) -> torch.Tensor:
        """Return the loss of a batch."""
        smoothing, weight = self._recipe.smoothing, self._recipe.distillation
        loss = functional.cross_entropy(logits, labels, label_smoothing=smoothing)
        if self._teacher is None:
            return loss
        with torch.no_grad():
            wanted = self._teacher(x).softmax(1)
        return loss + weight * functional.cross_entropy(logits, wanted)


def held_out(model: nn.Module, data: Data, device: str = "cpu") -> dict[str, Score]:
    """Return the score on the held-out pictures, by the name ``held_out``, if there are any."""
    return {"held_out": evaluate(model, data.held_out, device)} if len(data.held_out) else {}


def _bar(work: Processes) -> Progress:
    console = Console(stderr=True)
    return Progress(
        TextColumn("{task.fields[text]}", markup=False), BarColumn(), TimeRemainingColumn(),
        console=console, transient=True, disable=not console.is_terminal or work.rank > 0,
    )  # fmt: skip


@dataclass(frozen=True)
class End:
    """What a run ends with.

    Parameters
    ----------
    model : Module
        Whose weights are kept.
    scores : dict of str to Score
    more : dict
        Plain data for the last line of the log.
    """

    model: nn.Module
    scores: dict[str, Score]
    more: dict[str, Any] = field(default_factory=dict)


def carry_out(
    run: Run,
    model: nn.Module,
    data: Data,
    recipe: Recipe,
    end: Callable[[], End],
    *,
    work: Processes,
    device: str = "cpu",
    **more: Any,
) -> None:
    """Train a network as `train` does, unless the run is finished, and write the end of the run.

    Parameters
    ----------
    run, model, data, recipe, work, device, **more
        As of `train`. No epochs is no training.
    end : callable
        Judges the network; called by the first process alone.
    """
    if work.first(lambda: run.end is not None):
        return
    if recipe.epochs:
        train(model, data, recipe, run, device=device, work=work, **more)
    if work.rank:
        return
    cpu = time.process_time()
    found = end()
    lines = run.epochs
    spent = found.more.pop("cpu_seconds_elsewhere", 0) + time.process_time() - cpu
    for line in lines:
        spent += line["cpu_seconds"] + line["cpu_seconds_evaluation"]
    last = {
        "end": True,
        **{name: {**asdict(score), "error": score.error} for name, score in found.scores.items()},
        "cpu_hours": round(spent / 3600, 4),
        **found.more,
    }
    run.write([*lines, last], weights=copy.deepcopy(found.model).cpu().state_dict())
    run.draw()

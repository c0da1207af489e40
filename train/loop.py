"""The training loop: one recipe for all, on one process or, with torchrun, on several."""

from __future__ import annotations

import copy
import ctypes
import math
import os
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext, suppress
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
import torch
from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn, TimeRemainingColumn
from torch import nn
from torch.nn import functional

from report.errors import UserError

from .data import Batches, Data, Pictures, as_input
from .networks import Net
from .operators import ScaffoldedConv2d
from .runs import Run

__all__ = ["Recipe", "Score", "evaluate", "prepare", "processes", "recalibrate", "train"]

#: Pictures that the statistics of a normalization are computed again with.
RECALIBRATION = 2048

#: Learning rate of adapters as a share of that of weights: every adapter is shared by all channels,
#: and its gradient is the sum of theirs.
ADAPTER_RATE = 0.1

_EVALUATED = 250  # pictures at a time


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


def prepare(threads: int = 1) -> None:
    """Set up PyTorch: deterministic, and memory that is kept, not given back for every step.

    Without the latter, glibc returns every large tensor to the kernel, which then clears its pages
    again: training is 1.5 times slower.
    """
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


@contextmanager
def processes(device: str) -> Iterator[Processes]:
    """Join the processes that torchrun has started; alone without it.

    All but the first end here with the block: what comes after it is the first one's.
    """
    if "WORLD_SIZE" not in os.environ:
        yield Processes()
        return
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
    """Return the score of a network."""
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

    As once-for-all does for every network that it takes from a supernet.
    """
    norms = [one for one in model.modules() if isinstance(one, nn.BatchNorm2d)]
    before = [one.momentum for one in norms]
    for one in norms:
        one.reset_running_stats()
        one.momentum = None  # a plain mean
    model.train()
    for first in range(0, min(len(pictures), RECALIBRATION), _EVALUATED):
        model(as_input(pictures.take(slice(first, first + _EVALUATED)).pixels).to(device))
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
    optimizer = _optimizer(model, recipe)
    steps = recipe.epochs * len(batches)
    if steps < 2:
        raise UserError("training must be at least 2 steps, not 1: use more --epochs")
    rates = [group["lr"] for group in optimizer.param_groups]
    schedule = torch.optim.lr_scheduler.OneCycleLR(
        optimizer, rates, total_steps=steps, pct_start=max(0.25, 1.5 / steps), cycle_momentum=False
    )
    lines = run.epochs
    if lines:
        state = run.load("checkpoint")
        model.load_state_dict(state["model"])
        optimizer.load_state_dict(state["optimizer"])
        schedule.load_state_dict(state["schedule"])
        lines = lines[: state["epoch"]]
    if teacher is not None:
        teacher = teacher.to(device=device, memory_format=torch.channels_last).eval()  # type: ignore[call-overload]
    shared: nn.Module = model
    if work.count > 1:
        shared = nn.parallel.DistributedDataParallel(model, find_unused_parameters=draw is not None)
    with run.alone() if work.rank == 0 else nullcontext(), _bar(work) as bar:
        task = bar.add_task("", total=steps, completed=len(lines) * len(batches), text="")
        for number in range(len(lines), recipe.epochs):
            if number == stop_after:
                return
            begun, cpu = time.monotonic(), time.process_time()
            shared.train()
            rng = np.random.default_rng([recipe.seed, number, 1])
            loss_sum = torch.zeros((), dtype=torch.float64)
            right = torch.zeros((), dtype=torch.int64)
            seen = 0
            for index, (x, labels) in enumerate(batches.epoch(number)):
                x, labels = x.to(device), labels.to(device)
                if draw is not None:
                    draw(model, rng, (number + index / len(batches)) / recipe.epochs)
                logits = shared(x)
                loss = functional.cross_entropy(logits, labels, label_smoothing=recipe.smoothing)
                if teacher is not None and recipe.distillation:
                    with torch.no_grad():
                        wanted = teacher(x).softmax(1)
                    loss = loss + recipe.distillation * functional.cross_entropy(logits, wanted)
                optimizer.zero_grad()
                loss.backward()
                optimizer.step()
                schedule.step()
                with torch.no_grad():
                    loss_sum += loss.detach().double().cpu()
                    right += (logits.argmax(1) == labels).sum().cpu()
                seen += len(labels)
                if index % 10 == 0:
                    share = 100 * int(right) / seen
                    text = f"epoch {number + 1}, loss {float(loss.detach()):.2f}, {share:.1f} %"
                    bar.update(task, completed=number * len(batches) + index, text=text)
            mean = float(loss_sum) / len(batches)
            if not math.isfinite(mean):
                raise UserError(
                    f"the loss is no longer a number in epoch {number + 1}: a --rate below "
                    f"{recipe.rate} may help"
                )
            spent = time.process_time() - cpu
            line = {
                "epoch": number + 1,
                "loss": round(mean, 5),
                "accuracy": round(100 * int(right) / seen, 3),
                "rate": round(float(schedule.get_last_lr()[0]), 6),
                "cpu_seconds": round(spent, 2),
                "pictures_per_cpu_second": round(seen / spent, 1),
            }
            if work.rank == 0:
                scores = judge(model) if judge else _held_out(model, data, device)
                for name, score in scores.items():
                    line[f"{name}_loss"] = round(score.loss, 5)
                    line[f"{name}_accuracy"] = round(score.accuracy, 3)
                line["seconds"] = round(time.monotonic() - begun, 1)
                line["cpu_seconds_evaluation"] = round(time.process_time() - cpu - spent, 2)
                lines.append(line)
                state = {
                    "epoch": number + 1,
                    "model": model.state_dict(),
                    "optimizer": optimizer.state_dict(),
                    "schedule": schedule.state_dict(),
                }
                run.write(lines, checkpoint=state)


def _held_out(model: nn.Module, data: Data, device: str) -> dict[str, Score]:
    return {"held_out": evaluate(model, data.held_out, device)} if len(data.held_out) else {}


def _bar(work: Processes) -> Progress:
    console = Console(stderr=True)
    return Progress(
        TextColumn("{task.fields[text]}", markup=False), BarColumn(), TimeRemainingColumn(),
        console=console, transient=True, disable=not console.is_terminal or work.rank > 0,
    )  # fmt: skip


def finish(run: Run, model: Net, scores: dict[str, Score], **more: Any) -> None:
    """Write the end of a run: its weights, and what the network does on the test pictures."""
    lines = run.epochs
    total = sum(line["cpu_seconds"] + line.get("cpu_seconds_evaluation", 0) for line in lines)
    end = {
        "end": True,
        **{name: {**asdict(score), "error": score.error} for name, score in scores.items()},
        "cpu_hours": round(total / 3600, 4),
        **more,
    }
    run.write([*lines, end], weights=copy.deepcopy(model).cpu().state_dict())
    run.draw()

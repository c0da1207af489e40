"""What the commands of training share: options, configuration, networks of runs, and a page."""

from __future__ import annotations

import argparse
import os
import shlex
from collections.abc import Callable, Iterable, Sequence
from dataclasses import asdict
from importlib.metadata import version
from pathlib import Path
from typing import Any

import torch
from torch import nn

from golden.nets.networks import build
from report.command import OneLineParser, Page, without
from report.errors import UserError
from report.tables import Sheet

from .data import Data, check_batch, load
from .loop import End, Recipe, carry_out, processes
from .networks import Net
from .runs import Run

__all__ = [
    "add_data",
    "add_distillation",
    "add_recipe",
    "check_data",
    "conduct",
    "config",
    "folder_of",
    "load_data",
    "load_net",
    "page",
    "recipe_of",
    "recorded",
]

#: Options on which no result depends.
_ELSEWHERE = ("--root", "--out", "--json", "--jobs", "--scheduler")

#: Options that name a run.
_RUNS = ("--teacher", "--start", "--supernet")


def add_data(parser: OneLineParser) -> None:
    """Add the options that choose pictures."""
    parser.add_argument(
        "--data", default="cifar10", metavar="NAME",
        help="cifar10, cifar100, synthetic, an .npz, or a folder with train/CLASS and test/CLASS",
    )  # fmt: skip
    parser.add_argument(
        "--root",
        type=Path,
        metavar="FOLDER",
        default=argparse.SUPPRESS,
        help="where CIFAR lies, as torchvision keeps it (default: $STOS_DATA, data and ../shared)",
    )
    parser.add_argument(
        "--size",
        type=int,
        metavar="PIXELS",
        default=argparse.SUPPRESS,
        help="height and width that the pictures of a folder are resized to",
    )
    parser.add_argument(
        "--held-out", type=int, default=5000, metavar="N",
        help="training pictures that are not trained on, but judged with after every epoch (at "
        "most a tenth of all)",
    )  # fmt: skip


def add_recipe(parser: OneLineParser, epochs: int = 30, rate: float = 0.2) -> None:
    """Add the options of a recipe, and where to run it."""
    defaults = Recipe(epochs=epochs, rate=rate)
    for name, kind, text in (
        ("epochs", int, "how often every picture is seen"),
        ("batch", int, "pictures in a step, of all processes"),
        ("seed", int, "of weights, batches and draws"),
        ("rate", float, "the highest learning rate"),
        ("decay", float, "weight decay"),
        ("smoothing", float, "label smoothing"),
    ):
        parser.add_argument(
            f"--{name}", type=kind, default=getattr(defaults, name), help=text, metavar="X"
        )
    parser.add_argument("--device", choices=("cpu", "cuda"), default="cpu", help="where to compute")
    parser.add_argument(
        "--threads", type=int, default=1, help="of a process on the cpu", metavar="N"
    )
    parser.add_argument(
        "--out", type=Path, metavar="FOLDER", default=argparse.SUPPRESS,
        help="the run's folder (default: runs/ and what it is); an interrupted run goes on there",
    )  # fmt: skip


def add_distillation(parser: OneLineParser) -> None:
    """Add the option that says how much a teacher weighs."""
    parser.add_argument(
        "--distillation", type=float, default=1.0, metavar="X",
        help="weight of the cross entropy to the teacher's probabilities",
    )  # fmt: skip


def load_data(arguments: argparse.Namespace) -> Data:
    """Return the pictures that the options choose."""
    name, root = arguments.data, getattr(arguments, "root", None)
    held_out = arguments.held_out
    if held_out < 0:
        raise UserError(f"--held-out must be at least 0, not {held_out}")
    size = getattr(arguments, "size", None)
    return load(name, root, held_out=held_out, size=size)


def recipe_of(
    arguments: argparse.Namespace, data: Data, distillation: float = 0.0, least: int = 1
) -> Recipe:
    """Return the recipe that the options say for some data, of at least so many epochs."""
    check_batch(arguments.batch, len(data.train), int(os.environ.get("WORLD_SIZE", 1)))
    if arguments.epochs < least:
        raise UserError(f"--epochs must be at least {least}, not {arguments.epochs}")
    names = ("epochs", "batch", "seed", "rate", "decay", "smoothing")
    return Recipe(**{name: getattr(arguments, name) for name in names}, distillation=distillation)


def folder_of(arguments: argparse.Namespace, name: str) -> Path:
    """Return the folder of a run: the one that is asked for, or one of its name."""
    found: Path = getattr(arguments, "out", Path("runs") / name)
    return found


def conduct(
    arguments: argparse.Namespace, folder: Path, settings: dict[str, Any], model: nn.Module,
    data: Data, recipe: Recipe, end: Callable[[Run], End], **more: Any,
) -> Run:  # fmt: skip
    """Return the run in a folder, carried out by all processes; parameters as of `carry_out`."""
    with processes(arguments.device) as work:
        run = work.first(lambda: Run.create(folder, settings))
        carry_out(
            run, model, data, recipe, lambda: end(run), work=work, device=arguments.device, **more
        )
    return run


def recorded(words: Sequence[str]) -> str:
    """Return the words of a command as a run keeps them: without places of this machine.

    A run lies in ``runs``, wherever it was made.
    """
    kept = list(without(words, *_ELSEWHERE))
    for index, word in enumerate(kept):
        option, equals, value = word.partition("=")
        after = index and kept[index - 1] in _RUNS
        if after or (not word.startswith("-") and (Path(word) / "config.json").exists()):
            kept[index] = f"runs/{Path(word).name}"
        elif equals and option in _RUNS:
            kept[index] = f"{option}=runs/{Path(value).name}"
    return shlex.join(kept)


def _described(data: Data) -> dict[str, Any]:
    """Return what a run says of its data."""
    return {
        "name": data.name, "train": len(data.train), "held_out": len(data.held_out),
        "test": len(data.test), "size": data.size, "classes": list(data.classes),
    }  # fmt: skip


def check_data(runs: Iterable[Run], data: Data) -> None:
    """Raise `UserError` unless runs were trained on these data, and the same are held out."""
    for run in runs:
        there, here = run.config["data"], _described(data)
        # Runs of before do not say the size.
        different = [key for key in here if there.get(key, here[key]) != here[key]]
        if different:
            key = different[0]
            raise UserError(
                f"{run.folder} was trained on other data: {key} {there[key]!r}, here {here[key]!r}"
            )


def config(
    arguments: argparse.Namespace, kind: str, network: dict[str, Any], recipe: Recipe, data: Data,
    **more: Any,
) -> dict[str, Any]:  # fmt: skip
    """Return the configuration of a run; `more` may have other runs."""
    names = {key: one.folder.name if isinstance(one, Run) else one for key, one in more.items()}
    return {
        "kind": kind,
        "command": f"python -m train {kind} {recorded(arguments.words)}",
        "network": network,
        "recipe": asdict(recipe),
        "data": _described(data),
        **{key: one for key, one in names.items() if one is not None},
        "machine": {
            "device": arguments.device, "threads": arguments.threads,
            "processes": int(os.environ.get("WORLD_SIZE", 1)),
        },
        "versions": {
            "stos-array": version("stos-array"), "torch": torch.__version__.split("+")[0],
        },
    }  # fmt: skip


def load_net(run: Run) -> Net:
    """Return the network of a run, with its weights at the end.

    Raises
    ------
    UserError
        If the run is not finished, or one of `train quantize`.
    """
    if run.config["kind"] == "quantize":
        raise UserError(f"{run.folder} is an int8 network; name the run that it was made from")
    description = dict(run.config["network"])
    scaffold = description.pop("scaffold", "")
    net = Net(build(**description), scaffold)
    try:
        net.load_state_dict(run.load("weights"))
    except RuntimeError:
        raise UserError(f"{run.folder}: weights.pt is of another network") from None
    return net


def page(run: Run) -> Page:
    """Return what is shown of a finished run."""
    end = run.end
    assert end is not None
    test = end["test"]
    last = run.epochs[-1]
    held_out = last.get("held_out_accuracy")
    sheet = Sheet(
        title=f"{run.folder}: {run.config['data']['name']}",
        columns=("", "held out", "test"),
        rows=[
            (
                "accuracy, %",
                "" if held_out is None else f"{held_out:.2f}",
                f"{test['accuracy']:.2f}",
            )
        ],
    )
    note = (
        f"{len(run.epochs)} epochs, {end['cpu_hours']:.2f} CPU hours, "
        f"{last['pictures_per_cpu_second']:,.0f} pictures per CPU second; one standard error of "
        f"the test {test['error']:.2f} points"
    )
    return Page(tables=[sheet], notes=[note], data={"config": run.config, "log": run.log})

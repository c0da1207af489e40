"""Train a network in place: ``python -m train fit --network mobilenet_v2 --operator fuse_half``."""

from __future__ import annotations

import argparse
import os
import re
import shlex
from dataclasses import asdict
from importlib.metadata import version
from pathlib import Path
from typing import Any

import torch

from golden.nets.networks import BLOCK_OPERATORS, NETWORKS, OPERATOR_LETTERS, build
from report.command import Command, OneLineParser, Page, without
from report.errors import UserError
from report.tables import Sheet

from .data import Data, check_batch, load
from .loop import Recipe, evaluate, finish, prepare, processes, train
from .networks import Net, transfer
from .runs import Run

__all__ = ["COMMAND", "add_data", "add_network", "add_recipe", "load_net", "main"]

#: Strides for small pictures (below 64 pixels), stem first.
SMALL_STRIDES = {
    "mobilenet_v1": (1, 1, 2, 1, 2, 1, 2, 1, 1, 1, 1, 1, 2, 1),
    "mobilenet_v2": (1, 1, 2, 2, 2, 1, 1, 1),
    "mnasnet_b1": (1, 1, 2, 2, 2, 1, 1, 1),
}

#: Options on which no result depends.
_ELSEWHERE = ("--root", "--out", "--json")


def add_network(parser: OneLineParser) -> None:
    """Add the options that choose a network."""
    parser.add_argument("--network", default="mobilenet_v2", choices=NETWORKS, help="its family")
    parser.add_argument("--width", type=float, default=1.0, help="what channels are multiplied by")
    parser.add_argument(
        "--strides", type=_strides, metavar="S-S-...", default=argparse.SUPPRESS,
        help="of every stage (of MobileNetV1 and V3: of every block), as in 1-2-2-2-1-1-1 "
        "(default: the published ones; for pictures below 64 pixels fewer of 2)",
    )  # fmt: skip
    parser.add_argument(
        "--stem-stride",
        type=int,
        choices=(1, 2),
        default=argparse.SUPPRESS,
        help="of the first convolution (default: 1 for pictures below 64 pixels, else 2)",
    )


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


def _strides(text: str) -> tuple[int, ...]:
    if not re.fullmatch(r"[12](-[12])*", text):
        raise argparse.ArgumentTypeError(f"must be 1 and 2 like 1-2-2-2-1-1-1, not {text!r}")
    return tuple(map(int, text.split("-")))


def _letters(text: str) -> tuple[str, ...]:
    if not re.fullmatch("[DHF]+", text):
        raise argparse.ArgumentTypeError(f"must be D, H and F like DDHH, not {text!r}")
    return tuple(OPERATOR_LETTERS[letter] for letter in text)


def load_data(arguments: argparse.Namespace) -> Data:
    """Return the pictures that the options choose."""
    name, root = arguments.data, getattr(arguments, "root", None)
    held_out = arguments.held_out
    if held_out < 0:
        raise UserError(f"--held-out must be at least 0, not {held_out}")
    size = getattr(arguments, "size", None)
    return load(name, root, held_out=held_out, size=size)


def described(arguments: argparse.Namespace, data: Data) -> dict[str, Any]:
    """Return what `golden.nets.networks.build` is given for the network that the options choose."""
    name = arguments.network
    small = data.size < 64
    given = getattr(arguments, "strides", None)
    stem = getattr(arguments, "stem_stride", 1 if small else 2)
    strides = None
    if given is not None:
        strides = (stem, *given)
    elif small and name in SMALL_STRIDES:
        strides = (stem, *SMALL_STRIDES[name][1:])
    elif hasattr(arguments, "stem_stride"):
        raise UserError("--stem-stride needs --strides for this network")
    return {
        "name": name, "resolution": data.size, "width": arguments.width, "strides": strides,
        "classes": len(data.classes), "padding": "same",
    }  # fmt: skip


def blocks(description: dict[str, Any]) -> int:
    """Return how many blocks of a network have an operator to choose."""
    layers = build(**description).layers
    return max(
        int(layer.name.split(".")[0].removeprefix("block"))
        for layer in layers
        if layer.name.startswith("block")
    )


def config(
    arguments: argparse.Namespace, kind: str, network: dict[str, Any], recipe: Recipe, data: Data
) -> dict[str, Any]:
    """Return the configuration of a run."""
    return {
        "kind": kind,
        "command": f"python -m train {kind} {shlex.join(without(arguments.words, *_ELSEWHERE))}",
        "network": network,
        "recipe": asdict(recipe),
        "data": {
            "name": data.name, "train": len(data.train), "held_out": len(data.held_out),
            "test": len(data.test), "classes": data.classes,
        },
        "versions": {
            "stos-array": version("stos-array"), "torch": torch.__version__.split("+")[0],
        },
    }  # fmt: skip


def load_net(run: Run, weights: str = "weights") -> Net:
    """Return the network of a run, with its weights at the end."""
    description = dict(run.config["network"])
    scaffold = description.pop("scaffold", "")
    net = Net(build(**description), scaffold)
    net.load_state_dict(run.load(weights))
    return net


def _options(parser: OneLineParser) -> None:
    add_network(parser)
    which = parser.add_mutually_exclusive_group()
    which.add_argument(
        "--operator", choices=BLOCK_OPERATORS, default="depthwise", help="of every block"
    )
    which.add_argument(
        "--operators", type=_letters, metavar="LETTERS", default=argparse.SUPPRESS,
        help="of each block: D depthwise, H FuSe half, F FuSe full, as `train search` gives them",
    )  # fmt: skip
    parser.add_argument(
        "--start", type=Path, metavar="RUN", default=argparse.SUPPRESS,
        help="a run, maybe of a supernet, to begin with the weights of",
    )  # fmt: skip
    parser.add_argument(
        "--teacher", type=Path, metavar="RUN", default=argparse.SUPPRESS,
        help="a run to distill from",
    )  # fmt: skip
    parser.add_argument(
        "--distillation",
        type=float,
        default=1.0,
        metavar="X",
        help="weight of the cross entropy to the teacher's probabilities",
    )
    add_data(parser)
    add_recipe(parser)


def recipe_of(
    arguments: argparse.Namespace, data: Data, distillation: float = 0.0, least: int = 1
) -> Recipe:
    """Return the recipe that the options say for some data, of at least so many epochs."""
    check_batch(arguments.batch, len(data.train), int(os.environ.get("WORLD_SIZE", 1)))
    if arguments.epochs < least:
        raise UserError(f"--epochs must be at least {least}, not {arguments.epochs}")
    names = ("epochs", "batch", "seed", "rate", "decay", "smoothing")
    return Recipe(**{name: getattr(arguments, name) for name in names}, distillation=distillation)


def _report(arguments: argparse.Namespace) -> Run:
    prepare(arguments.threads)
    teacher = Run.open(arguments.teacher) if hasattr(arguments, "teacher") else None
    start = Run.open(arguments.start) if hasattr(arguments, "start") else None
    data = load_data(arguments)
    recipe = recipe_of(arguments, data, arguments.distillation if teacher else 0.0)
    description = described(arguments, data)
    given = getattr(arguments, "operators", None) or (arguments.operator,) * blocks(description)
    description["operators"] = given
    network = build(**description)
    settings = config(arguments, "fit", description, recipe, data)
    for name, other in (("teacher", teacher), ("start", start)):
        if other:
            settings[name] = other.folder.name
    width = f"_{arguments.width:g}" if arguments.width != 1 else ""
    name = f"{arguments.network}{width}_{network.variant}_{recipe.epochs}_s{recipe.seed}"
    run = Run.create(getattr(arguments, "out", Path("runs") / name), settings)
    if run.end is None:
        torch.manual_seed(recipe.seed)
        model = Net(network)
        if start:
            transfer(load_net(start), model)
        guide = load_net(teacher).absorbed() if teacher else None
        with processes(arguments.device) as work:
            train(model, data, recipe, run, teacher=guide, device=arguments.device, work=work)
            if work.rank == 0:
                scores = {"test": evaluate(model, data.test, arguments.device)}
                finish(run, model, scores)
    return run


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


COMMAND = Command(
    name="train fit", about="Train a network in place.", options=_options, report=_report,
    page=page, outputs=("json",),
)  # fmt: skip
main = COMMAND.main

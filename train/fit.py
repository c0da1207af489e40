"""Train a network in place: ``python -m train fit --network mobilenet_v2 --operator fuse_half``."""

from __future__ import annotations

import argparse
import re
from pathlib import Path
from typing import Any

import torch

from golden.nets.networks import BLOCK_OPERATORS, NETWORKS, OPERATOR_LETTERS, build
from report.command import Command, OneLineParser
from report.errors import UserError

from .data import Data
from .loop import End, evaluate, prepare
from .networks import Net, transfer
from .options import (
    add_data,
    add_distillation,
    add_recipe,
    check_data,
    conduct,
    config,
    folder_of,
    load_data,
    load_net,
    page,
    recipe_of,
)
from .runs import Run

__all__ = ["COMMAND", "main"]

#: Strides for small pictures (below 64 pixels), stem first.
SMALL_STRIDES = {
    "mobilenet_v1": (1, 1, 2, 1, 2, 1, 2, 1, 1, 1, 1, 1, 2, 1),
    "mobilenet_v2": (1, 1, 2, 2, 2, 1, 1, 1),
    "mnasnet_b1": (1, 1, 2, 2, 2, 1, 1, 1),
    "mobilenet_v3_small": (1, 1, 2, 1, 2, 1, 1, 1, 1, 2, 1, 1),
    "mobilenet_v3_large": (1, 1, 2, 1, 2, 1, 1, 2, 1, 1, 1, 1, 1, 1, 1, 1),
}


def _add_network(parser: OneLineParser) -> None:
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


def _strides(text: str) -> tuple[int, ...]:
    if not re.fullmatch(r"[12](-[12])*", text):
        raise argparse.ArgumentTypeError(f"must be 1 and 2 like 1-2-2-2-1-1-1, not {text!r}")
    return tuple(map(int, text.split("-")))


def _letters(text: str) -> tuple[str, ...]:
    if not re.fullmatch("[DHF]+", text):
        raise argparse.ArgumentTypeError(f"must be D, H and F like DDHH, not {text!r}")
    return tuple(OPERATOR_LETTERS[letter] for letter in text)


def _described(arguments: argparse.Namespace, data: Data) -> dict[str, Any]:
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


def _blocks(description: dict[str, Any]) -> int:
    """Return how many blocks of a network have an operator to choose."""
    layers = build(**description).layers
    return max(
        int(layer.name.split(".")[0].removeprefix("block"))
        for layer in layers
        if layer.name.startswith("block")
    )


def _options(parser: OneLineParser) -> None:
    _add_network(parser)
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
    add_distillation(parser)
    add_data(parser)
    add_recipe(parser)


def _report(arguments: argparse.Namespace) -> Run:
    prepare(arguments.threads, arguments.device)
    teacher = Run.open(arguments.teacher) if hasattr(arguments, "teacher") else None
    start = Run.open(arguments.start) if hasattr(arguments, "start") else None
    data = load_data(arguments)
    check_data([one for one in (teacher, start) if one], data)
    recipe = recipe_of(arguments, data, arguments.distillation if teacher else 0.0)
    description = _described(arguments, data)
    given = getattr(arguments, "operators", None) or (arguments.operator,) * _blocks(description)
    description["operators"] = given
    torch.manual_seed(recipe.seed)
    model = Net(build(**description))
    if start:
        transfer(load_net(start), model)
    guide = load_net(teacher).absorbed() if teacher else None
    settings = config(arguments, "fit", description, recipe, data, teacher=teacher, start=start)
    width = f"_{arguments.width:g}" if arguments.width != 1 else ""
    name = f"{arguments.network}{width}_{model.network.variant}_{recipe.epochs}_s{recipe.seed}"
    return conduct(
        arguments, folder_of(arguments, name), settings, model, data, recipe,
        lambda _: End(model, {"test": evaluate(model, data.test, arguments.device)}),
        teacher=guide,
    )  # fmt: skip


COMMAND = Command(
    name="train fit", about="Train a network in place.", options=_options, report=_report,
    page=page, outputs=("json",),
)  # fmt: skip
main = COMMAND.main

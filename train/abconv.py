"""Train a network with ABConv layers: ``python -m train abconv --pattern A-P-P --start RUN``.

A pattern goes round over the layers that the papers' group selection would replace: P keeps the
pointwise convolution, A makes it ABConv, E ABConv-exp. Layers that are kept begin with the weights
of the run that ``--start`` names; those that are replaced begin with fresh ones.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import torch

from golden.nets.networks import ABCONV_NETWORKS, build
from report.command import Command, OneLineParser
from report.errors import UserError

from .loop import End, evaluate, prepare
from .networks import Net, transfer
from .options import (
    add_data,
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


def _options(parser: OneLineParser) -> None:
    parser.add_argument(
        "--network", default="mobilenet_v1_cifar100", choices=ABCONV_NETWORKS, help="its family"
    )
    parser.add_argument("--width", type=float, default=1.0, help="what channels are multiplied by")
    parser.add_argument(
        "--pattern", default="A-P-P", help="P pointwise, A ABConv, E ABConv-exp, as in A-P-P"
    )
    parser.add_argument(
        "--start", type=Path, metavar="RUN", default=argparse.SUPPRESS,
        help="a run of pattern P to begin with the weights of",
    )  # fmt: skip
    add_data(parser)
    add_recipe(parser)


def _report(arguments: argparse.Namespace) -> Run:
    prepare(arguments.threads, arguments.device)
    start = Run.open(arguments.start) if hasattr(arguments, "start") else None
    data = load_data(arguments)
    check_data([start] if start else [], data)
    recipe = recipe_of(arguments, data)
    description = {
        "name": arguments.network, "variant": arguments.pattern, "resolution": data.size,
        "width": arguments.width, "classes": len(data.classes), "padding": "same",
    }  # fmt: skip
    torch.manual_seed(recipe.seed)
    model = Net(build(**description))
    shared = [layer.workload.kind == "abconv" for layer in model.network.layers]
    if set(arguments.pattern) & {"A", "E"} and not any(shared):
        raise UserError(
            f"no layer of {arguments.network} at width {arguments.width:g} has channels enough for "
            f"groups; a larger --width has"
        )
    if start:
        transfer(load_net(start), model)
    settings = config(arguments, "abconv", description, recipe, data, start=start)
    width = f"_{arguments.width:g}" if arguments.width != 1 else ""
    name = f"{arguments.network}{width}_{arguments.pattern}_{recipe.epochs}_s{recipe.seed}"
    return conduct(
        arguments, folder_of(arguments, name), settings, model, data, recipe,
        lambda _: End(model, {"test": evaluate(model, data.test, arguments.device)}),
    )  # fmt: skip


COMMAND = Command(
    name="train abconv", about="Train a network with ABConv layers.", options=_options,
    report=_report, page=page, outputs=("json",),
)  # fmt: skip
main = COMMAND.main

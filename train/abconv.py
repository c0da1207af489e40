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

from .fit import add_data, add_recipe, config, load_data, load_net, page, recipe_of
from .loop import evaluate, finish, prepare, processes, train
from .networks import Net, transfer
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
    prepare(arguments.threads)
    start = Run.open(arguments.start) if hasattr(arguments, "start") else None
    data = load_data(arguments)
    recipe = recipe_of(arguments, data)
    description = {
        "name": arguments.network, "variant": arguments.pattern, "resolution": data.size,
        "width": arguments.width, "classes": len(data.classes), "padding": "same",
    }  # fmt: skip
    network = build(**description)
    shared = [layer.workload.kind == "abconv" for layer in network.layers]
    if set(arguments.pattern) & {"A", "E"} and not any(shared):
        raise UserError(
            f"no layer of {arguments.network} at width {arguments.width:g} has channels enough for "
            f"groups; a larger --width has"
        )
    settings = config(arguments, "abconv", description, recipe, data)
    if start:
        settings["start"] = start.folder.name
    name = (
        f"{arguments.network}_{arguments.width:g}_{arguments.pattern}_{recipe.epochs}"
        f"_s{recipe.seed}"
    )
    run = Run.create(getattr(arguments, "out", Path("runs") / name), settings)
    if run.end is None:
        torch.manual_seed(recipe.seed)
        model = Net(network)
        if start:
            transfer(load_net(start), model)
        with processes(arguments.device) as work:
            train(model, data, recipe, run, device=arguments.device, work=work)
            if work.rank == 0:
                finish(run, model, {"test": evaluate(model, data.test, arguments.device)})
    return run


COMMAND = Command(
    name="train abconv", about="Train a network with ABConv layers.", options=_options,
    report=_report, page=page, outputs=("json",),
)  # fmt: skip
main = COMMAND.main

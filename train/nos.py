"""Train a FuSe network scaffolded by its depthwise teacher: ``python -m train nos --teacher RUN``.

Source: "Design and Scaffolded Training of an Efficient DNN Operator for Computer Vision on the
Edge" (arXiv 2108.11441). The paper gives no loss and no schedule; these are this project's:

- Every depthwise convolution is scaffolded (`train.operators.ScaffoldedConv2d`), and begins with
  the weights of the teacher.
- In every step each block is FuSe half with some probability, which for one FuSe network rises to 1
  over the last fifth of training, and for a supernet stays as it is.
- The loss is the cross entropy, plus that to the teacher's probabilities.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from golden.nets.networks import build
from report.command import Command, OneLineParser
from report.errors import UserError

from .data import Pictures
from .loop import End, evaluate, held_out, prepare, recalibrate
from .networks import Net, transfer
from .operators import ADAPTERS
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

__all__ = ["COMMAND", "RISE", "chosen", "draw", "main", "scaffold"]

#: Share of training over which the probability of FuSe rises to 1, at its end.
RISE = 0.2


def scaffold(teacher: Net, description: dict[str, Any], start: str) -> Net:
    """Return the teacher with a scaffold around every depthwise convolution.

    Parameters
    ----------
    teacher : Net
    description : dict
        Arguments of `golden.nets.networks.build` for it.
    start : str
        What the adapters begin as, one of `ADAPTERS`.
    """
    net = Net(build(**description), start)
    transfer(teacher, net)
    return net


def chosen(net: Net, description: dict[str, Any], fused: Sequence[bool], some: Pictures) -> Net:
    """Return a network of a supernet, without the scaffold.

    Parameters
    ----------
    net : Net
        The supernet.
    description : dict
        Arguments of `golden.nets.networks.build` for it.
    fused : sequence of bool
        Which blocks are FuSe half.
    some : Pictures
        What the statistics of the normalizations are computed again with.
    """
    operators = tuple("fuse_half" if one else "depthwise" for one in fused)
    plain = Net(build(**description | {"operators": operators}))
    transfer(net, plain)
    device = next(net.parameters()).device
    plain = plain.to(device)
    recalibrate(plain, some, str(device))
    return plain


def draw(probability: float, rises: bool) -> Callable[[Net, np.random.Generator, float], None]:
    """Return what draws the operators of a step.

    Parameters
    ----------
    probability : float
        Of FuSe, for every block.
    rises : bool
        Whether it rises to 1 over the last part of training.
    """

    def one(net: Net, rng: np.random.Generator, done: float) -> None:
        late = max(0.0, done - (1 - RISE)) / RISE if rises else 0.0
        limit = probability + (1 - probability) * late
        net.fuse([bool(x < limit) for x in rng.random(len(net.scaffolds))])

    return one


def _options(parser: OneLineParser) -> None:
    parser.add_argument(
        "--teacher", type=Path, metavar="RUN", required=True, default=argparse.SUPPRESS,
        help="a run of a depthwise network",
    )  # fmt: skip
    parser.add_argument(
        "--probability", type=float, default=0.5, metavar="P",
        help="of a block to be FuSe half in a step; 1 is FuSe in place from the teacher's weights",
    )  # fmt: skip
    parser.add_argument(
        "--supernet", action="store_true",
        help="leave the probability as it is to the end: a network to search in",
    )  # fmt: skip
    parser.add_argument(
        "--adapters", choices=ADAPTERS, default="middle",
        help="which row and column of a kernel the adapters pick at first",
    )  # fmt: skip
    add_distillation(parser)
    add_data(parser)
    add_recipe(parser, rate=0.1)


def _check(teacher: Run) -> dict[str, Any]:
    """Return the description of the teacher's network."""
    description = dict(teacher.config["network"])
    if set(description.get("operators", ())) != {"depthwise"} or "scaffold" in description:
        raise UserError(f"{teacher.folder} must be a run of a depthwise network")
    return description


def _report(arguments: argparse.Namespace) -> Run:
    prepare(arguments.threads, arguments.device)
    if not 0 <= arguments.probability <= 1:
        raise UserError(f"--probability must be from 0 to 1, not {arguments.probability}")
    teacher = Run.open(arguments.teacher)
    description = _check(teacher)
    data = load_data(arguments)
    check_data([teacher], data)
    recipe = recipe_of(arguments, data, arguments.distillation)
    guide = load_net(teacher)
    net = scaffold(guide, description, arguments.adapters)
    everywhere = [True] * len(net.scaffolds)

    def fused() -> Net:
        return chosen(net, description, everywhere, data.train)

    def end() -> End:
        fuse = fused()
        depthwise = chosen(net, description, [False] * len(everywhere), data.train)
        both = held_out(depthwise, data, arguments.device)
        scores = {f"{name}_depthwise": score for name, score in both.items()}
        scores["test"] = evaluate(fuse, data.test, arguments.device)
        adapters = [
            [one.row_adapter.tolist(), one.column_adapter.tolist()] for one in net.scaffolds
        ]
        return End(net if arguments.supernet else fuse, scores, {"adapters": adapters})

    given = {
        "probability": arguments.probability, "supernet": arguments.supernet,
        "adapters": arguments.adapters,
    }  # fmt: skip
    final = (
        description | {"scaffold": arguments.adapters}
        if arguments.supernet
        else description | {"operators": ("fuse_half",) * len(everywhere)}
    )
    settings = config(arguments, "nos", final, recipe, data, teacher=teacher, nos=given)
    name = f"nos_{'supernet_' if arguments.supernet else ''}{recipe.epochs}_s{recipe.seed}"
    return conduct(
        arguments, folder_of(arguments, name), settings, net, data, recipe, lambda _: end(),
        teacher=guide.absorbed(), draw=draw(arguments.probability, not arguments.supernet),
        judge=lambda _: held_out(fused(), data, arguments.device),
    )  # fmt: skip


COMMAND = Command(
    name="train nos", about="Train a FuSe network scaffolded by its depthwise teacher.",
    options=_options, report=_report, page=page, outputs=("json",),
)  # fmt: skip
main = COMMAND.main

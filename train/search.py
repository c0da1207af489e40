"""Choose an operator for every block: ``python -m train search --supernet RUN --rows R --cols C``.

Cycles are a sum over blocks, so those of every network of the space are exact and known at once.
Accuracy is measured on some random networks (held-out pictures; statistics of normalizations
computed again for each), and predicted for all others by ridge regression on the blocks' operators
and their pairs. The front of a space of up to 2**20 networks is enumerated; an evolutionary search,
as the papers do it, is judged by it.
"""

from __future__ import annotations

import argparse
import functools
import hashlib
import json
import time
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import combinations
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from golden.nets.networks import build
from hw.config import ArrayConfig
from report.command import Command, OneLineParser, Page
from report.errors import UserError, reading
from report.files import write_atomically
from report.jobs import add_executor_options, executor, run_jobs
from report.plots import PALETTE, picture, pyplot
from report.tables import Sheet
from sim.network import network_report

from .data import NAMES, Data, load
from .loop import evaluate, prepare
from .networks import Net
from .nos import chosen
from .options import add_data, check_data, load_data, load_net
from .runs import Run

__all__ = ["COMMAND", "Latency", "Predictor", "evolve", "front", "main", "space"]

#: Networks that are enumerated at most.
_LARGEST = 1 << 20

#: What the evolutionary search does, as once-for-all.
POPULATION, GENERATIONS, PARENTS, MUTATION = 100, 500, 0.25, 0.1

#: Penalty of the ridge regression's weights; that of a pair's is as large.
_PENALTY = 1.0

#: Networks that a job measures.
_EACH = 5

Bits = NDArray[np.bool_]


@dataclass(frozen=True)
class Latency:
    """Cycles of every network of a space.

    Parameters
    ----------
    base : int
        Of the network that is depthwise everywhere.
    gains : int64 array (blocks,)
        What FuSe half saves in every block; may be negative.
    """

    base: int
    gains: NDArray[np.int64]

    @classmethod
    def of(cls, description: dict[str, Any], config: ArrayConfig) -> Latency:
        """Measure a network's blocks on an array, exactly, layer by layer."""
        blocks = len(description["operators"])
        cycles = []
        for operator in ("depthwise", "fuse_half"):
            network = build(**description | {"operators": (operator,) * blocks})
            layers = network_report(network, config).layers
            cycles.append([layer.cycles for layer in layers])
            spatial = [layer.workload.spatial for layer in network.layers]
        plain, fused = np.array(cycles, np.int64)
        return cls(int(plain.sum()), (plain - fused)[np.array(spatial)])

    def __call__(self, networks: Bits) -> NDArray[np.int64]:
        """Return the cycles of networks ``(n, blocks)``, true where a block is FuSe half."""
        found: NDArray[np.int64] = self.base - networks @ self.gains
        return found


def space(blocks: int) -> Bits:
    """Return every network of a space, ``(2**blocks, blocks)``."""
    numbers = np.arange(1 << blocks)
    return (numbers[:, None] >> np.arange(blocks) & 1).astype(bool)


class Predictor:
    """Accuracy by ridge regression on every block's operator and on all pairs of them.

    Parameters
    ----------
    networks : bool array (n, blocks)
    accuracies : float array (n,)
    """

    def __init__(self, networks: Bits, accuracies: NDArray[np.float64]) -> None:
        features = self._features(networks)
        self._mean, self._centre = features.mean(0), accuracies.mean()
        centred = features - self._mean
        penalty = _PENALTY * np.eye(features.shape[1])
        self._weights = np.linalg.solve(
            centred.T @ centred + penalty, centred.T @ (accuracies - self._centre)
        )

    @staticmethod
    def _features(networks: Bits) -> NDArray[np.float64]:
        signs = np.where(networks, 0.5, -0.5)
        pairs = [signs[:, a] * signs[:, b] for a, b in combinations(range(signs.shape[1]), 2)]
        return np.column_stack([signs, *pairs])

    def __call__(self, networks: Bits) -> NDArray[np.float64]:
        """Return the accuracies of networks ``(n, blocks)``."""
        steps = range(0, len(networks), 1 << 14)
        parts = [self._features(networks[i : i + (1 << 14)]) - self._mean for i in steps]
        return self._centre + np.concatenate([part @ self._weights for part in parts])


def front(cycles: NDArray[np.int64], accuracies: NDArray[np.float64]) -> list[int]:
    """Return the networks that no other beats in one without being worse in the other.

    In the order of their cycles, fewest first.
    """
    found: list[int] = []
    best = -np.inf
    for index in np.lexsort((-accuracies, cycles)):
        if accuracies[index] > best:
            best = accuracies[index]
            found.append(int(index))
    return found


def evolve(latency: Latency, predictor: Predictor, limit: int, seed: int = 0) -> Bits:
    """Return the best network within some cycles that an evolutionary search finds.

    Networks above the limit are drawn again. Every generation keeps its best quarter, and fills up
    with mutations (every block changes with probability 0.1) and crossings of those, half of each.

    Raises
    ------
    UserError
        If no network is within the limit.
    """
    blocks = len(latency.gains)
    fastest = latency.gains > 0
    if latency(fastest[None])[0] > limit:
        raise UserError(f"no network takes at most {limit:,} cycles")
    rng = np.random.default_rng(seed)

    def legal(draw: Any, count: int) -> Bits:
        kept: list[Bits] = []
        for _ in range(1000):
            some: Bits = draw(count)
            kept.append(some[latency(some) <= limit])
            if sum(map(len, kept)) >= count:
                return np.concatenate(kept)[:count]
        rest = np.repeat(fastest[None], count, 0)
        return np.concatenate([*kept, rest])[:count]

    population = legal(lambda n: rng.random((n, blocks)) < rng.random((n, 1)), POPULATION)
    parents = int(PARENTS * POPULATION)
    for _ in range(GENERATIONS):
        order = np.argsort(-predictor(population), kind="stable")
        best = population[order[:parents]]

        def mutated(n: int, best: Bits = best) -> Bits:
            some: Bits = best[rng.integers(0, len(best), n)]
            return some ^ (rng.random((n, blocks)) < MUTATION)

        def crossed(n: int, best: Bits = best) -> Bits:
            a, b = best[rng.integers(0, len(best), (2, n))]
            return np.where(rng.random((n, blocks)) < 0.5, a, b)

        half = (POPULATION - parents) // 2
        population = np.concatenate(
            [best, legal(mutated, half), legal(crossed, POPULATION - parents - half)]
        )
    found: Bits = population[int(np.argmax(predictor(population)))]
    return found


# --- Accuracies ---------------------------------------------------------------------------------


@functools.lru_cache(maxsize=1)
def _loaded(
    folder: Path, name: str, root: Path | None, held_out: int, size: int | None
) -> tuple[Net, Run, Data]:
    prepare()
    run = Run.open(folder)
    return load_net(run), run, load(name, root, held_out=held_out, size=size)


def _measure(options: tuple[Any, ...], networks: Bits) -> tuple[list[float], float]:
    """Return the held-out accuracies of some networks of a supernet, and CPU seconds."""
    net, run, data = _loaded(*options)
    cpu = time.process_time()
    description = dict(run.config["network"])
    description.pop("scaffold")
    found = []
    for fused in networks:
        one = chosen(net, description, fused.tolist(), data.train)
        found.append(round(evaluate(one, data.held_out).accuracy, 4))
    return found, time.process_time() - cpu


def letters(fused: Sequence[bool] | Bits) -> str:
    """Return a network as `train fit --operators` takes it."""
    return "".join("H" if one else "D" for one in fused)


def _bits(names: Sequence[str]) -> Bits:
    return np.array([[letter == "H" for letter in name] for name in names], bool)


@dataclass(frozen=True)
class Measured:
    """Accuracies of networks of a supernet.

    Parameters
    ----------
    accuracies : float array (n,)
        On the held-out pictures, percent.
    cpu_hours : float
        That all networks took that are known by now.
    """

    accuracies: NDArray[np.float64]
    cpu_hours: float


def measure(run: Run, wanted: Bits, data: Data, arguments: argparse.Namespace) -> Measured:
    """Return the accuracies of networks of a supernet, each measured once.

    They are kept in the run's folder, as ``subnets.json``, with what they were measured with.
    """
    path = run.folder / "subnets.json"
    source = {
        "data": data.name, "held_out": len(data.held_out), "size": data.size,
        "weights": hashlib.sha256((run.folder / "weights.pt").read_bytes()).hexdigest(),
    }  # fmt: skip
    kept: dict[str, Any] = {"source": source, "cpu_seconds": 0.0, "accuracies": {}}
    if path.exists():
        with reading(path):
            text = path.read_text()
        try:
            there = json.loads(text)
            kept = there if there["source"] == source else kept
        except (json.JSONDecodeError, KeyError, TypeError):
            raise UserError(f"{path} is not what train search writes; remove it") from None
    known = kept["accuracies"]
    names = [letters(one) for one in wanted]
    missing = [name for name in dict.fromkeys(names) if name not in known]
    name, root = arguments.data, getattr(arguments, "root", None)
    options = (
        run.folder.absolute(), name if name in NAMES else str(Path(name).absolute()),
        root and root.absolute(), arguments.held_out, getattr(arguments, "size", None),
    )  # fmt: skip
    jobs = [(options, _bits(missing[i : i + _EACH])) for i in range(0, len(missing), _EACH)]
    with executor(arguments) as pool:
        # In parts, so that little is lost by an interruption.
        for first in range(0, len(jobs), 20):
            some = jobs[first : first + 20]
            titles = [f"networks from {_EACH * (first + i) + 1:,}" for i in range(len(some))]
            found = run_jobs(pool, _measure, some, titles)
            for (_, networks), (accuracies, spent) in zip(some, found, strict=True):
                known |= dict(zip(map(letters, networks), accuracies, strict=True))
                kept["cpu_seconds"] += spent
            write_atomically({path: json.dumps(kept, indent=0) + "\n"})
    return Measured(np.array([known[name] for name in names]), kept["cpu_seconds"] / 3600)


# --- The command --------------------------------------------------------------------------------


@dataclass(frozen=True, kw_only=True)
class Point:
    """A network of the front.

    Parameters
    ----------
    operators : str
        D or H for every block.
    cycles : int
    predicted : float
        Accuracy, percent.
    evolved : str, optional
        What the evolutionary search found within these cycles.
    evolved_predicted : float, optional
    """

    operators: str
    cycles: int
    predicted: float
    evolved: str | None = None
    evolved_predicted: float | None = None

    @property
    def found(self) -> bool:
        """Whether the evolutionary search found as good a network."""
        return self.evolved_predicted is not None and self.evolved_predicted > self.predicted - 1e-9


@dataclass(frozen=True, kw_only=True)
class Report:
    """What the search found.

    Parameters
    ----------
    title : str
    points : list of Point
        The front, fewest cycles first.
    picked : list of int
        Some of them, spread over the cycles.
    correlation : float
        Spearman's, of prediction and measurement on networks that were left out.
    error : float
        Root mean square of their difference, points.
    sampled : list of (int, float)
        Cycles and accuracy of every network that was measured.
    counts : (int, int)
        Networks that the predictor was fitted to, and that were left out.
    size : int
        Networks in the space.
    ends : dict of str to (int, float)
        Cycles and measured accuracy of the networks with one operator.
    cpu_hours : float
        For the measurements.
    """

    title: str
    points: list[Point]
    picked: list[int]
    correlation: float
    error: float
    sampled: list[tuple[int, float]]
    counts: tuple[int, int]
    size: int
    ends: dict[str, tuple[int, float]]
    cpu_hours: float


def _options(parser: OneLineParser) -> None:
    parser.add_argument(
        "--supernet", type=Path, metavar="RUN", required=True, default=argparse.SUPPRESS,
        help="a run of train nos --supernet",
    )  # fmt: skip
    ArrayConfig.add_options(parser)
    parser.add_argument(
        "--subnets", type=int, default=300, metavar="N", help="random networks to measure"
    )
    parser.add_argument(
        "--left-out", type=int, default=50, metavar="N",
        help="of these, networks that judge the predictor",
    )  # fmt: skip
    parser.add_argument("--points", type=int, default=3, metavar="N", help="of the front to show")
    parser.add_argument("--seed", type=int, default=0, metavar="S", help="of all that is random")
    add_data(parser)
    add_executor_options(parser)


def _random(count: int, blocks: int, seed: int) -> Bits:
    """Return different networks; how many blocks are FuSe is uniform."""
    rng = np.random.default_rng(seed)
    found: dict[str, Bits] = {}
    while len(found) < count:
        share = rng.integers(0, blocks + 1)
        one = np.isin(np.arange(blocks), rng.permutation(blocks)[:share])
        found.setdefault(letters(one), one)
    return np.array(list(found.values()))


def _report(arguments: argparse.Namespace) -> Report:
    from scipy.stats import spearmanr

    prepare()
    if arguments.seed < 0:
        raise UserError(f"--seed must be at least 0, not {arguments.seed}")
    config = ArrayConfig.from_options(arguments)
    run = Run.open(arguments.supernet)
    description = dict(run.config["network"])
    if not description.pop("scaffold", ""):
        raise UserError(f"{run.folder} is no supernet: train nos --supernet makes one")
    blocks = len(description["operators"])
    size = 1 << blocks
    for name, low, high in (
        ("subnets", 20, size), ("left_out", 5, arguments.subnets - 10), ("points", 1, 100),
    ):  # fmt: skip
        value = getattr(arguments, name)
        if not low <= value <= high:
            option = name.replace("_", "-")
            raise UserError(f"--{option} must be from {low} to {high}, not {value}")
    if size > _LARGEST:
        raise UserError(f"a space of 2**{blocks} networks is too large to enumerate (2**20)")
    data = load_data(arguments)
    check_data([run], data)
    if not len(data.held_out):
        raise UserError("--held-out must be at least 1: accuracies are those of held-out pictures")
    latency = Latency.of(description, config)
    sample = _random(arguments.subnets, blocks, arguments.seed)
    uniform = np.array([[False] * blocks, [True] * blocks])
    found = measure(run, np.concatenate([sample, uniform]), data, arguments)
    known, ends = np.split(found.accuracies, [len(sample)])
    kept = len(sample) - arguments.left_out
    predictor = Predictor(sample[:kept], known[:kept])
    guesses = predictor(sample[kept:])
    correlation = float(spearmanr(guesses, known[kept:]).statistic)
    every = space(blocks)
    cycles, predicted = latency(every), predictor(every)
    points = []
    best = front(cycles, predicted)
    wanted = np.linspace(cycles[best[0]], cycles[best[-1]], arguments.points + 2)[1:-1]
    picked = sorted({int(np.searchsorted(cycles[best], w, "right")) - 1 for w in wanted})
    for position, index in enumerate(best):
        more: dict[str, Any] = {}
        if position in picked:
            one = evolve(latency, predictor, int(cycles[index]), arguments.seed)
            guess = float(predictor(one[None])[0])
            more = {"evolved": letters(one), "evolved_predicted": guess}
        points.append(
            Point(
                operators=letters(every[index]), cycles=int(cycles[index]),
                predicted=float(predicted[index]), **more,
            )
        )  # fmt: skip
    return Report(
        title=f"{run.folder.name} on {config}, {run.config['data']['name']}", points=points,
        picked=picked, correlation=correlation,
        error=float(np.sqrt(np.mean((guesses - known[kept:]) ** 2))),
        sampled=list(zip(latency(sample).tolist(), known.tolist(), strict=True)),
        counts=(kept, arguments.left_out), size=size, cpu_hours=found.cpu_hours,
        ends={
            name: (int(latency(one[None])[0]), float(accuracy))
            for name, one, accuracy in zip(
                ("depthwise", "fuse_half"), uniform, ends, strict=True
            )
        },
    )  # fmt: skip


def _plot(report: Report, file_format: str) -> bytes:
    plt = pyplot()
    drawing, axes = plt.subplots(figsize=(7, 4.2), layout="constrained")
    axes.scatter(
        *zip(*report.sampled, strict=True), s=8, color=PALETTE[8], label="measured, random"
    )
    axes.step(
        [point.cycles for point in report.points], [point.predicted for point in report.points],
        where="post", color=PALETTE[0], label="front, predicted",
    )  # fmt: skip
    for (name, place), colour in zip(report.ends.items(), PALETTE[2:4], strict=True):
        axes.scatter(*place, s=40, color=colour, label=f"{name} everywhere, measured", zorder=3)
    axes.set(xlabel="cycles", ylabel="held-out accuracy, %", title=report.title)
    axes.grid(alpha=0.3)
    axes.legend(frameon=False)
    return picture(drawing, file_format)


def _page(report: Report) -> Page:
    rows: list[tuple[str, ...]] = [
        (f"{name} everywhere", f"{cycles:,}", f"{accuracy:.2f}", "")
        for name, (cycles, accuracy) in report.ends.items()
    ]
    for index in report.picked:
        one = report.points[index]
        same = "as good" if one.found else f"{one.evolved_predicted:.2f}"
        rows.append((one.operators, f"{one.cycles:,}", f"{one.predicted:.2f}", same))
    sheet = Sheet(
        title=report.title,
        columns=("operators of the blocks", "cycles", "held-out accuracy, %", "evolution finds"),
        rows=rows,
    )
    kept, left_out = report.counts
    judged = (
        f"{len(report.points)} of {report.size:,} networks are on the front; predictor fitted to "
        f"{kept}, rank correlation {report.correlation:.3f} on {left_out} others, off by "
        f"{report.error:.2f} points (root mean square)"
    )
    notes = [
        "D depthwise, H FuSe half; the first two rows are measured, the others predicted",
        judged,
        "train fit --start SUPERNET --operators LETTERS trains one on",
    ]
    data = {
        "points": [vars(point) | {"found": point.found} for point in report.points],
        "picked": report.picked, "cpu_hours": report.cpu_hours,
        "correlation": report.correlation, "error": report.error, "ends": report.ends,
        "counts": report.counts, "size": report.size, "sampled": report.sampled,
    }  # fmt: skip
    return Page(tables=[sheet], notes=notes, data=data, plot=lambda kind: _plot(report, kind))


COMMAND = Command(
    name="train search", about="Choose an operator for every block of a supernet.",
    options=_options, report=_report, page=_page,
)  # fmt: skip
main = COMMAND.main

"""Write docs/training.md from the logs of the study's runs: ``python -m train report``.

``docs/training.json`` has the configuration and the log of every run of the study, and what the
searches found. ``--runs FOLDER`` adds what is finished there; without it the page is made again
from what is committed, with no training.
"""

from __future__ import annotations

import argparse
import json
import re
from collections.abc import Sequence
from pathlib import Path
from statistics import mean, stdev
from typing import Any

from golden.nets.networks import build
from hw.config import ArrayConfig
from report.command import Command, OneLineParser, Page
from report.errors import UserError, reading
from report.plots import PALETTE, picture, pyplot
from report.tables import Sheet
from report.template import fill
from sim.cost import Memory
from sim.network import network_cycles, network_report

from .runs import Run

__all__ = ["COMMAND", "Study", "committed", "main", "plot", "render"]

DOCS = Path(__file__).parents[1] / "docs"

#: The rows of the first table: name of the runs without their seed, and what they are.
IN_PLACE = {
    "depthwise_30": "depthwise, the teacher",
    "depthwise_50": "depthwise, the ceiling for 50 epochs",
    "fuse_half_30": "FuSe half in place",
    "fuse_half_50": "FuSe half in place, 50 epochs",
    "fuse_full_30": "FuSe full in place",
    "nos_20": "FuSe half by NOS, 20 epochs after the teacher's 30",
}
#: Those of the ablations, each after the teacher's 30 epochs.
ABLATIONS = {
    "nos_20": "NOS: adapters begin in the middle",
    "nos_20_first": "adapters begin first, as in the authors' code",
    "nos_20_mean": "adapters begin as the mean",
    "nos_20_p1": "no drawing: always FuSe, from the teacher's weights",
    "nos_20_noteacher": "no distillation",
    "fuse_half_distilled_20": "no scaffold: distillation into fresh weights",
}
PATTERNS = ("P", "A", "A-P", "A-P-P", "E", "E-P", "E-P-P")
#: Accuracy of the ABConv paper's Table 4 (MobileNetV1, CIFAR-100), percent.
PAPER = dict(zip(PATTERNS, (66.73, 64.72, 66.69, 67.18, 65.26, 66.95, 66.92), strict=True))
ABCONV_RUN = "v1_{}_8"
BASELINE_RUN = "v1_P_30_s0"

SIZES = (16, 32)


def machine(size: int, st_os: bool = True) -> ArrayConfig:
    """Return the array of some size that the page is about."""
    return ArrayConfig(rows=size, cols=size, st_os=st_os)


class Study:
    """The runs of the study.

    Parameters
    ----------
    data : dict
        ``runs`` and ``searches`` by name.
    """

    def __init__(self, data: dict[str, Any]) -> None:
        self.runs: dict[str, dict[str, Any]] = data["runs"]
        self.searches: dict[str, dict[str, Any]] = data["searches"]

    def seeds(self, name: str) -> list[dict[str, Any]]:
        """Return the runs of a name with all their seeds."""
        wanted = re.compile(re.escape(name) + r"_s\d+")
        return [run for key, run in sorted(self.runs.items()) if wanted.fullmatch(key)]

    def accuracies(self, name: str, what: str = "test") -> list[float]:
        """Return the accuracies of a name, percent, one for every seed."""
        if what == "held_out":
            return [epochs(run)[-1]["held_out_accuracy"] for run in self.seeds(name)]
        return [end(run)[what]["accuracy"] for run in self.seeds(name)]

    def cycles(self, name: str, size: int, st_os: bool = True) -> int:
        """Return the exact cycles of a run's network."""
        network = build(**self.runs[name]["config"]["network"])
        return network_cycles(network, machine(size, st_os))


def end(run: dict[str, Any]) -> dict[str, Any]:
    """Return the last line of a run's log."""
    last: dict[str, Any] = run["log"][-1]
    return last


def epochs(run: dict[str, Any]) -> list[dict[str, Any]]:
    """Return the lines of a run's log that are about epochs."""
    return [line for line in run["log"] if "epoch" in line]


def spread(values: Sequence[float]) -> str:
    """Return a mean, and the standard deviation of several seeds."""
    if len(values) == 1:
        return f"{values[0]:.2f}"
    return f"{mean(values):.2f} +- {stdev(values):.2f}"


def _operators(study: Study, rows: dict[str, str], title: str) -> Sheet:
    found: list[tuple[str, ...]] = []
    for name, what in rows.items():
        runs = study.seeds(name)
        if not runs:
            continue
        hours = [end(run)["cpu_hours"] for run in runs]
        found.append(
            (
                what, str(len(epochs(runs[0]))), str(len(runs)),
                spread(study.accuracies(name, "held_out")), spread(study.accuracies(name)),
                f"{mean(hours):.2f}",
            )
        )  # fmt: skip
    return Sheet(
        title=title,
        columns=("network", "epochs", "seeds", "held out, %", "test, %", "CPU hours each"),
        rows=found,
    )


def _front(study: Study) -> Sheet:
    rows: list[tuple[str, ...]] = []
    for size in SIZES:
        search = study.searches.get(f"search_{size}")
        if search is None:
            continue
        for name, (cycles, accuracy) in search["ends"].items():
            rows.append((f"{size} x {size}: {name} everywhere", f"{cycles:,}", "",
                         f"{accuracy:.2f}", "", ""))  # fmt: skip
        for index in search["picked"]:
            point = search["points"][index]
            run = study.runs.get(f"point_{point['operators']}_s0")
            same = point["evolved"] == point["operators"]
            rows.append(
                (
                    f"{size} x {size}: {point['operators']}", f"{point['cycles']:,}",
                    f"{point['predicted']:.2f}", "",
                    f"{end(run)['test']['accuracy']:.2f}" if run else "",
                    "yes" if same else f"{point['evolved_predicted']:.2f}",
                )
            )  # fmt: skip
    return Sheet(
        title="Points of the front, cycles on an ST-OS array, two accumulators",
        columns=("operators of the 17 blocks", "cycles", "predicted, %", "in the supernet, %",
                 "trained on, test, %", "found by evolution"),
        rows=rows,
    )  # fmt: skip


def _abconv(study: Study) -> Sheet:
    rows: list[tuple[str, ...]] = []
    for pattern in PATTERNS:
        name = ABCONV_RUN.format(pattern)
        runs = study.seeds(name)
        if not runs:
            continue
        network = build(**runs[0]["config"]["network"])
        report = network_report(
            network, machine(16), memory=Memory(dram_bytes_per_cycle=8, activations_on_chip=True)
        )
        weights = sum(layer.workload.weights for layer in network.layers)
        rows.append(
            (
                pattern, str(len(runs)), spread(study.accuracies(name)), f"{PAPER[pattern]:.2f}",
                f"{report.cycles:,}", f"{report.time:,.0f}", f"{weights:,}", f"{network.macs:,}",
            )
        )  # fmt: skip
    return Sheet(
        title="MobileNetV1 x0.5 with ABConv, 16 x 16 ST-OS",
        columns=("pattern", "seeds", "test, % (CIFAR-10)", "paper, % (CIFAR-100, x1)", "cycles",
                 "cycles with DRAM", "bytes of weights", "MACs"),
        rows=rows,
    )  # fmt: skip


def _int8(study: Study) -> Sheet:
    rows: list[tuple[str, ...]] = []
    for name, run in sorted(study.runs.items()):
        if run["config"]["kind"] != "quantize":
            continue
        last, trained = end(run), len(epochs(run))
        floating, int8 = last["test_float"]["accuracy"], last["test_int8"]["accuracy"]
        source = run["config"]["start"]
        rows.append(
            (
                source, str(trained), f"{floating:.2f}", f"{int8:.2f}", f"{floating - int8:.2f}",
                f"{last['bytes']:,}",
                *(f"{study.cycles(name, 16, st_os):,}" for st_os in (False, True)),
            )
        )  # fmt: skip
    return Sheet(
        title="int8, all 10,000 test pictures in the golden model",
        columns=("run", "epochs for int8", "float, %", "int8, %", "lost", "bytes of the file",
                 "cycles 16 x 16 plain", "cycles 16 x 16 ST-OS"),
        rows=rows,
    )  # fmt: skip


def _speeds(study: Study) -> Sheet:
    rows: list[tuple[str, ...]] = []
    for name in ("depthwise_30", "fuse_half_30", "fuse_full_30", "nos_20", "v1_P_30"):
        rates = [
            line["pictures_per_cpu_second"] for run in study.seeds(name) for line in epochs(run)
        ]
        if rates:
            rows.append((name, f"{max(rates):,.0f}", f"{mean(rates):,.0f}", f"{min(rates):,.0f}"))
    return Sheet(
        title="Pictures per CPU second, one thread, forward, backward and step, two runs at a time",
        columns=("runs", "fastest epoch", "mean", "slowest epoch"),
        rows=rows,
    )


def _gap(study: Study) -> str:
    """Return the answer to the paper's question in a sentence."""
    names = ("depthwise_30", "fuse_half_30", "nos_20")
    if not all(study.seeds(name) for name in names):
        return "Not all runs that the question needs are finished."
    depthwise, half, nos = (mean(study.accuracies(name)) for name in names)
    gap, closed = depthwise - half, nos - half
    share = f", {100 * closed / gap:.0f} % of it" if gap > 0.2 else ""
    return (
        f"FuSe half in place is {gap:.2f} points below its depthwise teacher; NOS gains "
        f"{closed:.2f}{share}."
    )


def _correlations(study: Study) -> str:
    found = []
    for size in SIZES:
        search = study.searches.get(f"search_{size}")
        if search:
            kept, left_out = search["counts"]
            best = [search["points"][index] for index in search["picked"]]
            same = sum(one["evolved"] == one["operators"] for one in best)
            found.append(
                f"At {size} x {size} {len(search['points'])} of {search['size']:,} networks are on "
                f"the front; the predictor, fitted to {kept} networks, has a rank correlation of "
                f"{search['correlation']:.3f} on {left_out} others, and is off by "
                f"{search['error']:.2f} points (root mean square); evolution finds {same} of the "
                f"{len(best)} enumerated optima."
            )
    return "\n".join(found) or "No search is finished."


def _hours(study: Study) -> str:
    total = sum(end(run)["cpu_hours"] for run in study.runs.values())
    return f"{total:.1f}"


def render(study: Study) -> str:
    """Return the text of training.md."""
    tables = {
        "operators": _operators(study, IN_PLACE, "MobileNetV2 x0.35, CIFAR-10, JPEG copy"),
        "ablations": _operators(study, ABLATIONS, "What NOS is made of"),
        "front": _front(study),
        "abconv": _abconv(study),
        "int8": _int8(study),
        "speeds": _speeds(study),
    }
    text = {"gap": _gap(study), "correlations": _correlations(study), "hours": _hours(study)}
    plain = {name: vars(sheet) for name, sheet in tables.items()}
    return fill(DOCS / "training.md.in", plain, text)


def plot(study: Study, file_format: str) -> bytes:
    """Return the picture of accuracy against cycles, every seed a point."""
    plt = pyplot()
    drawing, axes = plt.subplots(figsize=(7.5, 4.5), layout="constrained")
    shown = {
        "depthwise_30": "depthwise", "fuse_half_30": "FuSe half in place",
        "fuse_full_30": "FuSe full in place", "nos_20": "FuSe half by NOS",
    }  # fmt: skip
    for (name, label), colour in zip(shown.items(), PALETTE, strict=False):
        if study.seeds(name):
            values = study.accuracies(name)
            cycles = study.cycles(f"{name}_s0", 16)
            axes.plot(len(values) * [cycles], values, "o", color=colour, label=label)
    points = [name for name in study.runs if name.startswith("point_")]
    if points:
        axes.plot(
            [study.cycles(name, 16) for name in points],
            [end(study.runs[name])["test"]["accuracy"] for name in points],
            "s", color=PALETTE[4], label="chosen by search",
        )  # fmt: skip
    names = [ABCONV_RUN.format(pattern) for pattern in PATTERNS]
    names = [name for name in names if study.seeds(name)]
    if names:
        axes.plot(
            [study.cycles(f"{name}_s0", 16) for name in names],
            [mean(study.accuracies(name)) for name in names], "^", color=PALETTE[5],
            label="MobileNetV1 x0.5, ABConv",
        )  # fmt: skip
        for name in names:
            place = (study.cycles(f"{name}_s0", 16), mean(study.accuracies(name)))
            axes.annotate(name.split("_")[1], place, fontsize=7, xytext=(3, 3),
                          textcoords="offset points")  # fmt: skip
    axes.set(xlabel="cycles, 16 x 16 ST-OS", ylabel="test accuracy, %")
    axes.grid(alpha=0.3)
    if axes.has_data():
        axes.legend(frameon=False, fontsize=8)
    return picture(drawing, file_format)


def committed() -> dict[str, Any]:
    """Return what docs/training.json says."""
    path = DOCS / "training.json"
    if not path.exists():
        return {"runs": {}, "searches": {}}
    found: dict[str, Any] = json.loads(path.read_text())
    return found


def _options(parser: OneLineParser) -> None:
    parser.add_argument(
        "--runs", type=Path, metavar="FOLDER", default=argparse.SUPPRESS,
        help="add the finished runs in this folder, and search_*.json",
    )  # fmt: skip


def _collect(folder: Path, data: dict[str, Any]) -> None:
    """Add the finished runs of a folder."""
    if not folder.is_dir():
        raise UserError(f"{folder} is no folder")
    for path in sorted(folder.glob("*/config.json")):
        run = Run.open(path.parent)
        if run.end is not None:
            config = {key: value for key, value in run.config.items() if key != "format"}
            config["command"] = " ".join(map(_placed, config["command"].split()))
            data["runs"][path.parent.name] = {"config": config, "log": run.log}
    for path in sorted(folder.glob("search_*.json")):
        with reading(path):
            data["searches"][path.stem] = json.loads(path.read_text())


def _placed(word: str) -> str:
    """Return a word of a command; a run lies in ``runs``, whoever made it."""
    return f"runs/{Path(word).name}" if "/" in word else word


def _report(arguments: argparse.Namespace) -> dict[str, Any]:
    data = committed()
    if hasattr(arguments, "runs"):
        _collect(arguments.runs, data)
    return data


def _page(data: dict[str, Any]) -> Page:
    study = Study(data)
    files: dict[Path, str | bytes] = {
        DOCS / "training.json": json.dumps(data, separators=(",", ":")) + "\n",
        DOCS / "training.md": render(study),
        DOCS / "training.svg": plot(study, "svg"),
    }
    return Page(files=files)


COMMAND = Command(
    name="train report", about="Write docs/training.md from the logs of the study.",
    options=_options, report=_report, page=_page, outputs=(),
)  # fmt: skip
main = COMMAND.main

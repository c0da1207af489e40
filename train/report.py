"""Write docs/training.md from the logs of the study's runs: ``python -m train report``.

``docs/training.json`` has the configuration and the log of every run of the study, and what the
searches found. ``--runs FOLDER`` adds what is finished there; without it the page is made again
from what is committed, with no training.
"""

from __future__ import annotations

import argparse
import json
import re
import shlex
import textwrap
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

from .options import recorded
from .runs import Run

__all__ = ["COMMAND", "Study", "committed", "main", "plot", "render"]

DOCS = Path(__file__).parents[1] / "docs"
EXAMPLES = Path(__file__).parents[1] / "examples"

#: The rows of the first table: name of the runs without their seed, and what they are.
IN_PLACE = {
    "depthwise_30": "depthwise, the teacher",
    "depthwise_60": "depthwise, double budget: the ceiling",
    "fuse_half_30": "FuSe half in place",
    "fuse_half_60": "FuSe half in place, double budget",
    "fuse_full_30": "FuSe full in place",
    "fuse_full_60": "FuSe full in place, double budget",
    "nos_20": "FuSe half by NOS, after the teacher's 30 epochs",
}
#: Those of the ablations.
ABLATIONS = {
    "nos_20": "NOS: adapters begin in the middle",
    "nos_20_first": "adapters begin first, as in the authors' code",
    "nos_20_mean": "adapters begin as the mean",
    "nos_20_p1": "no drawing: always FuSe, from the teacher's weights",
    "nos_20_noteacher": "no distillation",
    "fuse_half_distilled_20": "no scaffold: fresh weights, distillation",
}
PATTERNS = ("P", "A", "A-P", "A-P-P", "E", "E-P", "E-P-P")
#: Accuracy of the ABConv paper's Table 4 (MobileNetV1, CIFAR-100), percent.
PAPER = dict(zip(PATTERNS, (66.73, 64.72, 66.69, 67.18, 65.26, 66.95, 66.92), strict=True))
ABCONV_RUN = "v1_{}_6"

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

    @property
    def points(self) -> dict[str, dict[str, Any]]:
        """The trained networks of the fronts, by their operators."""
        named = re.compile(r"point_([DH]+)_s\d+")
        return {match[1]: run for key, run in self.runs.items() if (match := named.fullmatch(key))}


def end(run: dict[str, Any]) -> dict[str, Any]:
    """Return the last line of a run's log."""
    last: dict[str, Any] = run["log"][-1]
    return last


def epochs(run: dict[str, Any]) -> list[dict[str, Any]]:
    """Return the lines of a run's log that are about epochs."""
    return [line for line in run["log"] if "epoch" in line]


def cycles(run: dict[str, Any], size: int, st_os: bool = True) -> int:
    """Return the exact cycles of a run's network."""
    return network_cycles(build(**run["config"]["network"]), machine(size, st_os))


def spread(values: Sequence[float]) -> str:
    """Return a mean, and the standard deviation of several seeds."""
    if len(values) == 1:
        return f"{values[0]:.2f}"
    return f"{mean(values):.2f} +- {stdev(values):.2f}"


def _cost(runs: Sequence[dict[str, Any]]) -> tuple[str, str, str]:
    """Return epochs, seeds and CPU hours of each of some runs."""
    hours = mean(end(run)["cpu_hours"] for run in runs)
    return str(len(epochs(runs[0]))), str(len(runs)), f"{hours:.2f}"


def _operators(study: Study, rows: dict[str, str], title: str) -> Sheet:
    found: list[tuple[str, ...]] = []
    for name, what in rows.items():
        runs = study.seeds(name)
        if runs:
            both = (spread(study.accuracies(name, which)) for which in ("held_out", "test"))
            found.append((what, *_cost(runs), *both))
    return Sheet(
        title=title,
        columns=("network", "epochs", "seeds", "CPU hours each", "held out, %", "test, %"),
        rows=found,
    )


def _front(study: Study) -> Sheet:
    rows: list[tuple[str, ...]] = []
    for size in SIZES:
        search = study.searches.get(f"search_{size}")
        if search is None:
            continue
        place = f"{size} x {size}"
        for name, (count, accuracy) in search["ends"].items():
            rows.append((place, f"{name} everywhere", f"{count:,}", f"{accuracy:.2f}", "", "", ""))
        for index in search["picked"]:
            point = search["points"][index]
            run = study.points.get(point["operators"])
            trained = (f"{end(run)['test']['accuracy']:.2f}", _cost([run])[0]) if run else ("", "")
            evolved = "yes" if point["found"] else f"no: {point['evolved_predicted']:.2f}"
            rows.append(
                (
                    place, point["operators"], f"{point['cycles']:,}",
                    f"{point['predicted']:.2f} predicted", *trained, evolved,
                )
            )  # fmt: skip
    return Sheet(
        title="Points of the front, cycles on an ST-OS array, two accumulators",
        columns=("array", "operators of the 17 blocks", "cycles", "in the supernet, held out, %",
                 "trained on, test, %", "epochs", "found by evolution"),
        rows=rows,
    )  # fmt: skip


def _abconv(study: Study) -> Sheet:
    rows: list[tuple[str, ...]] = []
    memory = Memory(dram_bytes_per_cycle=8, activations_on_chip=True)
    for pattern in PATTERNS:
        name = ABCONV_RUN.format(pattern)
        runs = study.seeds(name)
        if not runs:
            continue
        network = build(**runs[0]["config"]["network"])
        report = network_report(network, machine(16), memory=memory)
        weights = sum(layer.workload.weights for layer in network.layers)
        rows.append(
            (
                pattern, *_cost(runs), spread(study.accuracies(name)), f"{PAPER[pattern]:.2f}",
                f"{report.cycles:,}", f"{report.time:,.0f}", f"{weights:,}", f"{network.macs:,}",
            )
        )  # fmt: skip
    return Sheet(
        title="MobileNetV1 x0.5 with ABConv, 16 x 16 ST-OS",
        columns=("pattern", "epochs", "seeds", "CPU hours each", "test, % (CIFAR-10)",
                 "paper, % (CIFAR-100, x1)", "cycles", "cycles with DRAM", "bytes of weights",
                 "MACs"),
        rows=rows,
    )  # fmt: skip


def _int8(study: Study) -> Sheet:
    rows: list[tuple[str, ...]] = []
    for _, run in sorted(study.runs.items()):
        if run["config"]["kind"] != "quantize":
            continue
        last = end(run)
        floating, int8 = last["test_float"]["accuracy"], last["test_int8"]["accuracy"]
        rtl = last.get("rtl")
        rows.append(
            (
                run["config"]["start"], str(len(epochs(run))), f"{floating:.2f}", f"{int8:.2f}",
                f"{floating - int8:.2f}", f"{last['bytes']:,}",
                *(f"{last['cycles'][name]:,}" for name in ("plain", "st_os")),
                f"{rtl['pictures']}: {rtl['sums']:,}" if rtl else "",
            )
        )  # fmt: skip
    return Sheet(
        title="int8, all 10,000 test pictures in the golden model",
        columns=("run", "epochs for int8", "float, %", "int8, %", "lost", "bytes of the file",
                 "cycles 16 x 16 plain", "cycles 16 x 16 ST-OS", "pictures on the RTL: sums equal"),
        rows=rows,
    )  # fmt: skip


def _speeds(study: Study) -> Sheet:
    rows: list[tuple[str, ...]] = []
    for name in ("depthwise_30", "fuse_half_30", "fuse_full_30", "nos_20"):
        rates = [
            line["pictures_per_cpu_second"] for run in study.seeds(name) for line in epochs(run)
        ]
        if rates:
            rows.append((name, f"{max(rates):,.0f}", f"{mean(rates):,.0f}", f"{min(rates):,.0f}"))
    return Sheet(
        title="Pictures per CPU second: forward, backward and step, one thread",
        columns=("runs", "fastest epoch", "mean", "slowest epoch"),
        rows=rows,
    )


def _prose(items: Sequence[str]) -> str:
    """Return paragraphs, or items of a list, in lines as the pages have them."""
    return "\n".join(
        textwrap.fill(
            item, 100, subsequent_indent="  " if item.startswith("- ") else "",
            break_on_hyphens=False,
        )
        for item in items
    )  # fmt: skip


def _difference(study: Study, name: str, other: str) -> tuple[float, float]:
    """Return how far one is above another, and a standard error of it.

    That of 10,000 test pictures, and of seeds where there are several.
    """
    values = [study.accuracies(one) for one in (name, other)]
    shares = [mean(some) / 100 for some in values]
    error = sum(1e4 * share * (1 - share) / 10_000 for share in shares)
    error += sum(stdev(some) ** 2 / len(some) for some in values if len(some) > 1)
    return mean(values[0]) - mean(values[1]), error**0.5


def _gap(study: Study) -> str:
    """Return the answers to the paper's question."""
    found = []
    for what, budget in (("30 epochs", 30), ("double budget, 60 epochs", 60)):
        names = (f"depthwise_{budget}", f"fuse_half_{budget}", "nos_20")
        if not all(study.seeds(name) for name in names):
            continue
        gap, error = _difference(study, *names[:2])
        closed, also = _difference(study, names[2], names[1])
        share = f", {100 * closed / gap:.0f} % of the gap" if gap > 2 * error else ""
        found.append(
            f"- Against {what}: FuSe half in place is {gap:.2f} points below depthwise (standard "
            f"error {error:.2f}); NOS is {closed:.2f} points above FuSe half in place ({also:.2f})"
            f"{share}."
        )
    trio = [f"{operator}_30" for operator in ("depthwise", "fuse_full", "fuse_half")]
    if all(study.seeds(name) for name in trio):
        below, error = _difference(study, *trio[:2])
        above, also = _difference(study, *trio[1:])
        taken = [f"{cycles(study.seeds(name)[0], 16):,}" for name in trio]
        found.append(
            f"- FuSe full in place is {below:.2f} points below depthwise (standard error "
            f"{error:.2f}) and {above:.2f} above FuSe half ({also:.2f}); at 16 x 16 ST-OS it takes "
            f"{taken[1]} cycles, depthwise {taken[0]}, FuSe half {taken[2]}."
        )
    double = "fuse_half_60"
    if study.seeds(double) and study.seeds("nos_20"):
        above, error = _difference(study, "nos_20", double)
        found.append(
            "- Against FuSe half in place with twice the epochs, 60, which is more than NOS has "
            f"had with its teacher, 50, NOS is {above:.2f} points above (standard error "
            f"{error:.2f}): "
            + ("more than the error." if above > 2 * error else "no more than chance may give.")
        )
    return _prose(found) or "Not all runs that the question needs are finished."


def _correlations(study: Study) -> str:
    found = []
    for size in SIZES:
        search = study.searches.get(f"search_{size}")
        if search:
            kept, left_out = search["counts"]
            best = [search["points"][index] for index in search["picked"]]
            found.append(
                f"- At {size} x {size} {len(search['points'])} of {search['size']:,} networks are "
                f"on the front. The predictor, fitted to {kept} networks, has a rank correlation "
                f"of {search['correlation']:.3f} on {left_out} others, and is off by "
                f"{search['error']:.2f} points (root mean square). Evolution finds as good a "
                f"network as enumeration within the cycles of "
                f"{sum(one['found'] for one in best)} of these {len(best)} points."
            )
    return _prose(found) or "No search is finished."


def _golden_speed(study: Study) -> str:
    rates = [
        end(run)["int8_pictures_per_second"]
        for run in study.runs.values()
        if run["config"]["kind"] == "quantize" and "v1" not in run["config"]["start"]
    ]
    if not rates:
        return "Golden int8 inference has not been timed yet."
    text = (
        f"Golden int8 inference of MobileNetV2 x0.35 in batches (`golden.int8.batch`), two "
        f"processes on two cores: {min(rates):,.0f} to {max(rates):,.0f} pictures per second, the "
        "fewer the more other work went on beside it."
    )
    return _prose([text])


def _missing(study: Study) -> str:
    """Return what of the study has not been run."""
    wanted = {**IN_PLACE, **ABLATIONS}
    names = [*wanted, *(ABCONV_RUN.format(pattern) for pattern in PATTERNS)]
    absent = [name for name in names if not study.seeds(name)]
    absent += [f"search_{size}" for size in SIZES if f"search_{size}" not in study.searches]
    if not absent:
        return "All runs of the study are finished."
    return _prose([f"**Not run**, and so in no table: {', '.join(absent)}."])


def _hours(study: Study) -> str:
    total = sum(end(run)["cpu_hours"] for run in study.runs.values())
    total += max((one["cpu_hours"] for one in study.searches.values()), default=0)
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
    text = {
        "gap": _gap(study), "correlations": _correlations(study), "hours": _hours(study),
        "golden_speed": _golden_speed(study), "missing": _missing(study),
    }  # fmt: skip
    plain = {name: vars(sheet) for name, sheet in tables.items()}
    return fill(DOCS / "training.md.in", plain, text)


def plot(study: Study, file_format: str) -> bytes:
    """Return the picture of accuracy against cycles: every seed a point, int8 hollow."""
    plt = pyplot()
    drawing, axes = plt.subplots(figsize=(7.5, 4.5), layout="constrained")

    def points(runs: Sequence[dict[str, Any]], mark: str, colour: str, label: str) -> None:
        if runs:
            x = [cycles(run, 16) for run in runs]
            y = [end(run)["test"]["accuracy"] for run in runs]
            axes.plot(x, y, mark, color=colour, label=label)

    named = {
        "depthwise": "depthwise", "fuse_half": "FuSe half in place",
        "fuse_full": "FuSe full in place",
    }  # fmt: skip
    for (name, label), colour in zip(named.items(), PALETTE, strict=False):
        points(study.seeds(f"{name}_30"), "o", colour, f"{label}, 30 epochs")
        points(study.seeds(f"{name}_60"), "D", colour, "60 epochs")
    points(study.seeds("nos_20"), "o", PALETTE[3], "FuSe half by NOS, 30 + 20 epochs")
    points(list(study.points.values()), "s", PALETTE[4], "chosen by search")
    for pattern in PATTERNS:
        runs = study.seeds(ABCONV_RUN.format(pattern))
        points(runs, "^", PALETTE[5], "MobileNetV1 x0.5, ABConv" if pattern == "P" else "")
        if runs:
            place = (cycles(runs[0], 16), mean(end(run)["test"]["accuracy"] for run in runs))
            axes.annotate(pattern, place, (3, 3), textcoords="offset points", fontsize=7)
    quantized = [run for run in study.runs.values() if run["config"]["kind"] == "quantize"]
    if quantized:
        axes.plot(
            [end(run)["cycles"]["st_os"] for run in quantized],
            [end(run)["test_int8"]["accuracy"] for run in quantized],
            "o", color="black", fillstyle="none", markersize=9, label="int8",
        )  # fmt: skip
    axes.set(xlabel="cycles, 16 x 16 ST-OS", ylabel="test accuracy, %")
    axes.grid(alpha=0.3)
    if axes.has_data():
        axes.legend(frameon=False, fontsize=8)
    return picture(drawing, file_format)


def shipped(study: Study) -> dict[str, dict[str, Any]]:
    """Return the networks that come with the project, by the names of their files.

    They are the points of the front at 16 x 16, once they are trained and quantized.
    """
    search = study.searches.get("search_16", {"picked": [], "points": []})
    found = {}
    for index in search["picked"]:
        point = search["points"][index]
        name = f"point_{point['operators']}_s0_int8"
        if name in study.runs:
            run = study.runs[name]
            last = end(run)
            found[f"mobilenet_v2_{last['cycles']['st_os'] // 1000}k.tflite"] = {
                "run": name,
                "operators": point["operators"],
                "cycles": last["cycles"],
                "float": last["test_float"]["accuracy"],
                "int8": last["test_int8"]["accuracy"],
                "bytes": last["bytes"],
                "sha256": last["sha256"],
                "config": run["config"],
            }
    return found


def describe(networks: dict[str, dict[str, Any]]) -> str:
    """Return the text of examples/README.md."""
    rows: list[tuple[str, ...]] = [
        (
            name, one["operators"], f"{one['float']:.2f}", f"{one['int8']:.2f}",
            *(f"{one['cycles'][key]:,}" for key in ("st_os", "plain")), f"{one['bytes']:,}",
        )
        for name, one in networks.items()
    ]  # fmt: skip
    sheet = Sheet(
        title="D depthwise, H FuSe half",
        columns=(
            "file",
            "blocks",
            "float, %",
            "int8, %",
            "cycles, 16 x 16 ST-OS",
            "plain",
            "bytes",
        ),
        rows=rows,
    )
    first = next(iter(networks), "NETWORK.tflite")
    return fill(EXAMPLES / "README.md.in", {"networks": vars(sheet)}, {"first": first})


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
        help="add the finished runs in this folder, and search_*.json, and take the networks that "
        "are there",
    )  # fmt: skip


#: Runs of the study; others in the same folder are none of it.
_STUDY = re.compile(r"(depthwise|fuse_half|fuse_full|nos|supernet|point|v1)_.+_s\d+(_int8)?")


def _collect(folder: Path, data: dict[str, Any]) -> None:
    """Add the finished runs of a folder."""
    if not folder.is_dir():
        raise UserError(f"{folder} is no folder")
    for path in sorted(folder.glob("*/config.json")):
        if _STUDY.fullmatch(path.parent.name):
            run = Run.open(path.parent)
            if run.end is not None:
                config = {key: value for key, value in run.config.items() if key != "format"}
                data["runs"][path.parent.name] = {"config": config, "log": run.log}
    for path in sorted(folder.glob("search_*.json")):
        with reading(path):
            found = json.loads(path.read_text())
        found["command"] = f"python -m train search {recorded(shlex.split(found['command'])[4:])}"
        data["searches"][path.stem] = found


def _report(arguments: argparse.Namespace) -> tuple[dict[str, Any], Path | None]:
    data = committed()
    runs = getattr(arguments, "runs", None)
    if runs:
        _collect(runs, data)
    return data, runs


def _page(report: tuple[dict[str, Any], Path | None]) -> Page:
    data, runs = report
    study = Study(data)
    networks = shipped(study)
    files: dict[Path, str | bytes] = {
        EXAMPLES / "networks.json": json.dumps(networks, indent=1) + "\n",
        EXAMPLES / "README.md": describe(networks),
        DOCS / "training.json": json.dumps(data, separators=(",", ":")) + "\n",
        DOCS / "training.md": render(study),
        DOCS / "training.svg": plot(study, "svg"),
    }
    for name, one in networks.items() if runs else ():
        path = runs / one["run"] / "int8.tflite"
        if not path.parent.is_dir():  # of another folder: what is committed stays
            continue
        with reading(path):
            files[EXAMPLES / name] = path.read_bytes()
    return Page(files=files)


COMMAND = Command(
    name="train report", about="Write docs/training.md from the logs of the study.",
    options=_options, report=_report, page=_page, outputs=(),
)  # fmt: skip
main = COMMAND.main

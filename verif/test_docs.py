"""The pages: their lines, their links, their pictures, and what the README claims."""

from __future__ import annotations

import json
import pkgutil
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
DOCS = ROOT / "docs"
PAGES = (ROOT / "README.md", ROOT / "CONTRIBUTING.md", *sorted(DOCS.rglob("*.md")))
#: Written by the commands that measure what they say; two of them from a template.
GENERATED = {"area.md", "coverage.md", "formal.md", "mutation.md", "performance.md", "planted.md"}
HAND_WRITTEN = (
    *(page for page in PAGES if page.name not in GENERATED),
    *sorted(DOCS.glob("*.md.in")),
)
LINK = re.compile(r"!?\[[^\]]*\]\(([^)\s]+)\)")
LONGEST = 100


def prose(text: str) -> Iterator[tuple[int, str]]:
    """Yield the lines that are neither table nor code, with their numbers."""
    before, code = "", False
    for number, line in enumerate(text.splitlines(), 1):
        code = line.startswith("    ") and (code or not before.strip())
        if not code and not line.startswith("|"):
            yield number, line
        before = line


def anchors(text: str) -> set[str]:
    """Return the names of a page's headings, as GitHub and MkDocs make them."""
    headings = re.findall(r"^#+ (.*)$", text, re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", one.lower()).strip().replace(" ", "-") for one in headings}


@pytest.mark.parametrize("page", HAND_WRITTEN, ids=lambda page: page.name)
def test_lines(page):
    """Prose has short lines; a line that a link makes long may be so."""
    for number, line in prose(page.read_text()):
        assert len(LINK.sub("", line)) <= LONGEST, f"{page.name}:{number} is too long"


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_links(page):
    """What a page links to is there, and so is the heading."""
    for target in LINK.findall(page.read_text()):
        if target.startswith("https://"):
            continue
        name, _, heading = target.partition("#")
        path = page.parent / name if name else page
        assert path.exists(), f"{page.name} links to {target}"
        assert not heading or heading in anchors(path.read_text()), f"{page.name}: {target}"


@pytest.mark.parametrize("page", [*PAGES, *DOCS.glob("*.md.in")], ids=lambda page: page.name)
def test_names(page):
    """Files and modules that a page names are there; decisions tell of their day."""
    if page.parent.name == "decisions":
        return
    folders = "hw|golden|sim|synth|report|pages"
    text = page.read_text()
    for path in re.findall(rf"`((?:{folders}|verif|docs)/[\w./-]*)`", text):
        assert (ROOT / path).exists(), f"{page.name} names {path}"
    for name in re.findall(rf"`((?:{folders})(?:\.\w+)+)`", text):
        pkgutil.resolve_name(name)


def test_pictures():
    """Every picture is on a page, and every page's pictures are there."""
    used = {
        (page.parent / target).resolve()
        for page in PAGES
        for target in LINK.findall(page.read_text())
        if target.endswith((".svg", ".png"))
    }
    assert used == {path.resolve() for path in DOCS.rglob("*.svg")} and len(used) > 10


def test_citation():
    """CITATION.cff has the version of the package, and the papers of the README."""
    citation = (ROOT / "CITATION.cff").read_text()
    (version,) = re.findall(r"^version: (.*)$", citation, re.MULTILINE)
    assert f'version = "{version}"' in (ROOT / "pyproject.toml").read_text()
    papers = set(re.findall(r"https://arxiv\.org/abs/[\d.]+", citation))
    assert papers == set(
        re.findall(r"https://arxiv\.org/abs/[\d.]+", (ROOT / "README.md").read_text())
    )
    assert len(papers) == 2


def test_readme_shows_what_gen_prints(tmp_path):
    """The output of `make gen` is the real one."""
    command = [sys.executable, "-m", "hw.gen", "--rows", "32", "--cols", "32", "--st-os"]
    path = {"PYTHONPATH": str(ROOT)}
    run = subprocess.run(
        command, cwd=tmp_path, env=path, capture_output=True, text=True, check=True
    )
    lines = [f"    {line}".rstrip() for line in run.stdout.splitlines()]
    assert len(lines) > 7 and "\n".join(lines) in (ROOT / "README.md").read_text()


def test_readme_example(capsys):
    """The Python of the README runs, and its three lines say the same and the right thing."""
    text = (ROOT / "README.md").read_text().partition("## From Python")[2]
    block = re.search(r"(?:^(?:    .*)?\n)+", text[text.index("    import") :], re.MULTILINE)
    assert block
    exec(re.sub("^    ", "", block[0], flags=re.MULTILINE), {})
    *results, cycles = capsys.readouterr().out.splitlines()
    assert len(results) == 8 and results[:4] == results[4:] and "[ 9 10 11  0]" in results[3]
    assert cycles == "16"


def test_readme_area():
    """Gates of the cores in the table, and what ST-OS adds at 32 x 32, are those of area.json."""
    entries = json.loads((DOCS / "area.json").read_text())["area"]
    readme = (ROOT / "README.md").read_text()
    added: dict[str, list[float]] = {"GE": [], "LUT": []}
    for one in entries:
        config = one["config"]
        if config["accumulators"] != 2 or config["mac_stages"] != 1:
            continue
        plain, st_os = (one[kind]["core"] for kind in ("plain", "st_os"))
        for resource in added:
            if resource in plain and config["rows"] == 32:
                share = 100 * (st_os[resource] / plain[resource] - 1)
                if one["target"] == "gates":
                    assert 0.9 < share < 1.1, "about one percent of gates"
                else:
                    added[resource].append(share)
        if one["target"] == "gates" and config["rows"] in (8, 16, 32):
            share = 100 * (st_os["GE"] / plain["GE"] - 1)
            assert f"{st_os['GE']:,.0f}" in readme and f"(+{share:.1f} %)" in readme
    (least, most), (few, many) = ((min(found), max(found)) for found in added.values())
    for page in (readme, (DOCS / "area.md").read_text()):
        words = " ".join(page.split())
        assert f"({least:.1f} to {most:.1f} percent in two open cell libraries)" in words
        assert f"{few:.0f} to {many:.0f} percent of the LUTs" in words

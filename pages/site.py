"""What `make docs` adds to the pages of `docs/`: README, CONTRIBUTING, decisions, a reference.

MkDocs calls the functions (``hooks`` in ``mkdocs.yml``). Modules are found, not named: a new one
has its page without any change here.
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import griffe
from mkdocs.config.defaults import MkDocsConfig
from mkdocs.structure.files import File, Files

ROOT = Path(__file__).parents[1]
PACKAGES = ("hw", "golden", "sim", "synth", "train", "report", "pages")
#: Files outside of `docs/` that the site has, and their names in it.
OUTSIDE = {
    "README.md": "index.md",
    "CONTRIBUTING.md": "contributing.md",
    "LICENSE": "LICENSE",
    "CITATION.cff": "CITATION.cff",
}


class Ports(griffe.Extension):
    """Show the section of a component's ports as a table: Griffe knows it by another name."""

    def on_object(self, *, obj: griffe.Object, **kwargs: Any) -> None:
        """Rename the section."""
        if obj.docstring:
            value = obj.docstring.value
            obj.docstring.value = value.replace("Members\n-------", "Attributes\n----------")


def modules() -> list[str]:
    """Return the names of all modules of the packages, those that only start a program left out."""
    names = []
    for package in PACKAGES:
        for path in sorted((ROOT / package).rglob("*.py")):
            parts = path.relative_to(ROOT).with_suffix("").parts
            if parts[-1] != "__main__":
                names.append(".".join(parts).removesuffix(".__init__"))
    return names


def moved(text: str) -> str:
    """Return a page with its links as they are in the site."""

    def link(found: re.Match[str]) -> str:
        name, *heading = found[1].split("#")
        name = OUTSIDE.get(name, name.removeprefix("docs/"))
        return f"]({'#'.join([name, *heading])})"

    return re.sub(r"\]\(((?!https?:)[^)\s]+)\)", link, text)


def on_config(config: MkDocsConfig) -> MkDocsConfig:
    """Put the decisions and the reference into the navigation."""
    decisions = sorted((ROOT / "docs" / "decisions").glob("*.md"))
    reference: dict[str, list[dict[str, str]]] = {}
    for name in modules():
        page = {name: f"reference/{name}.md"}
        reference.setdefault(name.partition(".")[0], []).append(page)
    assert config.nav is not None
    config.nav += [
        {"Decisions": [f"decisions/{path.name}" for path in decisions]},
        {"Reference": [{package: pages} for package, pages in reference.items()]},
    ]
    return config


def on_files(files: Files, config: MkDocsConfig) -> Files:
    """Add the pages that are not in `docs/`."""
    for source, target in OUTSIDE.items():
        text = (ROOT / source).read_text()
        content = moved(text) if target.endswith(".md") else text
        files.append(File.generated(config, target, content=content))
    for name in modules():
        content = f"# `{name}`\n\n::: {name}\n"
        files.append(File.generated(config, f"reference/{name}.md", content=content))
    return files

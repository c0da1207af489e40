"""What `pip install` gets: every module, and the files that they need."""

from __future__ import annotations

import shutil
import subprocess
import sys
import zipfile
from pathlib import Path

ROOT = Path(__file__).parents[1]
PACKAGES = ("hw", "golden", "sim", "synth", "report", "pages", "train")
KINDS = (".py", ".typed", ".cpp", ".h", ".v", ".vlt")


def test_wheel(tmp_path):
    """A wheel built from a copy has all of the packages, the licence, and the console script."""
    source = tmp_path / "source"
    source.mkdir()
    for name in ("pyproject.toml", "README.md", "LICENSE"):
        shutil.copy(ROOT / name, source)
    expected = set()
    for package in PACKAGES:
        if (ROOT / package).exists():
            ignored = shutil.ignore_patterns("__pycache__")
            shutil.copytree(ROOT / package, source / package, ignore=ignored)
            files = (source / package).rglob("*")
            expected |= {str(one.relative_to(source)) for one in files if one.suffix in KINDS}
            assert f"{package}/py.typed" in expected
    command = [sys.executable, "-m", "pip", "wheel", "-q", "--no-deps", "-w", tmp_path, source]
    run = subprocess.run(command, capture_output=True, text=True)
    assert run.returncode == 0, run.stderr
    (wheel,) = tmp_path.glob("*.whl")
    with zipfile.ZipFile(wheel) as content:
        names = set(content.namelist())
        (meta,) = (name for name in names if name.endswith(".dist-info/METADATA"))
        metadata = content.read(meta).decode()
        scripts = content.read(meta.replace("METADATA", "entry_points.txt")).decode()
    assert {name for name in names if ".dist-info/" not in name} == expected
    assert "stos = " in scripts and "License-Expression: Apache-2.0" in metadata
    assert "Project-URL: " in metadata and "Classifier: Typing :: Typed" in metadata
    assert any(name.endswith("/LICENSE") for name in names)

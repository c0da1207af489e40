"""The test session itself: strict mode, and the command that repeats a failed test."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

FILES = {
    "test_skip.py": "import pytest\ndef test_a():\n    pytest.skip('no tool')\n",
    "test_module.py": "import pytest\npytest.importorskip('no_such_module')\n",
    "test_known.py": "import pytest\n@pytest.mark.xfail\ndef test_a():\n    assert 0\n",
    "test_bad.py": "import pytest\n@pytest.mark.parametrize('n', ['a b'])\ndef test_a(n):\n"
    "    assert 0\n",
}


def session(folder: Path, file: str, **variables: str) -> subprocess.CompletedProcess[str]:
    """Run one file with the settings of this session."""
    (folder / file).write_text(FILES[file])
    environment = {
        k: v for k, v in os.environ.items() if not k.startswith(("STOS", "CI", "PYTEST"))
    }
    environment |= {"PYTHONPATH": str(Path(__file__).parents[1]), **variables}
    command = [sys.executable, "-m", "pytest", "-p", "verif.conftest", "--rootdir", ".", file]
    return subprocess.run(
        command, cwd=folder, env=environment, capture_output=True, text=True, check=False
    )


@pytest.mark.parametrize("file", ["test_skip.py", "test_module.py"])
def test_strict(tmp_path, file):
    """A skip, of a test or of a file, fails where everything has to be there, and nowhere else."""
    assert "1 skipped" in session(tmp_path, file).stdout
    strict = session(tmp_path, file, STOS_STRICT="1")
    assert strict.returncode and "STOS_STRICT allows no skip" in strict.stdout


def test_known_failure(tmp_path):
    assert session(tmp_path, "test_known.py", STOS_STRICT="1").returncode == 0


def test_repeat(tmp_path):
    """A failure ends with the one command that repeats it."""
    failed = session(tmp_path, "test_bad.py", CI="1", STOS_SEED="7")
    assert "CI=1 STOS_SEED=7 python -m pytest 'test_bad.py::test_a[a b]'\n" in failed.stdout

"""The fuzzer runs: on text, JSON and bytes it reaches more than it was given, and finds nothing."""

from __future__ import annotations

import importlib.util
import os
import subprocess
import sys
from pathlib import Path

import pytest

TESTS = Path(__file__).parents[1]


@pytest.mark.slow
@pytest.mark.skipif(
    importlib.util.find_spec("atheris") is None, reason="Atheris has no wheel for this machine"
)
@pytest.mark.parametrize("name", ["note", "entry", "delta_mxint8"])
def test_some_seconds_find_nothing(name: str, tmp_path: Path) -> None:
    command = [sys.executable, "-m", "fuzz.engine", name, "5", str(tmp_path)]
    path = os.pathsep.join([str(TESTS), str(TESTS.parent), os.environ.get("PYTHONPATH", "")])
    done = subprocess.run(
        command, capture_output=True, text=True, check=False, env=os.environ | {"PYTHONPATH": path}
    )
    assert done.returncode == 0, done.stderr[-4_000:]
    reached = [file for file in (tmp_path / "corpus").iterdir() if not file.name.startswith("seed")]
    assert reached and not list((tmp_path / "found").iterdir())

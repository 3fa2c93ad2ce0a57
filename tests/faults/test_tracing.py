"""Whatever a run writes goes through the file layer: no other code opens, renames or removes anything."""

from __future__ import annotations

import ast
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
SOURCES = sorted(path for path in (ROOT / "relayjax").rglob("*.py") if path.name != "filesystem.py")
CHANGES = {"chmod", "copyfile", "copytree", "fdopen", "fsync", "link", "link_to", "makedirs"}
CHANGES |= {"hardlink_to", "mkdir", "mkstemp", "move", "removedirs", "rename", "renames", "rmdir", "rmtree"}
CHANGES |= {"symlink", "symlink_to", "touch", "truncate", "unlink", "utime", "write_bytes", "write_text"}

PROGRAM = """
import os, sys

sys.path.insert(0, sys.argv[2])
from faults.relays import small
from relayjax import backend

directory = sys.argv[1]
WRITING = os.O_WRONLY | os.O_RDWR | os.O_CREAT | os.O_TRUNC | os.O_APPEND
CHANGES = {"os.mkdir", "os.rename", "os.remove", "os.rmdir", "os.link", "os.symlink", "os.truncate"}
elsewhere, through = [], 0

def files_of_callers():
    frame = sys._getframe()
    while frame := frame.f_back:
        yield frame.f_code.co_filename

def watch(event, arguments):
    global through
    if not (event in CHANGES or event == "open" and arguments[2] & WRITING):
        return
    path = str(arguments[0])
    if not path.startswith(directory):
        return
    if any(name.endswith(os.path.join("relayjax", "filesystem.py")) for name in files_of_callers()):
        through += 1
    else:
        elsewhere.append(f"{event} {path}")

sys.addaudithook(watch)
for _ in range(4):
    with backend.open_run(small(rounds=8), directory) as run:
        run.step()
        run.step()
assert through > 150, through
assert not elsewhere, elsewhere
"""


@pytest.mark.slow
@pytest.mark.faults
def test_nothing_is_written_past_the_file_layer(tmp_path: Path):
    command = [sys.executable, "-c", PROGRAM, str(tmp_path / "run"), str(Path(__file__).parents[1])]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


@pytest.mark.parametrize("path", SOURCES, ids=lambda path: path.relative_to(ROOT).as_posix())
def test_no_other_module_can_write(path: Path):
    for node in ast.walk(ast.parse(path.read_text("utf-8"))):
        if not isinstance(node, ast.Call):
            continue
        name = node.func.attr if isinstance(node.func, ast.Attribute) else getattr(node.func, "id", "")
        owner = node.func.value if isinstance(node.func, ast.Attribute) else None
        ours = isinstance(owner, ast.Name) and owner.id in ("files", "_filesystem")
        assert ours or name not in CHANGES, f"line {node.lineno}: {name}"
        assert getattr(owner, "id", "") != "shutil" or name == "which", f"line {node.lineno}: {name}"
        if name == "open" and isinstance(owner, ast.Name | None) and getattr(owner, "id", "") != "Log":
            modes = [argument for argument in node.args if isinstance(argument, ast.Constant)]
            modes += [keyword.value for keyword in node.keywords if keyword.arg == "mode"]
            assert all(str(mode.value).startswith("r") for mode in modes), f"line {node.lineno}"

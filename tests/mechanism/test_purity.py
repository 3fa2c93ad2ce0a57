"""The mechanism computes the same everywhere: no floats, no true division, no clock, no I/O, no chance."""

from __future__ import annotations

import ast
from pathlib import Path

import pytest

import relayjax.mechanism

FILES = sorted(Path(relayjax.mechanism.__file__).parent.glob("*.py"))
IMPURE = {"time", "datetime", "random", "os", "io", "pathlib", "numpy", "jax", "math", "secrets", "socket"}
CALLS = {"open", "print", "input", "float", "round", "hash", "id"}


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.stem)
def test_the_mechanism_is_pure_integer_arithmetic(path: Path) -> None:
    for node in ast.walk(ast.parse(path.read_text())):
        where = f"{path.name}:{getattr(node, 'lineno', 0)}"
        if isinstance(node, ast.Constant):
            assert not isinstance(node.value, float), where
        if isinstance(node, ast.BinOp | ast.AugAssign):
            assert not isinstance(node.op, ast.Div), where
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Name):
            assert node.func.id not in CALLS, where
        if isinstance(node, ast.Import):
            assert not {alias.name.split(".")[0] for alias in node.names} & IMPURE, where
        if isinstance(node, ast.ImportFrom):
            assert (node.module or "").split(".")[0] not in IMPURE, where
        if isinstance(node, ast.For | ast.comprehension):
            assert not isinstance(node.iter, ast.Set | ast.SetComp), f"{where}: the order of a set"

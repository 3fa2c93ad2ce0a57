"""The architecture, held: who may import whom, what needs no accelerator, and what nobody may use."""

from __future__ import annotations

import ast
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]

# Lowest first. A unit imports from the layers below its own, never from its own or from above.
LAYERS = (
    ("errors", "filesystem", "kernels"),
    ("hashing",),
    ("canonical", "files", "merging", "on_device", "settings", "weights"),
    ("bar", "identity", "model_signature", "pack", "records"),
    ("codec", "learning", "ledger", "mechanism", "store", "valuation"),  # strangers to each other
    ("config", "handoff", "misreports", "replay", "workdir"),
    ("history",),
    ("authority", "lineage", "measured"),
    ("archive",),
    ("audit", "licences", "summary"),
    ("incentives", "relay", "report", "simulation"),
    ("rescore",),
    ("appraisal", "membership", "peers", "retraining", "run"),
    ("agreement", "backend", "peers_view"),
    (
        "audit_console",
        "bundle_console",
        "console",
        "keys_console",
        "licences_console",
        "peers_console",
        "simulation_console",
        "trust_console",
        "value_console",
        "witness_console",
    ),
    ("verbs",),
    ("cli",),
    ("__main__", "configs"),
)
LEVEL = {unit: level for level, layer in enumerate(LAYERS) for unit in layer}

NEEDS_ACCELERATOR = {"configs", "config", "handoff", "learning", "peers", "relay", "rescore", "valuation"}
NEEDS_ACCELERATOR |= {"appraisal", "on_device", "retraining", "simulation", "simulation_console"}
ACCELERATOR = ("jax", "jaxlib", "flax", "optax", "orbax")

# Whatever turns bytes from a file or a peer into running code.
UNSAFE_MODULES = {"cloudpickle", "dill", "joblib", "marshal", "pickle", "shelve"}
UNSAFE_CALLS = {"__import__", "compile", "eval", "exec"}

# What must be agreed is computed from records alone: no clock, no files, no randomness, no floats.
PURE = {"__future__", "blake3", "collections", "dataclasses", "enum", "functools", "itertools", "relayjax"}
PURE |= {"statistics", "typing"}
MECHANISM = sorted((ROOT / "relayjax" / "mechanism").glob("*.py"))


def _sources() -> Iterator[tuple[str, str, Path]]:
    """(unit, module as it is installed, file) of everything that is packaged."""
    for folder, package in (("relayjax", ()), ("kernels", ("kernels",)), ("configs", ("configs",))):
        for path in sorted((ROOT / folder).rglob("*.py")):
            parts = [*package, *path.relative_to(ROOT / folder).with_suffix("").parts]
            if parts[-1] == "__init__":
                parts.pop()
            if parts:
                yield parts[0], ".".join(("relayjax", *parts)), path


SOURCES = list(_sources())
MODULES = [pytest.param(unit, path, id=name) for unit, name, path in SOURCES]


def _imports(path: Path) -> Iterator[str]:
    """Every module a file imports, at its top or later, for types or for use."""
    for node in ast.walk(ast.parse(path.read_text("utf-8"))):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            yield from (f"{'.' * node.level}{node.module or ''}.{alias.name}" for alias in node.names)


def test_every_unit_has_its_layer():
    assert {unit for unit, _, _ in SOURCES} == set(LEVEL)


@pytest.mark.parametrize(("unit", "path"), MODULES)
def test_imports_point_down(unit: str, path: Path):
    for name in _imports(path):
        assert name.split(".")[0] not in ("", "kernels", "configs"), f"{name}: import relayjax.… instead"
        if not name.startswith("relayjax."):
            continue
        other = name.split(".")[1]
        assert other == unit or LEVEL[other] < LEVEL[unit], f"{unit} is not above {other}"


@pytest.mark.parametrize(("unit", "path"), MODULES)
def test_nothing_read_is_run(unit: str, path: Path):
    assert not UNSAFE_MODULES & {name.split(".")[0] for name in _imports(path)}
    for node in ast.walk(ast.parse(path.read_text("utf-8"))):
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Name):
            assert node.func.id not in UNSAFE_CALLS, f"line {node.lineno}"
        if isinstance(node, ast.Call):
            for keyword in node.keywords:
                allowed = isinstance(keyword.value, ast.Constant) and keyword.value.value is False
                assert keyword.arg != "allow_pickle" or allowed, f"line {node.lineno}"


@pytest.mark.parametrize("path", MECHANISM, ids=lambda path: path.stem)
def test_the_mechanism_is_pure(path: Path):
    assert {name.split(".")[0] for name in _imports(path)} <= PURE
    for node in ast.walk(ast.parse(path.read_text("utf-8"))):
        assert not isinstance(node, ast.Div), "use // on integers"
        assert not (isinstance(node, ast.Constant) and isinstance(node.value, float)), f"line {node.lineno}"


def test_who_audits_needs_no_accelerator():
    blocked = "".join(f"sys.modules[{name!r}] = None\n" for name in ACCELERATOR)
    modules = [name for unit, name, _ in SOURCES if unit not in NEEDS_ACCELERATOR]
    program = f"import importlib, sys\n{blocked}for name in {modules}: importlib.import_module(name)\n"
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr

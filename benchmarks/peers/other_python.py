"""A Python of another environment, for peers that are not installed in this one."""

from __future__ import annotations

import importlib.util
import subprocess
import sys

from rich.console import Console


def find(named: str | None, module: str, console: Console) -> str | None:
    """A Python that has a module: the one named, else this one; None if it has not, and says so."""
    if named is None and importlib.util.find_spec(module) is not None:
        return sys.executable
    if named and subprocess.run([named, "-c", f"import {module}"], capture_output=True).returncode == 0:
        return named
    console.print(
        f"[yellow]{named or 'This environment'} has no {module}, so its rows are left out. Install it here, "
        "or name a Python that has it with --torch_python."
    )
    return None

"""Where the fault suite works: in memory where there is such a place, for it flushes nothing."""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest
from faults.relays import Undisturbed, small


@pytest.fixture(scope="session")
def memory_backed() -> Iterator[Path]:
    """An empty directory, in main memory on Linux."""
    memory = Path("/dev/shm")
    directory = Path(tempfile.mkdtemp(prefix="relayjax-", dir=memory if memory.is_dir() else None))
    yield directory
    shutil.rmtree(directory)


@pytest.fixture(scope="session")
def undisturbed(compiled_once: None, memory_backed: Path) -> Undisturbed:
    """The small relay, played to its end with nothing in its way."""
    return Undisturbed.of(small(), memory_backed / "undisturbed")

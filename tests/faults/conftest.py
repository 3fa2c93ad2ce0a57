"""Where the fault suite works: in memory where there is such a place, for it flushes nothing."""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest
from faults.relays import Undisturbed, other, small
from faults.tally import Tally


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


@pytest.fixture(scope="session")
def other_undisturbed(compiled_once: None, memory_backed: Path) -> Undisturbed:
    """Another one, of another config."""
    return Undisturbed.of(other(), memory_backed / "other-undisturbed")


@pytest.fixture(scope="session")
def tally() -> Tally:
    """Counts what the full suite has tried."""
    return Tally.here()

"""A run whose trainers keep residuals ends at any operation and goes on as if nothing had happened."""

from __future__ import annotations

from pathlib import Path

import pytest
from faults.relays import PARTS, SMALL, Undisturbed, in_parts
from faults.test_crashes import crashes, go_on

from relayjax import config

pytestmark = pytest.mark.usefixtures("compiled_once")


@pytest.fixture(scope="session")
def sparse(compiled_once: None, memory_backed: Path) -> Undisturbed:
    """The small relay with error feedback."""
    settings = config.resolve("digits", SMALL | {"relay.codec": "top_percent"}, seed=7)
    return Undisturbed.of(settings, memory_backed / "sparse")


def test_it_goes_on_after_a_crash(sparse: Undisturbed, memory_backed: Path):
    cases = list(crashes(sparse.played.operations))
    assert go_on(sparse, sparse.played, cases[::61], memory_backed / "crashed") > 15


@pytest.mark.slow
@pytest.mark.faults
@in_parts
def test_it_goes_on_after_any_crash(sparse: Undisturbed, memory_backed: Path, part: int):
    cases = list(crashes(sparse.played.operations))[part::PARTS]
    assert go_on(sparse, sparse.played, cases, memory_backed / "crashed") > 1_000 // PARTS

"""Every parser on bytes from anybody: typed errors alone, in bounds, nothing read that would not be written.

The bounds are linear in the input. They hold Python and NumPy to what is there, not to what is announced.
"""

from __future__ import annotations

import random

import pytest
from fuzz.corpus import findings, kept
from fuzz.limits import Cost, bombs, measured
from fuzz.mutate import mutate
from fuzz.target import Target
from fuzz.targets import TARGETS
from hypothesis import given, settings
from hypothesis import strategies as st

from relayjax.errors import RelayError

MEMORY = 3 << 20, 150
"""Bytes, and bytes for every byte of an input, that a parser may hold."""

CALLS = 100_000, 25
"""Calls, and calls for every byte, that it may make."""

LENGTH = 4_000

every_parser = pytest.mark.parametrize("target", TARGETS.values(), ids=TARGETS)


@pytest.fixture(scope="module", autouse=True)
def warm() -> None:
    """What is imported, compiled or remembered at the first call is not the input's doing."""
    for target in TARGETS.values():
        for seed in target.seeds:
            target.parse(seed)


@every_parser
def test_valid_bytes_are_read(target: Target) -> None:
    for seed in target.seeds:
        assert target.parse(seed) in (None, seed)
        with measured() as cost:
            target.parse(seed)
        check(cost, seed)


@every_parser
@settings(max_examples=12)
@given(seed=st.integers(0, 2**32))
def test_changed_bytes_are_refused_or_read_as_they_would_be_written(target: Target, seed: int) -> None:
    attack(target, random.Random(seed), 4)


@pytest.mark.slow
@every_parser
@settings(max_examples=500)
@given(seed=st.integers(0, 2**64))
def test_many_changed_bytes_are_refused_or_read_as_they_would_be_written(target: Target, seed: int) -> None:
    attack(target, random.Random(seed), 10)


@every_parser
@given(data=st.binary(max_size=300))
@settings(max_examples=12)
def test_any_bytes_are_refused_or_read_as_they_would_be_written(target: Target, data: bytes) -> None:
    with measured() as cost:
        read(target, data)
    check(cost, data)


@every_parser
def test_more_of_one_thing_costs_no_more_than_its_length(target: Target) -> None:
    for seed in (b"", target.seeds[0]):
        for data in bombs(seed, LENGTH):
            with measured() as cost:
                read(target, data)
            check(cost, data)


@every_parser
def test_what_was_once_reached_or_found_still_holds(target: Target) -> None:
    for data in [*kept(target.name), *(data for name, data in findings() if name == target.name)]:
        with measured() as cost:
            read(target, data)
        check(cost, data)


def test_everything_that_is_kept_has_a_parser() -> None:
    assert {name for name, _ in findings()} <= set(TARGETS)
    assert sum(len(data) for name in TARGETS for data in kept(name)) < 300_000


def attack(target: Target, rng: random.Random, rounds: int) -> None:
    """Changes a valid input further and further."""
    data = rng.choice(target.seeds)
    for _ in range(rounds):
        data = mutate(data, rng.choice(target.seeds), rng)
        with measured() as cost:
            read(target, data)
        check(cost, data)


def read(target: Target, data: bytes) -> None:
    """Parses; whatever is accepted must be what would be written."""
    try:
        again = target.parse(data)
    except RelayError:
        return
    assert again in (None, data)


def check(cost: Cost, data: bytes) -> None:
    for name, spent, (base, each) in (("memory", cost.memory, MEMORY), ("calls", cost.calls, CALLS)):
        assert spent <= base + each * len(data), f"{name}: {spent} for {len(data)} bytes, {data[:200]!r}"

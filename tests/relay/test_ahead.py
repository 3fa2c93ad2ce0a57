"""Legs that are trained ahead: the ledger is that of a relay that waits, whatever was foreseen."""

from __future__ import annotations

import threading
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from relayjax import backend
from relayjax.config import Config
from relayjax.relay.ahead import Ahead, Plan
from relayjax.relay.events import Event, Settled, Trained
from relayjax.relay.timing import Stopwatch
from relayjax.relay.training import Outcome

pytestmark = pytest.mark.usefixtures("compiled_once")

ConfigMaker = Callable[..., Config]
SECOND, NINE = "relayjax.relay.round.foresee", {"relay.rounds": "9"}
REFUSING = {"rules.tolerance": "0", "rules.slope_tolerance": "0"}
FEEDBACK = {"relay.codec": "top_percent", "leg.relay_momentum": "0.5"}


def deviant(deviation: str) -> dict[str, str]:
    return {"experiment.deviation": deviation, "experiment.deviants": "1"}


def played(config: Config, directory: Path, *, overlap: bool) -> tuple[str, list[Event]]:
    """A run's root and events."""
    events: list[Event] = []
    with backend.open_run(config, directory) as run:
        run.subscribe(events.append)
        while not run.finished:
            run.step(overlap=overlap, ahead=overlap)
        run.flush()
        return run.root, events


def ahead(events: list[Event]) -> list[tuple[int, str]]:
    """The legs that began before their round."""
    return [(event.round, event.trainer) for event in events if isinstance(event, Trained) and event.ahead]


def firsts(events: list[Event]) -> list[tuple[int, str]]:
    """The first leg of every round."""
    legs: dict[int, str] = {}
    for event in events:
        if isinstance(event, Trained):
            legs.setdefault(event.round, event.trainer)
    return list(legs.items())


@pytest.mark.parametrize(
    "overrides",
    [
        {},
        REFUSING,
        FEEDBACK,
        {"leg.optimizer_state": "carried", "relay.codec": "lossless"},
        *(deviant(name) for name in ("stale", "copy", "free_rider", "sign_flip", "withhold", "no_deposit")),
        deviant("chain_idle"),
    ],
    ids=str,
)
def test_the_ledger_is_the_same(tiny_config: ConfigMaker, tmp_path: Path, overrides: dict[str, str]):
    config = tiny_config(overrides)
    root, events = played(config, tmp_path / "ahead", overlap=True)
    waiting, without = played(config, tmp_path / "waiting", overlap=False)
    assert root == waiting
    assert ahead(events) and not ahead(without)


def test_the_ledger_of_a_relay_that_diverges_is_the_same(tiny_config: ConfigMaker, tmp_path: Path):
    config = tiny_config({"leg.learning_rate": "1e30"})
    root, _ = played(config, tmp_path / "ahead", overlap=True)
    assert root == played(config, tmp_path / "waiting", overlap=False)[0]


def test_the_ledger_of_a_tree_is_the_same(tmp_path: Path):
    from relayjax import config

    small = {"task.hidden": "8", "leg.steps": "5", "relay.rounds": "4", "relay.participants": "6"}
    tree = config.resolve("digits:derelayl", {**small, "rules.accepted_share": "1000000"}, 7)
    root, events = played(tree, tmp_path / "ahead", overlap=True)
    assert root == played(tree, tmp_path / "waiting", overlap=False)[0]
    assert ahead(events) == firsts(events)[1:]


def test_every_honest_round_begins_with_a_leg_that_was_foreseen(tiny_config: ConfigMaker, tmp_path: Path):
    _, events = played(tiny_config(NINE), tmp_path / "run", overlap=True)
    assert ahead(events) == firsts(events)[1:] and len(ahead(events)) == 8


def test_before_the_test_only_what_no_lot_decides_is_foreseen(
    tiny_config: ConfigMaker, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    """After a braid round all have waited equally long; the third chain round after it has one left."""
    monkeypatch.setattr(SECOND, lambda crew, heads: None)
    _, events = played(tiny_config(NINE), tmp_path / "run", overlap=True)
    refused = {event.round for event in events if isinstance(event, Settled) and event.refused}
    certain = [number for number in (4, 7, 8, 9) if number - 1 not in refused]
    assert certain and [number for number, _ in ahead(events)] == certain


@pytest.mark.parametrize("wrong", ["trainer", "parent", "round"])
def test_what_is_foreseen_wrongly_does_no_harm(
    tiny_config: ConfigMaker, tiny_run: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, wrong: str
):
    begin = Ahead.begin

    def mistaken(self: Ahead, plan: Plan | None, train: Callable[[Plan], Outcome]) -> None:
        if plan is not None:
            trainer = "p0" if plan.trainer != "p0" else "p1"
            parts = {"trainer": trainer, "parent": plan.parent.copy(), "round": plan.round - 1}
            plan = Plan(**{**vars(plan), wrong: parts[wrong]})
        begin(self, plan, train)

    monkeypatch.setattr(Ahead, "begin", mistaken)
    root, events = played(tiny_config(), tmp_path / "run", overlap=True)
    assert root == backend.verify(tiny_run).audit.root
    assert not ahead(events)


def test_a_run_that_is_cut_short_goes_on_as_if_nothing_had_been_begun(
    tiny_config: ConfigMaker, tiny_run: Path, tmp_path: Path
):
    directory = tmp_path / "run"
    for rounds in (1, 2, 3):
        with pytest.raises(KeyboardInterrupt), backend.open_run(tiny_config(), directory) as run:
            for _ in range(rounds):
                run.step(overlap=True, ahead=True)
            raise KeyboardInterrupt
    root, _ = played(tiny_config(), directory, overlap=True)
    assert root == backend.verify(tiny_run).audit.root


def test_what_lies_between_two_legs_is_counted():
    clock = Stopwatch()
    clock.train(10.0, 12.0)
    clock.train(12.5, 14.0)
    seconds, idle = clock.lap()
    assert (seconds["train"], idle) == (3.5, 0.5)
    clock.train(14.25, 15.0)
    seconds, idle = clock.lap()
    assert (seconds["train"], idle) == (0.75, 0.25)
    assert clock.lap()[1] == 0


def plan(round: int = 3, trainer: str = "p1", parent: np.ndarray | None = None) -> Plan:
    return Plan(round, trainer, np.zeros(4, np.float32) if parent is None else parent)


def outcome(of: Plan) -> Outcome:
    return Outcome(of.parent + of.round, 0.0, 0.0, 1.0)


def test_only_the_very_leg_is_taken_and_only_once():
    parent, legs = np.zeros(4, np.float32), Ahead()
    for other in (plan(4, "p1", parent), plan(3, "p2", parent), plan()):
        legs.begin(plan(3, "p1", parent), outcome)
        assert legs.take(other) is None
        assert legs.take(plan(3, "p1", parent)) is None
    legs.begin(plan(3, "p1", parent), outcome)
    found = legs.take(plan(3, "p1", parent))
    assert found is not None and (found.theta == 3).all() and legs.took(3, "p1")
    assert legs.take(plan(3, "p1", parent)) is None
    legs.close()


def test_two_legs_are_never_trained_at_once():
    legs, released, running = Ahead(), threading.Event(), list[int]()
    most = 0

    def slow(of: Plan) -> Outcome:
        nonlocal most
        running.append(of.round)
        most = max(most, len(running))
        assert released.wait(60)
        running.remove(of.round)
        return outcome(of)

    wrong, right = plan(3), plan(4)
    legs.begin(wrong, slow)
    legs.begin(right, slow)
    legs.begin(right, slow)  # no second time
    threading.Timer(0.01, released.set).start()
    found = legs.take(right)
    assert found is not None and (found.theta == 4).all() and most == 1
    released.clear()
    legs.begin(wrong, slow)
    legs.begin(right, slow)
    threading.Timer(0.01, released.set).start()
    assert legs.take(plan(5)) is None and not running
    legs.close()


def test_an_error_while_training_comes_where_the_leg_is_taken():
    def failing(of: Plan) -> Outcome:
        raise MemoryError("the device is full")

    legs, here = Ahead(), plan()
    legs.begin(here, failing)
    with pytest.raises(MemoryError):
        legs.take(here)
    legs.begin(here, failing)
    assert legs.take(plan(9)) is None  # nobody needs it, so nobody hears of it
    legs.close()


def test_where_several_devices_train_together_nothing_is_begun():
    legs = Ahead(enabled=False)
    legs.begin(plan(), outcome)
    assert legs.take(plan()) is None
    legs.close()

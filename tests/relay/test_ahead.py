"""Legs that are trained ahead: the ledger is that of a relay that waits, whatever was foreseen."""

from __future__ import annotations

import contextlib
import dataclasses
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from relayjax import backend
from relayjax.config import Config
from relayjax.relay import legs as relay_legs
from relayjax.relay import relay
from relayjax.relay.ahead import Ahead, Course, Made, Plan
from relayjax.relay.crew import Crew
from relayjax.relay.events import Event, Settled, Trained
from relayjax.relay.foresight import Heads
from relayjax.relay.testing import Validator
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


def beyond_the_first(events: list[Event]) -> list[tuple[int, str]]:
    """All legs but those of the first round."""
    return [
        (event.round, event.trainer) for event in events if isinstance(event, Trained) and event.round > 1
    ]


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
    assert ahead(events) == beyond_the_first(events)


def test_every_honest_leg_but_those_of_the_first_round_is_foreseen(tiny_config: ConfigMaker, tmp_path: Path):
    _, events = played(tiny_config(NINE), tmp_path / "run", overlap=True)
    assert ahead(events) == beyond_the_first(events) and len(ahead(events)) >= 8


def test_legs_are_foreseen_before_the_round_before_is_settled(
    tiny_config: ConfigMaker, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    """After a braid round all have waited equally long: its own lots order them, so they are known."""
    monkeypatch.setattr(SECOND, lambda crew, heads: None)
    _, events = played(tiny_config(NINE), tmp_path / "run", overlap=True)
    refused = {event.round for event in events if isinstance(event, Settled) and event.refused}
    certain = [number for number in range(2, 10) if number - 1 not in refused]
    assert certain and set(certain) <= {number for number, _ in ahead(events)}


@pytest.mark.parametrize("refusing", [False, True], ids=["accepted", "refused"])
def test_several_legs_are_trained_beyond_the_round_under_way(
    tiny_config: ConfigMaker, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, refusing: bool
):
    """A test that takes long, to be sure of it: legs go on, each from what the one before it made."""
    config = tiny_config({**NINE, **(REFUSING if refusing else {})})
    begun: list[tuple[int, int]] = []
    make, play = relay_legs._make, relay.play
    now = [0]

    def making(crew: Crew, plan: Plan) -> Made:
        begun.append((now[0], plan.round))
        return make(crew, plan)

    def playing(crew: Crew, heads: Heads, *, ahead: bool) -> Heads:
        now[0] = crew.state.round.number
        return play(crew, heads, ahead=ahead)

    score = Validator.score

    def scoring(self: Validator, *arguments: object) -> object:
        time.sleep(0.3)
        return score(self, *arguments)

    monkeypatch.setattr(relay_legs, "_make", making)
    monkeypatch.setattr(relay, "play", playing)
    monkeypatch.setattr(Validator, "score", scoring)
    root, _ = played(config, tmp_path / "run", overlap=True)
    assert max(leg - round for round, leg in begun) >= 3
    monkeypatch.undo()
    assert root == played(config, tmp_path / "waiting", overlap=False)[0]


@pytest.mark.parametrize("wrong", ["trainer", "parent", "round"])
def test_what_is_foreseen_wrongly_does_no_harm(
    tiny_config: ConfigMaker, tiny_run: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, wrong: str
):
    begin = Ahead.begin

    def mistaken(self: Ahead, course: Course, train: Callable[[Plan], Made]) -> None:
        begin(self, another(course), train)

    def another(course: Course) -> Course:
        with contextlib.suppress(StopIteration):
            plan = next(course)
            while True:
                plan = course.send((yield other(plan)))

    def other(plan: Plan) -> Plan:
        trainer = "p0" if plan.trainer != "p0" else "p1"
        parts = {"trainer": trainer, "parent": plan.parent + 1, "round": plan.round - 1}
        return dataclasses.replace(plan, **{wrong: parts[wrong]})

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


def made(of: Plan) -> Made:
    return Made(Outcome(of.parent + of.round, 0.0, 0.0, 1.0))


class Counting:
    """Trains, and says which rounds' legs it has trained.

    Attributes:
      rounds: of the legs, in order.
      reached: released once for each.
    """

    def __init__(self) -> None:
        self.rounds, self.reached = list[int](), threading.Semaphore(0)

    def __call__(self, of: Plan) -> Made:
        self.rounds.append(of.round)
        self.reached.release()
        return made(of)


def course(*plans: Plan) -> Course:
    """Legs that are to come whatever the ones before them make."""
    yield from (one for one in plans)  # a tuple cannot be told anything


def taken(legs: Ahead, of: Plan) -> Made | None:
    return legs.take(of.round, of.trainer, of.parent)


def test_only_the_very_leg_is_taken_and_only_once():
    parent, legs = np.zeros(4, np.float32), Ahead()
    for other in (plan(4, "p1", parent), plan(3, "p2", parent), plan(3, "p1", parent + 1)):
        legs.begin(course(plan(3, "p1", parent)), made)
        assert taken(legs, other) is None
        assert taken(legs, plan(3, "p1", parent)) is None
    legs.begin(course(plan(3, "p1", parent)), made)
    found = taken(legs, plan(3, "p1", parent.copy()))
    assert found is not None and (found.outcome.theta == 3).all() and legs.took(3, "p1")
    assert taken(legs, plan(3, "p1", parent)) is None
    legs.close()


def test_a_course_is_played_in_order_and_as_far_as_there_is_room(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr("relayjax.relay.ahead.MOST", 3)
    counting = Counting()
    legs, plans = Ahead(), [plan(number) for number in range(1, 8)]
    legs.begin(course(*plans), counting)
    for _ in range(3):
        assert counting.reached.acquire(timeout=60)
    assert not counting.reached.acquire(timeout=0.05) and counting.rounds == [1, 2, 3]
    for one in plans:
        legs.begin(course(one), counting)  # it goes on as it would
        found = taken(legs, one)
        assert found is not None and (found.outcome.theta == one.round).all()
    assert counting.rounds == list(range(1, 8)) and taken(legs, plan(8)) is None
    legs.close()


def test_one_leg_waits_at_most_if_it_takes_the_room_of_all(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr("relayjax.relay.ahead.ROOM", 16)
    counting = Counting()
    legs = Ahead()
    legs.begin(course(plan(1), plan(2)), counting)
    assert counting.reached.acquire(timeout=60) and not counting.reached.acquire(timeout=0.05)
    assert (
        taken(legs, plan(1)) is not None
        and counting.reached.acquire(timeout=60)
        and counting.rounds == [1, 2]
    )
    legs.close()


FORGOTTEN = """
import numpy as np
from relayjax.relay import ahead

def course():
    for number in range(1, 100):
        yield ahead.Plan(number, "p1", np.zeros(4, np.float32))

ahead.Ahead().begin(course(), lambda plan: ahead.Made(None))
"""


def test_a_run_that_is_forgotten_keeps_nobody_waiting():
    done = subprocess.run([sys.executable, "-c", FORGOTTEN], timeout=120, check=False)
    assert done.returncode == 0


def test_two_legs_are_never_trained_at_once():
    legs, released, running = Ahead(), threading.Event(), list[int]()
    most = 0

    def slow(of: Plan) -> Made:
        nonlocal most
        running.append(of.round)
        most = max(most, len(running))
        assert released.wait(60)
        running.remove(of.round)
        return made(of)

    wrong, right = plan(3), plan(4)
    legs.begin(course(wrong, plan(9)), slow)
    legs.begin(course(right), slow)
    legs.begin(course(right), slow)  # no second time
    threading.Timer(0.01, released.set).start()
    found = taken(legs, right)
    assert found is not None and (found.outcome.theta == 4).all() and most == 1
    released.clear()
    legs.begin(course(wrong), slow)
    legs.begin(course(right), slow)
    threading.Timer(0.01, released.set).start()
    assert taken(legs, plan(5)) is None and not running
    legs.close()


def test_an_error_comes_where_the_leg_is_taken():
    def failing(of: Plan) -> Made:
        raise MemoryError("the device is full")

    def unforeseeable() -> Course:
        yield plan(3)
        raise KeyError("p9")

    legs, here = Ahead(), plan()
    legs.begin(course(here), failing)
    with pytest.raises(MemoryError):
        taken(legs, here)
    legs.begin(course(plan(4)), failing)
    assert taken(legs, plan(9)) is None  # nobody needs it, so nobody hears of it
    legs.begin(unforeseeable(), made)
    assert taken(legs, here) is not None
    with pytest.raises(KeyError):
        taken(legs, plan(4))
    legs.close()


def test_where_nothing_may_be_trained_ahead_nothing_is_begun():
    legs = Ahead(enabled=False)
    legs.begin(course(plan()), made)
    assert taken(legs, plan()) is None
    legs.close()

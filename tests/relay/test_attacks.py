"""Whole relays in which one participant cheats: it earns nothing, and nothing else goes wrong.

p3 never trains; in chain rounds, which are given by lot, it returns its parent. Whatever it sends,
validators see it like any other work: through the codec, in the ledger.
"""

from __future__ import annotations

import dataclasses
import math
import shutil
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import pytest

from relayjax import backend, codec, rescore
from relayjax.archive import Archive
from relayjax.backend import Run
from relayjax.config import Config
from relayjax.history import History
from relayjax.identity import Keys
from relayjax.mechanism.base import medians
from relayjax.mechanism.rules import RelayJAXRules
from relayjax.mechanism.settlement import ESCROW, POT
from relayjax.mechanism.state import Version
from relayjax.relay import relay
from relayjax.relay.training import Candidate, Trainer
from relayjax.workdir import Workdir

pytestmark = pytest.mark.usefixtures("compiled_once")

ATTACKER, ORIGINAL = "p3", "p1"
BRAIDS, LAST = (1, 3, 5), 6
STOPS = (2, 3)
"""Rounds after which the run is copied as if it had been killed there."""

OVERRIDES = {
    "relay.participants": "4",
    "relay.rounds": str(LAST),
    "relay.braid_rounds": ",".join(map(str, BRAIDS)),
    "task.hidden": "16",
    "leg.steps": "20",
}


@dataclass(frozen=True)
class Seen:
    """What an attacker has before it commits.

    Attributes:
      round: its number.
      theta: weights of the parent, float32 [P].
      siblings: deltas trained in this round by those who share them with it, float32 [P].
      past: deltas of round 1 by trainer, float32 [P]; none in it.
      moved: what round 1 did to the head, float32 [P].
    """

    round: int
    theta: np.ndarray
    siblings: Mapping[str, np.ndarray]
    past: Mapping[str, np.ndarray]
    moved: np.ndarray


Attack = Callable[[Seen], np.ndarray]


def noise(seen: Seen, length: float) -> np.ndarray:
    drawn = np.random.default_rng(seen.round).normal(size=seen.theta.shape)
    return (length / np.linalg.norm(drawn) * drawn).astype(np.float32)


def later(attack: Attack) -> Attack:
    """Noise at first, when there is nothing yet to make a delta of."""
    return lambda seen: attack(seen) if seen.past else noise(seen, 1.0)


def replay(scale: float, noised: float = 0.0) -> Attack:
    def attack(seen: Seen) -> np.ndarray:
        old = np.float32(scale) * seen.past[ORIGINAL]
        return old + noise(seen, noised * float(np.linalg.norm(old)))

    return later(attack)


def copy(scale: float) -> Attack:
    return lambda seen: np.float32(scale) * seen.siblings[ORIGINAL]


REFUSED: dict[str, Attack] = {
    "replay": replay(1.0),
    "replay turned round and longer": replay(-2.0),
    "replay in a little noise": replay(1.0, noised=0.05),
    "copy": copy(1.0),
    "copy made shorter": copy(0.5),
}
UNPAID: dict[str, Attack] = {
    "nothing": lambda seen: np.zeros_like(seen.theta),
    "noise": lambda seen: noise(seen, 1.0),
    "replay in noise": replay(1.0, noised=0.5),
    "movement of the head": later(lambda seen: seen.moved),
    "movement of the head in noise": later(
        lambda seen: seen.moved + noise(seen, 2 * float(np.linalg.norm(seen.moved)))
    ),
    "mixture": later(lambda seen: np.float32(0.5) * (seen.past["p0"] + seen.past["p2"])),
}
CHOSEN = ["replay in a little noise", "mixture"]
"""Of either kind one, to be looked at more closely."""


@dataclass(frozen=True)
class Cheating(Trainer):
    """Trains for everybody but the attacker.

    Attributes:
      run: that it takes part in.
      path: of the workdir, whose maintainer helps it to old deltas.
      attack: makes its delta.
      siblings: of the present round.
    """

    run: Run
    path: Path
    attack: Attack
    siblings: dict[str, np.ndarray] = field(default_factory=dict)

    def encode(
        self,
        name: str,
        parent: Version,
        theta: np.ndarray,
        trained: np.ndarray,
        loss: float,
        residual: np.ndarray | None,
    ) -> Candidate | str:
        self.siblings[name] = trained - theta
        if name == ATTACKER:
            braid = self.run.state.round.number in BRAIDS
            trained = theta + self.attack(self._seen(theta)) if braid else theta
        return super().encode(name, parent, theta, trained, loss, residual)

    def _seen(self, theta: np.ndarray) -> Seen:
        number = self.run.state.round.number
        if number == 1:
            return Seen(number, theta, self.siblings, {}, np.zeros_like(theta))
        past, archive = self.run.history(), Archive(Workdir(self.path))
        keys, genesis = Keys.load(self.path / "keys", "v1"), archive.genesis(past)
        submissions = past.rounds[0].facts.submissions
        deltas = {
            name: codec.get("mxint8").decode(archive.open_delta(past.state, submission, keys), genesis)
            for name, submission in submissions.items()
        }
        accepted = [deltas[name] for name in past.state.versions[1].owners]
        return Seen(number, theta, self.siblings, deltas, np.sum(accepted, axis=0) / np.float32(4))


def cheat(run: Run, path: Path, attack: Attack) -> Run:
    crew = run._relay._crew
    trainer = Cheating(crew.trainer.leg, crew.codec, crew.clock, run, path, attack)
    run._relay._crew = dataclasses.replace(crew, trainer=trainer)
    return run


@dataclass
class Played:
    """A finished run, and a copy of its directory after each of `STOPS`."""

    name: str
    config: Config
    path: Path
    root: str
    history: History
    copies: list[Path]

    @property
    def attack(self) -> Attack:
        return (REFUSED | UNPAID)[self.name]

    @property
    def begun(self) -> tuple[int, ...]:
        """Braid rounds in which the attack had what it needs: a copy from the first on, others later."""
        return BRAIDS if self.name.startswith("copy") else BRAIDS[1:]


def play(name: str, config: Config, base: Path) -> Played:
    path, copies = base / "run", []
    with backend.open_run(config, path) as run:
        cheat(run, path, (REFUSED | UNPAID)[name])
        while not run.finished:
            run.step()
            if run.state.round.number - 1 in STOPS:
                copies.append(Path(shutil.copytree(path, base / f"stopped {len(copies)}")))
        return Played(name, config, path, run.root, run.history(), copies)


@pytest.fixture(scope="module", params=[*REFUSED, *UNPAID])
def played(
    request: pytest.FixtureRequest,
    tiny_config: Callable[..., Config],
    compiled_once: None,
    tmp_path_factory: pytest.TempPathFactory,
) -> Played:
    return play(request.param, tiny_config(OVERRIDES), tmp_path_factory.mktemp("attack"))


def test_the_attacker_earns_nothing(played: Played):
    transfers = [transfer for settled in played.history.rounds for transfer in settled.settle.transfers]
    earned = [(name, why) for source, name, _, why in transfers if source == POT and name[0] == "p"]
    assert {why for _, why in earned} >= {"value", "royalty"}  # there is something to earn
    assert {name for name, _ in earned} == {"p0", "p1", "p2"}
    state = played.history.state
    assert all(ATTACKER not in dict(version.values) for version in state.versions)
    assert ATTACKER not in state.licences


def test_an_echo_is_refused_and_its_deposit_returned(played: Played):
    rules = played.config.rules
    assert isinstance(rules, RelayJAXRules)
    returned = 0
    for settled in played.history.rounds:
        settle, echoes = settled.settle, medians(score.echoes for score in settled.facts.scores.values())
        back = (ESCROW + ATTACKER, ATTACKER, rules.deposit, "deposit returned") in settle.transfers
        returned += back and ATTACKER in settle.refused
        if settled.number in played.begun and played.name in REFUSED:
            assert echoes[ATTACKER] > rules.echo_limit
        if settled.number in BRAIDS:
            assert back and (ATTACKER in settle.refused) == (echoes[ATTACKER] > rules.echo_limit)
            assert all(echoes[name] < rules.echo_limit for name in ("p0", "p1", "p2"))
            assert {"p0", "p1", "p2"} <= set(settle.accepted)
    assert returned >= (len(played.begun) if played.name in REFUSED else 0)
    assert played.history.state.balances[ATTACKER] == rules.endowment


def test_what_passes_is_valued_within_the_noise(played: Played):
    """In round 3, before anything of the attacker's but noise is known."""
    (score,) = {score.echoes for score in played.history.rounds[2].facts.scores.values()}
    value = min(played.history.rounds[2].facts.values.items())[1]
    if played.name in REFUSED:
        assert ATTACKER not in dict(value.values)
    else:
        assert dict(score)[ATTACKER] < 990_000
        if played.name != "noise":  # of which more is stated, and as much doubted
            assert abs(dict(value.values)[ATTACKER]) < 0.2 * max(amount for _, amount in value.values)
        noise = math.hypot(dict(value.stderr)[ATTACKER], dict(value.chance)[ATTACKER])
        assert isinstance(rules := played.config.rules, RelayJAXRules)
        assert dict(value.values)[ATTACKER] <= rules.noise_floor / 1e6 * noise


@pytest.mark.parametrize("played", CHOSEN, indirect=True)
def test_the_run_can_be_measured_again(played: Played, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(rescore, "Evaluator", relay.Evaluator)  # compiled once
    verified = backend.verify(played.path, rescored=True)
    assert verified.rescore is not None and verified.rescore.values > 0


@pytest.mark.parametrize("played", CHOSEN, indirect=True)
def test_it_goes_on_after_an_interruption(played: Played):
    """What is known of old deltas is opened again."""
    assert len(played.copies) == len(STOPS)
    for copied in played.copies:
        with backend.open_run(played.config, copied) as run:
            cheat(run, copied, played.attack)
            while not run.finished:
                run.step()  # the attacker looks at the round under way, so no leg of it can be encoded ahead
            assert run.root == played.root

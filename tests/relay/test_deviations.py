"""Every deviation in a small relay that really trains: what it does is to be seen in the ledger.

p3 deviates, or v1; in a relay with a second place, p2 and p3 are one participant.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest

from relayjax import backend, codec
from relayjax.archive import Archive
from relayjax.config import HONEST, SHARED, TRAINERS, VALIDATORS, Config, resolve
from relayjax.errors import IntegrityError
from relayjax.history import History
from relayjax.identity import Keys
from relayjax.learning.tasks.digits import Digits
from relayjax.records import Bid, Close
from relayjax.relay.conduct import Conduct
from relayjax.relay.deviations import CATALOGUE, labels_shifted
from relayjax.summary import account
from relayjax.weights import digest
from relayjax.workdir import Workdir

pytestmark = pytest.mark.usefixtures("compiled_once")

DEVIANT, PLACE, VALIDATOR = "p3", "p2", "v1"
BRAIDS, LAST, AFTER = (1, 3, 5), 7, 2
OVERRIDES = {
    "relay.participants": "4",
    "relay.validators": "3",
    "relay.rounds": str(LAST),
    "relay.braid_rounds": ",".join(map(str, BRAIDS)),
    "rules.tolerance": "5000000",
    "task.hidden": "16",
    "leg.steps": "20",
}
UNPAID = ("absent", "copy", "free_rider", "no_deposit", "noise", "sign_flip", "underbid", "withhold")
"""Deviations of a trainer that bring it no value."""


@dataclass
class Played:
    """A finished run.

    Attributes:
      path: of its directory.
      root: of its ledger.
      history: what the ledger says.
    """

    path: Path
    root: str
    history: History

    def delta(self, round: int, name: str) -> np.ndarray:
        """What a participant handed in, float32 [P]; in round 1, where the parent is known."""
        archive = Archive(Workdir(self.path))
        keys = Keys.load(self.path / "keys", "v0")
        submission = self.history.rounds[round - 1].facts.submissions[name]
        payload = archive.open_delta(self.history.state, submission, keys)
        return codec.get("mxint8").decode(payload, archive.genesis(self.history))

    def paid(self, name: str) -> set[str]:
        """For what a member was paid."""
        return set(account(self.history, name).income)


def config_of(tiny_config: Callable[..., Config], deviation: str) -> Config:
    deviants = "1" if deviation in VALIDATORS else "2,3" if deviation in SHARED else "3"
    after = str(AFTER) if deviation in ("late", "leaves") else "0"
    named = {"deviation": deviation, "deviants": deviants, "after": after, "favoured": "3"}
    own = {f"experiment.{field}": text for field, text in named.items()} if deviation != HONEST else {}
    return tiny_config(OVERRIDES | own)


def play(config: Config, path: Path) -> Played:
    with backend.open_run(config, path) as run:
        run.run()
        return Played(path, run.root, run.history())


Plays = Callable[[str], Played]


@pytest.fixture(scope="module")
def plays(
    tiny_config: Callable[..., Config], compiled_once: None, tmp_path_factory: pytest.TempPathFactory
) -> Plays:
    """Plays a deviation, once."""
    base, known = tmp_path_factory.mktemp("deviations"), dict[str, Played]()

    def once(deviation: str) -> Played:
        if deviation not in known:
            known[deviation] = play(config_of(tiny_config, deviation), base / deviation)
        return known[deviation]

    return once


def cosine(one: np.ndarray, other: np.ndarray) -> float:
    return float(one @ other / (np.linalg.norm(one) * np.linalg.norm(other)))


def length(delta: np.ndarray) -> float:
    return float(np.linalg.norm(delta))


def test_the_config_offers_what_the_catalogue_has():
    assert list(CATALOGUE) == [HONEST, *TRAINERS, *VALIDATORS]
    assert {name for name, one in CATALOGUE.items() if one.report} == set(VALIDATORS)


@pytest.mark.parametrize("deviation", [*TRAINERS, *VALIDATORS])
def test_a_relay_with_a_deviant_is_whole_and_pays_those_who_work(deviation: str, plays: Plays):
    played = plays(deviation)
    backend.verify(played.path)
    assert played.history.state.finished
    for name in ("p0", "p1"):
        assert account(played.history, name).net > 0 and "value" in played.paid(name)
        assert played.history.state.licences[name] == played.history.state.head.number


@pytest.mark.parametrize("deviation", UNPAID)
def test_who_does_not_work_is_paid_nothing(deviation: str, plays: Plays):
    played = plays(deviation)
    assert account(played.history, DEVIANT).net <= 0 and not played.paid(DEVIANT)
    assert DEVIANT not in played.history.state.licences


def test_deltas_are_what_their_names_say(plays: Plays):
    """In round 1, in which everybody else does the same in all relays."""
    usual = plays(HONEST)
    first, own, other = usual.delta(1, PLACE), usual.delta(1, DEVIANT), usual.delta(1, "p0")
    genesis = Archive(Workdir(usual.path)).genesis(usual.history)

    def handed(deviation: str) -> np.ndarray:
        played = plays(deviation)
        assert np.array_equal(played.delta(1, "p0"), other)
        return played.delta(1, DEVIANT)

    assert not handed("free_rider").any()
    np.testing.assert_allclose(handed("scaled"), 3 * own, atol=0.05 * np.abs(own).max())
    np.testing.assert_allclose(handed("sign_flip"), -own, atol=0.02 * np.abs(own).max())
    np.testing.assert_allclose(handed("copy"), other, atol=0.02 * np.abs(other).max())
    assert abs(cosine(handed("noise"), own)) < 0.2
    assert length(handed("noise")) == pytest.approx(length(own), rel=0.01)
    assert cosine(handed("scaled_parent"), genesis) > 0.999
    assert length(handed("scaled_parent")) == pytest.approx(0.1 * length(genesis), rel=0.01)
    assert 0.97 < cosine(handed("duplicate"), first) < 0.99
    assert 0.2 < cosine(handed("second_leg"), first) < 0.97
    assert cosine(handed("label_flip"), own) < 0.9
    for remembering in ("stale", "replay", "chain_idle"):
        assert np.array_equal(handed(remembering), own)


def test_bids_are_what_their_names_say(plays: Plays):
    def bids(deviation: str) -> dict[int, int]:
        records = plays(deviation).history.records
        return {r.round: r.amount for r in records if isinstance(r, Bid) and r.author == DEVIANT}

    assert set(bids(HONEST)) == set(range(1, LAST + 1))
    assert not bids("absent")
    assert set(bids("late")) == set(range(AFTER + 1, LAST + 1))
    assert set(bids("leaves")) == set(range(1, AFTER + 1))
    assert set(bids("underbid").values()) == {0}
    assert all(DEVIANT not in settled.facts.pairs for settled in plays("underbid").history.rounds)
    assert bids("overbid")[1] == 10_000_000 and min(bids("overbid").values()) > 1_000_000


def test_who_overbids_does_not_take_every_chain_round(plays: Plays):
    chain = [s.facts.pairs for s in plays("overbid").history.rounds if s.number not in BRAIDS]
    assert all(len(pairs) == 1 for pairs in chain)
    assert {name for pairs in chain for name in pairs} - {DEVIANT}


def test_who_does_not_deposit_is_left_out(plays: Plays):
    matched = 0
    for settled in plays("no_deposit").history.rounds:
        facts, matched = settled.facts, matched + (DEVIANT in settled.facts.pairs)
        assert DEVIANT not in {*facts.deposits, *facts.commitments, *facts.submissions}
        assert (DEVIANT in settled.settle.refused) == (DEVIANT in facts.pairs)
    assert matched >= len(BRAIDS)
    assert account(plays("no_deposit").history, DEVIANT).net == -matched * 1_000_000


def test_who_reveals_nothing_forfeits_its_deposit(plays: Plays):
    past, committed = plays("withhold").history, 0
    for settled in past.rounds:
        committed += DEVIANT in settled.facts.commitments
        assert DEVIANT not in settled.facts.submissions
    assert committed >= len(BRAIDS)
    assert account(past, DEVIANT).forfeited == committed * 1_000_000


@pytest.mark.parametrize("deviation", ["copy", "replay"])
def test_what_was_there_before_is_an_echo(deviation: str, plays: Plays):
    past = plays(deviation).history
    echoes = dict(past.rounds[BRAIDS[1] - 1].facts.scores["v0"].echoes)
    assert echoes[DEVIANT] > 950_000 > max(echoes["p0"], echoes["p1"])
    if deviation == "copy":
        assert all(DEVIANT in past.rounds[number - 1].settle.refused for number in BRAIDS)


def test_an_old_head_is_trained_from_in_later_rounds(plays: Plays):
    usual, old = (plays(name).history.rounds[BRAIDS[1] - 1].facts.submissions for name in (HONEST, "stale"))
    first, second = (plays("stale").history.rounds[number - 1].facts for number in BRAIDS[:2])
    assert first.pairs[DEVIANT] != second.pairs[DEVIANT]
    assert usual[DEVIANT].delta != old[DEVIANT].delta


def test_work_in_braid_rounds_alone_is_paid_all_the_same(plays: Plays):
    """It is announced when value is measured: a known limit."""
    played = plays("chain_idle")
    assert "value" in played.paid(DEVIANT)
    for settled in played.history.rounds:
        if settled.number not in BRAIDS and DEVIANT in settled.facts.submissions:
            parent = played.history.state.versions[settled.facts.pairs[DEVIANT]].digest
            assert settled.facts.submissions[DEVIANT].child == parent


@pytest.mark.parametrize("deviation", VALIDATORS)
def test_what_one_validator_says_changes_nothing_but_its_wage(deviation: str, plays: Plays):
    usual, played = plays(HONEST).history, plays(deviation).history
    assert set(account(usual, VALIDATOR).income) == {"maintenance"}
    lost = account(usual, VALIDATOR).earned - account(played, VALIDATOR).earned
    assert lost > 0.4 * account(usual, VALIDATOR).earned
    assert account(played, "v2").earned >= account(usual, "v2").earned
    assert played.rounds[0].settle.accepted == usual.rounds[0].settle.accepted
    assert played.state.versions[1] == usual.state.versions[1] or deviation != "silent"
    values = {name: dict(past.state.versions[1].values) for name, past in (("usual", usual), ("now", played))}
    for name, value in values["usual"].items():
        assert values["now"][name] == pytest.approx(value, abs=0.2 * max(values["usual"].values()))


def test_reports_are_what_their_names_say(plays: Plays):
    def scores(deviation: str) -> tuple[dict[str, int], dict[str, int]]:
        found = plays(deviation).history.rounds[0].facts.scores
        return dict(found["v0"].children), dict(found[VALIDATOR].children)

    assert set(scores("constant")[1].values()) == {1_000_000}
    right, stated = scores("favour")
    assert stated == right | {DEVIANT: right[DEVIANT] - 100_000}
    right, stated = scores("lie")
    assert all(abs(stated[name] - right[name]) > 1_000 for name in right)
    silent = plays("silent").history
    assert all(VALIDATOR not in settled.facts.scores for settled in silent.rounds)
    closed = [r.phase for r in silent.records if isinstance(r, Close)]
    assert closed.count("testing") == LAST and closed.count("appraisal") == len(BRAIDS)


def test_a_liar_is_found_out_by_measuring_again(plays: Plays):
    with pytest.raises(IntegrityError, match="score of v1"):
        backend.verify(plays("lie").path, rescored=True)
    assert backend.verify(plays("silent").path, rescored=True).rescore is not None


@pytest.mark.parametrize("deviation", ["copy", "noise", "replay", "replay_other", "stale", "lie"])
def test_it_goes_on_after_interruptions_as_if_there_had_been_none(
    deviation: str, plays: Plays, tiny_config: Callable[..., Config], tmp_path: Path
):
    config, root = config_of(tiny_config, deviation), ""
    for _ in range(LAST):
        with backend.open_run(config, tmp_path / "run") as run:
            run.step()
            root = run.root
    assert root == plays(deviation).root


@pytest.mark.parametrize(
    "deviation", ["copy", "duplicate", "label_flip", "no_deposit", "replay", "stale", "withhold"]
)
def test_such_a_relay_can_be_retrained(deviation: str, plays: Plays):
    played = plays(deviation)
    assert digest(backend.retraining(played.path).without().head) == played.history.state.head.digest


@pytest.mark.parametrize("deviation", ["no_deposit", "overbid", "sign_flip", "withhold"])
def test_the_paper_s_rules_go_on_with_a_deviant(deviation: str, tmp_path: Path):
    overrides = {"relay.rounds": "4", "relay.participants": "8", "task.hidden": "8", "leg.steps": "5"}
    own = {"experiment.deviation": deviation, "experiment.deviants": "2,3"}
    # With some seeds the first place goes to a deviant for good, and no version is ever made; which ones, any
    # new setting changes, for lots are drawn with a hash of them all.
    played = play(resolve("digits:derelayl", overrides | own, 15), tmp_path / "run")
    backend.verify(played.path)
    assert len(played.history.state.versions) > 3
    trained = [settled.facts for settled in played.history.rounds if {"p2", "p3"} & set(settled.facts.pairs)]
    assert trained
    for facts in trained if deviation in ("no_deposit", "withhold") else ():
        assert not {"p2", "p3"} & set(facts.submissions)


def test_strength_scales_a_deviation(tiny_config: Callable[..., Config]):
    usual = config_of(tiny_config, "scaled")
    stronger = dataclasses.replace(usual.experiment, strength=0.5)
    parent, names = np.zeros(3, np.float32), ["p0", "p1", "p2", "p3"]
    for experiment, factor in ((usual.experiment, 3), (stronger, 1.5)):
        conduct = Conduct(experiment, names, ["v0"], seed=0)
        trained, loss = conduct.hand_in(1, DEVIANT, True, parent, lambda theta: (theta + 2, 0.5))
        np.testing.assert_array_equal(trained, np.full(3, 2 * factor, np.float32))
        assert loss == 0.5
        assert conduct.hand_in(1, "p0", True, parent, lambda theta: (theta + 2, 0.5))[0].max() == 2


def test_labels_are_shifted_for_the_deviants_alone():
    task = Digits().build(4, 0)
    shifted = labels_shifted(task, (3,))
    assert all(shifted[number] is task.shards[number] for number in range(3))
    np.testing.assert_array_equal(shifted[3]["y"], (task.shards[3]["y"] + 1) % 10)
    assert shifted[3]["y"].dtype == np.int32 and shifted[3]["x"] is task.shards[3]["x"]

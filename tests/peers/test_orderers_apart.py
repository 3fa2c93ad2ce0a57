"""Who orders while the other copies are out of reach, or while another has begun to order."""

from __future__ import annotations

import pytest
from peers.union import Union

from relayjax.errors import IntegrityError
from relayjax.history import History
from relayjax.mechanism.state import Phase
from relayjax.peers.mirror import Mirror


def test_nobody_is_late_for_what_nobody_can_see(union: Union):
    union.play(union.at(1, Phase.COMMIT))
    first, second = union.line()
    union.lose(first, second)
    for _ in range(12):
        union.turn()
        union.now += union.patience + 1
    state = union.newest("v0")
    assert state and (state.round.number, state.round.phase) <= (1, Phase.REVEAL)
    union.return_(first)
    union.now += 60.0
    union.finish()
    facts = union.check(rounds=2).rounds[0].facts
    assert set(facts.pairs) == set(facts.submissions), "no deposit is forfeited"


def test_with_more_than_half_of_the_copies_patience_goes_on(union: Union):
    union.play(union.at(1, Phase.COMMIT))
    _, second = union.line()
    union.lose(second, "p0")
    union.finish()
    facts = union.check(rounds=2).rounds[0].facts
    assert set(facts.submissions) == {"p1", "p2"}


def test_who_comes_back_and_has_seen_that_another_orders_does_not(
    union: Union, monkeypatch: pytest.MonkeyPatch
):
    union.play(union.at(1, Phase.DEPOSIT))
    first, _ = union.line()
    union.lose("v0")
    union.play(lambda: union.orderers == [first])
    keeper, fetch, failures = union.keeper("v0"), Mirror._fetch_artefacts, [2]

    def fail(mirror: Mirror, history: History) -> None:
        if mirror._keys.name == "v0" and failures[0]:
            failures[0] -= 1
            raise IntegrityError("handover", "is not there yet")
        fetch(mirror, history)

    monkeypatch.setattr(Mirror, "_fetch_artefacts", fail)
    union.return_("v0")
    assert keeper.mirror.newest and keeper.mirror.newest.state.term.number == 1
    for _ in range(3):
        keeper.follower.poll()
        keeper.office.act(keeper.follower.chronicle.history)
        assert keeper.office.orderer is None
        union.now += 1_000
    union.finish()
    assert union.check(rounds=2).state.orderer == first


def test_who_takes_over_while_the_old_one_wakes_goes_on(union: Union):
    union.play(union.at(1, Phase.COMMIT))
    first, _ = union.line()
    old, keeper = union.keeper("v0"), union.keeper(first)
    union.here = [name for name in union.here if name not in ("v0", first)]  # one hangs, the other is busy
    follow, woken = keeper.mirror._follow_others, list[int]()

    def meanwhile() -> None:
        """Between a look at its own copy and one at others' the votes are counted, and the old one wakes."""
        if not keeper.office.orderer:
            keeper.follower.poll()
            keeper.office.act(keeper.follower.chronicle.history)
            if keeper.office.orderer and old.office.orderer:
                size = old.office.orderer.log.size
                union.people["p0"].step()
                old.office.orderer.act()
                woken.append(old.office.orderer.log.size - size)
        follow()

    keeper.mirror._follow_others = meanwhile
    for _ in range(60):
        union.turn()
        keeper.mirror.step()
        union.now += union.patience + 1
        if keeper.office.orderer:
            break
    for _ in range(3):
        keeper.mirror.step()
        assert not keeper.mirror.overtaken
    assert woken and keeper.office.orderer

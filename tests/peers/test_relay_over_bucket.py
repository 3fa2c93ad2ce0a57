"""A relay whose members reach a bucket only: it fails, is out of date, or is published by who is killed."""

from __future__ import annotations

from typing import Any

import pytest
from peers.bucket import SECRET, ObjectStore
from peers.bucket_town import Play, copied, whole
from peers.town import Member, Town

from relayjax.mechanism.state import Phase
from relayjax.peers.follower import CHECKPOINT, Follower
from relayjax.peers.object_listing import Listing


def test_all_end_with_the_same_root(town: Town, store: ObjectStore) -> None:
    play = Play(town, store)
    (root,) = play.to_the_end()
    assert not play.failed and not play.told and not any("refused" in line for line in town.told)
    play.publisher.step(look=True)
    assert play.publisher.finished and copied(town, store) == root
    whole(town)
    there, here = store.files(), town.folder
    assert not [path for path in there if path.startswith(("inbox/", "handover/"))]
    assert all(data == (here / path).read_bytes() for path, data in there.items())
    assert not any(SECRET.encode() in data for data in there.values())


def test_members_in_the_folder_and_in_the_bucket_are_in_one_relay(town: Town, store: ObjectStore) -> None:
    play = Play(town, store, rounds=1)
    assert town.join("p1") is None
    play.members[1] = Member(town, "p1")
    assert len(play.to_the_end()) == 1
    whole(town)


def test_a_store_that_is_stopped_in_every_phase_stops_nothing_for_good(
    town: Town, store: ObjectStore
) -> None:
    play, stopped = Play(town, store, rounds=1), set[Phase]()
    for _ in range(200):
        phase = play.orderer.state.round.phase
        if play.orderer.state.finished:
            break
        if phase not in stopped:
            stopped.add(phase)
            store.stop()
            play.round()
            store.start()
        play.round()
    assert stopped == set(Phase) - {Phase.SETTLEMENT} and play.failed > len(stopped)  # that one takes no time
    (root,) = play.to_the_end()
    play.publisher.step(look=True)
    assert copied(town, store) == root
    whole(town)


def test_a_publisher_that_is_killed_at_every_upload_goes_on(
    town: Town, store: ObjectStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Cut before each request that changes the bucket."""
    play, kills = Play(town, store, rounds=1), 0

    class Killed(BaseException):
        """The end of a process."""

    def deadly(after: int) -> None:
        left = [after]

        def counted(call: Any) -> Any:
            def count(*arguments: Any) -> Any:
                left[0] -= 1
                if left[0] < 0:
                    raise Killed
                return call(*arguments)

            return count

        bucket, listing = play.publisher._bucket, play.publisher._listing
        monkeypatch.setattr(bucket, "put", counted(bucket.put))
        monkeypatch.setattr(listing, "remove", counted(listing.remove))

    for _ in range(400):
        if play.orderer.state.finished:
            break
        for after in range(50):
            play.restart()
            deadly(after)
            try:
                play.publisher.step(look=True)
                break
            except Killed:
                kills += 1
                check_checkpoint(play.store, town)
        play.orderer.act()
        for member in play.members:
            member.step()
    assert play.orderer.state.finished and kills > 40, kills
    play.restart()
    (root,) = play.to_the_end()
    assert copied(town, store) == root
    whole(town)


def check_checkpoint(store: ObjectStore, town: Town) -> None:
    """All that the bucket's checkpoint speaks of is there: a follower of the bucket gets to its end."""
    member, exchange = town.home("p0").membership(), store.exchange()
    if exchange.fetch(CHECKPOINT, 10_000) is not None:
        follower = Follower(exchange, member.origin, member.log_key)
        assert follower.poll()


def test_a_refusal_and_its_reason_reach_the_member(town: Town, store: ObjectStore) -> None:
    play = Play(town, store)
    twin = Town(town.base / "elsewhere", town.tools)
    twin.exchange = store.exchange()  # pyright: ignore[reportAttributeAccessIssue]

    def pass_on() -> None:
        play.publisher.step()
        play.orderer.act()
        play.publisher.step()

    pass_on()
    assert twin.join("p0") == "the name p0 is taken" and twin.join("p7") is None
    letters = {path for path in store.files() if path.endswith(".json")}
    assert len(letters) == 1
    pass_on()
    reasons = {path.removesuffix(".why") + ".json" for path in store.files() if path.endswith(".why")}
    assert reasons == letters and not letters & set(store.files())
    assert "every place" in (twin.join("p7") or "") and not letters & set(store.files())


def test_a_listing_that_is_older_than_the_store(
    town: Town, store: ObjectStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each listing is shown once more after the next one: it lacks what is new, and has what is gone."""
    play, fresh = Play(town, store), Listing.names
    before: dict[str, list[bytes]] = {}

    def stale(listing: Listing, folder: str) -> list[bytes]:
        found = before.get(folder, [])
        before[folder] = fresh(listing, folder)
        return found

    with monkeypatch.context() as patch:
        patch.setattr(Listing, "names", stale)
        (root,) = play.to_the_end()
    assert not play.failed
    assert copied(town, store) == root
    whole(town)

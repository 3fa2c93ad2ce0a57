"""Who holds a version finds the step to the next one; it leads to the same bits, and nobody depends on it."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from peers.test_parcel import ORDERER, PIECES, SECRET, SIZE, STRANGER, TRAINER, Watched, pieces, take, version
from peers.town import Member, Town, play

from relayjax import backend, weights
from relayjax.hashing import CHUNK
from relayjax.peers import handover, parcel
from relayjax.peers.collecting import fetch_head
from relayjax.peers.exchange import FolderExchange
from relayjax.peers.sending import Parcel
from relayjax.peers.stepping import put_step

TO = [TRAINER.public.receiving, ORDERER.public.receiving]


@pytest.fixture(autouse=True)
def _small_pieces(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(parcel, "PIECE", CHUNK)


def trained(theta: np.ndarray) -> np.ndarray:
    """A version some training later: every weight has moved a little."""
    moved = np.random.default_rng(1).standard_normal(theta.size, dtype=np.float32)
    return theta + np.float32(1e-3) * moved


def offer(folder: Path, base: np.ndarray, new: np.ndarray) -> str | None:
    """Hands version 1 over in round 1 and version 2 in round 2, with the step; returns the step's path."""
    exchange = FolderExchange(folder)
    for number, theta in ((1, base), (2, new)):
        sent = Parcel(handover.parent(number, number), weights.as_bytes(theta), SECRET, TO)
        sent.put(exchange)
    digest = weights.digest(base)
    path, bytes_of = handover.step(2, digest, 2), weights.as_bytes(new)
    there = put_step(exchange, ORDERER, handover.parent(1, 1), digest, path, sent.head, bytes_of, TO)
    return path if there else None


def test_the_step_moves_and_the_whole_does_not(tmp_path: Path) -> None:
    base, new = version(), trained(version())
    new[:100], new[100:200], new[200] = base[:100], -base[100:200], -0.0
    path = offer(tmp_path, base, new)
    assert path is not None
    whole = Watched(FolderExchange(tmp_path))
    assert take(tmp_path, whole, base, 1, 1) is not None
    for cut in range(PIECES):
        step = Watched(FolderExchange(tmp_path))
        step.fails_after = 1
        if cut < PIECES - 1:
            with pytest.raises(Exception, match="cut"):
                take(tmp_path, step, new, 2, 2)
        else:
            found = take(tmp_path, step, new, 2, 2)
            assert found is not None and np.array_equal(found.view(np.int32), new.view(np.int32))
        assert step.moved == pieces(path, cut)
    again = Watched(FolderExchange(tmp_path))
    found = take(tmp_path, again, new, 2, 2)
    assert found is not None and weights.digest(found) == weights.digest(new) and not again.size
    moved = sum((tmp_path / piece).stat().st_size for piece in pieces(path, *range(PIECES)))
    assert moved < 0.8 * whole.size


def test_a_step_that_is_no_smaller_or_has_no_base_is_not_offered(tmp_path: Path) -> None:
    assert offer(tmp_path / "a", version(1), version(2)) is None
    assert not list((tmp_path / "a" / "handover").glob("*step*.age"))
    base, new, exchange = version(), trained(version()), FolderExchange(tmp_path / "b")
    path = offer(tmp_path / "b", base, new)
    assert path is not None
    (tmp_path / "b" / path).unlink()
    (tmp_path / "b" / parcel.piece_path(handover.parent(1, 1), 3)).write_bytes(b"damaged")
    head = parcel.head_of(weights.as_bytes(new), SECRET)
    rest = (handover.parent(1, 1), weights.digest(base), path, head, weights.as_bytes(new), TO)
    assert not put_step(exchange, ORDERER, *rest)
    assert not put_step(exchange, STRANGER, *rest)
    found = take(tmp_path, exchange, new, 2, 2)
    assert found is not None and np.array_equal(found, new)


@pytest.mark.parametrize("damage", ["held", "step", "head"])
def test_where_a_step_cannot_be_taken_the_whole_is(tmp_path: Path, damage: str) -> None:
    base, new = version(), trained(version())
    path = offer(tmp_path, base, new)
    assert path is not None and take(tmp_path, FolderExchange(tmp_path), base, 1, 1) is not None
    wrong = {
        "held": tmp_path / "held" / weights.digest(base) / "parcel.2",
        "step": tmp_path / parcel.piece_path(path, 2),
        "head": tmp_path / path,
    }[damage]
    wrong.write_bytes(wrong.read_bytes()[:-1])
    watched = Watched(FolderExchange(tmp_path))
    found = take(tmp_path, watched, new, 2, 2)
    assert found is not None and np.array_equal(found, new)
    whole = [moved for moved in watched.moved if moved.startswith(handover.parent(2, 2))]
    assert whole == pieces(handover.parent(2, 2), *(range(PIECES) if damage == "head" else (2,)))


def test_a_step_opens_for_its_recipients_only_and_is_made_once(tmp_path: Path) -> None:
    base, new, exchange = version(), trained(version()), FolderExchange(tmp_path)
    path = offer(tmp_path, base, new)
    assert path is not None
    sealed = (tmp_path / path).read_bytes()
    assert fetch_head(exchange, path, TRAINER, 4 * SIZE) and not fetch_head(
        exchange, path, STRANGER, 4 * SIZE
    )
    assert offer(tmp_path, base, new) == path and (tmp_path / path).read_bytes() == sealed


def test_a_relay_in_pieces_moves_steps_and_ends_with_the_same_root(
    town: Town, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(parcel, "INLINE", 64)  # all artefacts of the tiny relay are large now
    town.begin()
    orderer, members, moved = town.orderer(), list[Member](), dict[str, list[str]]()
    for name in (*town.participants, *town.maintainers):
        own = Town(town.base, town.tools)
        watched = Watched(FolderExchange(town.folder))
        own.exchange = watched  # pyright: ignore[reportAttributeAccessIssue]
        moved[name] = watched.moved
        members.append(Member(own, name))
    play(town, orderer, members)
    town.close()
    for member in members:
        member.step()
    found = backend.verify(town.folder, keys=town.home("v1").keys())
    assert {member.follower.root.hex() for member in members} == {found.audit.root}
    for settled in found.audit.history.rounds:
        assert set(settled.facts.pairs) == set(settled.facts.submissions)
    third = [path for name in town.participants for path in moved[name] if "/00003-" in path]
    steps, whole = ([path for path in third if kind in path] for kind in ("-step-", "-parent-"))
    assert len(steps) == len(town.participants) and not whole, "round 3 is a braid, all hold round 1's or 2's"
    assert not list((town.folder / "handover").iterdir())
    for name in town.participants:
        assert len(list((town.base / name / "held").iterdir())) == 1

"""Large artefacts on their way: only what is missing moves, what is wrong is refused and asked for again."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from peers.site import served

from relayjax import weights
from relayjax.errors import ExchangeError, FormatError, IntegrityError
from relayjax.hashing import CHUNK
from relayjax.identity import Keys
from relayjax.peers import handover, parcel
from relayjax.peers.exchange import Exchange, FolderExchange
from relayjax.peers.held import Held
from relayjax.peers.sending import Parcel

SIZE = 9 * CHUNK // 8  # parameters: four pieces of a MiB, and a half
PIECES = 5
ORDERER, TRAINER, STRANGER = (Keys.derive(name, b"parcel") for name in ("v0", "p0", "p1"))
SECRET = b"s" * 32


@pytest.fixture(autouse=True)
def _small_pieces(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(parcel, "PIECE", CHUNK)


def version(seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).standard_normal(SIZE, dtype=np.float32)


def hand_over(
    folder: Path, theta: np.ndarray, round: int = 1, number: int = 3, secret: bytes = SECRET
) -> str:
    """Puts a version where trainers look for it; returns its path."""
    path = handover.parent(round, number)
    to = [TRAINER.public.receiving, ORDERER.public.receiving]
    Parcel(path, weights.as_bytes(theta), secret, to).put(FolderExchange(folder))
    return path


class Watched:
    """An exchange that counts what moves, fails from some piece on, and changes what comes."""

    def __init__(self, inner: FolderExchange | Exchange):
        self.inner, self.moved, self.size = inner, list[str](), 0
        self.fails_after = 1 << 30
        self.change: Callable[[str, memoryview], None] = lambda path, data: None

    def fetch(self, path: str, limit: int) -> bytes | None:
        data = self.inner.fetch(path, limit)
        self.size += len(data or b"")
        return data

    def fetch_into(self, path: str, target: memoryview) -> int | None:
        if len(self.moved) >= self.fails_after:
            raise ExchangeError(path, "cut", "try again")
        self.moved.append(path)
        size = self.inner.fetch_into(path, target)  # pyright: ignore[reportAttributeAccessIssue]
        self.size += size or 0
        self.change(path, target)
        return size

    def holds(self, path: str, digest: str) -> bool:
        return self.inner.holds(path, digest)  # pyright: ignore[reportAttributeAccessIssue]

    def offer(self, path: str, data: bytes) -> None:
        if len(self.moved) >= self.fails_after:
            raise ExchangeError(path, "cut", "try again")
        self.moved.append(path)
        self.inner.offer(path, data)


def held(tmp_path: Path, exchange: Exchange) -> Held:
    return Held(tmp_path / "held", exchange, TRAINER)


def take(tmp_path: Path, exchange: Exchange, theta: np.ndarray, round: int = 1, number: int = 3):
    return held(tmp_path, exchange).take(round, number, weights.digest(theta), SIZE)


def pieces(path: str, *numbers: int) -> list[str]:
    return [parcel.piece_path(path, number) for number in numbers]


@pytest.mark.parametrize("kind", ["folder", "http"])
def test_cut_at_every_piece_it_goes_on_with_what_is_missing(tmp_path: Path, kind: str) -> None:
    theta = version()
    with served(tmp_path / "relay") as site:
        path = hand_over(site.folder, theta)
        inner = FolderExchange(site.folder) if kind == "folder" else site.exchange()
        for cut in range(PIECES):
            own = tmp_path / str(cut)
            first = Watched(inner)
            first.fails_after = cut
            with pytest.raises(ExchangeError, match="cut"):
                take(own, first, theta)
            assert first.moved == pieces(path, *range(cut))
            second = Watched(inner)
            found = take(own, second, theta)
            assert found is not None and weights.digest(found) == weights.digest(theta)
            assert second.moved == pieces(path, *range(cut, PIECES))
            third = Watched(inner)
            found = take(own, third, theta)
            assert found is not None and np.array_equal(found, theta) and not third.moved and not third.size


def test_what_lies_in_a_trainers_directory_is_sealed_and_one_version(tmp_path: Path) -> None:
    exchange = FolderExchange(tmp_path)
    for number in range(3):
        theta = version(number)
        hand_over(tmp_path, theta, round=number + 1, number=number)
        assert take(tmp_path, exchange, theta, number + 1, number) is not None
        (folder,) = (tmp_path / "held").iterdir()
        files = sorted(folder.iterdir())
        assert folder.name == weights.digest(theta) and len(files) == 1 + PIECES
        assert not any(theta[:1_000].tobytes() in file.read_bytes() for file in files)
        assert all(file.stat().st_mode & 0o077 == 0 for file in files)


def test_a_piece_that_is_damaged_on_its_way_is_asked_for_again(tmp_path: Path) -> None:
    theta, watched = version(), Watched(FolderExchange(tmp_path))
    path = hand_over(tmp_path, theta)

    def flip_once(path: str, data: memoryview) -> None:
        if path.endswith(".2") and watched.moved.count(path) == 1:
            data[777] ^= 4

    watched.change = flip_once
    found = take(tmp_path, watched, theta)
    assert found is not None and np.array_equal(found, theta)
    assert watched.moved == pieces(path, 0, 1, 2, 3, 4, 2)


@pytest.mark.parametrize("damage", ["flipped", "cut", "longer", "missing", "other", "empty"])
def test_a_wrong_piece_is_refused_and_the_others_are_kept(tmp_path: Path, damage: str) -> None:
    theta, exchange = version(), FolderExchange(tmp_path)
    path = hand_over(tmp_path, theta)
    file = tmp_path / parcel.piece_path(path, 1)
    right = file.read_bytes()
    match damage:
        case "flipped":
            file.write_bytes(right[:-1] + bytes([right[-1] ^ 1]))
        case "cut":
            file.write_bytes(right[:-5])
        case "longer":
            file.write_bytes(right + b"x")
        case "missing":
            file.unlink()
        case "other":
            file.write_bytes((tmp_path / parcel.piece_path(path, 2)).read_bytes())
        case "empty":
            file.write_bytes(b"")
    assert take(tmp_path, exchange, theta) is None
    file.write_bytes(right)
    watched = Watched(exchange)
    found = take(tmp_path, watched, theta)
    assert found is not None and np.array_equal(found, theta) and watched.moved == pieces(path, 1)


def test_what_got_lost_in_a_trainers_directory_is_fetched_again(tmp_path: Path) -> None:
    theta, watched = version(), Watched(FolderExchange(tmp_path))
    path = hand_over(tmp_path, theta)
    assert take(tmp_path, watched, theta) is not None
    folder = tmp_path / "held" / weights.digest(theta)
    (folder / "parcel.0").write_bytes((folder / "parcel.0").read_bytes()[:-1])
    (folder / "parcel.3").unlink()
    watched.moved.clear()
    found = take(tmp_path, watched, theta)
    assert found is not None and np.array_equal(found, theta) and watched.moved == pieces(path, 0, 3)
    (folder / "parcel").write_bytes(b"x")
    watched.moved.clear()
    assert take(tmp_path, watched, theta) is not None and watched.moved == pieces(path, *range(PIECES))


def test_another_orderer_seals_anew_and_a_transfer_begins_again(tmp_path: Path) -> None:
    theta, watched = version(), Watched(FolderExchange(tmp_path))
    hand_over(tmp_path, theta)
    watched.fails_after = 2
    with pytest.raises(ExchangeError):
        take(tmp_path, watched, theta)
    hand_over(tmp_path, theta, secret=b"t" * 32)
    found = take(tmp_path, FolderExchange(tmp_path), theta)
    assert found is not None and np.array_equal(found, theta)


def test_a_head_of_something_else_is_not_believed(tmp_path: Path) -> None:
    theta, exchange = version(), FolderExchange(tmp_path)
    assert take(tmp_path, exchange, theta) is None
    path = hand_over(tmp_path, version(1))
    assert take(tmp_path, exchange, theta) is None
    assert not (tmp_path / "held").exists()
    for sealed in (b"", b"x" * 100, (tmp_path / path).read_bytes()[:-1], b"x" * 10_000_000):
        (tmp_path / path).write_bytes(sealed)
        assert take(tmp_path, exchange, version(1)) is None


def test_small_artefacts_go_with_their_head(tmp_path: Path) -> None:
    theta, exchange = version()[:1_000], FolderExchange(tmp_path)
    path = hand_over(tmp_path, theta)
    assert [file.name for file in (tmp_path / "handover").iterdir()] == [path.partition("/")[2]]
    found = held(tmp_path, exchange).take(1, 3, weights.digest(theta), 1_000)
    assert found is not None and np.array_equal(found, theta) and not (tmp_path / "held").exists()


def test_pieces_are_bound_to_their_place_key_and_head() -> None:
    data = np.random.default_rng(0).bytes(3 * CHUNK)
    head, target = parcel.head_of(data, SECRET), memoryview(bytearray(CHUNK))
    assert head == parcel.head_of(data, SECRET) and head.key != parcel.head_of(data, b"t" * 32).key
    sealed = head.seal(1, data[CHUNK : 2 * CHUNK])
    head.open(1, sealed, target)
    assert target == data[CHUNK : 2 * CHUNK] and sealed == head.seal(1, data[CHUNK : 2 * CHUNK])
    for number, key in ((0, head.key), (2, head.key), (1, b"k" * 32)):
        with pytest.raises(IntegrityError):
            parcel.Head(head.size, head.chunks, key).open(number, sealed, target)
    with pytest.raises(IntegrityError, match="another one"):  # whoever has the key seals something else
        head.open(1, head.seal(1, b"x" * CHUNK), target)


def test_heads_that_contradict_themselves_are_refused() -> None:
    head = parcel.head_of(b"x" * (2 * CHUNK), SECRET)
    for size, chunks, key, base in (
        (CHUNK, head.chunks, head.key, ""),
        (-1, head.chunks, head.key, ""),
        (head.size, head.chunks[:1], head.key, ""),
        (head.size, head.chunks, b"short", ""),
        (head.size, head.chunks, head.key, "../x"),
        (4, head.chunks[:1], head.key, "0" * 64),
    ):
        with pytest.raises(FormatError):
            parcel.Head(size, chunks, key, base)
    assert parcel.decode_head(head.encode()) == (head, b"")
    with pytest.raises(FormatError):  # what has pieces has nothing beside them
        parcel.decode_head(head.encode(b"more"))

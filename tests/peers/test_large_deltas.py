"""Large deltas on their way: to the orderer over HTTP, and to maintainers, cut and gone on with."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from peers.site import DELTA, OCCASION, TRAINER, Site
from peers.test_parcel import ORDERER, SECRET, STRANGER, Watched, pieces

from relayjax import hashing
from relayjax.errors import ExchangeError
from relayjax.hashing import CHUNK
from relayjax.peers import handover, http_server, parcel
from relayjax.peers.exchange import FolderExchange
from relayjax.peers.http_gate import Awaited
from relayjax.peers.sending import Parcel


@pytest.fixture(autouse=True)
def _small_pieces(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(parcel, "PIECE", CHUNK)


@pytest.mark.parametrize("size", [0, 5, CHUNK, CHUNK + 1, 2 * CHUNK, 2 * CHUNK + 7])
def test_any_bytes_come_as_they_went(tmp_path: Path, size: int) -> None:
    data, exchange = np.random.default_rng(size).bytes(size), FolderExchange(tmp_path)
    Parcel(DELTA, data, SECRET, [ORDERER.public.receiving]).put(exchange)
    digest = hashing.digest(data)
    assert handover.take(exchange, DELTA, ORDERER, digest, size) == data
    assert handover.take(exchange, DELTA, STRANGER, digest, size) is None
    assert handover.take(exchange, DELTA, ORDERER, hashing.digest(b"other"), size) is None
    assert size == 0 or handover.take(exchange, DELTA, ORDERER, digest, size - 1) is None


def test_a_delta_on_its_way_to_a_maintainer_goes_on_after_a_kill(tmp_path: Path) -> None:
    data, kept = np.random.default_rng(0).bytes(5 * CHUNK // 2), tmp_path / "coming"
    inner, digest = FolderExchange(tmp_path), hashing.digest(data)
    Parcel(DELTA, data, SECRET, [ORDERER.public.receiving]).put(inner)
    first, second = Watched(inner), Watched(inner)
    first.fails_after = 2
    with pytest.raises(ExchangeError, match="cut"):
        handover.take(first, DELTA, ORDERER, digest, len(data), kept)
    assert len(list(kept.iterdir())) == 2 and data[:100] not in (kept / f"{DELTA[9:]}.0").read_bytes()
    (kept / f"{DELTA[9:]}.1").write_bytes(b"torn")
    assert handover.take(second, DELTA, ORDERER, digest, len(data), kept) == data
    assert second.moved == pieces(DELTA, 1, 2) and not list(kept.iterdir())


@pytest.fixture
def large_site(site: Site, monkeypatch: pytest.MonkeyPatch) -> tuple[Site, list[str]]:
    """A site that waits for a large delta, and what was put there."""
    site.server.gate._awaited = lambda: Awaited({DELTA: TRAINER.public}, 3 * CHUNK, OCCASION)
    put, do_put = list[str](), http_server._Handler._take

    def watched(self: http_server._Handler, path: str, length: int, digest: str | None) -> None:
        do_put(self, path, length, digest)
        put.append(path)

    monkeypatch.setattr(http_server._Handler, "_take", watched)
    return site, put


def test_a_delta_that_was_cut_goes_on_with_what_is_missing(large_site: tuple[Site, list[str]]) -> None:
    site, put = large_site
    data = np.random.default_rng(0).bytes(5 * CHUNK // 2)
    to, digest = [ORDERER.public.receiving], hashing.digest(data)
    for cut in range(3):
        watched = Watched(site.exchange())
        watched.fails_after = 1 if cut else 0
        with pytest.raises(ExchangeError, match="cut"):
            Parcel(DELTA, data, SECRET, to).put(watched)  # each time as after a restart
        assert handover.take(FolderExchange(site.folder), DELTA, ORDERER, digest, len(data)) is None
    sent = Parcel(DELTA, data, SECRET, to)
    sent.put(site.exchange())
    assert sorted(put[:3]) == pieces(DELTA, 0, 1, 2) and put[3:] == [DELTA]
    sent.put(site.exchange())
    assert len(put) == 4
    assert handover.take(FolderExchange(site.folder), DELTA, ORDERER, digest, len(data)) == data
    (site.folder / parcel.piece_path(DELTA, 1)).write_bytes(b"somebody else's")
    sent.put(site.exchange())
    assert put[4:] == pieces(DELTA, 1)


def test_no_more_pieces_are_taken_than_a_delta_has(large_site: tuple[Site, list[str]]) -> None:
    site, put = large_site
    room = CHUNK + parcel.TAG
    assert site.put(f"{DELTA}.2", b"x" * room) == 201
    assert site.put(f"{DELTA}.2", b"x" * (room + 1)) == 413
    for name in (f"{DELTA}.3", f"{DELTA}.03", f"{DELTA}.-1", f"{DELTA}.", f"{DELTA}.0.0", f"{DELTA}x"):
        assert site.put(name, b"x") == 409, name
    assert put == pieces(DELTA, 2) and set(site.files()) == set(put)

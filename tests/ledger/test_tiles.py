"""The layout of tlog-tiles on disk and the bundles of entries."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from relayjax.errors import FormatError
from relayjax.ledger.tiles import Tile, completed, decode_bundle, earlier, encode_bundle, paths_of, tiles_of


def test_paths_are_those_of_the_specification() -> None:
    assert Tile(0, 1234067, 256).path == "tile/0/x001/x234/067"
    assert Tile(1, 0, 17).path == "tile/1/000.p/17"
    assert Tile(2, 1000, 256).path == "tile/2/x001/000"
    assert Tile(0, 273, 112).bundle_path == "tile/entries/273.p/112"


def test_a_log_of_70000_entries_has_the_tiles_of_the_specification() -> None:
    tiles = list(tiles_of(70_000))
    assert sum(tile.level == 0 and tile.width == 256 for tile in tiles) == 273
    assert [tile for tile in tiles if tile.width < 256 or tile.level] == [
        Tile(0, 273, 112),
        Tile(1, 0, 256),
        Tile(1, 1, 17),
        Tile(2, 0, 1),
    ]
    assert list(tiles_of(256)) == [Tile(0, 0, 256), Tile(1, 0, 1)]
    assert list(tiles_of(0)) == []


@given(st.integers(0, 200_000), st.integers(0, 700))
def test_growing_adds_the_new_tiles_and_keeps_the_partial_ones_until_they_are_full(
    since: int, more: int
) -> None:
    size = since + more
    old, new = paths_of(tiles_of(since)), paths_of(tiles_of(size))
    assert paths_of(tiles_of(size, since)) == new - old
    full = paths_of(completed(size, since))
    assert full <= new - old
    stay = {name for name in old - new if name.partition(".p/")[0] not in full}
    assert stay <= paths_of(narrow for narrow, _ in earlier(size))
    assert {wide for _, wide in earlier(size)} <= set(tiles_of(size))


@given(st.lists(st.binary(max_size=300), max_size=20))
def test_a_bundle_survives_the_round_trip(entries: list[bytes]) -> None:
    assert list(decode_bundle(encode_bundle(entries))) == entries


def test_a_bundle_is_length_prefixed_big_endian() -> None:
    assert encode_bundle([b"a", b"", b"b" * 258]) == b"\0\1a" + b"\0\0" + b"\1\2" + b"b" * 258
    assert len(encode_bundle([b"x" * 65_535])) == 65_537
    with pytest.raises(FormatError, match="65536 bytes"):
        encode_bundle([b"x" * 65_536])


@pytest.mark.parametrize("data", [b"\0", b"\0\1", b"\0\2a", b"\0\1a\0"])
def test_a_bundle_that_ends_within_an_entry_is_refused(data: bytes) -> None:
    with pytest.raises(FormatError):
        list(decode_bundle(data))

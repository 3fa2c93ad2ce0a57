"""How a log lies on disk: tiles of 256 hashes and bundles of 256 entries.

    tile/<L>/<N>[.p/<W>]         hashes of level L, 32 bytes each: level 0 has the leaf hashes,
                                 level L + 1 the root of each full tile of level L
    tile/entries/<N>[.p/<W>]     the entries under the level-0 tile N: big-endian uint16 length,
                                 then the bytes

N is written in groups of three digits, all but the last after an `x`: 1234067 is x001/x234/067. A tile that
is not full has its width W, 1–255, in its path, so that no file ever changes its content. It stays until the
tile is full: whoever has an earlier checkpoint finds the tiles of its size.

References:
  C2SP tlog-tiles v1, https://c2sp.org/tlog-tiles.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import NamedTuple

from relayjax.canonical import SIZE_LIMIT
from relayjax.errors import FormatError

WIDTH = 256
HEIGHT = 8
_LENGTH_SIZE = 2

ENTRY_LIMIT = _LENGTH_SIZE + SIZE_LIMIT
"""Bytes an entry may take in a bundle."""


class Tile(NamedTuple):
    """A tile by its level, its number within the level and how many of its 256 hashes it has."""

    level: int
    number: int
    width: int

    @property
    def start(self) -> int:
        """Number of its first hash within the level."""
        return self.number * WIDTH

    @property
    def height(self) -> int:
        """Height in the Merkle tree of the nodes whose hashes it has."""
        return self.level * HEIGHT

    @property
    def path(self) -> str:
        """Its path relative to the log."""
        return f"tile/{self.level}/{self._name}"

    @property
    def bundle_path(self) -> str:
        """The path of the entries under it; only a level-0 tile has them."""
        return f"tile/entries/{self._name}"

    @property
    def _name(self) -> str:
        groups = [f"{self.number % 1000:03}"]
        while (rest := self.number // 1000 ** len(groups)) > 0:
            groups.insert(0, f"x{rest % 1000:03}")
        return "/".join(groups) + (f".p/{self.width}" if self.width < WIDTH else "")


def tiles_of(size: int, since: int = 0) -> Iterator[Tile]:
    """Yields the tiles of a log of `size` entries that one of `since` entries lacks, level by level."""
    for level, count in _levels(size):
        old = since >> level * HEIGHT
        if old < count:
            for number in range(old // WIDTH, (count - 1) // WIDTH + 1):
                yield Tile(level, number, min(WIDTH, count - number * WIDTH))


def completed(size: int, since: int) -> Iterator[Tile]:
    """Yields the tiles, full at `size` entries, of which a log of `since` entries had a part only."""
    for level, count in _levels(since):
        tile = Tile(level, count // WIDTH, WIDTH)
        if count % WIDTH and tile.start + WIDTH <= size >> level * HEIGHT:
            yield tile


def earlier(size: int) -> Iterator[tuple[Tile, Tile]]:
    """Yields each narrower tile that a log of `size` entries may have had, with the one it has now."""
    for level, count in _levels(size):
        tile = Tile(level, count // WIDTH, count % WIDTH)
        yield from ((Tile(level, tile.number, width), tile) for width in range(1, tile.width))


def paths_of(tiles: Iterable[Tile]) -> set[str]:
    """Returns the paths of tiles, with those of the entry bundles under them."""
    return {
        path for tile in tiles for path in ((tile.path,) if tile.level else (tile.path, tile.bundle_path))
    }


def _levels(size: int) -> Iterator[tuple[int, int]]:
    """Yields each level that is not empty, with its number of hashes."""
    level = 0
    while count := size >> level * HEIGHT:
        yield level, count
        level += 1


def encode_bundle(entries: Iterable[bytes]) -> bytes:
    """Encodes entries one after the other, each behind its length as a big-endian uint16.

    Raises:
      FormatError: An entry has more than 65 535 bytes.
    """
    parts: list[bytes] = []
    for entry in entries:
        check_entry(entry)
        parts += (len(entry).to_bytes(_LENGTH_SIZE, "big"), entry)
    return b"".join(parts)


def decode_bundle(data: bytes) -> Iterator[bytes]:
    """Yields the entries of a bundle one by one, so that those before a damaged one can still be read.

    Raises:
      FormatError: The bytes end within an entry.
    """
    position = 0
    while position < len(data):
        start = position + _LENGTH_SIZE
        position = start + int.from_bytes(data[position:start], "big")
        if position > len(data) or start > len(data):
            raise FormatError(
                "entry bundle: it ends within an entry; the file is cut short or a length is damaged"
            )
        yield data[start:position]


def check_entry(entry: bytes) -> None:
    """Refuses an entry that a bundle can't hold.

    Raises:
      FormatError: It has more than 65 535 bytes.
    """
    if len(entry) > SIZE_LIMIT:
        raise FormatError(
            f"log entry: {len(entry)} bytes, at most {SIZE_LIMIT} are allowed; store it as an artefact"
        )

"""What a level-0 tile and the bundle of entries under it say: what an audit can learn from them alone.

Tiles are inspected one by one, in any order and in several processes; `audit` puts together what they say.
Nothing is blamed here: which of a tile and its bundle is wrong shows only under the signed root.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from relayjax import records
from relayjax.errors import FormatError, IntegrityError
from relayjax.identity import PublicKeys, verify_envelope
from relayjax.ledger.disk import read, read_bundle
from relayjax.ledger.entry import Entry, digest
from relayjax.ledger.merkle import HASH_SIZE, Tree, leaf_hash
from relayjax.ledger.tiles import WIDTH, Tile
from relayjax.records import Genesis, Join

Signers = Mapping[str, PublicKeys]
"""Keys of those who have joined, by name."""


@dataclass(frozen=True)
class Inspection:
    """What a level-0 tile and its bundle say.

    Attributes:
      tile: Which.
      stored: The tile's hash over its 256 leaves or, if it is partial, the leaf hashes.
      computed: The same from the entries; None if they can't be told apart.
      prev: What the first entry states as its `prev`.
      last: Digest of the last entry.
      fault: Number of the first entry that is malformed, does not follow the one before, or is signed by
        nobody who may, and what is wrong with it; None if there is none.
      joined: Who is introduced by an entry here, as far as the signers given tell.
      used: The keys that signatures here were verified with.
      unsure: Number of the first entry by somebody who joined neither here nor is among the signers given.
      entries: The entries, where they are asked for.
    """

    tile: Tile
    stored: list[bytes]
    computed: list[bytes] | None
    prev: str = ""
    last: str = ""
    fault: tuple[int, str] | None = None
    joined: dict[str, PublicKeys] = field(default_factory=dict)
    used: dict[str, PublicKeys] = field(default_factory=dict)
    unsure: int | None = None
    entries: Sequence[bytes] = ()


def inspect(path: Path, tile: Tile, signers: Signers | None, keep: bool = False) -> Inspection:
    """Inspects a level-0 tile and its bundle.

    Args:
      path: The log's directory.
      tile: Which.
      signers: Those who joined before; None leaves the records' signatures unchecked.
      keep: Whether to return the entries.

    Raises:
      IntegrityError: A file can't be read or a tile has not its length.
    """
    stored = top(read_tile(path, tile), tile)
    entries, problem = read_bundle(path, tile)
    if problem:
        return Inspection(tile, stored, None)
    computed = top([leaf_hash(entry) for entry in entries], tile)
    chain = _Chain(tile.start, {} if signers is None else dict(signers), signers is not None)
    for entry in entries:
        chain.follow(entry)
    joined = {name: keys for name, keys in chain.signers.items() if name not in (signers or {})}
    return Inspection(
        tile,
        stored,
        computed,
        prev=chain.first,
        last=chain.last,
        fault=chain.fault,
        joined=joined,
        used=chain.used,
        unsure=chain.unsure,
        entries=entries if keep else (),
    )


def read_tile(path: Path, tile: Tile) -> list[bytes]:
    """Reads the hashes of a tile.

    Raises:
      IntegrityError: The file can't be read or has another length.
    """
    data = read(path / tile.path)
    if len(data) != tile.width * HASH_SIZE:
        raise IntegrityError(str(path / tile.path), f"{len(data)} bytes, expected {tile.width * HASH_SIZE}")
    return [data[i : i + HASH_SIZE] for i in range(0, len(data), HASH_SIZE)]


def top(hashes: list[bytes], tile: Tile) -> list[bytes]:
    """The hash over all of a full tile; the hashes of a partial one."""
    return [Tree(hashes).root()] if tile.width == WIDTH else hashes


class _Chain:
    """Follows entries one by one, up to the first fault."""

    def __init__(self, start: int, signers: dict[str, PublicKeys], signed: bool):
        self.signers = signers
        self.first = self.last = ""
        self.fault: tuple[int, str] | None = None
        self.used: dict[str, PublicKeys] = {}
        self.unsure: int | None = None
        self._index = start
        self._signed = signed

    def follow(self, data: bytes) -> None:
        """Takes the next entry."""
        if self.fault is None and (problem := self._problem(data)):
            self.fault = self._index, problem
        self.last = digest(data)
        self._index += 1

    def _problem(self, data: bytes) -> str:
        try:
            entry = Entry.decode(data)
            if entry.index != self._index:
                return f"it says that its index is {entry.index}"
            if self.last and entry.prev != self.last:
                return f"its prev is {entry.prev}, the entry before has {self.last}"
            self.first = self.first or entry.prev
            if self._signed:
                self._verify(entry)
        except FormatError as error:
            return str(error)
        except IntegrityError as error:
            return error.problem
        return ""

    def _verify(self, entry: Entry) -> None:
        """Verifies who signed an entry; whoever introduces himself signs with the keys that he brings."""
        envelope = entry.envelope
        if envelope.signer not in self.signers:
            keys = _introduced(envelope.payload)
            if keys is None or keys.name != envelope.signer:
                self.unsure = self._index if self.unsure is None else self.unsure
                return
            self.signers[keys.name] = keys
        self.used[envelope.signer] = self.signers[envelope.signer]
        verify_envelope(envelope, self.signers[envelope.signer])


def _introduced(payload: bytes) -> PublicKeys | None:
    """The keys that a record introduces its author with, if it does."""
    try:
        record = records.decode(payload)
    except FormatError:
        return None
    if isinstance(record, Genesis | Join):
        return PublicKeys(record.author, record.signing, record.receiving)
    return None

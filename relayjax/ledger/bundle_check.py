"""What a level-0 tile and the bundle of entries under it say: what an audit can learn from them alone.

Tiles are inspected one by one, in any order and in several processes; `audit` puts together what they say.
Nothing is blamed here: which of a tile and its bundle is wrong shows only under the signed root.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import lru_cache
from pathlib import Path

from relayjax import records
from relayjax.errors import FormatError, IntegrityError
from relayjax.identity import PublicKeys, verify_envelope
from relayjax.ledger.disk import read, read_bundle
from relayjax.ledger.entry import Entry, digest
from relayjax.ledger.merkle import HASH_SIZE, Tree, leaf_hash
from relayjax.ledger.tiles import WIDTH, Tile
from relayjax.records import Credentials, Genesis, Join, Record

Signers = Mapping[str, Credentials]
"""Present keys of those who have joined, by name."""

_CHANGING = tuple(b'"kind":"%s"' % kind for kind in (b"recovery_key", b"rotate", b"recover", b"revoke"))
"""In the bytes of all records that change keys or need another; looking is far cheaper than decoding."""


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
      changed: Keys at the end of the tile of those who are introduced or change them in it.
      relied: What the signers given say of those who sign here: their keys, or None if they were not among
        them.
      unsure: Number of the first entry by somebody who joined neither here nor is among the signers given.
      entries: The entries, where they are asked for.
    """

    tile: Tile
    stored: list[bytes]
    computed: list[bytes] | None
    prev: str = ""
    last: str = ""
    fault: tuple[int, str] | None = None
    changed: dict[str, Credentials] = field(default_factory=dict)
    relied: dict[str, Credentials | None] = field(default_factory=dict)
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
    chain = _Chain(tile.start, signers)
    for entry in entries:
        chain.follow(entry)
    return Inspection(
        tile,
        stored,
        computed,
        prev=chain.first,
        last=chain.last,
        fault=chain.fault,
        changed=chain.changed,
        relied=chain.relied,
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

    def __init__(self, start: int, signers: Signers | None):
        self.first = self.last = ""
        self.fault: tuple[int, str] | None = None
        self.changed: dict[str, Credentials] = {}
        self.relied: dict[str, Credentials | None] = {}
        self.unsure: int | None = None
        self._index = start
        self._signers = signers

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
            if self._signers is not None:
                self._verify(entry, self._signers)
        except FormatError as error:
            return str(error)
        except IntegrityError as error:
            return error.problem
        return ""

    def _verify(self, entry: Entry, signers: Signers) -> None:
        """Verifies who signed an entry; whoever introduces himself signs with the keys that he brings."""
        envelope, name = entry.envelope, entry.envelope.signer
        if name not in self.changed:
            self.relied.setdefault(name, signers.get(name))
        keys = self.changed.get(name) or signers.get(name)
        record = None
        if keys is None or any(mark in envelope.payload for mark in _CHANGING):
            record = _record_of(name, envelope.payload)
        if keys is None:
            if not isinstance(record, Genesis | Join):
                self.unsure = self._index if self.unsure is None else self.unsure
                return
            keys = self.changed[name] = Credentials(record.signing, record.receiving)
        needed = keys.needed(record) if record else keys.signing
        if not needed:
            raise FormatError(f"{name} has registered no recovery key")
        verify_envelope(envelope, _public(name, needed, keys.receiving))
        if record and keys.after(record) != keys:
            self.changed[name] = keys.after(record)


_public = lru_cache(maxsize=4096)(PublicKeys)
"""Checks keys once."""


def _record_of(name: str, payload: bytes) -> Record | None:
    """A record, if it is one of that author's."""
    try:
        record = records.decode(payload)
    except FormatError:
        return None
    return record if record.author == name else None

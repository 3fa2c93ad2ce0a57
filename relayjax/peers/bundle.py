"""What is carried between machines that never see each other: which files, and how they are named.

A bundle is a flat directory: each file under its digest, and `manifest.json`, written last, canonical JSON:

    {"files": [{"digest": hex, "path": in the relay's folder, "size": bytes}, … sorted by path],
     "held": [digests], "kind": "relay" or "letters", "log_key": hex, "origin": name of the log}

    relay      to members elsewhere: log, seal manifests, artefacts, what is handed over, reasons of refusals
    letters    from them: records for the inbox, deltas, and the checkpoint that they have; `held` names what
               was handed over to them and is still there, so that nobody carries it again

No name in it leads anywhere: a path is one of those below or the manifest is refused, and what lies under it
is believed as little as in any other exchange.
"""

from __future__ import annotations

import re
from dataclasses import asdict, dataclass
from enum import Enum
from itertools import pairwise
from typing import Any

from relayjax import canonical
from relayjax.errors import FormatError
from relayjax.hashing import is_digest
from relayjax.ledger.note import SIZE_LIMIT as NOTE_LIMIT
from relayjax.ledger.note import signer_key
from relayjax.ledger.tiles import ENTRY_LIMIT, WIDTH
from relayjax.peers.follower import CHECKPOINT
from relayjax.peers.voice import WHY_LIMIT
from relayjax.store.manifest import SIZE_LIMIT as SEALS_LIMIT

MANIFEST = "manifest.json"
LIMIT = 1 << 25
"""Bytes that a manifest may have: some 150 000 files."""

LETTERS_LIMIT = 8_192
"""Letters that a bundle may bring."""

_LARGEST = 1 << 34
"""Bytes that an artefact may have before the log says how many it has."""

_LOG = r"ledger/tile/(?:[0-9]|entries)/(?:x[0-9]{3}/)*[0-9]{3}(?:\.p/[1-9][0-9]{0,2})?"
_HANDED = r"handover/[0-9]{5,15}-"
_DELTA, _NAME = rf"{_HANDED}delta-", r"[a-z0-9_-]{1,64}"


class Kind(Enum):
    """Which way a bundle goes."""

    RELAY = "relay"
    LETTERS = "letters"


_LAYOUT: dict[Kind, tuple[tuple[re.Pattern[str], int], ...]] = {
    Kind.RELAY: (
        (re.compile(re.escape(CHECKPOINT)), NOTE_LIMIT),
        (re.compile(_LOG), WIDTH * ENTRY_LIMIT),
        (re.compile(r"seals/[0-9]{5,15}\.json"), SEALS_LIMIT),
        (re.compile(r"store/[0-9a-f]{2}/[0-9a-f]{62}"), _LARGEST),
        (re.compile(rf"(?!{_DELTA}){_HANDED}[A-Za-z0-9][A-Za-z0-9._-]{{0,99}}"), _LARGEST),
        (re.compile(r"inbox/[0-9a-f]{64}\.why"), WHY_LIMIT),
    ),
    Kind.LETTERS: (
        (re.compile(re.escape(CHECKPOINT)), NOTE_LIMIT),
        (re.compile(r"inbox/[0-9a-f]{64}\.json"), canonical.SIZE_LIMIT),
        (re.compile(rf"{_DELTA}{_NAME}\.age(?:\.[0-9]{{1,9}})?"), _LARGEST),
    ),
}
"""The paths that each kind may have, with the bytes that a file there may have."""


@dataclass(frozen=True)
class Listed:
    """A file of a bundle.

    Attributes:
      path: where it belongs in a relay's folder.
      digest: of its bytes, and its name in the bundle.
      size: bytes.
    """

    path: str
    digest: str
    size: int


@dataclass(frozen=True)
class Manifest:
    """What a bundle says that it holds. One that exists names nothing outside of the layout.

    Attributes:
      kind: which way it goes.
      origin, log_key: of the log.
      files: sorted by path, none twice, the log's checkpoint among them.
      held: digests of what was handed over and lies there still, sorted.
    """

    kind: Kind
    origin: str
    log_key: str
    files: tuple[Listed, ...]
    held: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        if not is_digest(self.log_key):
            raise FormatError(f"bundle: log key {self.log_key[:80]!r}, expected 64 hex digits")
        signer_key(self.origin, self.log_key)
        paths = [file.path for file in self.files]
        if any(first >= second for first, second in pairwise(paths)):
            raise FormatError("bundle: files must be sorted by path, none twice")
        if CHECKPOINT not in paths:
            raise FormatError("bundle: it lists no checkpoint of the log")
        for file in self.files:
            _check(file, self.kind)
        handed = [file.digest for file in self.files if file.path.startswith("handover/")]
        if len(handed) > len(
            set(handed)
        ):  # sealing is random; and one file could fill a disk under many names
            raise FormatError("bundle: one file is handed over under two names; refuse it")
        if sum(path.startswith("inbox/") for path in paths) > LETTERS_LIMIT:
            raise FormatError(f"bundle: more than {LETTERS_LIMIT} letters; carry them in several")
        if list(self.held) != sorted(set(self.held)) or not all(map(is_digest, self.held)):
            raise FormatError("bundle: what is held must be digests, sorted, none twice")

    def encode(self) -> bytes:
        """Returns the manifest as a file.

        Raises:
          FormatError: it lists too many files.
        """
        data = canonical.encode(asdict(self) | {"kind": self.kind.value})
        if len(data) > LIMIT:
            raise FormatError(f"bundle: a manifest of {len(data)} bytes, at most {LIMIT} are read")
        return data

    @classmethod
    def decode(cls, data: bytes) -> Manifest:
        """Reads what `encode` writes.

        Raises:
          FormatError: the bytes are no manifest, or name what no bundle of their kind holds.
        """
        match canonical.decode(data, LIMIT):
            case {
                "kind": ("relay" | "letters") as kind,
                "origin": str(origin),
                "log_key": str(log_key),
                "files": list(files),
                "held": list(held),
                **more,
            } if not more and all(isinstance(digest, str) for digest in held):
                return cls(Kind(kind), origin, log_key, tuple(map(_listed, files)), tuple(held))
        raise FormatError("bundle: expected files, held, kind, log_key and origin, nothing else")


def is_delta(path: str) -> bool:
    """Whether a path is of what a trainer hands over."""
    return re.match(_DELTA, path) is not None


def _listed(obj: Any) -> Listed:
    match obj:
        case {"path": str(path), "digest": str(digest), "size": int(size), **more} if not more:
            if type(size) is int:
                return Listed(path, digest, size)
    raise FormatError("bundle: of each file expected digest, path and size, nothing else")


def _check(file: Listed, kind: Kind) -> None:
    """Refuses a file that no bundle of this kind holds.

    Raises:
      FormatError: its path is none of the layout, or digest or size cannot be right.
    """
    limit = next((limit for form, limit in _LAYOUT[kind] if form.fullmatch(file.path)), None)
    if limit is None:
        raise FormatError(f"bundle: path {file.path[:80]!r} is none that {kind.value} have; refuse it")
    if not is_digest(file.digest):
        raise FormatError(f"bundle: {file.path} has the digest {file.digest[:80]!r}, expected 64 hex digits")
    if not 0 <= file.size <= limit:
        raise FormatError(f"bundle: {file.path} is to have {file.size} bytes, at most {limit} are allowed")
    named = _named_after_digest(file.path)
    if named not in (None, file.digest):
        raise FormatError(f"bundle: {file.path} has the digest {file.digest}, not the one it is named after")


def _named_after_digest(path: str) -> str | None:
    """The digest that a path says its file has."""
    folder, _, name = path.partition("/")
    if folder == "store":
        return name.replace("/", "")
    return name.removesuffix(".json") if folder == "inbox" and name.endswith(".json") else None

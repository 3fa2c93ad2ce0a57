"""The typed records of the protocol: frozen dataclasses with canonical bytes, integers only.

A record's bytes are the RFC 8785 JSON of its fields plus `"kind"`. Reading is strict: unknown or
missing fields, wrong types and any other spelling of the same values are refused, so that equal
records and equal bytes are the same thing.

Units: `amount` in micro-coins; losses, scores and values in micro-nats per example; digests are
BLAKE3, 64 lower-case hexadecimal digits. Lists of pairs stand for maps, sorted by name.

| phase      | records                                                         |
|------------|-----------------------------------------------------------------|
| before     | `Genesis`, `Join`                                               |
| auction    | `Bid`, `Match` (derived)                                        |
| deposit    | `Deposit`                                                       |
| commit     | `Commit`                                                        |
| reveal     | `Submit`                                                        |
| testing    | `Draw` (derived), `Pledge` to a score                           |
| scoring    | `Score`                                                         |
| appraisal  | `Pledge` to a value (braid rounds only)                         |
| valuation  | `Value` (braid rounds only)                                     |
| settlement | `Settle` (derived)                                              |
| any        | `Close`: the ordering maintainer ends a phase for those who stay away |

A derived record states what everybody computes from the records before it; a differing one is refused.
"""

from __future__ import annotations

import dataclasses
import typing
from dataclasses import dataclass
from functools import cache
from typing import Any, ClassVar

from blake3 import blake3

from relayjax import canonical
from relayjax.errors import FormatError

Pairs = tuple[tuple[str, int], ...]

SIZE_LIMIT = 48_000
"""Bytes a record may have: signed, and in base64, it then fits into a log entry of 65 535."""


@dataclass(frozen=True)
class Record:
    """Base of all records.

    Attributes:
      author: name of the participant that signs the record.
    """

    KIND: ClassVar[str]
    author: str


@dataclass(frozen=True)
class Genesis(Record):
    """Opens a run.

    Attributes:
      config: the complete settings of the run, as `settings.encode` gives them.
      layout: names and shapes of the parameters, in the order of the flat vector.
      weights: digest of the genesis parameters, flat little-endian float32.
      validation: digest of the hidden validation set: validators are bound to it from the start.
      signing: the ordering maintainer's Ed25519 public key, hexadecimal; it also signs the log.
      receiving: its age recipient.
    """

    KIND = "genesis"
    config: dict[str, Any]
    layout: list[Any]
    weights: str
    validation: str
    signing: str
    receiving: str


@dataclass(frozen=True)
class Join(Record):
    """Registers a name, its keys and its role; signed with the very key it registers."""

    KIND = "join"
    role: str
    signing: str
    receiving: str


@dataclass(frozen=True)
class Bid(Record):
    """Offers a deposit for a place in this round."""

    KIND = "bid"
    round: int
    amount: int


@dataclass(frozen=True)
class Match(Record):
    """Who trains from which version: sorted (trainer, version number) pairs."""

    KIND = "match"
    round: int
    pairs: Pairs


@dataclass(frozen=True)
class Deposit(Record):
    """Puts the author's bid into escrow."""

    KIND = "deposit"
    round: int
    amount: int


@dataclass(frozen=True)
class Commit(Record):
    """Binds the author to a delta that nobody can see yet (see `commitment`)."""

    KIND = "commit"
    round: int
    commitment: str


@dataclass(frozen=True)
class Submit(Record):
    """Reveals the delta.

    Attributes:
      delta: digest of the encoded delta.
      codec: name of its codec.
      size: its length in bytes.
      salt: what the commitment was salted with, hexadecimal.
      parent: digest of the parent's weights.
      child: digest of parent + decode(delta), flat little-endian float32.
    """

    KIND = "submit"
    round: int
    delta: str
    codec: str
    size: int
    salt: str
    parent: str
    child: str


@dataclass(frozen=True)
class Close(Record):
    """Ends the phase `phase` of the round without those who have not acted."""

    KIND = "close"
    round: int
    phase: str


@dataclass(frozen=True)
class Draw(Record):
    """Fixes the test: `examples` of the hidden validation set, chosen by `seed`."""

    KIND = "draw"
    round: int
    seed: str
    examples: int


@dataclass(frozen=True)
class Pledge(Record):
    """Binds a maintainer to its report of this phase before anybody's is seen (see `report_commitment`)."""

    KIND = "pledge"
    round: int
    commitment: str


@dataclass(frozen=True)
class Score(Record):
    """One validator's measured losses on the drawn examples, and what it can tell of the candidates' deltas.

    Attributes:
      salt: hides the report until it is shown, hexadecimal.
      parents: (version number as text, loss) of every parent of the round.
      children: (trainer, loss) of every candidate; in a braid round, of its part of the composition.
      slopes: (trainer, what its whole delta adds to the loss to first order) of every candidate of a chain or
        braid round.
      chance: (trainer, standard deviation of the slopes of random directions as long as its delta), likewise.
      echoes: (trainer, largest |cosine| of its delta with one accepted before or committed earlier, ppm) of
        every candidate of a braid round; empty in others.
    """

    KIND = "score"
    round: int
    salt: str
    parents: Pairs
    children: Pairs
    slopes: Pairs
    chance: Pairs
    echoes: Pairs


@dataclass(frozen=True)
class Value(Record):
    """One validator's valuation of a braid round, over the accepted candidates.

    Attributes:
      salt: hides the report until it is shown, hexadecimal.
      composed: digest of the composed weights.
      loss: their loss on the drawn examples.
      values: (trainer, Aumann–Shapley value of what is new in its delta); `stderr` their standard errors.
      chance: (trainer, standard deviation of the values of random directions as long as its delta).
      shapley: (trainer, Shapley value); `shapley_stderr` their standard errors.
    """

    KIND = "value"
    round: int
    salt: str
    composed: str
    loss: int
    values: Pairs
    stderr: Pairs
    chance: Pairs
    shapley: Pairs
    shapley_stderr: Pairs


@dataclass(frozen=True)
class Settle(Record):
    """Closes the round.

    Attributes:
      accepted: trainers whose work passed the test; a version follows unless a braid's composition fails it.
      refused: trainers whose work did not, or who never revealed any.
      transfers: (source, target, amount, reason), as in `mechanism.settlement`.
      versions: (number, digest, parent number) of the versions made.
      heads: numbers of the versions the next round starts from.
      licences: (name, version number) granted.
    """

    KIND = "settle"
    round: int
    accepted: tuple[str, ...]
    refused: tuple[str, ...]
    transfers: tuple[tuple[str, str, int, str], ...]
    versions: tuple[tuple[int, str, int], ...]
    heads: tuple[int, ...]
    licences: Pairs


KINDS: dict[str, type[Record]] = {
    cls.KIND: cls
    for cls in (Genesis, Join, Bid, Match, Deposit, Commit, Submit, Close, Draw, Pledge, Score, Value, Settle)
}


def encode(record: Record) -> bytes:
    """Canonical bytes of a record.

    Raises:
      FormatError: a field has no canonical form (a float, an integer beyond ±(2⁵³ − 1)), or the record is
        too long.
    """
    fields = {f.name: _plain(getattr(record, f.name)) for f in dataclasses.fields(record)}
    payload = canonical.encode({"kind": record.KIND, **fields})
    if len(payload) > SIZE_LIMIT:
        raise FormatError(
            f"{record.KIND} record: {len(payload)} bytes, at most {SIZE_LIMIT} fit into a log entry; "
            "use fewer members, shorter names or fewer parameter arrays"
        )
    return payload


def decode(payload: bytes) -> Record:
    """The record of canonical bytes.

    Raises:
      FormatError: not canonical, not a known kind, or a field that is missing, unknown or mistyped.
    """
    fields = canonical.decode(payload, SIZE_LIMIT)
    if not isinstance(fields, dict) or str(fields.get("kind")) not in KINDS:
        raise FormatError("not a record of a known kind; a newer RelayJAX may be needed to read it")
    cls = KINDS[fields.pop("kind")]
    kinds = _kinds(cls)
    if odd := sorted(set(kinds) ^ set(fields)):
        raise FormatError(f"{cls.KIND} record: missing or unknown fields {odd}")
    return cls(**{name: _typed(fields[name], kind, f"{cls.KIND}.{name}") for name, kind in kinds.items()})


def commitment(salt: bytes, delta: str, parent: str, round: int, author: str) -> str:
    """BLAKE3 of salt, delta digest, parent digest, round and author, each length-prefixed; hexadecimal.

    The salt hides the delta until it is revealed; the other parts stop anybody from committing to
    somebody else's work or to work on another parent.
    """
    hasher = blake3(derive_key_context="relayjax 2026 commit v1")
    for part in (
        salt,
        bytes.fromhex(delta),
        bytes.fromhex(parent),
        round.to_bytes(8, "big"),
        author.encode(),
    ):
        hasher.update(len(part).to_bytes(8, "big")).update(part)
    return hasher.hexdigest()


def report_commitment(report: Score | Value) -> str:
    """What a pledge states: BLAKE3 of the report's canonical bytes, hexadecimal.

    Its salt, author and round are among them: the salt hides the figures, the others stop anybody from
    pledging to somebody else's report.
    """
    hasher = blake3(encode(report), derive_key_context="relayjax 2026 report commitment v1")
    return hasher.hexdigest()


@cache
def _kinds(cls: type[Record]) -> dict[str, Any]:
    """The annotation of every field; resolving them takes longer than all else in `decode`."""
    hints = typing.get_type_hints(cls)
    return {field.name: hints[field.name] for field in dataclasses.fields(cls)}


def _plain(value: Any) -> Any:
    if isinstance(value, tuple):
        return [_plain(item) for item in value]
    return value


def _typed(value: Any, kind: Any, where: str) -> Any:
    """Checks a JSON value against an annotation and turns lists into tuples."""
    origin, args = typing.get_origin(kind), typing.get_args(kind)
    if origin is tuple and isinstance(value, list):
        kinds = [args[0]] * len(value) if args[-1] is Ellipsis else args
        if len(kinds) == len(value):
            return tuple(_typed(item, k, where) for item, k in zip(value, kinds, strict=True))
    elif (kind in (int, str) and type(value) is kind) or (
        origin in (dict, list) and isinstance(value, origin)
    ):
        return value
    raise FormatError(f"{where}: {str(value)[:60]!r} is not of the expected type")

"""Records to canonical bytes and back."""

from __future__ import annotations

import dataclasses
import typing
from functools import cache
from typing import Any

from relayjax import canonical
from relayjax.errors import FormatError
from relayjax.records.base import Record
from relayjax.records.members import Genesis, Join, Recover, RecoveryKey, Revoke, Rotate, Succeed
from relayjax.records.rounds import (
    Bid,
    Close,
    Commit,
    Deposit,
    Draw,
    Match,
    Pledge,
    Score,
    Settle,
    Submit,
    Value,
)

SIZE_LIMIT = 48_000
"""Bytes a record may have: signed, and in base64, it then fits into a log entry of 65 535."""

KINDS: dict[str, type[Record]] = {
    cls.KIND: cls
    for cls in (
        Genesis,
        Join,
        RecoveryKey,
        Rotate,
        Recover,
        Revoke,
        Succeed,
        Bid,
        Match,
        Deposit,
        Commit,
        Submit,
        Close,
        Draw,
        Pledge,
        Score,
        Value,
        Settle,
    )
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

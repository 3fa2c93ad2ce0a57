"""Catching a log that shows different histories, and keeping what proves it to others.

Whoever has once seen a checkpoint holds every later one against it. What contradicts it is kept as

    {"first": note, "kind": "split view", "proof": [base64, ...], "root": base64, "second": note}

in canonical JSON: two checkpoints that the log has signed, the smaller one first and as they are.

  * Of one size, with different roots: they contradict each other. `proof` and `root` are empty.
  * Of different sizes: `proof` shows that the tree of `second` began with `root` when it had the size of
    `first`, whose root is another. No proof to that one can exist.
  * Of different sizes, without a proof: the log has gone back. Signatures alone do not say which was shown
    later, so to others this proves something only where witnesses' times do.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

from relayjax import canonical
from relayjax.canonical import decode_base64, encode_base64
from relayjax.errors import FormatError, IntegrityError, RollbackError, SplitViewError
from relayjax.files import read, write_atomic
from relayjax.ledger.checkpoint import Checkpoint
from relayjax.ledger.merkle import HASH_SIZE, verify_consistency
from relayjax.ledger.note import SIZE_LIMIT, Signed, verify_note
from relayjax.ledger.tiled import TileReader
from relayjax.ledger.vkey import ED25519, VerifierKey

_KIND = "split view"
_LIMIT = 1 << 19
KEPT = 64
"""Pieces of evidence that a directory keeps."""


@dataclass(frozen=True)
class Evidence:
    """Two checkpoints of one log that contradict each other.

    Attributes:
      first: The one of smaller size, a note.
      second: The other.
      root: What the tree of `second` began with, 32 bytes, or nothing.
      proof: Consistency proof from there.
    """

    first: bytes
    second: bytes
    root: bytes = b""
    proof: tuple[bytes, ...] = ()

    def encode(self) -> bytes:
        """Returns the evidence as a file, as the module says."""
        return canonical.encode(
            {
                "first": self.first.decode(),
                "kind": _KIND,
                "proof": [encode_base64(sibling) for sibling in self.proof],
                "root": encode_base64(self.root),
                "second": self.second.decode(),
            }
        )

    @classmethod
    def decode(cls, data: bytes) -> Evidence:
        """Reads what `encode` writes; proves nothing yet.

        Raises:
          FormatError: The bytes are no evidence.
        """
        match canonical.decode(data, _LIMIT):
            case {
                "first": str(first),
                "kind": kind,
                "proof": list(proof),
                "root": str(root),
                "second": str(second),
                **more,
            } if kind == _KIND and not more and all(isinstance(sibling, str) for sibling in proof):
                hashes = tuple(decode_base64(sibling) for sibling in proof)
                if len(decode_base64(root)) in (0, HASH_SIZE) and {len(h) for h in hashes} <= {HASH_SIZE}:
                    return cls(first.encode(), second.encode(), decode_base64(root), hashes)
        raise FormatError("evidence: expected the fields first, kind, proof, root and second, nothing else")


Logs = VerifierKey | Sequence[VerifierKey]
"""The key of a log, or all those under its name of which one or another has signed it."""


def verify_evidence(evidence: Evidence, log: Logs, witnesses: Iterable[VerifierKey] = ()) -> str:
    """Verifies evidence against a log; returns what it proves, in a sentence.

    Args:
      evidence: From whoever.
      log: The log's key, or keys.
      witnesses: Those whose times one believes.

    Raises:
      FormatError: It holds no checkpoints.
      IntegrityError: It proves nothing against this log.
    """
    witnesses, logs = list(witnesses), _listed(log)
    name = logs[0].name
    first, signed_first = _open(evidence.first, logs, witnesses, "first checkpoint of the evidence")
    second, signed_second = _open(evidence.second, logs, witnesses, "second checkpoint of the evidence")
    if first.size == second.size:
        if first.root != second.root:
            return f"{name} has signed two roots of size {first.size}"
    elif first.size < second.size and evidence.root:
        verify_consistency(first.size, second.size, evidence.root, second.root, evidence.proof)
        if evidence.root != first.root:
            return f"{name} has rewritten its first {first.size} entries by size {second.size}"
    elif first.size < second.size:
        for key in signed_first.signers.keys() & signed_second.signers.keys():
            if key.kind != ED25519 and signed_first.signers[key] > signed_second.signers[key]:
                return f"{key.name} has cosigned {name} at size {second.size}, and later at {first.size}"
    raise IntegrityError("evidence", "its checkpoints may both be right; it proves nothing")


def check_view(kept: bytes, offered: bytes, log: Logs, reader: TileReader | None = None) -> Checkpoint:
    """Holds a checkpoint against one that was seen before.

    Args:
      kept: The note seen before, from a place one trusts.
      offered: The note that the log shows now.
      log: Its key, or keys.
      reader: Of the tiles that it shows now; needed if it has grown.

    Returns:
      What the offered checkpoint says.

    Raises:
      SplitViewError: They contradict each other.
      RollbackError: The log has gone back.
      IntegrityError: A note is not signed by the log, or its tiles don't lead to its root.
    """
    logs = _listed(log)
    before, _ = _open(kept, logs, [], "checkpoint seen before")
    now, _ = _open(offered, logs, [], "checkpoint")
    where = f"log {logs[0].name}"
    if now.size == before.size and now.root != before.root:
        problem = f"it has signed two roots of size {now.size}; show others the evidence"
        raise SplitViewError(where, problem, Evidence(kept, offered).encode())
    if now.size < before.size:
        problem = f"it had {before.size} entries and now shows {now.size}; ask for the others"
        raise RollbackError(where, problem, Evidence(offered, kept).encode())
    if now.size == before.size or before.size == 0:
        return now
    if reader is None or reader.size != now.size:
        raise IntegrityError(
            where, f"grown from {before.size} to {now.size} entries; its tiles must show how"
        )
    root, proof = reader.root(before.size), tuple(reader.prove_consistency(before.size))
    verify_consistency(before.size, now.size, root, now.root, proof)
    if root != before.root:
        problem = f"it has rewritten its first {before.size} entries; show others the evidence"
        raise SplitViewError(where, problem, Evidence(kept, offered, root, proof).encode())
    return now


def watch(file: Path, offered: bytes, log: Logs, reader: TileReader | None = None) -> Checkpoint:
    """Holds a checkpoint against the last one, which a file remembers, and remembers it from then on.

    Args:
      file: Remembers; created at the first call.
      offered: The note that the log shows now.
      log: Its key, or keys.
      reader: Of the tiles that it shows now.

    Raises:
      SplitViewError: As `check_view` says; the evidence lies beside the file, which still has the old one.
      IntegrityError: As `check_view` says.
    """
    kept = read(file, SIZE_LIMIT + 1) if file.exists() else offered
    try:
        checkpoint = check_view(kept, offered, log, reader)
    except SplitViewError as error:
        keep(file.parent, error.evidence)
        raise
    write_atomic(file, offered)
    return checkpoint


def keep(directory: Path, evidence: bytes) -> Path:
    """Writes evidence to a file of its own, named after its bytes, once; returns the file.

    Who signs ever another history gets `KEPT` files and no more: each convicts.
    """
    file = directory / f"split-view-{hashlib.sha256(evidence).hexdigest()[:16]}.json"
    if not file.exists() and sum(1 for _ in directory.glob("split-view-*.json")) < KEPT:
        write_atomic(file, evidence)
    return file


def _listed(log: Logs) -> list[VerifierKey]:
    return [log] if isinstance(log, VerifierKey) else list(log)


def _open(
    note: bytes, logs: list[VerifierKey], more: list[VerifierKey], where: str
) -> tuple[Checkpoint, Signed]:
    """Verifies that a note is a checkpoint of a log."""
    signed = verify_note(note, [*logs, *more], where)
    checkpoint = Checkpoint.decode(signed.text)
    if not any(key in signed.signers and key.name == checkpoint.origin for key in logs):
        raise IntegrityError(where, f"not signed by {logs[0].name}")
    return checkpoint, signed

"""What a witness decides: whether to cosign a checkpoint, given the last one it cosigned of the same log.

A request is

    old SIZE                  of the checkpoint that the log believes to be the last one cosigned
    BASE64 of a hash          the consistency proof from there, at most 63 lines
    (one empty line)
    the signed checkpoint

No clock, no disk, no network: `witness_store` remembers, `witness_server` listens.

References:
  C2SP tlog-witness v1, section "add-checkpoint".
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from http import HTTPStatus

from relayjax.canonical import decode_base64, encode_base64
from relayjax.errors import FormatError, IntegrityError
from relayjax.ledger.checkpoint import Checkpoint
from relayjax.ledger.merkle import EMPTY_ROOT, HASH_SIZE, verify_consistency
from relayjax.ledger.note import SIZE_LIMIT, parse_note, verify_note
from relayjax.ledger.vkey import VerifierKey

PROOF_LIMIT = 63
"""Hashes a consistency proof may have; a tree of 2⁶³ entries needs no more."""

REQUEST_LIMIT = SIZE_LIMIT + (PROOF_LIMIT + 1) * 48
"""Bytes a request may have."""

_OLD = re.compile(r"old (0|[1-9][0-9]{0,17})")


class Refusal(Exception):
    """A request that is answered with an error; no error of ours.

    Attributes:
      status: Of HTTP, as the specification assigns it.
      size: With 409, the size of the last checkpoint cosigned.
      evidence: With 422, whether the log has signed two roots of one size.
    """

    def __init__(self, status: HTTPStatus, problem: str, size: int | None = None, evidence: bool = False):
        super().__init__(problem)
        self.status = status
        self.size = size
        self.evidence = evidence


@dataclass(frozen=True)
class Request:
    """A request to cosign.

    Attributes:
      old: Size of the last checkpoint cosigned, as the sender believes.
      proof: Consistency proof from there.
      note: The signed checkpoint, as it came.
    """

    old: int
    proof: tuple[bytes, ...]
    note: bytes

    def encode(self) -> bytes:
        """Returns the body of the request, as the module says."""
        lines = [f"old {self.old}", *(encode_base64(sibling) for sibling in self.proof)]
        return "".join(f"{line}\n" for line in [*lines, ""]).encode() + self.note

    @classmethod
    def decode(cls, data: bytes) -> Request:
        """Reads what `encode` writes.

        Raises:
          FormatError: The bytes are no request.
        """
        if len(data) > REQUEST_LIMIT:
            raise FormatError(f"request: {len(data)} bytes, at most {REQUEST_LIMIT} are allowed")
        head, separator, note = data.partition(b"\n\n")
        try:
            first, *lines = head.decode("ascii").split("\n")
        except UnicodeDecodeError as error:
            raise FormatError(f"request: {error}") from error
        proof = tuple(decode_base64(line) for line in lines[: PROOF_LIMIT + 1])
        match = _OLD.fullmatch(first)
        if not (match and separator) or any(len(sibling) != HASH_SIZE for sibling in proof):
            raise FormatError("request: expected the line old SIZE, hashes, an empty line and a checkpoint")
        if len(lines) > PROOF_LIMIT:
            raise FormatError(f"request: {len(lines)} hashes, at most {PROOF_LIMIT} are allowed")
        return cls(int(match[1]), proof, note)


@dataclass(frozen=True)
class Proposal:
    """A request whose checkpoint is signed by a log that the witness knows.

    Attributes:
      request: As it came.
      checkpoint: What it says.
      text: The note's text, which a cosignature covers whole.
      lines: The signature lines that were verified.
    """

    request: Request
    checkpoint: Checkpoint
    text: str
    lines: tuple[str, ...]


def admit(body: bytes, logs: Iterable[VerifierKey]) -> Proposal:
    """Reads a request and verifies that its checkpoint comes from a log one knows.

    Args:
      body: Of the request.
      logs: Keys of the logs one serves, each named by its log's origin.

    Raises:
      Refusal: 400 malformed, 404 unknown log, 403 not signed by it.
    """
    try:
        request = Request.decode(body)
        note = parse_note(request.note)
        checkpoint = Checkpoint.decode(note.text)
    except FormatError as error:
        raise Refusal(HTTPStatus.BAD_REQUEST, str(error)) from error
    trusted = [key for key in logs if key.name == checkpoint.origin]
    if not trusted:
        raise Refusal(HTTPStatus.NOT_FOUND, f"the log {checkpoint.origin[:80]!r} is not known here")
    try:
        signed = verify_note(request.note, trusted)
    except IntegrityError as error:
        raise Refusal(HTTPStatus.FORBIDDEN, str(error)) from error
    ids = {(key.name, key.key_id) for key in signed.signers}
    lines = tuple(line.encode() for line in note.signatures if (line.name, line.key_id) in ids)
    return Proposal(request, checkpoint, note.text, lines)


def decide(proposal: Proposal, last: Checkpoint | None) -> None:
    """Decides whether a checkpoint goes on from the last one cosigned of its log; returns if it does.

    Args:
      proposal: What to cosign.
      last: The last checkpoint of this log that was cosigned; None if there was none.

    Raises:
      Refusal: 400 sizes out of order, 409 the last one has another size, 422 not consistent.
    """
    request, checkpoint = proposal.request, proposal.checkpoint
    size = last.size if last else 0
    if request.old > checkpoint.size:
        raise Refusal(HTTPStatus.BAD_REQUEST, f"old size {request.old} exceeds size {checkpoint.size}")
    if request.old != size:
        raise Refusal(HTTPStatus.CONFLICT, f"the last checkpoint cosigned has size {size}", size=size)
    if last and checkpoint.size == size and checkpoint.root != last.root:
        problem = f"the log has signed two roots of size {size}"
        raise Refusal(HTTPStatus.UNPROCESSABLE_ENTITY, problem, evidence=True)
    if problem := _inconsistency(request.proof, checkpoint, last):
        raise Refusal(HTTPStatus.UNPROCESSABLE_ENTITY, problem)


def _inconsistency(proof: Sequence[bytes], checkpoint: Checkpoint, last: Checkpoint | None) -> str:
    if checkpoint.size == 0 and checkpoint.root != EMPTY_ROOT:
        return "the root of an empty log is the hash of nothing"
    if last is None or last.size == 0:
        return "from size 0 there is nothing to prove; send no proof" if proof else ""
    try:
        verify_consistency(last.size, checkpoint.size, last.root, checkpoint.root, proof)
    except IntegrityError as error:
        return str(error)
    return ""

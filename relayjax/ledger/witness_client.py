"""Asking witnesses to cosign a log's checkpoint.

A witness says with 409 which size it last cosigned; the log then proves that it has only grown since. What a
witness answers is believed as far as its cosignature holds, and no further.

References:
  C2SP tlog-witness v1, section "add-checkpoint".
"""

from __future__ import annotations

import http.client
import re
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from http import HTTPStatus
from urllib.parse import urlsplit

from relayjax.errors import ConfigError, FormatError, IntegrityError, RelayError
from relayjax.ledger.checkpoint import Checkpoint
from relayjax.ledger.note import parse_note, verify_note
from relayjax.ledger.policy import Endpoint, Policy
from relayjax.ledger.witness import Request

Prove = Callable[[int], list[bytes]]
"""Returns the consistency proof from an earlier size to that of the checkpoint."""

_TIMEOUT = 10.0
_ATTEMPTS = 3
"""Requests for one cosignature: another process may be asking for the same log."""

_ANSWER_LIMIT = 1 << 16
_SIZE = re.compile(rb"(0|[1-9][0-9]{0,17})\n")


@dataclass(frozen=True)
class Gathered:
    """What asking several witnesses has come to.

    Attributes:
      note: The checkpoint with the cosignatures it had and those that were given.
      problems: What went wrong, by the name of the witness in the policy.
    """

    note: bytes
    problems: dict[str, str]


def gather(note: bytes, policy: Policy, prove: Prove) -> Gathered:
    """Asks all witnesses of a policy at once, those without an address excepted.

    Args:
      note: The log's signed checkpoint.
      policy: Names the witnesses.
      prove: Proves consistency; called from several threads.
    """
    asked = {name: witness for name, witness in policy.witnesses.items() if witness.url}
    lines: list[str] = []
    problems: dict[str, str] = {}
    with ThreadPoolExecutor(max(1, min(32, len(asked)))) as pool:
        answers = {name: pool.submit(ask, note, witness, prove) for name, witness in asked.items()}
    for name, answer in answers.items():
        try:
            lines.append(answer.result())
        except (RelayError, OSError, http.client.HTTPException) as error:
            problems[name] = str(error) or type(error).__name__
    return Gathered(with_cosignatures(note, lines), problems)


def ask(note: bytes, witness: Endpoint, prove: Prove) -> str:
    """Asks one witness; returns its signature line, verified.

    Raises:
      ConfigError: Its address is none that can be asked.
      IntegrityError: It refuses, knows more of the log than there is, or its cosignature does not hold.
      OSError: It can't be reached.
      http.client.HTTPException: It does not speak HTTP.
    """
    size = Checkpoint.decode(parse_note(note).text).size
    old = 0
    for _ in range(_ATTEMPTS):
        proof = tuple(prove(old)) if 0 < old < size else ()
        status, body = _post(witness.url, Request(old, proof, note).encode())
        if status == HTTPStatus.OK:
            return _cosignature(note, body, witness)
        if status != HTTPStatus.CONFLICT:
            reason = body[:200].decode("ascii", "replace").strip()
            raise IntegrityError(witness.url, f"it does not cosign: {int(status)} {reason}")
        match = _SIZE.fullmatch(body)
        if not match:
            raise IntegrityError(witness.url, "it does not say which size it last cosigned")
        old = int(match[1])
        if old > size:
            problem = (
                f"it has cosigned {old} entries of this log, which now has {size}; restore the newer one"
            )
            raise IntegrityError(witness.url, problem)
    raise IntegrityError(witness.url, "others ask it to cosign the same log at the moment; ask again")


def with_cosignatures(note: bytes, lines: list[str]) -> bytes:
    """Adds signature lines to a note, each in place of one by the same key."""
    parsed = parse_note(note)
    added = parse_note(parsed.text.encode() + b"\n" + "".join(lines).encode()).signatures if lines else ()
    replaced = {(line.name, line.key_id) for line in added}
    kept = [line for line in parsed.signatures if (line.name, line.key_id) not in replaced]
    return "\n".join([parsed.text, *(line.encode() for line in (*kept, *added)), ""]).encode()


def _cosignature(note: bytes, body: bytes, witness: Endpoint) -> str:
    """The line of a witness's answer that its key verifies; others are ignored."""
    text = parse_note(note).text
    try:
        answer = text.encode() + b"\n" + body
        verify_note(answer, [witness.key], witness.url)
        for line in parse_note(answer).signatures:
            if (line.name, line.key_id) == (witness.key.name, witness.key.key_id):
                return f"{line.encode()}\n"
    except FormatError as error:
        raise IntegrityError(witness.url, f"its answer is no cosignature ({error})") from error
    raise IntegrityError(witness.url, "its answer has no cosignature of its own")


def _post(url: str, body: bytes) -> tuple[int, bytes]:
    """Sends a request to cosign; follows no redirection."""
    parts = urlsplit(url)
    kinds = {"http": http.client.HTTPConnection, "https": http.client.HTTPSConnection}
    if parts.scheme not in kinds or not parts.hostname or parts.query or parts.fragment:
        raise ConfigError(f"witness {url!r}: give an address such as https://witness.example/prefix")
    connection = kinds[parts.scheme](parts.hostname, parts.port, timeout=_TIMEOUT)
    try:
        connection.request("POST", f"{parts.path.rstrip('/')}/add-checkpoint", body)
        response = connection.getresponse()
        answer = response.read(_ANSWER_LIMIT + 1)
    finally:
        connection.close()
    if len(answer) > _ANSWER_LIMIT:
        raise IntegrityError(url, f"its answer is longer than {_ANSWER_LIMIT} bytes")
    return response.status, answer

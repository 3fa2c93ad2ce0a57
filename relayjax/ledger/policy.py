"""Trust policies: which logs and witnesses one knows, and whose cosignatures make a checkpoint acceptable.

    log VKEY [URL]
    witness NAME VKEY [URL]
    group NAME all|any|K MEMBER...          K of the members, each a witness or an earlier group
    quorum NAME|none

Lines in any order, but whatever is named must be defined before. `#` starts a line of comment.

References:
  C2SP tlog-policy, https://c2sp.org/tlog-policy.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass, field

from relayjax.errors import FormatError, IntegrityError
from relayjax.ledger.checkpoint import Checkpoint
from relayjax.ledger.note import verify_note
from relayjax.ledger.vkey import ED25519, VerifierKey

NONE = "none"
"""The quorum that asks for no witness."""

_SIZE_LIMIT = 1 << 18
_LIMIT = 256
"""Logs, witnesses and groups a policy may have, of each."""

_THRESHOLD = re.compile(r"[1-9][0-9]{0,3}")
_FORBIDDEN = re.compile(rb"[^\t\n\x20-\x7e\x80-\xff]")


@dataclass(frozen=True)
class Endpoint:
    """A log or witness.

    Attributes:
      key: What it signs with.
      url: Where to reach it; empty if that is not said.
    """

    key: VerifierKey
    url: str = ""


@dataclass(frozen=True)
class Group:
    """Members of whom `threshold` must have cosigned for the group to have done so."""

    threshold: int
    members: tuple[str, ...]


@dataclass(frozen=True)
class Policy:
    """A trust policy.

    Attributes:
      quorum: Name of the witness or group that must have cosigned, or `none`.
      logs: Those one accepts. Without any, the caller knows which log it wants.
      witnesses: By their names within the policy.
      groups: By their names, members before the groups that they are in.
    """

    quorum: str
    logs: tuple[Endpoint, ...] = ()
    witnesses: Mapping[str, Endpoint] = field(default_factory=dict)
    groups: Mapping[str, Group] = field(default_factory=dict)

    @classmethod
    def threshold(cls, k: int, witnesses: Iterable[Endpoint], logs: Iterable[Endpoint] = ()) -> Policy:
        """The policy that asks for `k` of some witnesses; none of them for k = 0.

        Raises:
          FormatError: There are fewer witnesses than that, or one twice.
        """
        named = {f"w{number}": witness for number, witness in enumerate(witnesses, 1)}
        groups = {"quorum": Group(k, tuple(named))} if k else {}
        return cls.decode(cls("quorum" if k else NONE, tuple(logs), named, groups).encode())

    def encode(self) -> bytes:
        """Returns the policy as a file."""
        lines = [f"log {log.key.encode()} {log.url}".rstrip() for log in self.logs]
        lines += [f"witness {name} {w.key.encode()} {w.url}".rstrip() for name, w in self.witnesses.items()]
        lines += [f"group {name} {g.threshold} {' '.join(g.members)}" for name, g in self.groups.items()]
        return "".join(f"{line}\n" for line in [*lines, f"quorum {self.quorum}"]).encode(
            "utf-8", "surrogateescape"
        )

    @classmethod
    def decode(cls, data: bytes, where: str = "policy") -> Policy:
        """Reads a policy file.

        Args:
          data: The file.
          where: Names it in the error.

        Raises:
          FormatError: It is none; the line is named.
        """
        if len(data) > _SIZE_LIMIT:
            raise FormatError(f"{where}: {len(data)} bytes, at most {_SIZE_LIMIT} are allowed")
        if found := _FORBIDDEN.search(data):
            raise FormatError(
                f"{where}: byte {found.start()} is a control character other than tab and newline"
            )
        parser = _Parser()
        # Names are opaque octets: what is not UTF-8 is carried along as lone surrogates.
        for number, line in enumerate(data.decode("utf-8", "surrogateescape").split("\n"), 1):
            items = [item for item in re.split("[ \t]+", line) if item]
            if items and not items[0].startswith("#"):
                try:
                    parser.take(items)
                except FormatError as error:
                    raise FormatError(f"{where}, line {number}: {error}") from error
        if parser.quorum is None:
            raise FormatError(f"{where}: no quorum; add the line `quorum none` to ask for no witness")
        return cls(parser.quorum, tuple(parser.logs), parser.witnesses, parser.groups)

    def verify(self, note: bytes, log: VerifierKey | None = None, where: str = "checkpoint") -> Checkpoint:
        """Verifies that a checkpoint is one to accept: signed by a log one knows and cosigned by the quorum.

        Args:
          note: The signed checkpoint.
          log: The log it must be of; by default any of the policy's.
          where: Names the checkpoint in the error.

        Returns:
          What it says.

        Raises:
          FormatError: The bytes are no checkpoint.
          IntegrityError: It is not signed by such a log, a signature does not hold, or witnesses are missing.
        """
        logs = {log} if log else {endpoint.key for endpoint in self.logs}
        signed = verify_note(note, [*logs, *(witness.key for witness in self.witnesses.values())], where)
        checkpoint = Checkpoint.decode(signed.text)
        if not any(key in logs and key.name == checkpoint.origin for key in signed.signers):
            known = ", ".join(sorted(key.name for key in logs)) or "none is known"
            raise IntegrityError(where, f"not signed by a log that is accepted ({known})")
        cosigned = {name for name, witness in self.witnesses.items() if witness.key in signed.signers}
        if not self.satisfied(cosigned):
            raise IntegrityError(
                where,
                f"cosigned by {sorted(cosigned) or 'no witness'}, but the policy asks for {self.quorum!r}; "
                "ask the witnesses, or wait until the log has",
            )
        return checkpoint

    def satisfied(self, cosigned: Collection[str]) -> bool:
        """Whether these witnesses, by their names in the policy, are a quorum."""
        holds = {name: name in cosigned for name in self.witnesses}
        for name, group in self.groups.items():
            holds[name] = sum(holds[member] for member in group.members) >= group.threshold
        return self.quorum == NONE or holds[self.quorum]


class _Parser:
    """Takes the lines of a policy one by one."""

    def __init__(self) -> None:
        self.quorum: str | None = None
        self.logs: list[Endpoint] = []
        self.witnesses: dict[str, Endpoint] = {}
        self.groups: dict[str, Group] = {}
        self._grouped: set[str] = set()

    def take(self, items: list[str]) -> None:
        """Takes a line, split at its spaces."""
        match items:
            case ["log", vkey, *url] if len(url) <= 1:
                self.logs.append(self._endpoint(vkey, False, url, self.logs))
            case ["witness", name, vkey, *url] if len(url) <= 1:
                self._check_new(name)
                self.witnesses[name] = self._endpoint(vkey, True, url, self.witnesses.values())
            case ["group", name, threshold, *members] if members:
                self._check_new(name)
                self._group(name, threshold, members)
            case ["quorum", name]:
                if self.quorum is not None:
                    raise FormatError("there is a quorum already; keep one of them")
                if name != NONE:
                    self._check_defined(name)
                self.quorum = name
            case _:
                raise FormatError(f"{' '.join(items)[:80]!r} defines no log, witness, group or quorum")
        if max(len(self.logs), len(self.witnesses), len(self.groups)) > _LIMIT:
            raise FormatError(f"more than {_LIMIT} of a kind")

    @staticmethod
    def _endpoint(vkey: str, witness: bool, url: list[str], others: Iterable[Endpoint]) -> Endpoint:
        key = VerifierKey.decode(vkey)
        if (key.kind != ED25519) != witness:
            signer = "witness" if witness else "log"
            raise FormatError(
                f"the key of {key.name} has signature type {key.kind:#04x}, not one that a {signer} has"
            )
        if any(key.public == other.key.public for other in others):
            raise FormatError(f"the key of {key.name} is listed twice")
        return Endpoint(key, *url)

    def _group(self, name: str, threshold: str, members: list[str]) -> None:
        k = {"all": len(members), "any": 1}.get(threshold)
        if k is None and not _THRESHOLD.fullmatch(threshold):
            raise FormatError(f"group {name!r}: {threshold!r} is neither all, any nor a number from 1")
        k = k or int(threshold)
        if k > len(members):
            raise FormatError(f"group {name!r}: {k} of {len(members)} members can never be reached")
        for member in members:
            self._check_defined(member)
            if member in self._grouped:
                raise FormatError(f"group {name!r}: {member!r} is a member already; each counts once")
            self._grouped.add(member)
        self.groups[name] = Group(k, tuple(members))

    def _check_new(self, name: str) -> None:
        if name == NONE or name in self.witnesses or name in self.groups:
            raise FormatError(f"the name {name!r} is taken; choose another")

    def _check_defined(self, name: str) -> None:
        if name not in self.witnesses and name not in self.groups:
            raise FormatError(f"{name!r} is not defined on a line before")

"""The members of a local relay and their keys.

All keys derive from the run's seed, so that the same config gives the same ledger, byte for byte:
whoever knows the seed can sign as anyone. That is for experiments only. Keys that a member has changed since
are random, and lie in the directory.
"""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

from blake3 import blake3

from relayjax.errors import WorkdirError
from relayjax.identity import Keys, find_keys
from relayjax.mechanism.rules import Schedule
from relayjax.mechanism.state import Role, State

OBSERVER = "observer"


@dataclass(frozen=True)
class Members:
    """Keys of everybody in a local relay.

    Attributes:
      participants: p0, p1, ...: they bring data and train.
      validators: v0, v1, ...: they score; v0 also orders the records.
      observer: has joined, contributes nothing and so holds no licence.
      log: sign the log; v0's first keys, whatever it signs records with later.
    """

    participants: tuple[Keys, ...]
    validators: tuple[Keys, ...]
    observer: Keys
    log: Keys

    @classmethod
    def derive(cls, schedule: Schedule, seed: int) -> Members:
        """Keys of all members from the run's seed."""
        secret = seed.to_bytes(8, "big")

        def group(letter: str, count: int) -> tuple[Keys, ...]:
            digits = len(str(count - 1))
            return tuple(Keys.derive(f"{letter}{i:0{digits}}", secret) for i in range(count))

        validators = group("v", schedule.validators)
        return cls(
            participants=group("p", schedule.participants),
            validators=validators,
            observer=Keys.derive(OBSERVER, secret),
            log=validators[0],
        )

    def present(self, state: State, directory: Path) -> Members:
        """The members with the keys that they have now.

        Args:
          state: says which they are.
          directory: where those lie that took the place of derived ones.

        Raises:
          WorkdirError: some are not there.
        """

        def now(keys: Keys) -> Keys:
            member = state.members.get(keys.name)
            if member is None or member.signing == keys.public.signing:
                return keys
            if found := find_keys(directory, member.name, member.signing):
                return found
            raise WorkdirError(
                f"{directory}: {member.name} signs with {member.signing} now; put its {member.name}.pem and "
                f"{member.name}.age into a folder of this directory"
            )

        return dataclasses.replace(
            self,
            participants=tuple(map(now, self.participants)),
            validators=tuple(map(now, self.validators)),
            observer=now(self.observer),
        )

    @property
    def orderer(self) -> Keys:
        """The maintainer that orders the records."""
        return self.validators[0]

    @property
    def roles(self) -> list[tuple[Keys, Role]]:
        """Everybody but the orderer, whom the genesis record introduces, with the role to join in."""
        return [
            *((keys, Role.PARTICIPANT) for keys in self.participants),
            *((keys, Role.MAINTAINER) for keys in self.validators[1:]),
            (self.observer, Role.OBSERVER),
        ]

    @cached_property
    def by_name(self) -> dict[str, Keys]:
        """Everybody's keys by name."""
        everybody = (*self.participants, *self.validators, self.observer)
        return {keys.name: keys for keys in everybody}

    def save(self, directory: Path) -> None:
        """Writes all key files."""
        for keys in self.by_name.values():
            keys.save(directory)


def salt(seed: int, name: str, round: int, kind: str = "commitment") -> bytes:
    """A member's salt in a local relay, 16 bytes; a real member draws it at random.

    Args:
      seed: of the run.
      name: of the member.
      round: that it is for.
      kind: what it is for: a `commitment` to a delta, or the report, `score` or `value`, that is pledged.
    """
    material = b"%d\0%s\0%d" % (seed, name.encode(), round)
    return blake3(material, derive_key_context=f"relayjax 2026 local {kind} salt").digest(length=16)

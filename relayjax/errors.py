"""The exception tree. Every message names what was wrong, where, and what to do about it.

    RelayError
    ├── ConfigError        a setting has an impossible value, a wrong type or a misspelt name
    ├── DataError          data a task needs is missing or malformed
    ├── FormatError        bytes that do not follow their format (record, codec, key file, ...)
    ├── IntegrityError     well-formed bytes that are not the ones that were signed or recorded
    │   └── SplitViewError a log that shows its history in two ways
    │       └── RollbackError less of it than before; it may show the rest again
    ├── ProtocolError      a record that the rules do not allow in the present state
    ├── AccessError        sealed bytes and no key among those given that opens them
    ├── ExchangeError      whoever serves a relay can't be reached now, or does not take what is offered
    ├── DiskError          the disk is full, broken, read-only or does not let us
    └── WorkdirError       a run directory that is locked, belongs to another run, or is no run

A frontend catches `RelayError`; everything else that escapes is a defect of ours.
"""

from __future__ import annotations


class RelayError(Exception):
    """Base of every error RelayJAX raises on purpose."""


class ConfigError(RelayError):
    """A setting is misspelt, has the wrong type, or lies outside its range."""


class DataError(RelayError):
    """A task's data is missing or malformed."""


class FormatError(RelayError):
    """Bytes do not follow the format they claim."""


class IntegrityError(RelayError):
    """Bytes differ from what was signed or recorded.

    Attributes:
      where: the file, and where there is one the entry, that is wrong.
    """

    def __init__(self, where: str, problem: str):
        super().__init__(f"{where}: {problem}")
        self.where = where
        self.problem = problem


class SplitViewError(IntegrityError):
    """A log has signed what contradicts what it signed before.

    Attributes:
      evidence: what shows it to others; see `relayjax.ledger.evidence`.
    """

    def __init__(self, where: str, problem: str, evidence: bytes):
        super().__init__(where, problem)
        self.evidence = evidence


class RollbackError(SplitViewError):
    """A log shows less than it did before: a copy was put back, a cache is stale, or somebody replays it."""


class ProtocolError(RelayError):
    """A record is not allowed by the rules in the present state."""


class IncentiveError(RelayError):
    """An audit has found that honest work does not pay, or that something else pays better."""


class AccessError(RelayError):
    """None of the keys at hand opens these sealed bytes."""


class ExchangeError(RelayError):
    """Whoever serves a relay can't be reached now, or does not take what is offered; try again later.

    Attributes:
      where: the address.
      problem: what went wrong.
    """

    def __init__(self, where: str, problem: str, remedy: str):
        super().__init__(f"{where}: {problem}; {remedy}")
        self.where = where
        self.problem = problem


class DiskError(RelayError):
    """The disk refused to read or to write; what was durable before still is.

    Attributes:
      where: the file or directory.
      problem: what the disk said.
    """

    def __init__(self, where: str, problem: str, remedy: str):
        super().__init__(f"{where}: {problem}; {remedy}")
        self.where = where
        self.problem = problem


class WorkdirError(RelayError):
    """A run directory is locked, belongs to another run, or is no run at all."""

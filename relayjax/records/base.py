"""What all records have in common."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

Pairs = tuple[tuple[str, int], ...]


@dataclass(frozen=True)
class Record:
    """Base of all records.

    Attributes:
      author: name of the participant that signs the record.
    """

    KIND: ClassVar[str]
    author: str

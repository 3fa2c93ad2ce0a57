"""What the rules of all records share: how one is refused."""

from __future__ import annotations

from relayjax.errors import ProtocolError
from relayjax.mechanism.state import Phase, State
from relayjax.records import Record


def require(condition: bool, record: Record, problem: str) -> None:
    """Refuses a record unless a condition holds.

    Raises:
      ProtocolError: it does not; says whose record it is and the problem.
    """
    if not condition:
        raise ProtocolError(f"{record.KIND} of {record.author}: {problem}")


def in_phase(state: State, record: Record, phase: Phase) -> None:
    """Refuses a record out of its phase."""
    now = state.round.phase
    require(now is phase, record, f"belongs to the {phase.name.lower()} phase, this is {now.name.lower()}")


def is_hex(text: str, size: int) -> bool:
    """Whether a text is so many bytes in lower-case hexadecimal."""
    return len(text) == 2 * size and all(c in "0123456789abcdef" for c in text)

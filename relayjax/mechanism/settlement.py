"""What a round's end decides, and the one place where coins move.

A transfer is (source, target, amount, reason). Sources: `mint`, `pot`, `escrow:NAME`, a name. Targets: a
name, `pot`, `burn`. Booking them conserves coins: what was minted less what was burned always equals
balances + escrow + pot.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from relayjax.errors import ProtocolError
from relayjax.mechanism.state import State, Version
from relayjax.records import Pairs, Settle

Transfer = tuple[str, str, int, str]

MINT, POT, BURN, ESCROW = "mint", "pot", "burn", "escrow:"


@dataclass(frozen=True)
class Settlement:
    """The decisions of a round, before they are booked.

    Attributes:
      accepted: trainers whose work passed the test, sorted.
      refused: the other matched trainers, sorted.
      transfers: coin movements in order.
      versions: the versions made.
      heads: numbers of the versions the next round starts from, best first.
      licences: (name, version number) granted, sorted.
      worked: trainers whose leg counts towards what the last round pays, sorted.
    """

    accepted: tuple[str, ...]
    refused: tuple[str, ...]
    transfers: tuple[Transfer, ...]
    versions: tuple[Version, ...]
    heads: tuple[int, ...]
    licences: Pairs
    worked: tuple[str, ...] = ()

    def record(self, author: str, round: int) -> Settle:
        """The record that states this settlement."""
        return Settle(
            author=author,
            round=round,
            accepted=self.accepted,
            refused=self.refused,
            transfers=self.transfers,
            versions=tuple((v.number, v.digest, v.parent) for v in self.versions),
            heads=self.heads,
            licences=self.licences,
        )


@dataclass(frozen=True)
class Accounts:
    """All coins of a state: balances, escrow, pot, and the totals minted and burned."""

    balances: dict[str, int]
    escrow: dict[str, int]
    pot: int
    minted: int
    burned: int


def book(state: State, transfers: Iterable[Transfer]) -> Accounts:
    """Applies transfers to a state's accounts.

    Raises:
      ProtocolError: an amount is negative, an account would be overdrawn, or is unknown.
    """
    balances, escrow = dict(state.balances), dict(state.round.deposits)
    pot, minted, burned = state.pot, state.minted, state.burned
    for source, target, amount, reason in transfers:
        if amount < 0:
            raise ProtocolError(f"{reason}: the transfer of {amount} micro-coins is negative")
        if source == MINT:
            minted += amount
        elif source == POT:
            pot -= amount
        elif source.startswith(ESCROW):
            name = source.removeprefix(ESCROW)
            escrow[name] = escrow.get(name, 0) - amount
            if escrow[name] < 0:
                raise ProtocolError(f"{reason}: escrow of {name} holds less than {amount} micro-coins")
        elif source in balances:
            balances[source] -= amount
            if balances[source] < 0:
                raise ProtocolError(f"{reason}: {source} holds less than {amount} micro-coins")
        else:
            raise ProtocolError(f"{reason}: there is no account {source!r}")
        if target == POT:
            pot += amount
        elif target == BURN:
            burned += amount
        elif target in balances:
            balances[target] += amount
        else:
            raise ProtocolError(f"{reason}: there is no account {target!r}")
        if pot < 0:
            raise ProtocolError(f"{reason}: the pot holds less than {amount} micro-coins")
    return Accounts(balances, escrow, pot, minted, burned)


def split(amount: int, weights: Pairs) -> list[tuple[str, int]]:
    """Divides an amount in proportion to non-negative integer weights, rounding down.

    Nobody gains by splitting a weight in two: the parts of ⌊amount·w/Σ⌋ never exceed the whole.
    """
    total = sum(weight for _, weight in weights)
    return [(name, amount * weight // total) for name, weight in weights] if total else []

"""How the `relayjax` rules divide a pot: whose work is paid how much, and out of what.

    (1 − ρ) Π · v_i / Σ v_j           to each trainer with a positive measured value v_i
    ρ Π (1 − γ) γ^(d−1) · v_i / Σ v_j  to the contributors of the d-th valued version up the lineage

The oldest valued version takes the rest of the royalty. What floors leave over stays in the pot. Amounts are
micro-coins, values micro-nats.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from relayjax.mechanism.rules import MILLION, RelayJAXRules
from relayjax.mechanism.settlement import POT, Transfer, split
from relayjax.mechanism.state import Version
from relayjax.records import Pairs


@dataclass(frozen=True)
class Royalty:
    """What one valued version earns its contributors.

    Attributes:
      version: its number.
      amount: its part of the royalty.
      parts: (name, micro-coins) of its contributors.
    """

    version: int
    amount: int
    parts: Pairs


@dataclass(frozen=True)
class Payout:
    """How a pot is divided.

    Attributes:
      pot: what there is to divide.
      royalty: the share of it that is set aside for earlier valued versions.
      values: (name, positive value) of the round's contributors; empty when only royalties are paid.
      parts: (name, micro-coins) paid for them.
      royalties: by version, the nearest first.
    """

    pot: int
    royalty: int
    values: Pairs
    parts: Pairs
    royalties: tuple[Royalty, ...]

    @property
    def total(self) -> int:
        """Sum of the positive values."""
        return sum(value for _, value in self.values)

    def transfers(self) -> list[Transfer]:
        """The movements of coins, royalties summed up by name."""
        earned: dict[str, int] = {}
        for royalty in self.royalties:
            for name, amount in royalty.parts:
                earned[name] = earned.get(name, 0) + amount
        values = [(POT, name, amount, "value") for name, amount in self.parts]
        return values + [(POT, name, amount, "royalty") for name, amount in sorted(earned.items()) if amount]


def divide(pot: int, lineage: Sequence[Version], rules: RelayJAXRules, *, last: bool) -> Payout:
    """Divides a pot over the valued versions of a lineage.

    Args:
      pot: what there is to divide.
      lineage: valued versions, nearest first; the first one was made in this round, unless it is the last.
      rules: with ρ the `royalty_share` and γ the `royalty_decay`.
      last: whether this is the relay's last round, which sends the whole pot down the lineage.
    """
    if last or not lineage:
        return Payout(pot, pot, (), (), _royalties(pot, lineage, rules))
    made, ancestors = lineage[0], lineage[1:]
    royalty = pot * rules.royalty_share // MILLION if ancestors else 0
    parts = tuple(split(pot - royalty, made.values))
    return Payout(pot, royalty, made.values, parts, _royalties(royalty, ancestors, rules))


def _royalties(pool: int, lineage: Sequence[Version], rules: RelayJAXRules) -> tuple[Royalty, ...]:
    """Each version gets (1 − γ) of what the nearer ones left, the oldest the rest."""
    found = []
    for version in lineage:
        oldest = version is lineage[-1]
        amount = pool if oldest else pool * (MILLION - rules.royalty_decay) // MILLION
        pool -= amount
        found.append(Royalty(version.number, amount, tuple(split(amount, version.values))))
    return tuple(found)

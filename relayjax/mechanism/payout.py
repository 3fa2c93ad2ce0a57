"""How the `relayjax` rules divide the pot: whose work is paid how much, and out of what.

    Π = S · Σ v_j / ℓ                  due in a braid round, at most what the pot holds
    (1 − ρ) Π · v_i / Σ v_j            of it to each trainer with a value v_i that counts
    ρ Π (1 − γ) γ^(d−1) · v_i / Σ v_j  to the contributors of the d-th valued version up the lineage

S is all that the relay mints for training, ℓ the loss of the head that the first valued round started from: a
nat is worth the same from the first round to the last, so that nobody gains by holding work back. The oldest
valued version takes the rest of the royalty. In the relay's last round all that is in the pot is shared in
proportion to all value measured in the lineage, and to the legs a trainer worked in, up to what is usual: so
legs in which nothing is valued, and staying to the end, pay, too. What floors leave over stays in the pot.
Amounts are micro-coins, values and losses micro-nats.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from statistics import median_low

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
    """How what is due in a braid round is divided.

    Attributes:
      due: what there is to divide.
      royalty: the share of it that is set aside for earlier valued versions.
      values: (name, positive value) of the round's contributors.
      parts: (name, micro-coins) paid for them.
      royalties: by version, the nearest first.
    """

    due: int
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


def divide(pot: int, supply: int, opening: int, lineage: Sequence[Version], rules: RelayJAXRules) -> Payout:
    """Divides what is due in a braid round.

    Args:
      pot: what there is.
      supply: S.
      opening: ℓ, positive.
      lineage: valued versions, nearest first; the first one was made in this round.
      rules: with ρ the `royalty_share` and γ the `royalty_decay`.
    """
    made, ancestors = lineage[0], lineage[1:]
    due = min(pot, supply * sum(value for _, value in made.values) // opening)
    royalty = due * rules.royalty_share // MILLION if ancestors else 0
    parts = tuple(split(due - royalty, made.values))
    return Payout(due, royalty, made.values, parts, _royalties(royalty, ancestors, rules))


def remainder(pot: int, lineage: Sequence[Version], worked: Mapping[str, int], rules: RelayJAXRules) -> Pairs:
    """What is left at the end, in proportion to all value in the lineage and to legs worked.

    Args:
      pot: what there is.
      lineage: valued versions.
      worked: name → in how many rounds it worked.
      rules: with the `full_share`.

    Returns:
      (name, micro-coins), sorted.
    """
    return tuple(split(pot, attended(measured(lineage), worked, rules)))


def attended(values: Pairs, worked: Mapping[str, int], rules: RelayJAXRules) -> Pairs:
    """Values times min(legs worked, those that count); values alone where these are none."""
    full = full_legs(values, worked, rules)
    if not full:
        return values
    return tuple((name, value * min(worked.get(name, 0), full)) for name, value in values)


def full_legs(values: Pairs, worked: Mapping[str, int], rules: RelayJAXRules) -> int:
    """How many legs count: the `full_share` of the lower median of those of everybody who has a value."""
    usual = median_low(worked.get(name, 0) for name, _ in values) if values else 0
    return -(-usual * rules.full_share // MILLION)


def measured(lineage: Sequence[Version]) -> Pairs:
    """All value that counts in a lineage: (name, micro-nats), sorted."""
    total: dict[str, int] = {}
    for version in lineage:
        for name, value in version.values:
            total[name] = total.get(name, 0) + value
    return tuple(sorted(total.items()))


def _royalties(pool: int, lineage: Sequence[Version], rules: RelayJAXRules) -> tuple[Royalty, ...]:
    """Each version gets (1 − γ) of what the nearer ones left, the oldest the rest."""
    found = []
    for version in lineage:
        oldest = version is lineage[-1]
        amount = pool if oldest else pool * (MILLION - rules.royalty_decay) // MILLION
        pool -= amount
        found.append(Royalty(version.number, amount, tuple(split(amount, version.values))))
    return tuple(found)

"""The payouts of the `relayjax` rules by round: the settled pots, divided again by the rules' own code."""

from __future__ import annotations

from relayjax.history import History
from relayjax.mechanism.payout import Payout, divide
from relayjax.mechanism.rules import RelayJAXRules
from relayjax.mechanism.settlement import POT
from relayjax.records import Settle


def payouts(history: History, rules: RelayJAXRules) -> dict[int, Payout]:
    """How the pot was divided, by round, in every round that paid it out."""
    found, pot = {}, 0
    for settled in history.rounds:
        settle = settled.settle
        divided = pot + _flow(settle, without=("value", "royalty"))
        pot += _flow(settle)
        line = [version for version in history.state.lineage(settle.heads[0]) if version.values]
        last = settle.round == history.state.schedule.rounds
        if last or (settle.versions and history.state.versions[settle.heads[0]].values):
            found[settle.round] = divide(divided, line, rules, last=last)
    return found


def _flow(settle: Settle, without: tuple[str, ...] = ()) -> int:
    """What a settlement brings the pot: everything in, less everything out but for some reasons."""
    into = sum(amount for _, target, amount, _ in settle.transfers if target == POT)
    out = sum(a for source, _, a, reason in settle.transfers if source == POT and reason not in without)
    return into - out

"""The payouts of the `relayjax` rules by round: what was due, divided again by the rules' own code."""

from __future__ import annotations

from relayjax.history import History
from relayjax.mechanism.payout import Payout, divide
from relayjax.mechanism.rules import RelayJAXRules
from relayjax.mechanism.settlement import POT
from relayjax.records import Settle


def payouts(history: History, rules: RelayJAXRules) -> dict[int, Payout]:
    """How what was due was divided, by round, in every round that paid for value."""
    found, pot, state = {}, 0, history.state
    supply = rules.supply(state.schedule.rounds)
    for settled in history.rounds:
        settle = settled.settle
        before = pot + _flow(settle, without=("value", "royalty", "remainder"))
        pot += _flow(settle)
        line = [version for version in state.lineage(settle.heads[0]) if version.values]
        last = settle.round == state.schedule.rounds
        if not last and settle.versions and state.versions[settle.heads[0]].values:
            found[settle.round] = divide(before, supply, state.opening, line, rules)
    return found


def _flow(settle: Settle, without: tuple[str, ...] = ()) -> int:
    """What a settlement brings the pot: everything in, less everything out but for some reasons."""
    into = sum(amount for _, target, amount, _ in settle.transfers if target == POT)
    out = sum(a for source, _, a, reason in settle.transfers if source == POT and reason not in without)
    return into - out

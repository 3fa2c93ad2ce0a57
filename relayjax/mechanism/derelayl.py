"""The `derelayl` rules: the round as the authors of DeRelayL simulate it (arXiv 2605.02935).

Owners are the winners of the round before, trainers are drawn so that both together are half of all
participants, the rest maintain. Owners, best model first, take the highest bidding trainers, a few
each. The best `⌊s·m⌋` of m candidates survive; each mints one coin for the owner of every ancestor, two
for that of the genesis. Everybody else's deposit is lost. It is the baseline: supply grows with the
square of the rounds, and the relay ends for good in a round in which nothing survives.

It plays what the authors' program plays, to the unit; `relayjax/simulation/` plays the same for
populations (tests/mechanism/test_derelayl_simulated.py). One thing differs on purpose: who writes a block
is drawn without replacement here, so that one maintainer writes two only where there are fewer than four.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from relayjax.mechanism.base import child_losses
from relayjax.mechanism.rules import COIN, MILLION, DeRelayLRules
from relayjax.mechanism.settlement import BURN, ESCROW, MINT, Settlement, Transfer
from relayjax.mechanism.state import Role, State, Topology, Version


@dataclass(frozen=True)
class DeRelayL:
    """The mechanism of the paper."""

    rules: DeRelayLRules

    def topology(self, state: State) -> Topology:
        return Topology.TREE

    def owners(self, state: State) -> dict[str, int]:
        """Owner → number of the version it offers, best first; who is revoked offers none."""
        if state.heads == (0,):
            offered = dict.fromkeys(_genesis_owner(state), 0)
        else:
            offered = {state.versions[number].owners[0]: number for number in state.heads}
        return {owner: number for owner, number in offered.items() if state.counts(state.members[owner])}

    def trainers(self, state: State) -> tuple[str, ...]:
        """Drawn by lot from those who own nothing, so that owners + trainers = n / 2."""
        everybody, owners = state.serving(Role.PARTICIPANT), self.owners(state)
        others = sorted((n for n in everybody if n not in owners), key=state.lot)
        return tuple(sorted(others[: max(0, len(everybody) // 2 - len(owners))]))

    def maintainers(self, state: State) -> tuple[str, ...]:
        busy = {*self.owners(state), *self.trainers(state)}
        return tuple(n for n in state.serving(Role.PARTICIPANT) if n not in busy)

    def bidders(self, state: State) -> tuple[str, ...]:
        return tuple(sorted({*self.owners(state), *self.trainers(state)}))

    def suggested_bid(self, state: State, name: str) -> int | None:
        balance = state.balances[name]
        if name in self.owners(state):
            return min(balance, self.rules.owner_bid) // self.rules.places
        behind = state.round.number - 1 - state.holdings.get(name, 0)
        return min(balance, (behind + self.rules.bid_margin) * COIN)

    def match(self, state: State) -> Mapping[str, int]:
        """Each owner in turn takes the best bidders left, at most `places` of them."""
        bids = state.round.bids
        queue = sorted((n for n in self.trainers(state) if n in bids), key=lambda n: (-bids[n], state.lot(n)))
        pairs: dict[str, int] = {}
        for owner, number in self.owners(state).items():
            if owner in bids:
                taken, queue = queue[: self.rules.places], queue[self.rules.places :]
                pairs |= dict.fromkeys(taken, number)
        return pairs

    def deposits(self, state: State) -> Mapping[str, int]:
        bids, owner_of = state.round.bids, {number: owner for owner, number in self.owners(state).items()}
        due = {trainer: bids[trainer] for trainer in state.round.pairs}
        for number in state.round.pairs.values():
            owner = owner_of[number]
            due[owner] = due.get(owner, 0) + bids[owner]
        return due

    def accepted(self, state: State) -> tuple[str, ...]:
        """Of equal candidates the one that was matched first comes first."""
        losses, order = child_losses(state), {name: place for place, name in enumerate(self.match(state))}
        ranked = sorted(state.round.submissions, key=lambda n: (losses[n], order[n]))
        return tuple(ranked[: len(ranked) * self.rules.accepted_share // MILLION])

    def settle(self, state: State) -> Settlement:
        accepted = self.accepted(state) if state.round.scores else ()
        first = len(state.versions)
        versions = tuple(
            Version(
                first + i,
                state.round.submissions[trainer].child,
                state.round.pairs[trainer],
                state.round.number,
                (trainer,),
            )
            for i, trainer in enumerate(accepted)
        )
        scored = sorted(state.round.scores)
        licences = [(v.owners[0], v.number) for v in versions]
        licences += [(name, versions[-1].number) for name in scored if versions]
        return Settlement(
            accepted=tuple(sorted(accepted)),
            refused=tuple(sorted(set(state.round.pairs) - set(accepted))),
            transfers=tuple(self._transfers(state, accepted)),
            versions=versions,
            heads=tuple(v.number for v in versions),
            licences=tuple(sorted(licences)),
        )

    def _transfers(self, state: State, accepted: tuple[str, ...]) -> list[Transfer]:
        owners = self.owners(state)
        owner_of = {number: owner for owner, number in owners.items()}
        bids, moves = state.round.bids, []
        for trainer, number in state.round.pairs.items():
            for name in (trainer, owner_of[number]):
                if name not in state.round.deposits:
                    continue
                if trainer in accepted:
                    moves.append((ESCROW + name, name, bids[name], "deposit returned"))
                else:
                    moves.append((ESCROW + name, BURN, bids[name], "deposit lost"))
        rewards: dict[str, int] = {}
        for trainer in accepted:
            for ancestor in state.lineage(state.round.pairs[trainer]):
                (owner,) = ancestor.owners or _genesis_owner(state)
                shares = 1 if ancestor.owners else self.rules.genesis_shares
                rewards[owner] = rewards.get(owner, 0) + shares * self.rules.lineage_reward
        moves += [(MINT, name, amount, "lineage") for name, amount in sorted(rewards.items())]
        return moves + self._fees(state)

    def _fees(self, state: State) -> list[Transfer]:
        """Pays the writer of each of the four blocks, drawn by lot among the maintainers.

        The deposit block holds one item a pair, with both of its bids.
        """
        writers = sorted(self.maintainers(state), key=state.lot)
        pairs, models, cases = len(state.round.pairs), len(state.round.submissions), state.schedule.draw
        items = (pairs, models, cases + models, models + models * cases)
        if not writers or not pairs:
            return []
        return [
            (MINT, writers[i % len(writers)], self.rules.fee * count, "maintenance")
            for i, count in enumerate(items)
        ]


def _genesis_owner(state: State) -> tuple[str, ...]:
    """The participant that joined first; nobody while there is none."""
    return tuple(m.name for m in state.members.values() if m.role is Role.PARTICIPANT)[:1]

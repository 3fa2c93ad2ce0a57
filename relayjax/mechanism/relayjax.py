"""The `relayjax` rules: bounded supply, trust region, payout by measured value, decaying royalty.

The supply is fixed: so many coins a round. The validators' part is minted round by round, for those whose
figures lie near the median; who lies far from it or withholds its report is slashed (`truth.py`). All that
trainers will be paid is minted at the start. A braid round pays for measured value at one price a nat
(`payout.py`); refused work forfeits its deposit to the pot; the relay's last round shares out what is left in
proportion to all value measured.

A version is licensed to everybody whose work in its lineage was measured to be worth something, and to the
validators that scored the round truthfully.

A leg is accepted when it raises the validation loss by at most the tolerance: half of all honest legs
raise it for a moment on skewed data, so demanding improvement stalls the relay. In a braid round it must
also be new: a delta that points where an accepted one did, or one committed before it, is a replay or a copy;
it is refused, and its deposit returned, for honest work may repeat itself.
A value is paid only beyond the noise floor: a random direction of the same length has a value, too.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from statistics import median_high, median_low

from relayjax.mechanism.base import (
    echoes,
    loss_rises,
    luck,
    medians,
    opening_loss,
    parent_losses,
    slopes,
)
from relayjax.mechanism.payout import divide, remainder
from relayjax.mechanism.rules import MILLION, RelayJAXRules
from relayjax.mechanism.settlement import ESCROW, MINT, POT, Settlement, Transfer, book
from relayjax.mechanism.state import Role, Round, State, Topology, Version
from relayjax.mechanism.truth import Verdict, composition, judge
from relayjax.records import Pairs


@dataclass(frozen=True)
class RelayJAX:
    """The default mechanism."""

    rules: RelayJAXRules

    def topology(self, state: State) -> Topology:
        braid = state.round.number in state.schedule.braid_rounds
        return Topology.BRAID if braid else Topology.CHAIN

    def maintainers(self, state: State) -> tuple[str, ...]:
        return state.serving(Role.MAINTAINER)

    def bidders(self, state: State) -> tuple[str, ...]:
        return state.serving(Role.PARTICIPANT)

    def suggested_bid(self, state: State, name: str) -> int | None:
        return self.rules.deposit if state.balances[name] >= self.rules.deposit else None

    def match(self, state: State) -> Mapping[str, int]:
        """All who bid enough in a braid round; else, of them, who has waited longest (`State.waiting`).

        The deposit comes back, so did the highest bid count, whoever has most would take every round.
        """
        eligible = [name for name, bid in state.round.bids.items() if bid >= self.rules.deposit]
        if self.topology(state) is Topology.CHAIN:
            eligible.sort(key=state.waiting)
            eligible = eligible[:1]
        return dict.fromkeys(sorted(eligible), state.head.number)

    def deposits(self, state: State) -> Mapping[str, int]:
        return {name: state.round.bids[name] for name in state.round.pairs}

    def accepted(self, state: State) -> tuple[str, ...]:
        rises, along, alike = loss_rises(state.round), slopes(state.round), echoes(state.round)
        before, tolerance = parent_losses(state), self._tolerance(state)
        passed = [
            name
            for name, rise in rises.items()
            if self.rules.trusted(rise, along[name], before[str(state.round.pairs[name])], tolerance)
            and alike.get(name, 0) <= self.rules.echo_limit
        ]
        return tuple(sorted(passed, key=lambda n: (rises[n], n)))

    def settle(self, state: State) -> Settlement:
        accepted = self.accepted(state) if state.round.scores else ()
        verdict = judge(state.round, len(self.maintainers(state)), self.rules.score_tolerance)
        version = self._version(state, accepted)
        heads = (version.number,) if version else state.heads
        line = [*([version] if version else []), *state.lineage(state.head.number)]
        lineage = [v for v in line if v.values]
        contributors = {name for ancestor in lineage for name, _ in ancestor.values}
        licensed = sorted({*contributors, *verdict.truthful}) if version else []
        return Settlement(
            accepted=tuple(sorted(accepted)),
            refused=tuple(sorted(set(state.round.pairs) - set(accepted))),
            transfers=tuple(self._transfers(state, accepted, verdict, version, lineage)),
            versions=(version,) if version else (),
            heads=heads,
            licences=tuple((name, heads[0]) for name in licensed),
            worked=self._worked(state.round, accepted),
        )

    def _worked(self, round: Round, accepted: tuple[str, ...]) -> tuple[str, ...]:
        """Whose accepted delta points downhill as no direction drawn at random would."""
        found, chance = slopes(round), luck(round)
        return tuple(sorted(n for n in accepted if -MILLION * found[n] > self.rules.noise_floor * chance[n]))

    def _tolerance(self, state: State) -> int:
        return self.rules.tolerance_in(state.round.number, state.schedule.rounds)

    def _version(self, state: State, accepted: tuple[str, ...]) -> Version | None:
        """The version this round makes: the accepted child, or the composition if it is no worse."""
        if not accepted:
            return None
        number, parent, round = len(state.versions), state.head.number, state.round.number
        if self.topology(state) is Topology.CHAIN:
            trainer = accepted[0]
            return Version(number, state.round.submissions[trainer].child, parent, round, (trainer,))
        before = parent_losses(state)[str(parent)]
        composed = composition(state.round, len(self.maintainers(state)))
        loss = median_low(value.loss for value in state.round.values.values())
        if composed is None or loss - before > self._tolerance(state):
            return None
        owners = tuple(sorted(accepted))
        return Version(number, composed, parent, round, owners, self._above_noise(state.round, owners))

    def _above_noise(self, round: Round, owners: tuple[str, ...]) -> Pairs:
        """Values beyond what the draw of the test and the luck of a random direction explain."""
        reports = round.values.values()
        measured = medians(value.values for value in reports)
        stderr = medians((value.stderr for value in reports), of=median_high)
        chance = medians((value.chance for value in reports), of=median_high)
        floor = {name: self.rules.noise_floor**2 * (stderr[name] ** 2 + chance[name] ** 2) for name in owners}
        return tuple(
            (name, measured[name])
            for name in owners
            if measured[name] > 0 and (MILLION * measured[name]) ** 2 > floor[name]
        )

    def _legs(self, state: State, accepted: tuple[str, ...]) -> dict[str, int]:
        """In how many rounds everybody has worked, this one included."""
        now = self._worked(state.round, accepted)
        return {name: state.worked.get(name, 0) + (name in now) for name in sorted({*state.worked, *now})}

    def _minted(self, state: State) -> int:
        """The round's wages; in the first round also all that trainers will be paid."""
        opening = self.rules.supply(state.schedule.rounds) if state.round.number == 1 else 0
        return self.rules.wages + opening

    def _transfers(
        self,
        state: State,
        accepted: tuple[str, ...],
        verdict: Verdict,
        version: Version | None,
        lineage: list[Version],
    ) -> list[Transfer]:
        moves: list[Transfer] = [(MINT, POT, self._minted(state), "emission")]
        alike = echoes(state.round)  # an echo earns nothing, but honest work may repeat itself
        for name, amount in sorted(state.round.deposits.items()):
            if name in accepted or alike.get(name, 0) > self.rules.echo_limit:
                moves.append((ESCROW + name, name, amount, "deposit returned"))
            else:
                moves.append((ESCROW + name, POT, amount, "deposit forfeited"))
        unpaid = {n: state.round.bids[n] for n in state.round.pairs if n not in state.round.deposits}
        kept = {name: min(bid, state.balances[name]) for name, bid in unpaid.items()}
        moves += [(name, POT, amount, "deposit not paid") for name, amount in sorted(kept.items()) if amount]
        wage = self.rules.wages // len(self.maintainers(state))
        moves += [(POT, name, wage, "maintenance") for name in verdict.truthful]
        lost = {name: min(self.rules.slash, state.balances[name]) for name in verdict.slashed}
        moves += [(name, POT, amount, "slashed") for name, amount in lost.items() if amount]
        pot = book(state, moves).pot
        if state.round.number == state.schedule.rounds:
            left = remainder(pot, lineage, self._legs(state, accepted), self.rules)
            moves += [(POT, name, part, "remainder") for name, part in left if part]
        elif version and version.values:
            opening = state.opening or opening_loss(state)
            supply = self.rules.supply(state.schedule.rounds)
            moves += divide(pot, supply, opening, lineage, self.rules).transfers()
        return moves

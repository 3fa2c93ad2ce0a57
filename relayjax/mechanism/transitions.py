"""One rule a record: what must hold before it is accepted, and what it changes.

A record that the rules do not allow raises `ProtocolError` and changes nothing.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping
from typing import Any

from relayjax.errors import ProtocolError
from relayjax.mechanism import membership, succession
from relayjax.mechanism.base import Mechanism, opening_loss
from relayjax.mechanism.checks import in_phase, is_hex, require
from relayjax.mechanism.phases import in_round, next_phase, trains
from relayjax.mechanism.rules import MILLION
from relayjax.mechanism.rulesets import mechanism
from relayjax.mechanism.settlement import Settlement, book
from relayjax.mechanism.state import Phase, State, Topology
from relayjax.records import (
    Bid,
    Close,
    Commit,
    Deposit,
    Draw,
    Genesis,
    Join,
    Match,
    Pairs,
    Pledge,
    Record,
    Recover,
    RecoveryKey,
    Revoke,
    Rotate,
    Score,
    Settle,
    Submit,
    Succeed,
    Value,
    commitment,
    report_commitment,
)


def expected_settlement(state: State) -> Settle:
    """The settle record that ends the present round."""
    return _settlement(state, mechanism(state.rules)).record(state.orderer, state.round.number)


def expected_match(state: State) -> Match:
    """The match record that ends the present auction."""
    pairs = mechanism(state.rules).match(state)
    return Match(state.orderer, state.round.number, tuple(sorted(pairs.items())))


def expected_draw(state: State) -> Draw:
    """The draw record that fixes the present test."""
    number = state.round.number
    return Draw(state.orderer, number, state.transcript.hex(), state.schedule.tested(number))


def check_digests(genesis: Genesis) -> None:
    """Refuses a genesis record whose digests are none."""
    for digest in (genesis.weights, genesis.validation):
        require(is_hex(digest, 32), genesis, "a digest is 64 hexadecimal digits")


def _bid(state: State, record: Bid, rules: Mechanism) -> State:
    in_phase(state, record, Phase.AUCTION)
    require(record.author in rules.bidders(state), record, "has no place to bid for in this round")
    require(record.author not in state.round.bids, record, "has bid already")
    require(0 <= record.amount <= state.balances[record.author], record, "the amount exceeds the balance")
    return in_round(state, bids={**state.round.bids, record.author: record.amount})


def _match(state: State, record: Match, _: Mechanism) -> State:
    in_phase(state, record, Phase.AUCTION)
    _derived(record, expected_match(state))
    return state.matched(dict(record.pairs))


def _deposit(state: State, record: Deposit, rules: Mechanism) -> State:
    in_phase(state, record, Phase.DEPOSIT)
    due = rules.deposits(state)
    require(record.author in due, record, "was not matched")
    require(record.author not in state.round.deposits, record, "has deposited already")
    require(record.amount == due[record.author], record, f"the deposit due is {due[record.author]}")
    balance = state.balances[record.author] - record.amount
    require(balance >= 0, record, "the amount exceeds the balance")
    state = in_round(state, deposits={**state.round.deposits, record.author: record.amount})
    return dataclasses.replace(state, balances={**state.balances, record.author: balance})


def _commit(state: State, record: Commit, _: Mechanism) -> State:
    in_phase(state, record, Phase.COMMIT)
    require(trains(state, record.author), record, "is not training in this round")
    require(record.author not in state.round.commitments, record, "has committed already")
    require(is_hex(record.commitment, 32), record, "a commitment is 64 hexadecimal digits")
    return in_round(state, commitments={**state.round.commitments, record.author: record.commitment})


def _submit(state: State, record: Submit, _: Mechanism) -> State:
    in_phase(state, record, Phase.REVEAL)
    require(record.author in state.round.commitments, record, "has not committed")
    require(record.author not in state.round.submissions, record, "has submitted already")
    parent = state.versions[state.round.pairs[record.author]].digest
    require(record.parent == parent, record, f"the parent is {parent}")
    require(record.codec == state.schedule.codec, record, f"the codec is {state.schedule.codec}")
    for digest in (record.delta, record.child):
        require(is_hex(digest, 32), record, "a digest is 64 hexadecimal digits")
    require(is_hex(record.salt, 16), record, "a salt is 32 hexadecimal digits")
    salted = commitment(bytes.fromhex(record.salt), record.delta, parent, record.round, record.author)
    require(salted == state.round.commitments[record.author], record, "is not what was committed to")
    state = in_round(state, submissions={**state.round.submissions, record.author: record})
    return dataclasses.replace(state, holdings={**state.holdings, record.author: record.round})


def _draw(state: State, record: Draw, _: Mechanism) -> State:
    in_phase(state, record, Phase.TESTING)
    require(not state.round.seed, record, "the test is drawn already")
    _derived(record, expected_draw(state))
    return state.drawn(record.seed)


def _pledge(state: State, record: Pledge, rules: Mechanism) -> State:
    now = state.round
    fits = now.phase in (Phase.TESTING, Phase.APPRAISAL)
    require(fits, record, f"belongs to the testing and appraisal phases, this is {now.phase.name.lower()}")
    require(bool(now.seed), record, "the test is not drawn yet")
    require(record.author in rules.maintainers(state), record, "does not maintain this round")
    require(is_hex(record.commitment, 32), record, "a commitment is 64 hexadecimal digits")
    field = "pledges" if now.phase is Phase.TESTING else "appraisals"
    made: dict[str, str] = {**getattr(now, field)}
    require(record.author not in made, record, "has pledged already")
    # Otherwise others could show it once more as a pledge to a value, which its author then can't report.
    replayed = field == "appraisals" and now.pledges.get(record.author) == record.commitment
    require(not replayed, record, "is the pledge to its score; a value has another")
    return in_round(state, **{field: {**made, record.author: record.commitment}})


def _pledged(record: Score | Value, pledges: Mapping[str, str]) -> None:
    """Refuses a report that its author was not bound to before anybody's was shown."""
    require(record.author in pledges, record, "made no pledge, so it may have copied what others showed")
    require(is_hex(record.salt, 16), record, "a salt is 32 hexadecimal digits")
    made = report_commitment(record)
    require(made == pledges[record.author], record, "is not what was pledged: show the very same report")


def _score(state: State, record: Score, rules: Mechanism) -> State:
    in_phase(state, record, Phase.SCORING)
    require(record.author not in state.round.scores, record, "has scored already")
    _pledged(record, state.round.pledges)
    _covers(record, record.children, state.round.submissions)
    parents = {str(state.round.pairs[trainer]) for trainer in state.round.submissions}
    _covers(record, record.parents, parents)
    braid = rules.topology(state) is Topology.BRAID
    tree = rules.topology(state) is Topology.TREE
    _covers(record, record.slopes, () if tree else state.round.submissions)
    _covers(record, record.chance, () if tree else state.round.submissions)
    _covers(record, record.echoes, state.round.submissions if braid else ())
    _within(record, record.chance, None)
    _within(record, record.echoes, MILLION)
    return in_round(state, scores={**state.round.scores, record.author: record})


def _value(state: State, record: Value, rules: Mechanism) -> State:
    in_phase(state, record, Phase.VALUATION)
    require(record.author not in state.round.values, record, "has valued already")
    _pledged(record, state.round.appraisals)
    require(is_hex(record.composed, 32), record, "a digest is 64 hexadecimal digits")
    accepted = rules.accepted(state)
    for pairs in (
        record.values,
        record.stderr,
        record.chance,
        record.shapley,
        record.shapley_stderr,
    ):
        _covers(record, pairs, accepted)
    for pairs in (record.stderr, record.chance, record.shapley_stderr):
        _within(record, pairs, None)
    return in_round(state, values={**state.round.values, record.author: record})


def _close(state: State, record: Close, rules: Mechanism) -> State:
    """Goes on without those who stay away; pledges and reports need a majority of the maintainers."""
    phase = state.round.phase
    require(record.author == state.orderer, record, "only the ordering maintainer closes a phase")
    require(record.phase == phase.name.lower(), record, f"the present phase is {phase.name.lower()}")
    require(phase not in (Phase.AUCTION, Phase.SETTLEMENT), record, "this phase ends with a derived record")
    now = state.round
    done: dict[Phase, tuple[Mapping[str, Any], str]] = {
        Phase.TESTING: (now.pledges, "pledged"),
        Phase.SCORING: (now.scores, "reported"),
        Phase.APPRAISAL: (now.appraisals, "pledged"),
        Phase.VALUATION: (now.values, "reported"),
    }
    if phase in done:
        those, what = done[phase]
        quorum = 2 * len(those) > len(rules.maintainers(state))
        require(quorum, record, f"no majority of the maintainers has {what}")
    return next_phase(state, rules)


def _settle(state: State, record: Settle, rules: Mechanism) -> State:
    in_phase(state, record, Phase.SETTLEMENT)
    settlement = _settlement(state, rules)
    _derived(record, settlement.record(state.orderer, state.round.number))
    return settled(state, settlement)


def _settlement(state: State, rules: Mechanism) -> Settlement:
    return membership.entitled(state, rules.settle(state))


def settled(state: State, settlement: Settlement) -> State:
    """The state once a settlement is booked; its round stays the old one.

    Raises:
      ProtocolError: coins would stay in escrow, or an account would be overdrawn.
    """
    accounts = book(state, settlement.transfers)
    if any(accounts.escrow.values()):
        raise ProtocolError("settlement: coins would stay in escrow")
    licences = {**state.licences, **dict(settlement.licences)}
    valued = any(version.values for version in settlement.versions)
    worked = {name: state.worked.get(name, 0) + 1 for name in settlement.worked}
    return dataclasses.replace(
        state,
        balances=accounts.balances,
        pot=accounts.pot,
        minted=accounts.minted,
        burned=accounts.burned,
        versions=state.versions + settlement.versions,
        heads=settlement.heads,
        licences=licences,
        worked={**state.worked, **worked},
        opening=state.opening or (opening_loss(state) if valued else 0),
    )


TRANSITIONS: dict[type[Record], Callable[[State, Any, Mechanism], State]] = {
    Join: membership.join,
    RecoveryKey: membership.register,
    Rotate: membership.rotate,
    Recover: membership.recover,
    Revoke: membership.revoke,
    Succeed: succession.succeed,
    Bid: _bid,
    Match: _match,
    Deposit: _deposit,
    Commit: _commit,
    Submit: _submit,
    Draw: _draw,
    Pledge: _pledge,
    Score: _score,
    Value: _value,
    Close: _close,
    Settle: _settle,
}


def _within(record: Record, pairs: Pairs, most: int | None) -> None:
    """Refuses figures that are negative, or above what they can be."""
    for name, figure in pairs:
        possible = figure >= 0 and (most is None or figure <= most)
        require(possible, record, f"{figure} for {name} is not possible")


def _derived(record: Record, expected: Record) -> None:
    for field in dataclasses.fields(expected):
        stated, derived = getattr(record, field.name), getattr(expected, field.name)
        require(stated == derived, record, f"{field.name} does not follow from the records: {derived!r} does")


def _covers(record: Record, pairs: tuple[tuple[str, int], ...], names: Any) -> None:
    stated = [name for name, _ in pairs]
    require(stated == sorted(names), record, f"must state exactly {', '.join(sorted(names))}, in this order")

"""One rule a record: what must hold before it is accepted, and what it changes.

A record that the rules do not allow raises `ProtocolError` and changes nothing.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping
from typing import Any

from relayjax.errors import ProtocolError
from relayjax.identity import PublicKeys
from relayjax.mechanism.base import Mechanism, opening_loss
from relayjax.mechanism.phases import in_round, next_phase, trains
from relayjax.mechanism.rules import MILLION, RelayJAXRules, Rules, Schedule
from relayjax.mechanism.rulesets import mechanism
from relayjax.mechanism.settlement import BURN, MINT, POT, Settlement, book
from relayjax.mechanism.state import Member, Phase, Role, State, Topology
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
    Score,
    Settle,
    Submit,
    Value,
    commitment,
    report_commitment,
)


def expected_settlement(state: State) -> Settle:
    """The settle record that ends the present round."""
    return mechanism(state.rules).settle(state).record(state.orderer, state.round.number)


def expected_match(state: State) -> Match:
    """The match record that ends the present auction."""
    pairs = mechanism(state.rules).match(state)
    return Match(state.orderer, state.round.number, tuple(sorted(pairs.items())))


def expected_draw(state: State) -> Draw:
    """The draw record that fixes the present test."""
    number = state.round.number
    return Draw(state.orderer, number, state.transcript.hex(), state.schedule.tested(number))


def enlist(record: Genesis | Join, role: Role, schedule: Schedule) -> Member:
    """The member that a record introduces.

    Raises:
      ProtocolError: a name that means something else or is too long for this relay's settlements.
      FormatError: a malformed name or key.
    """
    PublicKeys(record.author, record.signing, record.receiving)
    _require(record.author not in (MINT, POT, BURN), record, "the name stands for an account of the relay")
    fits = role is Role.OBSERVER or len(record.author) <= schedule.longest_name
    _require(fits, record, f"a name has at most {schedule.longest_name} characters in a relay of this size")
    return Member(record.author, role, record.signing, record.receiving)


def _join(state: State, record: Join, _: Mechanism) -> State:
    _in_phase(state, record, Phase.AUCTION)
    _require(record.author not in state.members, record, "the name is taken")
    _require(record.role in list(Role), record, f"the role must be one of {', '.join(Role)}")
    member = enlist(record, Role(record.role), state.schedule)
    _require(_has_place(state, member.role), record, f"every place of a {member.role} is taken")
    grant = endowment(state.rules) if member.role is not Role.OBSERVER and state.round.number == 1 else 0
    return dataclasses.replace(
        state,
        members={**state.members, record.author: member},
        balances={**state.balances, record.author: grant},
        minted=state.minted + grant,
    )


def endowment(rules: Rules) -> int:
    """What a founding participant or maintainer is granted, micro-coins."""
    return rules.endowment if isinstance(rules, RelayJAXRules) else 0


def _has_place(state: State, role: Role) -> bool:
    """Whether one more may join: whoever could add names at will would add coins and votes."""
    places = {Role.PARTICIPANT: state.schedule.participants, Role.MAINTAINER: state.schedule.validators}
    return role not in places or len(state.named(role)) < places[role]


def check_digests(genesis: Genesis) -> None:
    """Refuses a genesis record whose digests are none."""
    for digest in (genesis.weights, genesis.validation):
        _require(_is_hex(digest, 32), genesis, "a digest is 64 hexadecimal digits")


def _bid(state: State, record: Bid, rules: Mechanism) -> State:
    _in_phase(state, record, Phase.AUCTION)
    _require(record.author in rules.bidders(state), record, "has no place to bid for in this round")
    _require(record.author not in state.round.bids, record, "has bid already")
    _require(0 <= record.amount <= state.balances[record.author], record, "the amount exceeds the balance")
    return in_round(state, bids={**state.round.bids, record.author: record.amount})


def _match(state: State, record: Match, _: Mechanism) -> State:
    _in_phase(state, record, Phase.AUCTION)
    _derived(record, expected_match(state))
    pairs = dict(record.pairs)
    return dataclasses.replace(
        in_round(state, pairs=pairs, phase=Phase.DEPOSIT),
        last_matched={**state.last_matched, **dict.fromkeys(pairs, record.round)},
    )


def _deposit(state: State, record: Deposit, rules: Mechanism) -> State:
    _in_phase(state, record, Phase.DEPOSIT)
    due = rules.deposits(state)
    _require(record.author in due, record, "was not matched")
    _require(record.author not in state.round.deposits, record, "has deposited already")
    _require(record.amount == due[record.author], record, f"the deposit due is {due[record.author]}")
    balance = state.balances[record.author] - record.amount
    _require(balance >= 0, record, "the amount exceeds the balance")
    state = in_round(state, deposits={**state.round.deposits, record.author: record.amount})
    return dataclasses.replace(state, balances={**state.balances, record.author: balance})


def _commit(state: State, record: Commit, _: Mechanism) -> State:
    _in_phase(state, record, Phase.COMMIT)
    _require(trains(state, record.author), record, "is not training in this round")
    _require(record.author not in state.round.commitments, record, "has committed already")
    _require(_is_hex(record.commitment, 32), record, "a commitment is 64 hexadecimal digits")
    return in_round(state, commitments={**state.round.commitments, record.author: record.commitment})


def _submit(state: State, record: Submit, _: Mechanism) -> State:
    _in_phase(state, record, Phase.REVEAL)
    _require(record.author in state.round.commitments, record, "has not committed")
    _require(record.author not in state.round.submissions, record, "has submitted already")
    parent = state.versions[state.round.pairs[record.author]].digest
    _require(record.parent == parent, record, f"the parent is {parent}")
    _require(record.codec == state.schedule.codec, record, f"the codec is {state.schedule.codec}")
    for digest in (record.delta, record.child):
        _require(_is_hex(digest, 32), record, "a digest is 64 hexadecimal digits")
    _require(_is_hex(record.salt, 16), record, "a salt is 32 hexadecimal digits")
    salted = commitment(bytes.fromhex(record.salt), record.delta, parent, record.round, record.author)
    _require(salted == state.round.commitments[record.author], record, "is not what was committed to")
    state = in_round(state, submissions={**state.round.submissions, record.author: record})
    return dataclasses.replace(state, holdings={**state.holdings, record.author: record.round})


def _draw(state: State, record: Draw, _: Mechanism) -> State:
    _in_phase(state, record, Phase.TESTING)
    _require(not state.round.seed, record, "the test is drawn already")
    _derived(record, expected_draw(state))
    return in_round(state, seed=record.seed)


def _pledge(state: State, record: Pledge, rules: Mechanism) -> State:
    now = state.round
    fits = now.phase in (Phase.TESTING, Phase.APPRAISAL)
    _require(fits, record, f"belongs to the testing and appraisal phases, this is {now.phase.name.lower()}")
    _require(bool(now.seed), record, "the test is not drawn yet")
    _require(record.author in rules.maintainers(state), record, "does not maintain this round")
    _require(_is_hex(record.commitment, 32), record, "a commitment is 64 hexadecimal digits")
    field = "pledges" if now.phase is Phase.TESTING else "appraisals"
    made: dict[str, str] = {**getattr(now, field)}
    _require(record.author not in made, record, "has pledged already")
    # Otherwise somebody else could show it once more as a pledge to a value that its author then can't report.
    replayed = field == "appraisals" and now.pledges.get(record.author) == record.commitment
    _require(not replayed, record, "is the pledge to its score; a value has another")
    return in_round(state, **{field: {**made, record.author: record.commitment}})


def _pledged(record: Score | Value, pledges: Mapping[str, str]) -> None:
    """Refuses a report that its author was not bound to before anybody's was shown."""
    _require(record.author in pledges, record, "made no pledge, so it may have copied what others showed")
    _require(_is_hex(record.salt, 16), record, "a salt is 32 hexadecimal digits")
    made = report_commitment(record)
    _require(made == pledges[record.author], record, "is not what was pledged: show the very same report")


def _score(state: State, record: Score, rules: Mechanism) -> State:
    _in_phase(state, record, Phase.SCORING)
    _require(record.author not in state.round.scores, record, "has scored already")
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
    _in_phase(state, record, Phase.VALUATION)
    _require(record.author not in state.round.values, record, "has valued already")
    _pledged(record, state.round.appraisals)
    _require(_is_hex(record.composed, 32), record, "a digest is 64 hexadecimal digits")
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
    _require(record.author == state.orderer, record, "only the ordering maintainer closes a phase")
    _require(record.phase == phase.name.lower(), record, f"the present phase is {phase.name.lower()}")
    _require(phase not in (Phase.AUCTION, Phase.SETTLEMENT), record, "this phase ends with a derived record")
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
        _require(quorum, record, f"no majority of the maintainers has {what}")
    return next_phase(state, rules)


def _settle(state: State, record: Settle, rules: Mechanism) -> State:
    _in_phase(state, record, Phase.SETTLEMENT)
    settlement = rules.settle(state)
    _derived(record, settlement.record(state.orderer, state.round.number))
    return settled(state, settlement)


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
    Join: _join,
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


def _require(condition: bool, record: Record, problem: str) -> None:
    if not condition:
        raise ProtocolError(f"{record.KIND} of {record.author}: {problem}")


def _within(record: Record, pairs: Pairs, most: int | None) -> None:
    """Refuses figures that are negative, or above what they can be."""
    for name, figure in pairs:
        possible = figure >= 0 and (most is None or figure <= most)
        _require(possible, record, f"{figure} for {name} is not possible")


def _in_phase(state: State, record: Record, phase: Phase) -> None:
    now = state.round.phase
    _require(now is phase, record, f"belongs to the {phase.name.lower()} phase, this is {now.name.lower()}")


def _derived(record: Record, expected: Record) -> None:
    for field in dataclasses.fields(expected):
        stated, derived = getattr(record, field.name), getattr(expected, field.name)
        _require(
            stated == derived, record, f"{field.name} does not follow from the records: {derived!r} does"
        )


def _covers(record: Record, pairs: tuple[tuple[str, int], ...], names: Any) -> None:
    stated = [name for name, _ in pairs]
    _require(stated == sorted(names), record, f"must state exactly {', '.join(sorted(names))}, in this order")


def _is_hex(text: str, size: int) -> bool:
    return len(text) == 2 * size and all(c in "0123456789abcdef" for c in text)

"""One round of the protocol, phase by phase, with every member in this process.

The order of the phases is what makes the protocol safe: deposits before training, all commitments
before any delta is shown, all deltas before the test is drawn, all pledges before any report is shown.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence

import numpy as np

from relayjax.archive import Artefact, delta_recipients, model_due, model_recipients
from relayjax.history import SettledRound
from relayjax.identity import PublicKeys
from relayjax.lineage import merged
from relayjax.measured import NATS, head_loss, legs_of, valuations_of
from relayjax.mechanism.state import Phase, State, Topology
from relayjax.mechanism.transitions import expected_draw, expected_match, expected_settlement
from relayjax.merging import merge_of
from relayjax.pack import ModelVersion, encode_pack
from relayjax.records import Bid, Close, Deposit, Pledge, Score, Value, report_commitment
from relayjax.relay.crew import Crew
from relayjax.relay.events import HandedOff, Matched, Settled
from relayjax.relay.foresight import Heads, bids
from relayjax.relay.legs import foresee, foresee_acceptance, train
from relayjax.relay.members import salt
from relayjax.relay.testing import Candidates, places
from relayjax.relay.training import Candidate
from relayjax.replay import public_keys
from relayjax.weights import digest


def play(crew: Crew, heads: Heads, *, ahead: bool) -> Heads:
    """Plays one round and begins to make it durable; the writer announces it when it is.

    Args:
      crew: who plays.
      heads: weights of the present heads.
      ahead: begin to train the legs that follow as soon as they are foreseen.

    Returns:
      Weights of the next round's heads.
    """
    with crew.clock.stage("ledger"):
        _auction(crew)
        _deposit(crew)
    candidates = train(crew, heads)
    if ahead:
        _foresee_chain(crew, candidates)
    with crew.clock.stage("ledger"):
        candidates = _commit_and_reveal(crew, candidates)
    drawn = _test(crew, heads, candidates)
    composed = _value(crew, heads, candidates, drawn, ahead=ahead)
    settled = _settle(crew)
    following = _following(crew, heads, candidates, composed, settled)
    if settled.head in following:
        for name in settled.facts.pairs:
            crew.momentum.remember(
                name, following[settled.head], crew.state.schedule.legs_before(settled.number)
            )
    if ahead:
        foresee(crew, following)
    if settled.number < max(crew.state.schedule.valued, default=0):
        for name in _owners(crew, settled):
            delta = crew.codec.decode(candidates[name].payload, heads[settled.facts.pairs[name]])
            crew.novelties.remember(delta[: crew.evaluator.size])
    if crew.conduct.remembers:
        _remember(crew, heads, candidates, settled)
    left_out = crew.residuals.take({name: candidates[name].residual for name in _owners(crew, settled)})
    _keep(crew, candidates, left_out, following, settled)
    return following


def _auction(crew: Crew) -> None:
    for name, amount in bids(crew, crew.state).items():
        crew.transcript.say(crew.members.by_name[name], Bid(name, crew.state.round.number, amount))
    crew.transcript.say(crew.members.orderer, expected_match(crew.state))
    topology = crew.rules.topology(crew.state).value
    crew.notify(Matched(crew.state.round.number, topology, tuple(crew.state.round.pairs)))


def _deposit(crew: Crew) -> None:
    for name, amount in sorted(crew.rules.deposits(crew.state).items()):
        affordable = amount <= crew.state.balances[name]  # not so if an owner of the paper's rules overbids
        if affordable and crew.conduct.deposits(crew.state.round.number, name):
            crew.transcript.say(crew.members.by_name[name], Deposit(name, crew.state.round.number, amount))
    _close(crew, Phase.DEPOSIT)


def _close(crew: Crew, phase: Phase) -> None:
    """Ends a phase without those who stay away, if somebody does."""
    number, orderer = crew.state.round.number, crew.members.orderer
    if crew.state.round.phase is phase:
        crew.transcript.say(orderer, Close(orderer.name, number, phase.name.lower()))


def _commit_and_reveal(crew: Crew, candidates: Mapping[str, Candidate]) -> dict[str, Candidate]:
    """Returns what was revealed."""
    number, say, keys = crew.state.round.number, crew.transcript.say, crew.members.by_name
    salts = {name: salt(crew.seed, name, number) for name in candidates}
    for name, candidate in candidates.items():
        say(keys[name], candidate.commit(number, salts[name]))
    _close(crew, Phase.COMMIT)
    revealed = {n: candidate for n, candidate in candidates.items() if crew.conduct.reveals(number, n)}
    for name, candidate in revealed.items():
        say(keys[name], candidate.submit(number, salts[name], crew.codec.name))
    _close(crew, Phase.REVEAL)
    return revealed


def _test(crew: Crew, heads: Heads, candidates: Mapping[str, Candidate]) -> np.ndarray:
    """Draws the test and has every maintainer score; returns the drawn indices, int32 [E]."""
    state = crew.state
    if state.round.phase is not Phase.TESTING:
        return np.zeros(0, np.int32)
    with crew.clock.stage("ledger"):
        crew.transcript.say(crew.members.orderer, expected_draw(state))
    tested = state.schedule.tested(state.round.number)
    drawn = crew.rotation.draw(crew.state.round.seed, tested)
    with crew.clock.stage("score"):
        handed = {
            name: (candidate.child, crew.codec.decode(candidate.payload, heads[state.round.pairs[name]]))
            for name, candidate in candidates.items()
        }
        tested_ones = Candidates.of(state.round, crew.rules.topology(state), heads, handed, state.schedule)
        score = crew.validator.score(tested_ones, drawn, crew.novelties)
    _report(crew, score)
    return drawn


def _foresee_chain(crew: Crew, candidates: Mapping[str, Candidate]) -> None:
    """In a chain round, begins what follows if its candidate is accepted."""
    if crew.rules.topology(crew.state) is Topology.CHAIN and len(candidates) == 1:
        ((name, candidate),) = candidates.items()
        if crew.conduct.reveals(crew.state.round.number, name):
            foresee_acceptance(crew, [name], candidate.child, candidate.child_digest)


def _value(
    crew: Crew, heads: Heads, candidates: Mapping[str, Candidate], drawn: np.ndarray, *, ahead: bool
) -> np.ndarray | None:
    """In a braid round, composes the accepted deltas and has every maintainer value them."""
    state = crew.state
    if state.round.phase is not Phase.APPRAISAL:
        return None
    base = heads[state.head.number]
    with crew.clock.stage("encode"):
        accepted = sorted(crew.rules.accepted(state))
        deltas = [crew.codec.decode(candidates[name].payload, base) for name in accepted]
        braid = merged(state.round, accepted, base, deltas, merge_of(state.schedule))
        composed = braid.composed
        if ahead:
            foresee_acceptance(crew, accepted, composed, digest(composed))
    with crew.clock.stage("value"):
        value = crew.validator.value(
            state.round.number,
            drawn,
            base,
            braid.by_trainer,
            braid.weights,
            composed,
            crew.novelties,
            places(state.schedule, state.round),
        )
    _report(crew, value)
    return composed


def _report(crew: Crew, measured: Score | Value) -> None:
    """Every maintainer pledges to its report, then shows it.

    Here they share one machine, which measures once for all. Who stays silent is left out of both phases.
    """
    number, say, keys = measured.round, crew.transcript.say, crew.members.by_name
    pledging = crew.state.round.phase
    with crew.clock.stage("ledger"):
        reports = {}
        for name in crew.rules.maintainers(crew.state):
            salted = salt(crew.seed, name, number, measured.KIND).hex()
            stated = crew.conduct.report(dataclasses.replace(measured, author=name, salt=salted))
            if stated is not None:
                reports[name] = stated
        for name, report in reports.items():
            say(keys[name], Pledge(name, number, report_commitment(report)))
        _close(crew, pledging)
        for name, report in reports.items():
            say(keys[name], report)
        _close(crew, Phase(pledging + 1))


def _settle(crew: Crew) -> SettledRound:
    before = crew.state
    with crew.clock.stage("ledger"):
        settle = expected_settlement(before)
        crew.transcript.say(crew.members.orderer, settle)
    return SettledRound.of(before, settle, crew.state)


def _remember(crew: Crew, heads: Heads, candidates: Mapping[str, Candidate], settled: SettledRound) -> None:
    """Tells deviants what was accepted."""
    for name in _owners(crew, settled):
        parent = heads[settled.facts.pairs[name]]
        crew.conduct.remember(name, parent, crew.codec.decode(candidates[name].payload, parent))


def _owners(crew: Crew, settled: SettledRound) -> list[str]:
    """Those whose delta became part of a version, in order."""
    made = (crew.state.versions[number] for number, _, _ in settled.settle.versions)
    return [name for version in made for name in version.owners]


def _following(
    crew: Crew,
    heads: Heads,
    candidates: Mapping[str, Candidate],
    composed: np.ndarray | None,
    settled: SettledRound,
) -> Heads:
    """Weights of the heads that a settled round leaves."""
    weights = dict(heads)
    for number, _, _ in settled.settle.versions:
        owners = crew.state.versions[number].owners
        weights[number] = candidates[owners[0]].child if composed is None else composed
    return {number: weights[number] for number in settled.settle.heads}


def _keep(
    crew: Crew,
    candidates: Mapping[str, Candidate],
    left_out: Mapping[str, np.ndarray],
    heads: Heads,
    settled: SettledRound,
) -> None:
    """Has the writer seal the round's artefacts, hand the head on when due, and append the records."""
    state, orderer, records = crew.state, crew.members.orderer, crew.transcript.take()
    packs: list[int] = []
    seen: list[Mapping[str, float]] = []

    def observe() -> None:
        with crew.clock.stage("observe"):
            theta = heads.get(settled.head)
            seen.append({} if theta is None else crew.evaluator.metrics(theta, crew.test))

    def write() -> None:
        payloads = {name: candidate.payload for name, candidate in candidates.items()}
        artefacts = sealed_deltas(state, settled, payloads)
        if model_due(settled, state.schedule):
            with crew.clock.stage("handoff"):
                artefacts.append(sealed_model(state, settled, crew.layout, heads))
                packs.append(artefacts[-1].size)
        with crew.clock.stage("store"):
            crew.archive.seal(settled.number, artefacts, orderer)
            crew.residuals.write(settled.number, left_out)
        with crew.clock.stage("ledger"):
            crew.transcript.log.append(records, crew.members.log)
        if not crew.one_at_a_time:
            observe()

    def announce() -> None:
        for size in packs:
            crew.notify(HandedOff(settled.number, state.head.number, size))
        crew.notify(_observed(crew, state, settled, seen[0]))

    if crew.one_at_a_time:
        observe()
    crew.writer.submit(write, announce)


def sealed_deltas(state: State, settled: SettledRound, payloads: Mapping[str, bytes]) -> list[Artefact]:
    """A round's encoded deltas, each for those entitled to it.

    Args:
      state: after the round.
      settled: the round.
      payloads: trainer → what was revealed.
    """
    return [
        Artefact("delta", payload, _public(state, delta_recipients(settled, name)))
        for name, payload in payloads.items()
    ]


def sealed_model(state: State, settled: SettledRound, layout: Sequence[object], heads: Heads) -> Artefact:
    """The model checkpoint of a round's head, for those entitled to it.

    Args:
      state: after the round.
      settled: the round.
      layout: names and shapes of the parameters.
      heads: weights by version number, float32 [P].
    """
    version = ModelVersion(state.head.number, state.head.digest, list(layout))
    pack = encode_pack(heads[version.number], version)
    return Artefact("model", pack, _public(state, model_recipients(settled)))


def _public(state: State, names: set[str]) -> list[PublicKeys]:
    return [public_keys(state.members[name]) for name in sorted(names)]


def _observed(crew: Crew, state: State, settled: SettledRound, metrics: Mapping[str, float]) -> Settled:
    """What listeners are told of a settled round, with the figures that only the experimenter sees."""
    legs, loss = legs_of(state, settled), head_loss(state, settled)
    seconds, idle = crew.clock.lap()
    return Settled(
        round=settled.number,
        topology=settled.topology.value,
        rises=tuple((leg.trainer, leg.change * NATS) for leg in legs if leg.change is not None),
        accepted=settled.settle.accepted,
        refused=settled.settle.refused,
        values=tuple((valuation.trainer, valuation.value * NATS) for valuation in valuations_of(settled)),
        head=settled.head,
        loss=None if loss is None else loss * NATS,
        metrics=dict(metrics),
        seconds=seconds,
        idle=idle,
    )

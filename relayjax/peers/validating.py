"""What every maintainer does: it keeps the heads' weights, scores candidates and values braid rounds.

Weights follow from the genesis and the accepted deltas, each version's digest held against the ledger's. A
report is kept durably before it is pledged to: who could not show it any more would be slashed.

P: parameters.
"""

from __future__ import annotations

import dataclasses
import secrets
from collections.abc import Callable

import jax.numpy as jnp
import numpy as np

from relayjax import lineage
from relayjax.codec import Codec
from relayjax.errors import IntegrityError
from relayjax.history import History, SettledRound
from relayjax.mechanism.rulesets import mechanism
from relayjax.mechanism.state import Phase, Round, State
from relayjax.merging import merge_of
from relayjax.peers.home import Home
from relayjax.records import Pledge, Record, Score, Submit, Value, report_commitment
from relayjax.relay.testing import Candidates, Rotation, Validator, places
from relayjax.valuation.novelty import Novelties
from relayjax.weights import digest

Opened = Callable[[Submit], bytes | None]
"""The encoded delta of a submission of the present round; None while it is not there."""


class Validating:
    """A maintainer's view of weights and tests.

    Attributes:
      heads: weights of the present heads by version number, float32 [P].
    """

    def __init__(
        self,
        name: str,
        home: Home,
        validator: Validator,
        codec: Codec,
        genesis: np.ndarray,
        settled_delta: Callable[[State, Submit], bytes],
    ):
        """Stands at the genesis; `catch_up` leads on.

        Args:
          name: the maintainer's.
          home: its own directory.
          validator: what it measures with.
          codec: of the deltas.
          genesis: weights of version 0, float32 [P].
          settled_delta: opens what is at rest.
        """
        self.heads: dict[int, np.ndarray] = {0: genesis}
        self._name, self._home, self._validator, self._codec = name, home, validator, codec
        self._settled_delta = settled_delta
        self._rotation, self._novelties = Rotation(validator.count), Novelties()
        self._done = 0
        self._drawn: tuple[int, np.ndarray] = 0, np.zeros(0, np.int32)
        self._payloads: dict[str, bytes] = {}

    def catch_up(self, history: History) -> None:
        """Takes in the rounds that were settled since.

        Raises:
          IntegrityError: deltas are missing or lead to other weights than the ledger names.
        """
        for settled in history.rounds[self._done :]:
            self._take_in(settled, history)

    def report(self, state: State, opened: Opened) -> Record | None:
        """What the maintainer has to say now: a pledge, or the report that it pledged to.

        Args:
          state: the agreed state, all of whose settled rounds were taken in.
          opened: opens the round's candidates.

        Raises:
          IntegrityError: a candidate is not what its submission states.
        """
        now = state.round
        if state.finished or not now.seed or self._name not in mechanism(state.rules).maintainers(state):
            return None
        match now.phase:
            case Phase.TESTING if self._name not in now.pledges:
                return self._pledge(state, self._home.report(now.number, Score) or self._score(state, opened))
            case Phase.APPRAISAL if self._name not in now.appraisals:
                return self._pledge(state, self._home.report(now.number, Value) or self._value(state, opened))
            case Phase.SCORING if self._name in now.pledges and self._name not in now.scores:
                return self._home.report(now.number, Score)
            case Phase.VALUATION if self._name in now.appraisals and self._name not in now.values:
                return self._home.report(now.number, Value)
        return None

    def _pledge(self, state: State, report: Score | Value | None) -> Pledge | None:
        if report is None:
            return None
        return Pledge(self._name, state.round.number, report_commitment(report))

    def _keep(self, measured: Score | Value) -> Score | Value:
        report = dataclasses.replace(measured, author=self._name, salt=secrets.token_hex(16))
        self._home.keep_report(report)
        return report

    def _score(self, state: State, opened: Opened) -> Score | Value | None:
        if not self._open_all(state.round, opened):
            return None
        handed: dict[str, tuple[np.ndarray, np.ndarray]] = {}
        for name, submission in state.round.submissions.items():
            payload, parent = self._payloads[submission.delta], self.heads[state.round.pairs[name]]
            child = self._codec.apply(payload, parent)
            if digest(child) != submission.child:
                raise IntegrityError(
                    f"round {submission.round}, delta of {name}", "leads to other weights than it states"
                )
            handed[name] = child, self._codec.decode(payload, parent)
        topology = mechanism(state.rules).topology(state)
        candidates = Candidates.of(state.round, topology, self.heads, handed, state.schedule)
        drawn = jnp.asarray(self._draw(state.round, state))
        return self._keep(self._validator.score(candidates, drawn, self._novelties))

    def _value(self, state: State, opened: Opened) -> Score | Value | None:
        if not self._open_all(state.round, opened):
            return None
        accepted, base = sorted(mechanism(state.rules).accepted(state)), self.heads[state.head.number]
        submissions = state.round.submissions
        deltas = [self._codec.decode(self._payloads[submissions[name].delta], base) for name in accepted]
        braid = lineage.merged(state.round, accepted, base, deltas, merge_of(state.schedule))
        measured = self._validator.value(
            state.round.number,
            jnp.asarray(self._draw(state.round, state)),
            base,
            braid.by_trainer,
            braid.weights,
            braid.composed,
            self._novelties,
            places(state.schedule, state.round),
        )
        return self._keep(measured)

    def _open_all(self, facts: Round, opened: Opened) -> bool:
        """Has every candidate at hand, or tells that one is not there yet."""
        for submission in facts.submissions.values():
            if submission.delta not in self._payloads:
                if (payload := opened(submission)) is None:
                    return False
                self._payloads[submission.delta] = payload
        return True

    def _draw(self, facts: Round, state: State) -> np.ndarray:
        """The examples of a round's test, int32 [E]; each round draws once, in order."""
        if self._drawn[0] != facts.number:
            drawn = self._rotation.draw(facts.seed, state.schedule.tested(facts.number))
            self._drawn = facts.number, drawn
        return self._drawn[1]

    def _take_in(self, settled: SettledRound, history: History) -> None:
        state, facts = history.state, settled.facts
        if facts.seed:
            self._draw(facts, state)

        def fetch(submission: Submit) -> bytes:
            if submission.delta not in self._payloads:
                self._payloads[submission.delta] = self._settled_delta(state, submission)
            return self._payloads[submission.delta]

        known = {
            number: lineage.rebuild(history, number, self.heads, fetch, self._codec)
            for number in settled.settle.heads
        }
        if settled.number < max(state.schedule.valued, default=0):
            for number, _, _ in settled.settle.versions:
                for name in state.versions[number].owners:
                    parent = self.heads[facts.pairs[name]]
                    delta = self._codec.decode(fetch(facts.submissions[name]), parent)
                    self._novelties.remember(delta[: self._validator.evaluator.size])
        self.heads, self._done, self._payloads = known, settled.number, {}

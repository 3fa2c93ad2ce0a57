"""`apply(state, record) -> state`: the only way the agreed state changes.

The signature of a record is not checked here: whoever calls `apply` has verified it with the keys that
`membership.signer` names for the state before.
"""

from __future__ import annotations

import dataclasses

from blake3 import blake3

from relayjax import settings
from relayjax.errors import ProtocolError
from relayjax.mechanism.membership import endowment, enlist
from relayjax.mechanism.phases import advance
from relayjax.mechanism.rules import Rules, Schedule
from relayjax.mechanism.rulesets import mechanism
from relayjax.mechanism.state import Role, Round, State, Term, Version
from relayjax.mechanism.transitions import TRANSITIONS, check_digests
from relayjax.records import Genesis, Join, Record, Settle, Succeed, encode


def start(genesis: Genesis) -> State:
    """The state after the genesis record.

    Raises:
      ConfigError: the settings in it are not valid ones.
      ProtocolError, FormatError: its author's name or keys are not.
    """
    schedule = settings.decode(genesis.config.get("relay"), Schedule, "relay")
    rules = settings.decode(genesis.config.get("rules"), Rules, "rules")
    transcript = _extend(b"", encode(genesis))
    orderer = enlist(genesis, Role.MAINTAINER, schedule)
    check_digests(genesis)
    grant = endowment(rules)
    return State(
        schedule=schedule,
        rules=rules,
        run=transcript.hex(),
        terms=(Term(0, genesis.author, genesis.signing, 1),),
        votes={},
        seen=transcript,
        members={genesis.author: orderer},
        balances={genesis.author: grant},
        pot=0,
        minted=grant,
        burned=0,
        versions=(Version(0, genesis.weights, -1, 0, ()),),
        heads=(0,),
        last_matched={},
        lots={},
        holdings={},
        worked={},
        licences={},
        opening=0,
        round=Round(1, transcript),
        transcript=transcript,
    )


def apply(state: State, record: Record, payload: bytes | None = None) -> State:
    """The state after one more record.

    Args:
      state: before it.
      record: what is said.
      payload: its canonical bytes, from a caller that has them already.

    Raises:
      ProtocolError: the rules do not allow the record now; says which rule.
      FormatError: a field has no canonical form, or a name or key is malformed.
    """
    if isinstance(record, Genesis):
        raise ProtocolError("genesis: a run has only one")
    if not isinstance(record, Join):
        if record.author not in state.members:
            raise ProtocolError(f"{record.KIND}: {record.author} has not joined")
        if revoked := state.members[record.author].revoked:
            raise ProtocolError(f"{record.KIND} of {record.author}: was revoked in round {revoked}")
        number = getattr(record, "round", state.round.number)
        if number != state.round.number or state.finished:
            now = "the relay has ended" if state.finished else f"the present one is {state.round.number}"
            raise ProtocolError(f"{record.KIND} of {record.author}: round {number} is not open, {now}")
    term = state.term
    state = advance(TRANSITIONS[type(record)](state, record, mechanism(state.rules)))
    transcript = _extend(state.transcript, payload or encode(record))
    if isinstance(record, Settle):
        state = dataclasses.replace(state, round=Round(record.round + 1, transcript))
    if isinstance(record, Succeed) and state.term is term:
        return dataclasses.replace(state, transcript=transcript)
    return dataclasses.replace(state, transcript=transcript, seen=transcript, votes={})


def _extend(transcript: bytes, payload: bytes) -> bytes:
    return blake3(transcript + payload, derive_key_context="relayjax 2026 transcript v1").digest()

"""A relay whose orderer is succeeded goes on being carried, under the key it was founded with."""

from __future__ import annotations

from pathlib import Path

import pytest
from peers.republic import Republic
from peers.town import Tools, Town

from relayjax.audit import audit
from relayjax.errors import IntegrityError, SplitViewError
from relayjax.ledger.checkpoint import Checkpoint, sign_checkpoint
from relayjax.ledger.evidence import Evidence, verify_evidence
from relayjax.ledger.note import signer_key
from relayjax.mechanism.state import Phase
from relayjax.peers.bundle import Kind
from relayjax.peers.bundle_export import export
from relayjax.peers.bundle_folder import Bundle, write
from relayjax.peers.bundle_import import take
from relayjax.peers.bundle_letters import collect
from relayjax.peers.bundle_log import WholeLog
from relayjax.peers.bundle_replica import Replica
from relayjax.peers.follower import CHECKPOINT
from relayjax.workdir import Workdir


def test_bundles_of_another_orderer_are_taken_and_those_of_the_old_one_are_not(tools: Tools, tmp_path: Path):
    relay = Republic(Town(tmp_path / "here", tools), rounds=2)
    here, there, down, up = relay.town.folder, tmp_path / "there", tmp_path / "down", tmp_path / "up"
    key = relay.town.home("v0").membership().log_key
    try:
        relay.play(relay.at(1, Phase.REVEAL))
        export(here, down)
        old = take(Bundle(down), there, key).log
        first, _ = relay.line()
        relay.lose("v0")
        relay.finish()
    finally:
        for person in relay.people.values():
            person.vanish()
    collect(Replica(there), up)
    export(here, down, Bundle(up))
    new = take(Bundle(down), there).log
    assert new.history.state.orderer == first and new.size > old.size
    assert audit(Workdir(there), log_key=key).root == WholeLog.here(here)[1].root.hex()

    keys, (name, _) = relay.town.home("v0").keys(), WholeLog.here(here)
    for size in (new.size, new.size + 1):
        note = sign_checkpoint(Checkpoint(name.origin, size, new.tree.root()), keys)
        write(tmp_path / "stick", Kind.RELAY, name.origin, key, [(CHECKPOINT, note), *new.files()])
        with pytest.raises(IntegrityError, match=r"orders at this size|is missing"):
            take(Bundle(tmp_path / "stick"), there)
    note = sign_checkpoint(Checkpoint(name.origin, new.size, b"\1" * 32), keys)
    write(tmp_path / "stick", Kind.RELAY, name.origin, key, [(CHECKPOINT, note), *new.files()])
    with pytest.raises(SplitViewError) as error:
        take(Bundle(tmp_path / "stick"), there)
    known = [signer_key(name.origin, one) for one in (key, relay.town.home(first).keys().public.signing)]
    assert "two roots" in verify_evidence(Evidence.decode(error.value.evidence), known)

"""Every parser of bytes that come from a file or a peer, by name."""

from __future__ import annotations

from fuzz import artefact_targets, ledger_targets, protocol_targets, witness_targets
from fuzz.target import Target

TARGETS: dict[str, Target] = {
    target.name: target
    for module in (protocol_targets, ledger_targets, witness_targets, artefact_targets)
    for target in module.TARGETS
}

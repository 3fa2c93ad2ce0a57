"""The tamper-evident log: entries, Merkle tree, signed checkpoints, receipts, audit, witnesses."""

from relayjax.ledger.audit import audit_log, verify_log
from relayjax.ledger.checkpoint import Checkpoint, verify_checkpoint
from relayjax.ledger.entry import FIRST_PREV, Entry, chain, digest, verify_chain
from relayjax.ledger.log import Log
from relayjax.ledger.merkle import verify_consistency, verify_inclusion
from relayjax.ledger.policy import Policy
from relayjax.ledger.proof import Receipt, verify_receipt

__all__ = [
    "FIRST_PREV",
    "Checkpoint",
    "Entry",
    "Log",
    "Policy",
    "Receipt",
    "audit_log",
    "chain",
    "digest",
    "verify_chain",
    "verify_checkpoint",
    "verify_consistency",
    "verify_inclusion",
    "verify_log",
    "verify_receipt",
]

"""Participants' keys, signed envelopes and sealing."""

from relayjax.identity.envelope import RECORD_TYPE, Envelope, sign, verify_envelope
from relayjax.identity.keys import Keys, PublicKeys, check_name
from relayjax.identity.locked import load_locked, save_locked
from relayjax.identity.ring import find as find_keys
from relayjax.identity.sealing import open_sealed, seal

__all__ = [
    "RECORD_TYPE",
    "Envelope",
    "Keys",
    "PublicKeys",
    "check_name",
    "find_keys",
    "load_locked",
    "open_sealed",
    "save_locked",
    "seal",
    "sign",
    "verify_envelope",
]

"""Content-addressed artefacts: `LocalStore` keeps bytes by their digest; `sealed` keeps them closed."""

from __future__ import annotations

from relayjax.store.base import Store, digest_of
from relayjax.store.local import LocalStore
from relayjax.store.manifest import Seal, SealManifest, verify_manifest
from relayjax.store.sealed import Artefact, SealDirectory, open_artefact, seal_round

__all__ = [
    "Artefact",
    "LocalStore",
    "Seal",
    "SealDirectory",
    "SealManifest",
    "Store",
    "digest_of",
    "open_artefact",
    "seal_round",
    "verify_manifest",
]

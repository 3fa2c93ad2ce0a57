"""Content-addressed artefacts: `LocalStore` keeps bytes by their digest; `sealed` keeps them closed."""

from __future__ import annotations

from relayjax.store.base import Store
from relayjax.store.local import LocalStore
from relayjax.store.manifest import Seal, SealManifest, verify_manifest
from relayjax.store.sealed import Artefact, SealDirectory, open_artefact, open_pieces, seal_round

__all__ = [
    "Artefact",
    "LocalStore",
    "Seal",
    "SealDirectory",
    "SealManifest",
    "Store",
    "open_artefact",
    "open_pieces",
    "seal_round",
    "verify_manifest",
]

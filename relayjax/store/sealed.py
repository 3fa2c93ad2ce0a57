"""Sealed artefacts: only those they were sealed to can open them; everybody can check that they are whole."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from relayjax.errors import IntegrityError
from relayjax.files import is_temporary, read, write_atomic
from relayjax.identity import Keys, PublicKeys, open_sealed, seal
from relayjax.store.base import Store, digest_of
from relayjax.store.manifest import Seal, SealManifest, sign_manifest, verify_manifest

_FILE_NAME = re.compile(r"(\d{5,})\.json")


@dataclass(frozen=True)
class Artefact:
    """Something to be sealed.

    Attributes:
      kind: one of `manifest.KINDS`.
      data: the plaintext.
      recipients: who may open it, in any order.
    """

    kind: str
    data: bytes
    recipients: Sequence[PublicKeys]


def seal_round(store: Store, round: int, artefacts: Iterable[Artefact], signer: Keys) -> bytes:
    """Seals the artefacts of a round into a store.

    Args:
      store: gets the sealed bytes, under their own digests.
      round: its number.
      artefacts: in any order; equal ones (two participants that did nothing, say) are sealed once, to the
        recipients of all of them.
      signer: who vouches that the sealed bytes hold those plaintexts.

    Returns:
      The signed manifest, as `SealDirectory.write` takes it.

    Raises:
      ConfigError: an artefact has no recipients.
    """
    merged: dict[str, Artefact] = {}
    for artefact in artefacts:
        digest = digest_of(artefact.data)
        others = merged[digest].recipients if digest in merged else ()
        merged[digest] = replace(artefact, recipients=(*others, *artefact.recipients))
    ordered = sorted(merged.items())
    readers = [{public.name: public.receiving for public in artefact.recipients} for _, artefact in ordered]
    sealed = store.put_many(
        [
            seal(artefact.data, sorted(keys.values()))
            for (_, artefact), keys in zip(ordered, readers, strict=True)
        ]
    )
    seals = tuple(
        Seal(digest, artefact.kind, len(artefact.data), address, tuple(sorted(keys)))
        for (digest, artefact), keys, address in zip(ordered, readers, sealed, strict=True)
    )
    return sign_manifest(SealManifest(round, seals), signer)


def open_artefact(store: Store, manifest: SealManifest, digest: str, keys: Keys) -> bytes:
    """Opens a sealed artefact; returns its plaintext.

    Args:
      store: holds the sealed bytes.
      manifest: verified, of the round that sealed it.
      digest: of the plaintext.
      keys: of who opens it.

    Raises:
      AccessError: it was not sealed to these keys.
      IntegrityError: missing or damaged sealed bytes, or another plaintext than the signer promised.
    """
    plaintext = open_sealed(store.get(manifest.find(digest).sealed), keys)
    _check_plaintext(digest, plaintext)
    return plaintext


def _check_plaintext(digest: str, plaintext: bytes) -> None:
    if (found := digest_of(plaintext)) != digest:
        raise IntegrityError(f"artefact {digest}", f"the plaintext has the digest {found}; refuse it")


class SealDirectory:
    """The manifests of a run: a file a round, `00012.json`, and nothing else."""

    def __init__(self, directory: Path):
        """Opens a directory of manifests; it is created with the first `write`."""
        self.directory = directory

    def write(self, round: int, manifest: bytes) -> None:
        """Keeps the signed manifest of a round, durably; one of the same round is replaced."""
        write_atomic(self.path(round), manifest)

    def read(self, round: int, signers: Mapping[str, PublicKeys]) -> SealManifest:
        """Reads and verifies the manifest of a round; see `verify_manifest`.

        Raises:
          IntegrityError: missing, or not as its signer wrote it; names the file.
        """
        path = self.path(round)
        if not path.is_file():
            raise IntegrityError(
                str(path), "this manifest is missing; fetch it again from another participant"
            )
        return verify_manifest(read(path), signers, round, str(path))

    def rounds(self) -> list[int]:
        """Lists the rounds that have a manifest, in order.

        Raises:
          IntegrityError: naming a file that should not be there. Leftovers of a kill are ignored.
        """
        if not self.directory.exists():
            return []
        return sorted(self._round(path) for path in self.directory.iterdir() if not is_temporary(path))

    def verify(self, store: Store, signers: Mapping[str, PublicKeys]) -> list[SealManifest]:
        """Verifies every manifest, and every sealed artefact that one names; returns them, in order.

        Raises:
          IntegrityError: naming the first file, manifest or artefact, that is wrong or missing.
        """
        manifests = [self.read(round, signers) for round in self.rounds()]
        for manifest in manifests:
            for entry in manifest.seals:
                store.get(entry.sealed)
        return manifests

    def path(self, round: int) -> Path:
        """Returns where the manifest of a round is or would be."""
        return self.directory / f"{round:05d}.json"

    def _round(self, path: Path) -> int:
        name = _FILE_NAME.fullmatch(path.name)
        if name is None or path != self.path(int(name[1])) or not path.is_file():
            raise IntegrityError(str(path), "not a seal manifest; move it elsewhere")
        return int(name[1])

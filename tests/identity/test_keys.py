"""Keys: derivation, files, names; sealing to them."""

from __future__ import annotations

from pathlib import Path

import pyrage
import pytest
from cryptography.hazmat.primitives.asymmetric.ec import SECP256R1, generate_private_key
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat

from relayjax.errors import AccessError, ConfigError, FormatError, IntegrityError, WorkdirError
from relayjax.identity import Keys, PublicKeys, open_sealed, seal

ADA = Keys.derive("ada", b"seed")


def test_derived_keys_never_change() -> None:
    assert ADA.public == PublicKeys(
        "ada",
        "14a833a5fd10e0c2e8a261ad47b005907506bff0fcf3d6551dadd63080198a94",
        "age13lek9a8u46tlsuvrs4zgjvhkcf2q5tz952e9m9zly0wgrl0r69wszs8vn3",
    )


def test_name_and_seed_both_decide_and_generated_keys_differ() -> None:
    publics = [Keys.derive(*pair).public for pair in (("ada", b"seed"), ("ada", b"seed2"), ("ada2", b"seed"))]
    publics += [Keys.generate("ada").public for _ in range(2)]
    assert len({public.signing for public in publics}) == len({public.receiving for public in publics}) == 5


def test_secrets_are_not_shown() -> None:
    assert "SECRET" not in repr(ADA)
    assert repr(ADA) == "Keys(name='ada')"


@pytest.mark.parametrize("name", ["a", "0", "node-1_b", "a" * 32])
def test_allowed_names(name: str) -> None:
    assert Keys.derive(name, b"").public.name == name


@pytest.mark.parametrize("name", ["", "A", "-a", "_a", "a" * 33, "a.b", "a/b", "../a", "a\n", "ä", "٣"])
def test_other_names_are_refused(name: str) -> None:
    for make in (Keys.generate, lambda n: Keys.derive(n, b""), lambda n: Keys.load(Path(), n)):
        with pytest.raises(FormatError, match="a name is"):
            make(name)


def test_keys_survive_the_disk(tmp_path: Path) -> None:
    directory = tmp_path / "deep" / "keys"
    for keys in (ADA, Keys.generate("bob")):
        keys.save(directory)
        keys.save(directory)
        assert Keys.load(directory, keys.name).public == keys.public
    assert directory.stat().st_mode & 0o777 == 0o700
    assert {path.name: path.stat().st_mode & 0o777 for path in directory.iterdir()} == dict.fromkeys(
        ["ada.pem", "ada.age", "bob.pem", "bob.age"], 0o600
    )


@pytest.mark.parametrize("lost", ["ada.pem", "ada.age"])
def test_another_key_is_never_overwritten(tmp_path: Path, lost: str) -> None:
    ADA.save(tmp_path)
    (tmp_path / lost).unlink()
    before = {path: path.read_bytes() for path in tmp_path.iterdir()}
    with pytest.raises(WorkdirError, match="another key"):
        Keys.derive("ada", b"other").save(tmp_path)
    assert {path: path.read_bytes() for path in tmp_path.iterdir()} == before


def test_a_key_file_that_is_none_is_named(tmp_path: Path) -> None:
    ADA.save(tmp_path)
    with pytest.raises(WorkdirError, match=r"bob\.pem"):
        Keys.load(tmp_path, "bob")
    age, pem = tmp_path / "ada.age", tmp_path / "ada.pem"
    secret = age.read_text().splitlines()[1]
    for text in ("", "# only a comment\n", f"{secret}\n{secret}\n", secret[:-1], "\udcff"):
        age.write_bytes(text.encode(errors="surrogateescape"))
        with pytest.raises(FormatError, match=r"ada\.age"):
            Keys.load(tmp_path, "ada")
    other = generate_private_key(SECP256R1()).private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
    for data in (b"", pem.read_bytes()[:60], other):
        pem.write_bytes(data)
        with pytest.raises(FormatError, match=r"ada\.pem"):
            Keys.load(tmp_path, "ada")


def test_the_age_file_is_a_plain_identity_file(tmp_path: Path) -> None:
    ADA.save(tmp_path)
    comment, secret = (tmp_path / "ada.age").read_text().splitlines()
    assert comment == f"# public key: {ADA.public.receiving}"
    assert str(pyrage.x25519.Identity.from_str(secret).to_public()) == ADA.public.receiving


@pytest.mark.parametrize(
    "change",
    [
        {"name": "Ada"},
        {"signing": ADA.public.signing.upper()},
        {"signing": ADA.public.signing[:-2]},
        {"signing": "01" + "00" * 31},
        {"signing": "02" + "00" * 31},
        {"receiving": ADA.public.receiving.upper()},
        {"receiving": ADA.public.receiving[:-1] + "q"},
        {"receiving": ""},
    ],
)
def test_public_keys_that_are_none_are_refused(change: dict[str, str]) -> None:
    fields = {"name": "ada", "signing": ADA.public.signing, "receiving": ADA.public.receiving}
    with pytest.raises(FormatError):
        PublicKeys(**{**fields, **change})


def test_only_recipients_open_what_is_sealed() -> None:
    bob, eve = Keys.derive("bob", b"seed"), Keys.derive("eve", b"seed")
    sealed = seal(b"weights", [ADA.public.receiving, bob.public.receiving])
    assert open_sealed(sealed, ADA) == open_sealed(sealed, bob) == b"weights"
    with pytest.raises(AccessError, match="eve"):
        open_sealed(sealed, eve)
    with pytest.raises(ConfigError, match="no recipients"):
        seal(b"weights", [])
    with pytest.raises(FormatError, match="age1"):
        seal(b"weights", ["age1nobody"])


def test_damage_to_sealed_bytes_is_noticed() -> None:
    sealed = seal(b"weights" * 20, [ADA.public.receiving])
    for position in range(0, len(sealed) * 8, 7):
        damaged = bytearray(sealed)
        damaged[position // 8] ^= 1 << position % 8
        with pytest.raises((IntegrityError, AccessError)):
            open_sealed(bytes(damaged), ADA)
    for damaged in (b"", sealed[:-1], sealed[:-1] + bytes([sealed[-1] ^ 1]), sealed + b"\0"):
        with pytest.raises(IntegrityError):
            open_sealed(damaged, ADA)

"""Exported weights are vouched for in a statement that the standard tool verifies, and no other bytes are."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric import ec, ed25519
from cryptography.hazmat.primitives.serialization import (
    BestAvailableEncryption,
    Encoding,
    KeySerializationEncryption,
    NoEncryption,
    PrivateFormat,
    PublicFormat,
)

from relayjax import backend, cli
from relayjax.errors import ConfigError
from relayjax.model_signature import signer

PKCS8 = PrivateFormat.PKCS8


def made(folder: Path, name: str, encryption: KeySerializationEncryption | None = None) -> Path:
    """A private key on P-256 and, beside it, its public key."""
    key, file = ec.generate_private_key(ec.SECP256R1()), folder / f"{name}.pem"
    file.write_bytes(key.private_bytes(Encoding.PEM, PKCS8, encryption or NoEncryption()))
    public = key.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)
    file.with_suffix(".pub").write_bytes(public)
    return file


def verifies(file: Path, public: Path) -> bool:
    """What the standard tool says."""
    tool = [sys.executable, "-m", "model_signing", "verify", "key", str(file)]
    flags = [f"--signature={file}.sig", f"--public_key={public}"]
    done = subprocess.run([*tool, *flags], capture_output=True, text=True, check=False)
    assert "Traceback" not in done.stderr, done.stderr
    return done.returncode == 0


def test_the_standard_tool_verifies_exported_weights(
    tiny_run: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
):
    pytest.importorskip("model_signing")
    out, key = tmp_path / "head.safetensors", made(tmp_path, "acme")
    holder = next(name for name in backend.read_history(tiny_run).state.licences if name.startswith("p"))
    opening = ["open", str(tiny_run), f"--key={tiny_run / 'keys' / holder}"]
    assert cli.main([*opening, f"--out={out}", f"--sign={key}"]) == 0
    assert f"signed in {out}.sig" in capsys.readouterr().out.replace("\n", "")
    assert verifies(out, key.with_suffix(".pub"))
    assert not verifies(out, made(tmp_path, "other").with_suffix(".pub"))
    good = out.read_bytes()
    for place in (0, len(good) // 2, len(good) - 1):
        out.write_bytes(good[:place] + bytes([good[place] ^ 1]) + good[place + 1 :])
        assert not verifies(out, key.with_suffix(".pub"))
    out.write_bytes(good)
    statement = Path(f"{out}.sig")
    said = statement.read_bytes()
    place = said.index(b'"payload":"') + 200
    statement.write_bytes(said[:place] + bytes([said[place] ^ 1]) + said[place + 1 :])
    assert not verifies(out, key.with_suffix(".pub"))


def test_only_a_key_that_the_standard_takes_signs(tmp_path: Path):
    pytest.importorskip("model_signing")
    wrong = tmp_path / "wrong.pem"
    member = ed25519.Ed25519PrivateKey.generate().private_bytes(Encoding.PEM, PKCS8, NoEncryption())
    odd = ec.generate_private_key(ec.SECP256K1()).private_bytes(Encoding.PEM, PKCS8, NoEncryption())
    for data in (member, odd, b"", b"\xff" * 100, made(tmp_path, "x").with_suffix(".pub").read_bytes()):
        wrong.write_bytes(data)
        with pytest.raises(ConfigError, match="not an unencrypted EC private key"):
            signer(wrong)
    for file in (tmp_path / "none.pem", tmp_path, made(tmp_path, "locked", BestAvailableEncryption(b"x"))):
        with pytest.raises(ConfigError, match="not an unencrypted EC private key"):
            signer(file)


def test_without_the_extra_it_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setitem(sys.modules, "model_signing.signing", None)
    with pytest.raises(ConfigError, match=r"relayjax\[signing\]"):
        signer(made(tmp_path, "acme"))


def test_nothing_is_opened_before_it_is_clear_that_it_can_be_signed(
    tiny_run: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
):
    opening = ["open", str(tiny_run), f"--key={tiny_run / 'keys' / 'v0'}"]
    assert cli.main([*opening, f"--sign={tmp_path / 'none.pem'}"]) == 1
    assert "--out=FILE is needed" in capsys.readouterr().err
    assert cli.main([*opening, f"--out={tmp_path / 'head.npz'}", f"--sign={tmp_path / 'none.pem'}"]) == 1
    assert not list(tmp_path.iterdir())

"""Keys behind a password."""

from __future__ import annotations

from pathlib import Path

import pyrage
import pytest

from relayjax.errors import AccessError, ConfigError, FormatError, WorkdirError
from relayjax.identity import Keys, load_locked, open_sealed, save_locked, seal

KEYS = Keys.derive("ada", b"test")
PASSWORD = "drei Bäume, ein Fluß"


@pytest.fixture(scope="module")
def locked(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return save_locked(KEYS, tmp_path_factory.mktemp("keys"), PASSWORD)


def test_locked_keys_open_with_their_password_alone(locked: Path) -> None:
    assert locked.name == "ada.keys.age"
    assert locked.stat().st_mode & 0o777 == 0o600
    assert [path.name for path in locked.parent.iterdir()] == [locked.name]
    again = load_locked(locked.parent, "ada", PASSWORD)
    assert again.public == KEYS.public
    assert again.sign(b"x") == KEYS.sign(b"x")
    assert open_sealed(seal(b"secret", [KEYS.public.receiving]), again) == b"secret"
    with pytest.raises(AccessError, match="not with this password"):
        load_locked(locked.parent, "ada", PASSWORD + " ")


def test_the_file_is_a_plain_age_file_of_both_key_files(locked: Path, tmp_path: Path) -> None:
    text = pyrage.passphrase.decrypt(locked.read_bytes(), PASSWORD)
    KEYS.save(tmp_path)
    pem, age = (tmp_path / "ada.pem").read_bytes(), (tmp_path / "ada.age").read_bytes()
    assert text == pem + age.splitlines(keepends=True)[-1]
    assert KEYS.public.signing.encode() not in locked.read_bytes()


def test_nothing_is_overwritten_and_no_password_is_none(locked: Path) -> None:
    with pytest.raises(WorkdirError, match="holds keys already"):
        save_locked(Keys.derive("ada", b"other"), locked.parent, PASSWORD)
    with pytest.raises(ConfigError, match="empty"):
        save_locked(Keys.derive("bob", b"test"), locked.parent, "")


def test_what_holds_no_keys_is_refused(locked: Path, tmp_path: Path) -> None:
    with pytest.raises(WorkdirError, match="can't read"):
        load_locked(tmp_path, "ada", PASSWORD)
    (tmp_path / "ada.keys.age").write_bytes(locked.read_bytes()[:-1])
    with pytest.raises(AccessError):
        load_locked(tmp_path, "ada", PASSWORD)
    for data in (b"", b"x" * 99, pyrage.encrypt(KEYS.encode(), [KEYS.receiving.to_public()])):
        (tmp_path / "ada.keys.age").write_bytes(data)
        with pytest.raises(FormatError, match="not keys behind a password"):
            load_locked(tmp_path, "ada", PASSWORD)
    (tmp_path / "ada.keys.age").write_bytes(bytes(1 << 17))
    with pytest.raises(FormatError, match="too long"):
        load_locked(tmp_path, "ada", PASSWORD)


@pytest.mark.parametrize("cut", [0, 10, 119, 130, -2])
def test_keys_as_text_are_read_whole_or_not_at_all(cut: int) -> None:
    assert Keys.decode("ada", KEYS.encode(), "here").public == KEYS.public
    with pytest.raises(FormatError, match="here: not the keys"):
        Keys.decode("ada", KEYS.encode()[:cut], "here")


@pytest.mark.parametrize("work", [b"22", b"64", b"999"])
def test_a_password_may_not_cost_all_memory(locked: Path, work: bytes) -> None:
    """Every step of the work factor doubles what scrypt takes; 23 are 8 GiB."""
    head, stanza, rest = locked.read_bytes().split(b"\n", 2)
    locked.write_bytes(b"\n".join([head, b" ".join([*stanza.split(b" ")[:3], work]), rest]))
    with pytest.raises(FormatError, match="not keys behind a password"):
        load_locked(locked.parent, "ada", PASSWORD)

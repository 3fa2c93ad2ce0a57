"""Making keys and opening them, as a person does."""

from __future__ import annotations

import io
from pathlib import Path

import pytest
from rich.console import Console

from relayjax.errors import ConfigError, FormatError, WorkdirError
from relayjax.keys_console import make_keys, open_keys
from relayjax.ledger.vkey import COSIGNATURE, VerifierKey


def _console() -> tuple[Console, io.StringIO]:
    file = io.StringIO()
    return Console(file=file, width=1000), file


def _never(prompt: str) -> str:
    raise AssertionError(f"asked: {prompt}")


def test_keys_are_made_said_and_found_again(tmp_path: Path) -> None:
    console, shown = _console()
    path = tmp_path / "keys" / "w1"
    keys = make_keys(path, console, locked=False, witness="witness.example/w1", ask=_never)
    said = dict(line.split(maxsplit=1) for line in shown.getvalue().splitlines())
    assert said["signing"] == keys.public.signing
    assert VerifierKey.decode(said["witness"]) == VerifierKey(
        "witness.example/w1", COSIGNATURE, bytes.fromhex(keys.public.signing)
    )
    for name in ("w1", "w1.pem", "w1.age"):
        assert open_keys(str(path.with_name(name)), _never).public == keys.public
    with pytest.raises(WorkdirError, match="another key"):
        make_keys(path, console, locked=False)


def test_locked_keys_are_asked_for(tmp_path: Path) -> None:
    console, _ = _console()
    answers = iter(["one", "two", "one", "one", "one"])
    ask = lambda prompt: next(answers)  # noqa: E731
    with pytest.raises(ConfigError, match="differ"):
        make_keys(tmp_path / "ada", console, locked=True, ask=ask)
    assert not list(tmp_path.iterdir())
    keys = make_keys(tmp_path / "ada", console, locked=True, ask=ask)
    assert [path.name for path in tmp_path.iterdir()] == ["ada.keys.age"]
    assert open_keys(str(tmp_path / "ada.keys.age"), ask).public == keys.public


def test_names_that_cannot_be_are_refused_before_anything_is_written(tmp_path: Path) -> None:
    console, _ = _console()
    for name, witness in (("Ada", None), ("ada", "a b"), ("ada", "a+b")):
        with pytest.raises(FormatError):
            make_keys(tmp_path / name, console, locked=False, witness=witness)
    assert not list(tmp_path.iterdir())
    with pytest.raises(FormatError):
        open_keys(str(tmp_path / ".pem"))
    with pytest.raises(WorkdirError):
        open_keys(str(tmp_path / "nobody"))

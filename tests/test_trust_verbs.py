"""The verbs around witnesses and receipts, from the command line."""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from relayjax import cli

RELAYJAX = [sys.executable, "-m", "relayjax"]


def _said(out: str, word: str) -> str:
    return next(line.split(maxsplit=1)[1] for line in out.splitlines() if line.startswith(word))


def test_a_run_is_witnessed_and_its_receipts_checked(
    tiny_copy: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    run = shutil.move(tiny_copy, tmp_path / "run")
    assert cli.main(["keys", "keys/w1", "--witness=witness.example/w1"]) == 0
    witness = _said(capsys.readouterr().out, "witness")
    assert cli.main(["receipts", str(run)]) == 0
    log = _said(capsys.readouterr().out, "log")
    Path("logs").write_text(f"log {log}\nquorum none\n")
    program = [*RELAYJAX, "witness", "seen", "--name=witness.example/w1", "--key=keys/w1", "--logs=logs"]
    with subprocess.Popen([*program, "--listen=127.0.0.1:0"], stdout=subprocess.PIPE, text=True) as process:
        try:
            assert process.stdout
            url = [process.stdout.readline() for _ in range(3)][-1].split()[-1]
            Path("policy").write_text(f"log {log}\nwitness a {witness} {url}\nquorum a\n")
            assert cli.main(["verify", str(run), "--policy=policy"]) == 1
            assert "no witness" in capsys.readouterr().err
            assert cli.main(["cosign", str(run), "--policy=policy"]) == 0
        finally:
            process.kill()
    assert cli.main(["verify", str(run), "--policy=policy", "--seen=mine/seen"]) == 0
    assert cli.main(["verify", str(run), "--policy=policy", "--ledger", "--workers=0"]) == 0
    capsys.readouterr()
    assert cli.main(["receipts", str(run), "--participant=p1", "--out=mine"]) == 0
    receipt = str(next(Path("mine").glob("p1-*.tlog-proof")))
    assert cli.main(["receipt", receipt, "--policy=policy"]) == 0
    assert "by p1 in round" in capsys.readouterr().out
    for arguments in (
        ["receipt", receipt],
        ["receipt", receipt, "--policy=missing"],
        ["receipt", "--policy=policy"],
        ["evidence", receipt, "--policy=policy"],
        ["witness", "seen"],
        ["keys"],
        ["cosign", str(run), "--policy=logs"],
    ):
        assert cli.main(arguments) == 1, arguments

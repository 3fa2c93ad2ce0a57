"""The verbs that change keys, from the command line."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from relayjax import backend, cli
from relayjax.identity import Keys

pytestmark = pytest.mark.usefixtures("compiled_once")


@pytest.fixture
def run(tiny_snapshots: list[Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    return Path(shutil.copytree(tiny_snapshots[2], tmp_path / "run"))


def test_a_life_of_keys(run: Path, capsys: pytest.CaptureFixture[str]):
    assert cli.main(["keys", "safe/p0"]) == 0
    assert cli.main(["recovery-key", "run", "--key=run/keys/p0", "--recovery=safe/p0"]) == 0
    said = capsys.readouterr().out
    entry = len(backend.read_history(run).records) - 1
    assert f"entry      {entry}: recovery_key by p0 in round 3" in said
    assert cli.main(["rotate", "run", "--key=run/keys/p0"]) == 0
    said = capsys.readouterr().out
    new = Keys.load(run / "keys" / f"{entry + 1:07}", "p0")
    assert all(part in said for part in (new.public.signing, new.public.receiving, "p0.age", "keep it"))
    assert cli.main(["keys", "fresh/anything"]) == 0
    recover = ["recover", "run", "--key=safe/p0", "--void=3"]
    assert cli.main([*recover, "--new=fresh/anything"]) == 0
    assert backend.read_history(run).state.members["p0"].signing in capsys.readouterr().out
    assert cli.main(["revoke", "run", "--key=run/keys/v0", "--member=p1"]) == 0
    assert "more than half" in capsys.readouterr().out
    assert cli.main(["revoke", "run", "--key=run/keys/v1", "--member=p1"]) == 0
    assert "revoked    p1" in capsys.readouterr().out
    assert cli.main(["rotate", "run", "--key=run/keys/v0"]) == 0
    assert "The log is signed" in capsys.readouterr().out
    assert cli.main(["verify", "run"]) == 0
    assert cli.main(["verify", "run", "--ledger", "--workers=0"]) == 0


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["rotate", "run"], "--key=DIRECTORY/NAME"),
        (["rotate", "--key=run/keys/p0"], "exactly one WORKDIR"),
        (["rotate", "nowhere", "--key=run/keys/p0"], "no run here"),
        (["rotate", "run", "--key=run/keys/nobody"], "nobody.pem"),
        (["recover", "run", "--key=run/keys/p0"], "--void=ROUND"),
        (["recover", "run", "--key=run/keys/p0", "--void=3"], "no recovery key"),
        (["recovery-key", "run", "--key=run/keys/p0"], "--recovery=DIRECTORY/NAME"),
        (["recovery-key", "run", "--key=run/keys/p0", "--recovery=run/keys/p0"], "not taken again"),
        (["revoke", "run", "--key=run/keys/p0"], "--member=NAME"),
        (["revoke", "run", "--key=run/keys/p0", "--member=p1"], "only maintainers"),
        (["revoke", "run", "--key=run/keys/v1", "--member=v0"], "let another take over"),
        (["rotate", "run", "--key=run/keys/p0", "--log=run/keys/v1"], "signed with"),
    ],
)
def test_what_cannot_be_is_refused_and_changes_nothing(
    arguments: list[str], said: str, run: Path, capsys: pytest.CaptureFixture[str]
):
    before = backend.verify(run).audit.root
    assert cli.main(arguments) == 1
    printed = capsys.readouterr()
    assert said in printed.err and "Traceback" not in printed.err, printed.err
    assert backend.verify(run).audit.root == before

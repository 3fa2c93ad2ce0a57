"""The command line: what it prints, what it refuses, and with which exit status."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from safetensors.numpy import load_file

from relayjax import backend, cli, handoff
from relayjax.config import Config
from relayjax.pack import ModelVersion

pytestmark = pytest.mark.usefixtures("compiled_once")


@pytest.fixture
def tiny_flags(tiny_overrides: dict[str, str]) -> list[str]:
    return [
        "--config=digits",
        "--seed=7",
        *(f"--config.{path}={text}" for path, text in tiny_overrides.items()),
    ]


def test_help_lists_the_verbs(capsys: pytest.CaptureFixture[str]):
    for arguments in (["--help"], []):
        assert cli.main(arguments) == 0
        said = capsys.readouterr().out
        assert all(verb in said for verb in ("run", "verify", "report", "explain", "value", "open"))
    assert cli.main(["run", "--help"]) == 0
    assert "--config.relay.rounds" in capsys.readouterr().out
    assert cli.main(["--version"]) == 0


def test_an_unknown_verb_is_refused(capsys: pytest.CaptureFixture[str]):
    assert cli.main(["train"]) == 1
    assert "no verb 'train'" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("flag", "said"),
    [
        ("--config.relay.round=4", ["config.relay.rounds"]),
        ("--workdirs=x", ["workdir"]),
        ("--config.relay.participants=0", ["relay.participants", "0", "≥ 1"]),
        ("--config.relay.participants=ten", ["relay.participants", "ten", "an integer"]),
        ("--config.relay.rounds=1.5", ["relay.rounds", "1.5", "an integer"]),
        ("--config.task.alpha=0", ["task.alpha", "0", "> 0"]),
        ("--config.task.alpha=nan", ["task.alpha", "nan", "> 0"]),
        ("--config.rules.royalty_share=2000000", ["rules.royalty_share", "2000000", "≤ 1000000"]),
        ("--config.relay.codec=zip", ["relay.codec", "zip", "mxint8", "lossless"]),
        ("--config.relay.braid_rounds=2,1", ["relay.braid_rounds", "ascending"]),
        ("--config.experiment.deviation=idler", ["experiment.deviation", "idler", "free_rider"]),
        ("--seed=-1", ["seed", "-1", "≥ 0"]),
        ("--seed=x", ["seed", "x"]),
        ("--config=nowhere.py", ["nowhere.py"]),
        ("--config=digits:nowhere", ["nowhere", "smoke"]),
        ("extra", ["extra"]),
    ],
)
def test_a_wrong_setting_is_refused_before_anything_starts(
    flag: str, said: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
):
    assert cli.main(["run", f"--workdir={tmp_path / 'run'}", flag]) == 1
    printed = capsys.readouterr()
    assert all(part in printed.err for part in said), printed.err
    assert not printed.out and not list(tmp_path.iterdir())


def test_a_run_needs_a_workdir(capsys: pytest.CaptureFixture[str]):
    assert cli.main(["run"]) == 1
    assert "--workdir" in capsys.readouterr().err


def test_a_disk_that_refuses_is_said_plainly(tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    (tmp_path / "file").write_text("")
    assert cli.main(["run", "--config=digits:smoke", f"--workdir={tmp_path / 'file' / 'run'}"]) == 1
    assert "Not a directory" in capsys.readouterr().err


def test_run_verify_report_explain_open(
    tiny_run: Path, tiny_flags: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
):
    directory = tmp_path / "run"
    root = backend.verify(tiny_run).audit.root
    assert cli.main(["run", f"--workdir={directory}", *tiny_flags]) == 0
    said = capsys.readouterr().out
    assert all(part in said for part in ("p0", "p1", "p2", "test accuracy", root, "report.html", "training"))
    assert "<html" in (directory / "report.html").read_text()
    assert cli.main(["run", f"--workdir={directory}", *tiny_flags]) == 0, "a finished run is only shown again"
    assert root in capsys.readouterr().out

    log_key = backend.verify(directory).audit.log_key
    assert (
        cli.main(["verify", str(directory), f"--log_key={log_key}", f"--key={directory / 'keys' / 'v1'}"])
        == 0
    )
    said = capsys.readouterr().out
    assert root in said and "9 versions recomputed" in said and "verified" in said

    (directory / "report.html").unlink()
    assert cli.main(["report", str(directory)]) == 0
    assert (directory / "report.html").is_file()
    capsys.readouterr()

    assert cli.main(["explain", str(directory), "--participant=p1"]) == 0
    assert "p1" in capsys.readouterr().out
    assert cli.main(["explain", str(directory), "--participant=nobody"]) == 1
    assert "nobody" in capsys.readouterr().err

    holder = next(name for name in backend.read_history(directory).state.licences if name.startswith("p"))
    arrays, tensors, neither = (tmp_path / f"head.{suffix}" for suffix in ("npz", "safetensors", "txt"))
    for out, status in ((arrays, 0), (tensors, 0), (neither, 1)):
        key = directory / "keys" / holder
        assert cli.main(["open", str(directory), f"--key={key}", f"--out={out}"]) == status
    assert "head.txt: must end in .npz" in capsys.readouterr().err and not neither.exists()
    found = load_file(tensors)
    with np.load(arrays, allow_pickle=False) as opened:
        assert {array.dtype for array in opened.values()} == {np.dtype(np.float32)}
        assert set(opened) == set(found)
        assert all(np.array_equal(found[name], opened[name]) for name in opened)
    assert {out.stat().st_mode & 0o777 for out in (arrays, tensors)} == {0o600}

    folder = tmp_path / "head"
    saving = ["open", str(directory), f"--key={directory / 'keys' / holder}", f"--checkpoint={folder}"]
    assert cli.main(saving) == 0 and cli.main(saving) == 1, "it is saved once, and never over another"
    past = backend.read_history(directory)
    version = ModelVersion(past.state.head.number, past.state.head.digest, past.genesis.layout)
    theta = np.asarray(handoff.restore(folder, version))
    flat = np.concatenate([found[leaf["name"]].ravel() for leaf in past.genesis.layout])
    np.testing.assert_array_equal(theta, flat)


def test_without_a_licence_the_head_stays_closed(tiny_run: Path, capsys: pytest.CaptureFixture[str]):
    assert cli.main(["open", str(tiny_run), f"--key={tiny_run / 'keys' / 'observer.age'}"]) == 1
    said = capsys.readouterr().err
    assert "observer" in said and "licence" in said and "Traceback" not in said


@pytest.mark.parametrize("verb", ["verify", "report", "explain", "value", "open"])
def test_where_no_run_is_every_verb_says_so(verb: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    needed = {"explain": ["--participant=p0"], "open": [f"--key={tmp_path / 'p0'}"]}.get(verb, [])
    backend.Keys.generate("p0").save(tmp_path)
    empty = tmp_path / "empty"
    empty.mkdir()
    assert cli.main([verb, str(empty), *needed]) == 1
    assert "no run here" in capsys.readouterr().err and not list(empty.iterdir())
    assert cli.main([verb, *needed]) == 1
    assert "exactly one WORKDIR" in capsys.readouterr().err


def test_value_prints_draws_and_writes_what_work_is_worth(
    tiny_run: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
):
    plot, written = tmp_path / "values.png", tmp_path / "values.json"
    before = {path: path.read_bytes() for path in tiny_run.rglob("*") if path.is_file()}
    asked = ["--method=exact", f"--plot={plot}", f"--json={written}", "--against=retrain"]
    assert cli.main(["value", str(tiny_run), *asked]) == 0
    said = capsys.readouterr().out
    found = json.loads(written.read_text())
    for part in (
        "exact over 2 braid rounds",
        "250 drawn",
        "p2",
        "round 4",
        "royalty",
        "without it",
        "4 relays",
    ):
        assert part in said, said
    for name, worth in found["values"].items():
        shown = f"{worth:.3f} ± {1.96 * found['stderr'][name]:.3f}".replace("-", "−")
        assert shown in said
    assert "(difference 0.0000)" in said and "ended with the run's own head" in said
    assert plot.read_bytes().startswith(b"\x89PNG")
    assert (found["method"], found["metric"], found["examples"]) == ("exact", "loss", "drawn")
    assert [(r["round"], r["evaluations"]) for r in found["rounds"]] == [(1, 8), (4, 8)]
    assert sum(found["values"].values()) == pytest.approx(found["together"])
    assert len(found["legs"]) == 12 and len(found["retrained"]["final"]) == 1
    assert set(found["agreement"]["value"]) == {"final", "mean"}
    assert {path: path.read_bytes() for path in tiny_run.rglob("*") if path.is_file()} == before


@pytest.mark.parametrize(
    ("flag", "said"),
    [
        ("--method=guess", "choose one of exact"),
        ("--metric=beauty", "choose one of loss, accuracy"),
        ("--examples=all", "drawn, validation"),
        ("--budget=2", "a budget of 2"),
        ("--target_stderr=0", "positive"),
        ("--against=guess", "retrain"),
        ("--repeats=0", "1 or more"),
        ("--plot=values.pdf", ".png or .svg"),
        ("--config=nowhere.py", "nowhere.py"),
    ],
)
def test_value_refuses_what_it_cannot_do(
    flag: str, said: str, tiny_run: Path, capsys: pytest.CaptureFixture[str]
):
    assert cli.main(["value", str(tiny_run), flag]) == 1
    printed = capsys.readouterr()
    assert said in printed.err and "Traceback" not in printed.err and not printed.out


def test_value_says_when_there_is_nothing_to_value_or_no_key(
    tiny_run: Path, tiny_snapshots: list[Path], capsys: pytest.CaptureFixture[str]
):
    assert cli.main(["value", str(tiny_snapshots[0])]) == 1
    assert "no braid round is settled yet" in capsys.readouterr().err
    assert cli.main(["value", str(tiny_run), f"--key={tiny_run / 'keys' / 'observer.age'}"]) == 1
    assert "observer" in capsys.readouterr().err


def test_verify_names_what_is_wrong(tiny_copy: Path, capsys: pytest.CaptureFixture[str]):
    victim = next(path for path in sorted((tiny_copy / "store").rglob("*")) if path.is_file())
    victim.write_bytes(victim.read_bytes() + b"\0")
    assert cli.main(["verify", str(tiny_copy)]) == 1
    assert str(victim) in capsys.readouterr().err


def test_interrupted_it_stops_and_can_go_on(
    tiny_flags: list[str], tiny_config: Callable[..., Config], tmp_path: Path
):
    directory = tmp_path / "run"
    flags = [*tiny_flags, "--config.relay.rounds=60"]
    command = [sys.executable, "-m", "relayjax", "run", f"--workdir={directory}", *flags]
    with subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=os.environ
    ) as process:
        assert process.stdout and process.stderr
        assert process.stdout.readline().startswith("round 3:")
        process.send_signal(signal.SIGINT)
        _, said = process.communicate()
    assert process.returncode == 130
    assert "goes on from there" in said and "Traceback" not in said
    done = len(backend.verify(directory).audit.history.rounds)
    assert 3 <= done < 60
    with backend.open_run(tiny_config({"relay.rounds": "60"}), directory) as run:
        run.step()
        assert run.state.round.number == done + 2

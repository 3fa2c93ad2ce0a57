"""The facade: its documented example runs, and what it hands out can be checked elsewhere."""

from __future__ import annotations

import contextlib
import io
import json
import shutil
import textwrap
from collections.abc import Callable
from pathlib import Path

import pytest

from relayjax import backend, handoff
from relayjax.config import Config
from relayjax.errors import AccessError, FormatError, IntegrityError, WorkdirError
from relayjax.identity import Keys
from relayjax.ledger.proof import Receipt, verify_receipt
from relayjax.records import Submit
from relayjax.summary import MemberSummary

pytestmark = pytest.mark.usefixtures("compiled_once")


def test_the_documented_example_runs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    doc = backend.__doc__ or ""
    first, last = doc.index("    from relayjax"), doc.rindex("\n\n")
    example = textwrap.dedent(doc[first:last])
    assert len(example.splitlines()) <= 20 and "open_run" in example
    monkeypatch.chdir(tmp_path)
    names: dict[str, object] = {}
    said = io.StringIO()
    with contextlib.redirect_stdout(said):
        exec(compile(example, "example", "exec"), names)
    lines = said.getvalue().splitlines()
    assert sum(line.startswith("Settled(") for line in lines) == 4
    assert sum(line.startswith("MemberSummary(") for line in lines) >= 4
    state = backend.read_history(tmp_path / "runs" / "example").state
    assert state.finished and f"{state.head.digest} {dict(state.licences)}" in lines
    assert names["receipts"]


def test_receipts_hold_without_the_log(tiny_config: Callable[..., Config], tiny_copy: Path):
    found = backend.verify(tiny_copy).audit
    with backend.open_run(tiny_config(), tiny_copy) as run:
        receipts = run.receipts("p1")
        with pytest.raises(WorkdirError, match="no member"):
            run.receipts("nobody")
    submissions = [
        (index, record)
        for index, record in enumerate(found.history.records)
        if isinstance(record, Submit) and record.author == "p1"
    ]
    shutil.rmtree(tiny_copy)
    assert [receipt.index for receipt in receipts] == [index for index, _ in submissions] != []
    for receipt, (_, submission) in zip(receipts, submissions, strict=True):
        again = Receipt.decode(receipt.encode())
        checkpoint = verify_receipt(again, found.origin, found.log_key)
        assert checkpoint.root.hex() == found.root and checkpoint.size == len(found.history.records)
        assert submission.delta
        with pytest.raises(IntegrityError):
            forged = Receipt(again.index, again.entry[:-1] + b" ", again.proof, again.checkpoint)
            verify_receipt(forged, found.origin, found.log_key)
        with pytest.raises(IntegrityError):
            verify_receipt(again, found.origin, "ab" * 32)


def test_contributions_are_told_of_everybody(tiny_config: Callable[..., Config], tiny_copy: Path):
    with backend.open_run(tiny_config(), tiny_copy) as run:
        members = run.contributions()
        assert run.licences() == dict(backend.read_history(tiny_copy).state.licences)
    assert all(isinstance(member, MemberSummary) for member in members)
    assert {"p0", "p1", "p2"} <= {member.name for member in members}


@pytest.mark.parametrize("content", [b"[]", b"{}", b'{"pooled": 1, "alone": []}', b"\xff", b"[" * 100_000])
def test_hostile_baselines_are_refused(tiny_copy: Path, content: bytes):
    (tiny_copy / "baselines.json").write_bytes(content)
    with pytest.raises(FormatError, match=r"baselines\.json"):
        backend.read_summary(tiny_copy)


def test_baselines_are_trained_once(tiny_config: Callable[..., Config], tmp_path: Path):
    config = tiny_config({"relay.rounds": "1"})
    with backend.open_run(config, tmp_path / "run") as run:
        run.run()
        run.compare()
        figures = json.loads((tmp_path / "run" / "baselines.json").read_bytes())
        assert 0 <= figures["pooled"]["accuracy"] <= 1 and len(figures["alone"]) == 3
        (tmp_path / "run" / "baselines.json").write_text('{"pooled": {"accuracy": 2}, "alone": []}')
        assert run.compare()["pooled"] == {"accuracy": 2}


def test_the_head_is_saved_as_a_checkpoint_for_whoever_may_open_it(tiny_run: Path, tmp_path: Path):
    keys = {name: Keys.load(tiny_run / "keys", name) for name in ("v0", "observer")}
    folder = tmp_path / "head"
    with pytest.raises(AccessError):
        backend.save_head(tiny_run, keys["observer"], folder)
    assert not folder.exists()
    version = backend.save_head(tiny_run, keys["v0"], folder)
    head = backend.read_history(tiny_run).state.head
    assert (version.number, version.weights) == (head.number, head.digest)
    restored = handoff.restore(folder, version)
    opened = backend.open_head(tiny_run, keys["v0"]).values()
    assert b"".join(array.tobytes() for array in opened) == restored.tobytes()

"""A run under witnesses, end to end: processes that cosign, receipts, another history caught and proved."""

from __future__ import annotations

import http.client
import io
import random
import shutil
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from rich.console import Console

from relayjax import backend
from relayjax.audit import read_ledger
from relayjax.errors import ConfigError, FormatError, IntegrityError, RelayError, SplitViewError, WorkdirError
from relayjax.identity import Keys
from relayjax.ledger import Log
from relayjax.ledger.checkpoint import Checkpoint, sign_checkpoint
from relayjax.ledger.cosignature import cosigner_key
from relayjax.ledger.evidence import watch
from relayjax.ledger.merkle import Tree, leaf_hash
from relayjax.ledger.note import signer_key, verify_note
from relayjax.ledger.policy import Endpoint, Policy
from relayjax.ledger.witness_client import ask
from relayjax.trust_console import check_evidence, check_ledger, check_receipt, policy_of, write_receipts
from relayjax.witness_console import cosign, read_policy, serve
from relayjax.workdir import Workdir

PROGRAM = """
import sys
from pathlib import Path
from rich.console import Console
from relayjax.identity import Keys
from relayjax.witness_console import read_policy, serve

directory, name = sys.argv[1:3]
serve(Path(directory), f"witness.example/{name}", Keys.derive(name, b"test"),
      read_policy(Path(sys.argv[3])), "127.0.0.1:0", Console(width=1000))
"""


class Screen:
    """A console that remembers."""

    def __init__(self) -> None:
        self._file = io.StringIO()
        self.console = Console(file=self._file, width=1000)

    @property
    def text(self) -> str:
        return self._file.getvalue()


@contextmanager
def _witness(directory: Path, name: str, logs: Path) -> Iterator[tuple[subprocess.Popen[str], Endpoint]]:
    """A witness in a process of its own."""
    program = [sys.executable, "-c", PROGRAM, str(directory / name), name, str(logs)]
    with subprocess.Popen(program, stdout=subprocess.PIPE, text=True) as process:
        try:
            assert process.stdout
            lines = [process.stdout.readline().split() for _ in range(3)]
            key = cosigner_key(f"witness.example/{name}", Keys.derive(name, b"test"))
            assert lines[0] == ["witness", key.encode()]
            yield process, Endpoint(key, lines[2][-1])
        finally:
            process.kill()


def _log(workdir: Path) -> Endpoint:
    ledger = read_ledger(Workdir(workdir))
    return Endpoint(signer_key(ledger.origin, ledger.signer.signing))


def _file(path: Path, policy: Policy) -> Path:
    path.write_bytes(policy.encode())
    return path


def test_a_run_is_cosigned_its_receipts_hold_and_its_witness_survives_kills(
    tiny_snapshots: list[Path], tmp_path: Path
) -> None:
    young, old = (Path(shutil.copytree(tiny_snapshots[i], tmp_path / str(i))) for i in (3, -1))
    log = _log(old)
    logs = _file(tmp_path / "logs", Policy("none", (log,)))
    with _witness(tmp_path, "w1", logs) as (first, w1), _witness(tmp_path, "w2", logs) as (second, w2):
        policy = Policy.threshold(2, [w1, w2], [log])
        assert read_policy(_file(tmp_path / "policy", policy)) == policy
        with pytest.raises(IntegrityError, match="no witness"):
            check_ledger(old, policy, None, 0, Screen().console)
        for workdir in (young, young, old):
            screen = Screen()
            assert cosign(workdir, policy, screen.console), screen.text
            assert log.key.encode() in screen.text
            backend.verify(workdir, policy=policy)
        check_ledger(old, policy, tmp_path / "seen", 1, screen.console)
        assert "each signed by a member" in screen.text
        stranger = Policy("none", (Endpoint(signer_key(log.key.name, w1.key.public.hex())),))
        with pytest.raises(IntegrityError, match="no log of the policy"):
            backend.verify(old, policy=stranger)
        first.kill()
        second.send_signal(signal.SIGTERM)
        assert second.wait() == 0
    with _witness(tmp_path, "w1", logs) as (_, w1):  # it remembers: going back is refused
        policy = Policy.threshold(2, [w1, w2], [log])
        screen = Screen()
        shutil.copytree(tiny_snapshots[3], tmp_path / "back")
        assert not cosign(tmp_path / "back", policy, screen.console)
        assert "which now has" in screen.text
        assert "not accepted yet" in screen.text
        assert cosign(old, policy, screen.console)  # w2 is away, but has cosigned this
    with pytest.raises(IntegrityError, match="policy asks"):
        backend.verify(tmp_path / "back", policy=policy)

    written = write_receipts(old, tmp_path / "receipts", None, Screen().console)
    mine = write_receipts(old, tmp_path / "mine", "p1", Screen().console)
    assert {path.name for path in mine} == {path.name for path in written if path.name.startswith("p1-")}
    for path in written:
        screen = Screen()
        check_receipt(path, policy, screen.console)
        assert "delta" in screen.text and path.name.partition("-")[0] in screen.text
        check_receipt(path, policy_of(log.key.name, log.key.public.hex()), Screen().console)
    for policy in (
        stranger,
        Policy.threshold(1, [Endpoint(cosigner_key("x", Keys.derive("x", b"")))], [log]),
    ):
        with pytest.raises(IntegrityError):
            check_receipt(written[0], policy, Screen().console)
    for wrong in (Policy("none"), policy):
        with pytest.raises(RelayError):
            check_receipt(tmp_path / "missing", wrong, Screen().console)
    (tmp_path / "cut").write_bytes(written[0].read_bytes()[:-5])
    with pytest.raises(FormatError):
        check_receipt(tmp_path / "cut", policy_of(log.key.name, log.key.public.hex()), Screen().console)
    with pytest.raises(WorkdirError, match="nobody"):
        write_receipts(old, tmp_path, "nobody", Screen().console)


def test_a_run_that_shows_another_history_is_caught_by_who_has_seen_it(
    tiny_snapshots: list[Path], tmp_path: Path
) -> None:
    seen = tmp_path / "mine" / "seen"
    for snapshot in (tiny_snapshots[1], tiny_snapshots[3], tiny_snapshots[3], tiny_snapshots[-1]):
        backend.verify(snapshot, seen=seen)
    with pytest.raises(SplitViewError, match="now shows"):
        backend.verify(tiny_snapshots[3], seen=seen)
    ledger = read_ledger(Workdir(tiny_snapshots[3]))
    keys = Keys.load(Workdir(tiny_snapshots[3]).keys, ledger.signer.name)
    forked = Log.create(tmp_path / "forked", ledger.origin, keys)
    forked.append([*ledger.entries[:-1], b"another last entry"], keys)
    backend.verify(tiny_snapshots[3], seen=tmp_path / "two" / "seen")
    policy = policy_of(ledger.origin, ledger.signer.signing)
    with pytest.raises(SplitViewError, match="two roots"):
        watch(tmp_path / "two" / "seen", forked.signed_checkpoint, policy.logs[0].key)
    (file,) = (tmp_path / "two").glob("split-view-*.json")
    screen = Screen()
    check_evidence(file, policy, screen.console)
    assert "has signed two roots" in screen.text
    with pytest.raises(ConfigError, match="does not name the log"):
        check_evidence(file, policy_of("other.example", ledger.signer.signing), Screen().console)
    (shrunk,) = seen.parent.glob("split-view-*.json")
    with pytest.raises(IntegrityError, match="proves nothing"):
        check_evidence(shrunk, policy, Screen().console)


def test_what_can_be_no_witness_is_refused(tiny_run: Path, tmp_path: Path) -> None:
    log, keys, console = _log(tiny_run), Keys.derive("w1", b"test"), Screen().console
    policy = Policy("none", (log,))
    with pytest.raises(ConfigError, match="names no log"):
        serve(tmp_path, "w1", keys, Policy("none"), "127.0.0.1:0", console)
    with pytest.raises(ConfigError, match="HOST:PORT"):
        serve(tmp_path, "w1", keys, policy, "8100", console)
    with pytest.raises(WorkdirError, match="another address"):
        serve(tmp_path, "w1", keys, policy, "192.0.2.1:80", console)
    with pytest.raises(ConfigError, match="no witness of the policy has an address"):
        cosign(tiny_run, policy, console)
    with pytest.raises(WorkdirError, match="no run"):
        cosign(tmp_path, Policy.threshold(1, [Endpoint(cosigner_key("w1", keys), "http://x")]), console)
    with pytest.raises(ConfigError, match="can't be read"):
        read_policy(tmp_path / "missing")
    (tmp_path / "policy").write_bytes(b"log\n")
    with pytest.raises(ConfigError, match="line 1"):
        read_policy(tmp_path / "policy")
    with pytest.raises(ConfigError, match="64 hex"):
        policy_of("relay.example", "xyz")


@pytest.mark.slow
def test_killed_again_and_again_under_load_a_witness_tells_one_history(tmp_path: Path) -> None:
    keys = Keys.derive("log", b"test")
    origin, rng, stop = "relay.example/load", random.Random(0), threading.Event()
    logs = _file(tmp_path / "logs", Policy("none", (Endpoint(signer_key(origin, keys.public.signing)),)))
    trees = [Tree([leaf_hash(b"%d %d" % (side, i)) for i in range(5000)]) for side in range(2)]
    cosigned: list[tuple[int, int, int]] = []  # time, size, side
    where: list[Endpoint] = []

    def grow(side: int) -> None:
        size = 1
        while size <= 5000 and not stop.is_set():
            note = sign_checkpoint(Checkpoint(origin, size, trees[side].root(size)), keys)
            try:
                line = ask(note, where[0], lambda old, size=size: trees[side].prove_consistency(old, size))
            except RelayError:  # it has gone on without this thread, or with the other side
                size += 1
                continue
            except (OSError, http.client.HTTPException):  # killed
                time.sleep(0.02)
                continue
            when = verify_note(note + line.encode(), [where[0].key]).signers[where[0].key]
            cosigned.append((when, size, side))
            size += 1

    threads = [threading.Thread(target=grow, args=(side,)) for side in (0, 0, 1, 1)]
    for life in range(8):
        with _witness(tmp_path, "w1", logs) as (process, endpoint):
            where[:] = [endpoint]
            if life == 0:
                for thread in threads:
                    thread.start()
            time.sleep(0.3 + rng.random())
            process.send_signal(signal.SIGKILL)
    stop.set()
    for thread in threads:
        thread.join()
    assert len(cosigned) > 20
    assert len({side for _, _, side in cosigned}) == 1
    latest = 0
    for when in sorted({when for when, _, _ in cosigned}):
        sizes = [size for time_, size, _ in cosigned if time_ == when]
        assert min(sizes) >= latest
        latest = max(sizes)

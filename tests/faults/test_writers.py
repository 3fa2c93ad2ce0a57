"""Two writers of one run: the second is kept out, whoever it is, or they come one after the other."""

from __future__ import annotations

import os
import subprocess
import sys
import threading
from pathlib import Path

import pytest
from faults.relays import Undisturbed, small

from relayjax import backend
from relayjax.errors import WorkdirError
from relayjax.store import LocalStore
from relayjax.workdir import Workdir

pytestmark = pytest.mark.usefixtures("compiled_once")

LOCKING = """
import sys
from pathlib import Path
from relayjax.workdir import Workdir
with Workdir(Path(sys.argv[1])).locked():
    print("locked", flush=True)
    sys.stdin.read()
"""

PUTTING = """
import sys
from pathlib import Path
from relayjax.files import write_atomic
from relayjax.store import LocalStore
directory, name = Path(sys.argv[1]), sys.argv[2]
for i in range(50):
    LocalStore(directory / "store").put(b"%d" % i * 100)
    write_atomic(directory / "shared", name.encode() * 1_000)
"""


def test_another_process_is_kept_out_until_the_first_is_gone(tmp_path: Path):
    directory = tmp_path / "run"
    command = [sys.executable, "-c", LOCKING, str(directory)]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as other:
        assert other.stdout is not None and other.stdout.readline() == b"locked\n"
        for _ in range(2):
            with pytest.raises(WorkdirError, match="another process is running"):
                backend.open_run(small(), directory)
        assert Workdir(directory).busy
        other.kill()
    with backend.open_run(small(), directory) as run:
        run.step()


def test_only_one_of_many_gets_in(undisturbed: Undisturbed, tmp_path: Path):
    """Threads that open one run at once: each plays a round under the lock, and no round is played twice."""
    played: list[int] = []
    kept_out: list[WorkdirError] = []
    problems: list[Exception] = []

    def work() -> None:
        while len(played) < 4 and not problems:
            try:
                with backend.open_run(undisturbed.config, tmp_path / "run") as run:
                    if not run.finished:
                        played.append(run.state.round.number)
                        run.step()
            except WorkdirError as error:
                kept_out.append(error)
            except Exception as error:
                problems.append(error)

    threads = [threading.Thread(target=work) for _ in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not problems
    assert played == [1, 2, 3, 4]
    assert kept_out and all("another process is running" in str(error) for error in kept_out)
    undisturbed.goes_on(tmp_path / "run", 4)


def test_a_lock_that_was_replaced_locks_nobody_in(tmp_path: Path):
    """Nobody may believe to hold the run who holds a lock that has no name any more."""
    workdir = Workdir(tmp_path / "run")
    with workdir.locked():
        pass
    held = os.open(workdir.lock, os.O_RDONLY)
    workdir.lock.unlink()
    with workdir.locked():
        assert not os.path.samestat(os.fstat(held), workdir.lock.stat())
        with pytest.raises(WorkdirError), workdir.locked():
            pass
    os.close(held)


def test_a_store_and_a_file_may_be_written_by_several(tmp_path: Path):
    writers = [
        subprocess.Popen([sys.executable, "-c", PUTTING, str(tmp_path), name]) for name in ("a", "b", "c")
    ]
    assert [writer.wait() for writer in writers] == [0, 0, 0]
    LocalStore(tmp_path / "store").verify()
    assert len(LocalStore(tmp_path / "store").digests()) == 50
    assert (tmp_path / "shared").read_bytes() in (b"a" * 1_000, b"b" * 1_000, b"c" * 1_000)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["shared", "store"]

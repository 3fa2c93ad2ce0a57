"""A large transfer takes as much memory as its pieces, at all ends; a trainer's the version, too."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest
from peers import moving
from peers.moving import DELTA, ORDERER, SIZE
from peers.processes import ENVIRONMENT

from relayjax import hashing
from relayjax.hashing import CHUNK
from relayjax.peers import handover, parcel
from relayjax.peers.exchange import FolderExchange

SLACK = 12 * CHUNK
"""What buffers, threads and allocators may take beside pieces of a MiB; a second copy of anything is more."""


def command(*arguments: object) -> list[str]:
    return [sys.executable, "-m", "peers.moving", *map(str, arguments)]


def took(*arguments: object) -> int:
    """Runs an end of a transfer; returns the bytes that it took."""
    environment = {**ENVIRONMENT, "PYTHONPATH": ":".join(filter(None, sys.path))}
    done = subprocess.run(command(*arguments), capture_output=True, text=True, env=environment, check=False)
    assert done.returncode == 0, done.stderr
    return int(done.stdout)


@pytest.mark.skipif(not Path("/proc/self/clear_refs").exists(), reason="only Linux says so")
def test_memory_is_bounded_by_the_pieces_at_all_ends(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(parcel, "PIECE", CHUNK)
    folder, own = tmp_path / "relay", tmp_path / "held"
    assert took("seal", folder) < SLACK
    environment = {**ENVIRONMENT, "PYTHONPATH": ":".join(filter(None, sys.path))}
    pipe = subprocess.PIPE
    server = subprocess.Popen(command("serve", folder), stdin=pipe, stdout=pipe, text=True, env=environment)
    try:
        assert server.stdin and server.stdout
        port = int(server.stdout.readline())
        assert took("take", port, own) < 4 * SIZE + SLACK
        assert took("send", port) < SLACK
        server.stdin.write("\n")
        server.stdin.close()
        assert int(server.stdout.readline()) < SLACK
    finally:
        server.kill()
        server.wait()
    assert sum(file.stat().st_size for file in own.rglob("parcel*")) > 4 * SIZE
    sent, path = moving.delta(), handover.delta(1, "p0")
    assert handover.take(FolderExchange(folder), path, ORDERER, hashing.digest(sent), DELTA) == sent

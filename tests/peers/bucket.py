"""An object store in a process of its own, over a directory of this machine: rclone's S3 server."""

from __future__ import annotations

import re
import subprocess
import sysconfig
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from relayjax.peers.object_bucket import Bucket
from relayjax.peers.object_exchange import ObjectExchange

KEY, SECRET, URL = "founderskey", "foundersveryownsecret", "s3://bucket/relay"
QUICK: dict[str, Any] = {"timeout": 10.0, "attempts": 2, "pause": 0.01}


@dataclass
class ObjectStore:
    """The server; `folder` shows what lies under the relay's prefix. Only the server may change it."""

    base: Path
    port: int = 0
    process: subprocess.Popen[bytes] | None = field(default=None, repr=False)

    @property
    def folder(self) -> Path:
        return self.base / "store" / "bucket" / "relay"

    @property
    def environment(self) -> dict[str, str]:
        """How clients find it."""
        where = {"AWS_ENDPOINT_URL": f"http://127.0.0.1:{self.port}", "AWS_ALLOW_HTTP": "true"}
        return {"AWS_ACCESS_KEY_ID": KEY, "AWS_SECRET_ACCESS_KEY": SECRET, "AWS_REGION": "us-east-1", **where}

    def start(self) -> None:
        """Starts it, at the port that it had before."""
        (self.base / "store" / "bucket").mkdir(parents=True, exist_ok=True)
        log = self.base / "store.log"
        arguments = ["--addr", f"127.0.0.1:{self.port}", "--auth-key", f"{KEY},{SECRET}", "--config", ""]
        arguments += ["--cache-dir", str(self.base / "cache")]
        rclone = Path(sysconfig.get_path("scripts")) / "rclone"
        with open(log, "wb") as output:
            self.process = subprocess.Popen(
                [str(rclone), "serve", "s3", *arguments, str(self.base / "store")], stderr=output
            )
        for _ in range(1_000):
            if found := re.search(r"127\.0\.0\.1:(\d+)/", log.read_text()):
                self.port = int(found[1])
                return
            assert self.process.poll() is None, log.read_text()
            time.sleep(0.01)
        raise AssertionError(log.read_text())

    def stop(self) -> None:
        """Kills it."""
        if self.process:
            self.process.kill()
            self.process.wait()
            self.process = None

    def bucket(self) -> Bucket:
        return Bucket(URL, **QUICK)

    def exchange(self) -> ObjectExchange:
        return ObjectExchange(URL, **QUICK)

    def files(self) -> dict[str, bytes]:
        """All there is in the bucket."""
        found = sorted(path for path in self.folder.rglob("*") if path.is_file())
        return {path.relative_to(self.folder).as_posix(): path.read_bytes() for path in found}


@contextmanager
def object_store(base: Path) -> Iterator[ObjectStore]:
    store = ObjectStore(base)
    try:
        store.start()
        yield store
    finally:
        store.stop()

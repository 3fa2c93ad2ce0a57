"""Programs that two processes, as on two hosts, run together."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
from pathlib import Path


def together(program: str, folder: Path) -> None:
    """Runs a program as two processes, which must both end well.

    Args:
      program: its arguments are the folder, the port that the first one listens on, and its own rank.
      folder: that both see.
    """
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = str(free.getsockname()[1])
    environment = os.environ | {"JAX_PLATFORMS": "cpu", "XLA_FLAGS": ""}
    both = [
        subprocess.Popen(
            [sys.executable, "-c", program, str(folder), port, str(rank)],
            env=environment,
            stderr=subprocess.PIPE,
            text=True,
        )
        for rank in (0, 1)
    ]
    said = [process.communicate(timeout=600)[1] for process in both]
    assert [process.returncode for process in both] == [0, 0], "\n".join(said)

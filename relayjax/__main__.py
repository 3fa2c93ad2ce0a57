"""The console script: the command line behind a guard, so that Ctrl-C is quiet while modules still load."""

from __future__ import annotations

import os
import sys

INTERRUPTED = 130


def main() -> None:
    """Runs the command line and ends the process with its exit status."""
    # XLA's C++ log would write over the progress bar; its warnings concern compilers, not users.
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")
    try:
        from relayjax import cli

        status = cli.main()
    except KeyboardInterrupt:
        status = INTERRUPTED
    sys.stdout.flush()
    sys.stderr.flush()
    if status == INTERRUPTED:
        os._exit(status)  # compiler threads may still be at work: tearing down under them crashes
    sys.exit(status)


if __name__ == "__main__":
    main()

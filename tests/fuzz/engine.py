"""One parser under Atheris, in a process of its own: `python -m fuzz.engine NAME SECONDS DIRECTORY`.

Atheris (libFuzzer with Python's bytecode instrumented) changes its inputs by what they reach and by what they
are compared with. A finding does not end the run: its input is kept in `DIRECTORY/found`, once a place.
"""

from __future__ import annotations

import random
import sys
import traceback
from pathlib import Path

import atheris

KERNELS = sorted((Path(__file__).parents[2] / "kernels").glob("*.py"))
NOT_PYTHON = ["relayjax.kernels", *(f"relayjax.kernels.{path.stem}" for path in KERNELS)]
"""What Numba compiles from its bytecode has to stay as it is."""

MEMORY = 2_048
"""MiB that the process may take, some 500 of which are the libraries."""

with atheris.instrument_imports(include=["relayjax", "http", "email"], exclude=NOT_PYTHON):
    from fuzz.corpus import kept
    from fuzz.mutate import mutate
    from fuzz.targets import TARGETS

    from relayjax.errors import RelayError


def main(name: str, seconds: str, directory: str) -> None:
    """Fuzzes a parser for some seconds."""
    target, base = TARGETS[name], Path(directory)
    corpus, found = base / "corpus", base / "found"
    for folder in (corpus, found):
        folder.mkdir(parents=True, exist_ok=True)
    for number, data in enumerate([*target.seeds, *kept(name)]):
        (corpus / f"seed{number}").write_bytes(data)

    def test(data: bytes) -> None:
        try:
            target.parse(data)
        except RelayError:
            pass
        except BaseException as error:  # a panic in native code is no Exception
            if isinstance(error, KeyboardInterrupt):
                raise
            _keep(found, data, error)

    def change(data: bytes, most: int, seed: int) -> bytes:
        """Every other change is one that knows JSON, lines and lengths."""
        rng = random.Random(seed)
        if rng.random() < 0.5:
            return atheris.Mutate(data, most)
        return mutate(data, rng.choice(target.seeds), rng)[:most]

    arguments = [sys.argv[0], str(corpus), f"-max_total_time={seconds}", f"-rss_limit_mb={MEMORY}"]
    arguments += [
        "-timeout=20",
        "-report_slow_units=20",
        "-max_len=6000",
        "-print_final_stats=1",
        f"-artifact_prefix={found}/",
    ]
    atheris.Setup(arguments, test, custom_mutator=change)
    atheris.Fuzz()


def _keep(found: Path, data: bytes, error: BaseException) -> None:
    frames = [f for f in traceback.extract_tb(error.__traceback__) if "relayjax" in f.filename]
    last = frames[-1] if frames else traceback.extract_tb(error.__traceback__)[-1]
    place = f"{type(error).__name__}-{Path(last.filename).stem}-{last.lineno}"
    if not (found / place).exists():
        (found / place).write_bytes(data)
        (found / f"{place}.txt").write_text("".join(traceback.format_exception(error)), "utf-8")


if __name__ == "__main__":
    main(*sys.argv[1:])

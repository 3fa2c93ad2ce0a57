"""The page on the ledger is run as it stands."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

PAGE = Path(__file__).parents[2] / "docs" / "ledger.md"


def test_the_example_of_the_page_makes_a_receipt_that_holds(tmp_path: Path) -> None:
    (code,) = re.findall(r"```python file=\S+\n(.*?)```", PAGE.read_text("utf-8"), re.DOTALL)
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=tmp_path, capture_output=True, text=True, check=True
    )
    assert done.stdout == "entry 41 of 1000, 10 hashes\n"

"""The tutorial is run as it stands, so that it cannot go stale."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest

from relayjax import cli

DOCS = Path(__file__).parent.parent / "docs"


def files_in(page: Path) -> dict[str, str]:
    """The code blocks of a page that name a file."""
    return dict(re.findall(r"```python file=(\S+)\n(.*?)```", page.read_text(encoding="utf-8"), re.DOTALL))


def test_the_tutorial_trains_and_rescores_a_model_of_ones_own(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    for name, code in files_in(DOCS / "bring-your-own-model.md").items():
        Path(name).write_text(code, encoding="utf-8")
    run = ["run", "--config=wine.py", "--workdir=runs/wine", "--config.relay.rounds=4", "--noreport"]
    assert cli.main([*run, "--config.leg.steps=5"]) == 0
    assert cli.main(["verify", "runs/wine", "--rescore"]) == 1
    assert "--config=FILE" in capsys.readouterr().err
    assert cli.main(["verify", "runs/wine", "--rescore", "--config=wine.py"]) == 0
    assert "rescored" in capsys.readouterr().out


def test_the_page_on_data_values_finds_the_wrong_labels(tmp_path):
    for name, code in files_in(DOCS / "value-your-data.md").items():
        (tmp_path / name).write_text(code, encoding="utf-8")
    done = subprocess.run(
        [sys.executable, "value_shards.py"], cwd=tmp_path, capture_output=True, text=True, check=True
    )
    values = dict(re.findall(r"shard +(\d+): ([+-][\d.]+)", done.stdout))
    assert {shard for shard, value in values.items() if float(value) < 0} == {"3", "8"}
    assert len(values) == 12


@pytest.mark.parametrize("page", [*DOCS.rglob("*.md"), DOCS.parent / "README.md"], ids=lambda page: page.name)
def test_links_between_pages_lead_somewhere(page):
    for target in re.findall(r"\]\((?!https?:|#)([^)#]+)", page.read_text(encoding="utf-8")):
        assert (page.parent / target).exists(), f"{page}: {target}"

"""The figure of values: everybody is in it, the most valuable on top; it is a whole file or none."""

from __future__ import annotations

import re
import xml.etree.ElementTree as ElementTree
from pathlib import Path

import numpy as np
import pytest

from relayjax.errors import ConfigError
from relayjax.report.value_figures import write_values

NAMES = ["p0", "<b>", "p2"]
VALUES = np.array([0.1, 0.5, -0.2]), np.array([0.02, 0.03, 0.01])
COINS = {"value": np.array([3.0, 8.25, 0.0]), "royalty": np.array([1.0, 1.0, 0.0])}
NONE = np.full(3, np.nan)


def test_lanes_are_in_the_order_of_value(tmp_path: Path):
    path = tmp_path / "values.svg"
    write_values(path, NAMES, VALUES, COINS, unit="nats", notes=["by hand", "agrees"])
    text = path.read_text()
    found = ElementTree.fromstring(text)
    said = [(e.text or "").strip() for e in found.iter() if e.tag.endswith("}text")]
    assert [word for word in said if word in NAMES] == ["<b>", "p0", "p2"]
    assert {"9.2", "4.0", "0.0", "value", "royalty", "by hand", "agrees"} <= set(said)
    assert any("nats" in word for word in said) and not any("retrained" in word for word in said)
    assert found.get("aria-label")
    assert not re.search("nan", text, re.IGNORECASE)


@pytest.mark.parametrize("suffix", [".svg", ".png"])
def test_equal_figures_are_equal_bytes(suffix: str, tmp_path: Path):
    retrained = {"at the end": (VALUES[0], NONE), "mean": VALUES}
    paths = [tmp_path / f"{name}{suffix}" for name in "ab"]
    for path in paths:
        write_values(path, NAMES, VALUES, COINS, retrained, unit="nats")
    first, second = (path.read_bytes() for path in paths)
    assert first == second and len(first) > 5_000
    if suffix == ".png":
        assert first.startswith(b"\x89PNG")
    else:
        assert "lost when retrained without" in first.decode() and "at the end" in first.decode()
    assert sorted(tmp_path.iterdir()) == paths


def test_one_participant_without_pay_can_be_drawn(tmp_path: Path):
    one = np.array([0.0])
    write_values(tmp_path / "one.svg", ["p0"], (one, one), {"value": one, "royalty": one}, unit="nats")
    assert "p0" in (tmp_path / "one.svg").read_text()


def test_other_files_are_refused(tmp_path: Path):
    with pytest.raises(ConfigError, match=r"a\.pdf: must end in \.png or \.svg"):
        write_values(tmp_path / "a.pdf", NAMES, VALUES, COINS, unit="nats")
    assert not list(tmp_path.iterdir())

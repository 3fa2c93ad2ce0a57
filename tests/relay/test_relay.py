"""A whole relay in one process: determinism, ownership, and going on after any interruption."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from relayjax import backend, codec, history, lineage
from relayjax.archive import Archive
from relayjax.audit import audit, read_ledger
from relayjax.config import Config
from relayjax.errors import AccessError, ConfigError, FormatError, IntegrityError, WorkdirError
from relayjax.history import History
from relayjax.identity import Keys
from relayjax.ledger.merkle import Tree, leaf_hash
from relayjax.records import Score, Submit, Value
from relayjax.relay.events import Event, HandedOff, Matched, Settled, Trained
from relayjax.relay.training import Trainer
from relayjax.replay import replay
from relayjax.workdir import Workdir

pytestmark = pytest.mark.usefixtures("compiled_once")

ConfigMaker = Callable[..., Config]


@pytest.fixture(scope="module")
def past(tiny_run: Path) -> History:
    return backend.read_history(tiny_run)


def root_of(directory: Path) -> str:
    return Tree([leaf_hash(entry) for entry in read_ledger(Workdir(directory)).entries]).root().hex()


def content(directory: Path) -> dict[str, bytes]:
    files = (path for path in directory.rglob("*") if path.is_file())
    return {path.relative_to(directory).as_posix(): path.read_bytes() for path in files}


def play(config: Config, directory: Path) -> History:
    with backend.open_run(config, directory) as run:
        run.run()
    return audit(Workdir(directory)).history


def orderer(directory: Path) -> Keys:
    return Keys.load(directory / "keys", "v0")


def test_one_seed_gives_one_ledger_to_the_byte(tiny_config: ConfigMaker, tiny_run: Path, tmp_path: Path):
    events: list[Event] = []
    with backend.open_run(tiny_config(), tmp_path / "again") as run:
        run.subscribe(events.append)
        run.run()
        assert run.finished and run.root == root_of(tiny_run)
    assert content(tmp_path / "again" / "ledger") == content(tiny_run / "ledger")
    told = [event for event in events if not isinstance(event, HandedOff)]
    for number in range(1, 9):
        kinds = [type(event) for event in told if event.round == number]
        trained = 3 if number in (1, 4) else 1
        assert kinds == [Matched, *[Trained] * trained, Settled]
    settled = [event.round for event in told if isinstance(event, Settled)]
    begun = [event.round for event in told if isinstance(event, Matched)]
    assert settled == begun == list(range(1, 9))


def test_relay_momentum_is_remembered_over_a_restart(tiny_config: ConfigMaker, tmp_path: Path):
    roots = []
    for rate, pieces in (("0.5", 1), ("0.5", 8), ("0", 1)):
        directory = tmp_path / f"{rate}-{pieces}"
        for _ in range(pieces):
            with backend.open_run(tiny_config({"leg.relay_momentum": rate}), directory) as run:
                run.run() if pieces == 1 else run.step()
                roots.append(run.root)
    whole, restarted, without = roots[0], roots[8], roots[9]
    assert whole == restarted != without


def test_a_round_is_announced_only_when_it_is_durable(tiny_config: ConfigMaker, tmp_path: Path):
    events: list[Event] = []

    def durable(directory: Path) -> int:
        return len(history.read(read_ledger(Workdir(directory)).entries).rounds)

    def listen(event: Event) -> None:
        events.append(event)
        if isinstance(event, Settled):
            assert durable(tmp_path / "run") >= event.round

    with backend.open_run(tiny_config(), tmp_path / "run") as run:
        run.subscribe(listen)
        run.step(overlap=True)
        assert not any(isinstance(event, Settled) for event in events)
        run.step(overlap=True)
        assert [event.round for event in events if isinstance(event, Settled)] == [1]
        run.flush()
        assert durable(tmp_path / "run") == 2
        assert [event.round for event in events if isinstance(event, Settled)] == [1, 2]
        run.step()
        assert durable(tmp_path / "run") == 3


def test_everybody_pledges_with_a_salt_of_its_own_before_anybody_shows(past: History):
    kinds = [record.KIND for record in past.records]
    for settled in past.rounds:
        facts = settled.facts
        assert set(facts.pledges) == set(facts.scores) and set(facts.appraisals) == set(facts.values)
    salts = [r.salt for r in past.records if isinstance(r, Submit | Score | Value)]
    assert len(set(salts)) == len(salts)
    assert kinds.count("pledge") == kinds.count("score") + kinds.count("value")


def test_another_seed_gives_another_ledger(
    tiny_config: ConfigMaker, tiny_snapshots: list[Path], tmp_path: Path
):
    with backend.open_run(tiny_config(seed=8), tmp_path / "other") as run:
        assert run.root != root_of(tiny_snapshots[0])


def test_all_ways_to_the_head_give_the_same_bits(tiny_config: ConfigMaker, tiny_copy: Path, past: History):
    archive = Archive(Workdir(tiny_copy))
    walked = lineage.walk(
        past,
        archive.genesis(past),
        lambda submission: archive.open_delta(past.state, submission, orderer(tiny_copy)),
        codec.get("mxint8"),
    )
    (head,) = (theta for version, theta in walked if version.number == past.state.head.number)
    holder = next(name for name in sorted(past.state.licences) if name.startswith("p"))
    opened = backend.open_head(tiny_copy, Keys.load(tiny_copy / "keys", holder))
    assert [list(array.shape) for array in opened.values()] == [leaf["shape"] for leaf in past.genesis.layout]
    assert head.tobytes() == b"".join(array.tobytes() for array in opened.values())
    with backend.open_run(tiny_config(), tiny_copy) as run:
        assert run.finished and run.head.tobytes() == head.tobytes()
        with pytest.raises(WorkdirError, match="all rounds are settled"):
            run.step()


def test_without_a_licence_nobody_opens_the_head(tiny_run: Path):
    for keys in (Keys.load(tiny_run / "keys", "observer"), Keys.generate("outsider"), Keys.generate("p0")):
        with pytest.raises(AccessError, match=keys.name):
            backend.open_head(tiny_run, keys)


def test_nothing_learnt_lies_in_the_open(tiny_run: Path, past: History):
    archive, keys = Archive(Workdir(tiny_run)), orderer(tiny_run)
    submissions = [record for record in past.records if isinstance(record, Submit)]
    deltas = [archive.open_delta(past.state, submission, keys) for submission in submissions]
    assert len(deltas) == 12 and all(len(d) == s.size for d, s in zip(deltas, submissions, strict=True))
    head = np.concatenate([a.ravel() for a in backend.open_head(tiny_run, keys).values()]).tobytes()
    at_rest = content(tiny_run)
    for secret in (*deltas, head):
        middle = len(secret) // 2
        assert not any(secret[middle : middle + 24] in stored for stored in at_rest.values())


def test_the_state_is_what_the_log_says(tiny_config: ConfigMaker, tiny_copy: Path):
    with backend.open_run(tiny_config(), tiny_copy) as run:
        steps = list(replay(read_ledger(Workdir(tiny_copy)).entries))
        assert run.state == steps[-1].state
    for step in steps:
        held = sum(step.state.balances.values()) + step.state.pot + sum(step.state.round.deposits.values())
        assert held == step.state.minted - step.state.burned


def test_every_round_leaves_a_line_of_metrics(tiny_run: Path):
    lines = [json.loads(line) for line in (tiny_run / "metrics.jsonl").read_text().splitlines()]
    assert [line["round"] for line in lines] == list(range(1, 9))
    assert all(0 <= line["metrics"]["accuracy"] <= 1 for line in lines)


def test_resumes_after_any_round(
    tiny_config: ConfigMaker, tiny_snapshots: list[Path], tiny_run: Path, tmp_path: Path
):
    for done, snapshot in enumerate(tiny_snapshots):
        directory = Path(shutil.copytree(snapshot, tmp_path / str(done)))
        with backend.open_run(tiny_config(), directory) as run:
            assert run.state.round.number == done + 1
            run.run()
        assert content(directory / "ledger") == content(tiny_run / "ledger")
        assert len((directory / "metrics.jsonl").read_text().splitlines()) == 8


def test_a_kill_between_seals_and_ledger_leaves_the_last_head_readable(
    tiny_config: ConfigMaker, tiny_snapshots: list[Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    """The manifest of a round that the ledger does not have yet must not confuse who only looks."""
    directory = Path(shutil.copytree(tiny_snapshots[3], tmp_path / "killed"))
    keys = orderer(directory)
    before = backend.open_head(directory, keys)
    with backend.open_run(tiny_config(), directory) as run:

        def killed(*_: object) -> None:
            raise KeyboardInterrupt

        monkeypatch.setattr("relayjax.ledger.log.Log.append", killed)
        with pytest.raises(KeyboardInterrupt):
            run.step()
    assert (directory / "seals" / "00004.json").exists()
    after = backend.open_head(directory, keys)
    assert all((before[name] == after[name]).all() for name in before)


def test_a_second_writer_is_kept_out(tiny_config: ConfigMaker, tiny_copy: Path):
    with backend.open_run(tiny_config(), tiny_copy), pytest.raises(WorkdirError, match="another process"):
        backend.open_run(tiny_config(), tiny_copy)
    backend.open_run(tiny_config(), tiny_copy).close()


@pytest.mark.parametrize(
    ("overrides", "seed", "named"),
    [
        ({"leg.steps": "6"}, 7, "leg.steps is 5 there"),
        ({"rules.tolerance": "123"}, 7, "rules.tolerance is"),
        ({}, 8, "seed is 7 there"),
    ],
)
def test_another_config_is_refused_by_name(
    tiny_config: ConfigMaker, tiny_copy: Path, overrides: dict[str, str], seed: int, named: str
):
    before = content(tiny_copy)
    with pytest.raises(WorkdirError, match=named):
        backend.open_run(tiny_config(overrides, seed), tiny_copy)
    assert content(tiny_copy) == before


@pytest.mark.parametrize("names", [["notes.txt"], ["keys/id", "store/data"], ["lock", "thesis.tex"]])
def test_a_directory_of_somebody_else_stays_untouched(
    tiny_config: ConfigMaker, tmp_path: Path, names: list[str]
):
    for name in names:
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text("precious")
    before = content(tmp_path)
    with pytest.raises(WorkdirError, match="holds other files"):
        backend.open_run(tiny_config(), tmp_path)
    assert content(tmp_path) == before


def test_what_the_leg_refuses_is_refused_before_the_run_starts(
    tiny_config: ConfigMaker, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    class Refusing:
        def __init__(self, *_: object):
            raise ConfigError("refused by the leg")

    monkeypatch.setattr("relayjax.relay.relay.Leg", Refusing)
    with pytest.raises(ConfigError):
        backend.open_run(tiny_config(), tmp_path / "run")
    assert not Workdir(tmp_path / "run").exists


def test_a_lost_manifest_does_not_cost_the_artefacts(tiny_config: ConfigMaker, tiny_copy: Path):
    """Going on would sweep away whatever no manifest names."""
    (tiny_copy / "seals" / "00003.json").unlink()
    before = content(tiny_copy / "store")
    with pytest.raises(IntegrityError, match=r"00003\.json"):
        backend.open_run(tiny_config(), tiny_copy)
    assert content(tiny_copy / "store") == before


def test_figures_that_a_kill_has_cost_are_measured_again(tiny_config: ConfigMaker, tiny_copy: Path):
    metrics = tiny_copy / "metrics.jsonl"
    whole = [json.loads(line) for line in metrics.read_text().splitlines()]
    metrics.write_text("".join(json.dumps(line) + "\n" for line in whole[:-1]))
    backend.open_run(tiny_config(), tiny_copy).close()
    again = json.loads(metrics.read_text().splitlines()[-1])
    assert again == {**whole[-1], "seconds": {}}


def test_hostile_metrics_are_dropped_or_refused(tiny_copy: Path):
    workdir = Workdir(tiny_copy)
    good = workdir.metrics.read_bytes()
    for line in (b'{"round": "1"}', b'{"round": NaN}', b'{"round": [1]}', b"[1]", b'{"round": true}', b"7"):
        workdir.metrics.write_bytes(good + line + b"\n")
        assert len(workdir.read_metrics(8)) == 8
    for line in (b"\xff", b"[" * 100_000, b"{"):
        workdir.metrics.write_bytes(line + b"\n" + good)
        with pytest.raises(FormatError, match=r"metrics\.jsonl:1"):
            workdir.read_metrics(8)
        workdir.metrics.write_bytes(good + line)
        assert len(workdir.read_metrics(8)) == 8


def test_figures_that_a_power_cut_has_damaged_do_not_hold_a_run_up(tiny_config: ConfigMaker, tiny_copy: Path):
    metrics = tiny_copy / "metrics.jsonl"
    lines = metrics.read_bytes().splitlines(keepends=True)
    metrics.write_bytes(b"".join([*lines[:3], bytes(len(lines[3])) + b"\n", *lines[4:]]))
    backend.open_run(tiny_config(), tiny_copy).close()
    assert metrics.read_bytes() == b"".join([*lines[:3], *lines[4:]])


def test_who_diverges_loses_its_deposit_and_the_relay_goes_on(tiny_config: ConfigMaker, tmp_path: Path):
    overrides = {"leg.learning_rate": "1e30", "relay.rounds": "3", "relay.braid_rounds": "1"}
    past = play(tiny_config(overrides), tmp_path / "run")
    assert len(past.rounds) == 3 and len(past.state.versions) == 1
    for settled in past.rounds:
        assert settled.settle.refused == tuple(settled.facts.pairs)
    assert any(set(settled.facts.pairs) - set(settled.facts.submissions) for settled in past.rounds)
    lost = 10_000_000 * 3 - sum(past.state.balances[name] for name in ("p0", "p1", "p2"))
    assert lost == 5 * past.state.rules.deposit  # type: ignore[attr-defined]


def test_one_that_diverges_does_not_harm_the_others(
    tiny_config: ConfigMaker, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    encode = Trainer.encode

    def poisoned(
        self: Trainer, name: str, parent: Any, theta: np.ndarray, trained: np.ndarray, *rest: Any
    ) -> Any:
        return encode(self, name, parent, theta, trained * np.nan if name == "p1" else trained, *rest)

    monkeypatch.setattr(Trainer, "encode", poisoned)
    past = play(tiny_config({"relay.rounds": "1", "relay.braid_rounds": "1"}), tmp_path / "run")
    assert past.rounds[0].settle.accepted == ("p0", "p2") and past.rounds[0].settle.refused == ("p1",)
    assert past.state.balances["p1"] == 9_000_000 and "p1" not in past.state.licences


def test_lossless_deltas_work_as_well(tiny_config: ConfigMaker, tmp_path: Path):
    overrides = {"relay.codec": "lossless", "relay.rounds": "3", "relay.braid_rounds": "1"}
    past = play(tiny_config(overrides), tmp_path / "run")
    assert len(past.state.versions) == 4


def test_the_rules_of_the_paper_work_as_well(tmp_path: Path):
    from relayjax import config

    overrides = {
        "task.hidden": "8",
        "leg.steps": "5",
        "relay.rounds": "4",
        "relay.participants": "6",
        "relay.validators": "1",
        "relay.draw": "60",
        "rules.accepted_share": "1000000",
    }
    past = play(config.resolve("digits:derelayl", overrides, 7), tmp_path / "run")
    assert past.state.round.number == 5 and len(past.state.versions) > 4
    assert any(len(settled.facts.pairs) > 1 for settled in past.rounds)
    backend.open_head(tmp_path / "run", Keys.load(tmp_path / "run" / "keys", past.state.head.owners[0]))


def test_one_that_does_nothing_is_paid_nothing(tiny_config: ConfigMaker, tmp_path: Path):
    past = play(
        tiny_config({"experiment.deviation": "free_rider", "experiment.deviants": "2"}), tmp_path / "run"
    )
    income: dict[str, int] = {}
    for settled in past.rounds:
        for _, target, amount, reason in settled.settle.transfers:
            if reason in ("value", "royalty"):
                income[target] = income.get(target, 0) + amount
    assert income.get("p0", 0) > 0 and income.get("p1", 0) > 0 and "p2" not in income
    assert "p2" not in past.state.licences
    with pytest.raises(AccessError):
        backend.open_head(tmp_path / "run", Keys.load(tmp_path / "run" / "keys", "p2"))


def test_an_error_in_a_listener_gives_the_directory_free(tiny_config: ConfigMaker, tmp_path: Path):
    def failing(event: Event) -> None:
        raise RuntimeError("the frontend crashed")

    with pytest.raises(RuntimeError), backend.open_run(tiny_config(), tmp_path / "run") as run:
        run.subscribe(failing)
        run.step()
    with backend.open_run(tiny_config(), tmp_path / "run") as run:
        run.step()
        assert run.state.round.number == 2

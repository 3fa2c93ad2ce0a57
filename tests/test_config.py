"""The config of a run: what a command line asks for, or a refusal that says what to change."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from relayjax import canonical, settings
from relayjax.config import Config, Experiment, load, resolve
from relayjax.errors import ConfigError
from relayjax.mechanism.rules import DeRelayLRules, Schedule

VARIANTS = ["digits", "digits:smoke", "digits:plain", "digits:derelayl", "digits:idle"]


@pytest.mark.parametrize("source", VARIANTS)
def test_every_variant_is_a_config_that_survives_canonical_json(source: str) -> None:
    config = load(source)
    fields = canonical.decode(canonical.encode(settings.encode(config)))
    assert settings.decode(fields, Config) == config


def test_overrides_and_seed_replace_what_the_file_says() -> None:
    config = resolve(
        "digits:smoke", {"relay.rounds": "40", "relay.braid_rounds": "1,3", "task.alpha": "1"}, 7
    )
    assert (config.relay.rounds, config.relay.braid_rounds, config.task.alpha) == (40, (1, 3), 1.0)  # type: ignore[attr-defined]
    assert config.seed == 7 and config.relay.participants == load("digits:smoke").relay.participants


@pytest.mark.parametrize(
    ("path", "text", "words"),
    [
        ("relay.participants", "0", ["relay.participants=0", "≥ 1 and ≤ 256"]),
        ("relay.participants", "257", ["relay.participants=257", "≥ 1 and ≤ 256"]),
        ("relay.participants", "ten", ["relay.participants='ten'", "an integer"]),
        ("relay.braid_rounds", "3,2", ["relay.braid_rounds=(3, 2)", "ascending"]),
        ("relay.codec", "zip", ["relay.codec='zip'", "one of mxint8, mxfp4, lossless"]),
        ("task.alpha", "0", ["task.alpha=0.0", "> 0"]),
        ("task.alpha", "nan", ["task.alpha=nan", "> 0"]),
        ("rules.royalty_share", "1000001", ["rules.royalty_share=1000001", "≥ 0 and ≤ 1000000"]),
        ("leg.momentum", "1", ["leg.momentum=1.0", "≥ 0 and < 1"]),
        ("experiment.deviation", "idler", ["experiment.deviation='idler'", "one of none, absent"]),
        ("valuation.budget", "1", ["valuation.budget=1", "≥ 2"]),
        ("relay.draw", "1", ["relay.draw=1", "≥ 2"]),
        ("seed", "-1", ["seed=-1", "≥ 0 and ≤ 2147483647"]),
        ("relay.particpants", "4", ["relay.particpants", "did you mean 'relay.participants'"]),
        ("rules.places", "4", ["there is no setting 'rules.places'"]),
    ],
)
def test_an_impossible_override_names_field_value_and_range(path: str, text: str, words: list[str]) -> None:
    with pytest.raises(ConfigError) as caught:
        resolve("digits", {path: text})
    assert all(word in str(caught.value) for word in words), caught.value


def test_a_budget_of_coalitions_that_cannot_value_all_participants_is_refused() -> None:
    enough = {"relay.participants": "40", "valuation.budget": "132"}
    assert resolve("digits", enough).valuation.budget == 132
    with pytest.raises(ConfigError, match=r"valuation\.budget=131.* 40 participants takes 132"):
        resolve("digits", enough | {"valuation.budget": "131"})


def test_two_seeds_are_one_too_many() -> None:
    with pytest.raises(ConfigError, match="given twice"):
        resolve("digits", {"seed": "1"}, seed=2)


def test_the_derelayl_rules_need_four_and_no_braid() -> None:
    with pytest.raises(ConfigError, match=r"relay\.braid_rounds"):
        Config(rules=DeRelayLRules())
    with pytest.raises(ConfigError, match=r"relay\.participants=3"):
        Config(rules=DeRelayLRules(), relay=Schedule(participants=3, braid_rounds=()))


@pytest.mark.parametrize(
    ("fields", "said"),
    [
        ({"deviation": "copy"}, "name both a deviation and who deviates"),
        ({"deviants": (1,)}, "name both a deviation and who deviates"),
        ({"deviation": "copy", "deviants": (3, 1)}, "ascending"),
        ({"deviation": "copy", "deviants": (1, 1)}, "ascending"),
        ({"deviation": "duplicate", "deviants": (1,)}, "two places"),
        ({"deviation": "late", "deviants": (1,)}, "how many rounds late"),
        ({"deviation": "label_flip", "deviants": (1,), "after": 3}, "from the start"),
        ({"deviation": "copy", "deviants": (0, 10)}, r"deviants=\(0, 10\): must be < 10, the participants"),
        ({"deviation": "lie", "deviants": (3,)}, r"deviants=\(3,\): must be < 3, the validators"),
        ({"deviation": "favour", "deviants": (1,), "favoured": 10}, "favoured=10: must be < 10"),
        ({"deviation": "silent", "deviants": (1, 2)}, "a majority of the 3 validators"),
    ],
)
def test_a_deviation_that_cannot_be_is_refused(fields: dict[str, Any], said: str) -> None:
    with pytest.raises(ConfigError, match=said):
        Config(experiment=Experiment(**fields))


@pytest.mark.parametrize("deviation", ["copy", "lie"])
def test_the_derelayl_rules_know_fewer_deviations(deviation: str) -> None:
    overrides = {"experiment.deviation": deviation, "experiment.deviants": "1"}
    with pytest.raises(ConfigError, match="derelayl rules do not know it"):
        resolve("digits:derelayl", overrides)
    assert resolve("digits:derelayl", overrides | {"experiment.deviation": "withhold"})


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("x = 1", "defines no get_config"),
        ("get_config = 1", "defines no get_config"),
        ("def get_config(variant):\n    return {}", "returned a dict, not a Config"),
    ],
)
def test_a_file_that_gives_no_config_is_refused(tmp_path: Path, text: str, words: str) -> None:
    file = tmp_path / "mine.py"
    file.write_text(text)
    with pytest.raises(ConfigError, match=words):
        load(str(file))


@pytest.mark.parametrize("source", ["nothing", "configs/nothing.py", "other/digits.py", "", "digits:nothing"])
def test_a_config_that_does_not_exist_is_refused(source: str) -> None:
    with pytest.raises(ConfigError, match="there is no"):
        load(source)


def test_a_directory_or_another_kind_of_file_is_refused(tmp_path: Path) -> None:
    (tmp_path / "mine.json").write_text("{}")
    for source in (tmp_path, tmp_path / "mine.json"):
        with pytest.raises(ConfigError, match="--config="):
            load(str(source))

"""Settings: what exists is valid, what is refused names field, value and range, and JSON has one spelling."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from relayjax import canonical, settings
from relayjax.errors import ConfigError
from relayjax.learning.leg import LegSettings
from relayjax.mechanism.rules import DeRelayLRules, RelayJAXRules, Rules, Schedule
from relayjax.settings import Settings, setting


@dataclass(frozen=True)
class Inner(Settings):
    rate: float = setting(0.5, "a rate", above=0.0, high=1.0)
    sizes: tuple[int, ...] = setting((1, 2), "some sizes", low=1)
    fast: bool = setting(True, "whether to hurry")
    mode: str = setting("plain", "a mode", choices=("plain", "fancy"))
    count: int = setting(3, "how many", low=1, high=2**31 - 1)


@dataclass(frozen=True)
class Middle(Settings):
    inner: Inner = setting(Inner, "the inner group")

    def check(self) -> None:
        if self.inner.count == 13:
            raise ConfigError("inner.count=13: brings bad luck")


@dataclass(frozen=True)
class Outer(Settings):
    middle: Middle = setting(Middle, "the middle group")
    seed: int = setting(0, "the seed", low=0)


OWN = (Inner, Middle, Outer)


def refusal(**values: Any) -> str:
    with pytest.raises(ConfigError) as caught:
        Inner(**values)
    return str(caught.value)


@pytest.mark.parametrize(
    ("values", "words"),
    [
        ({"rate": 0.0}, ["rate=0.0", "> 0 and ≤ 1", "a rate"]),
        ({"rate": math.nan}, ["rate=nan", "a number > 0"]),
        ({"rate": math.inf}, ["rate=inf"]),
        ({"rate": "0.5"}, ["rate='0.5'", "a number"]),
        ({"rate": True}, ["rate=True"]),
        ({"sizes": [1, 2]}, ["sizes=[1, 2]", "a tuple, each an integer ≥ 1"]),
        ({"sizes": (1, 0)}, ["sizes=(1, 0)", "≥ 1"]),
        ({"sizes": (1, 2.0)}, ["sizes=(1, 2.0)"]),
        ({"sizes": (1, True)}, ["sizes=(1, True)"]),
        ({"fast": 1}, ["fast=1", "true or false"]),
        ({"mode": "wild"}, ["mode='wild'", "one of plain, fancy"]),
        ({"count": 1.0}, ["count=1.0", "an integer"]),
        ({"count": True}, ["count=True", "an integer"]),
        ({"count": 2**31}, ["count=2147483648", "≤ 2147483647"]),
    ],
)
def test_an_impossible_value_is_refused_with_field_value_and_range(
    values: dict[str, Any], words: list[str]
) -> None:
    message = refusal(**values)
    assert all(word in message for word in words), message


def test_a_group_must_be_of_its_class() -> None:
    with pytest.raises(ConfigError, match=r"inner=.*must be the settings of a Inner"):
        Middle(inner=Outer())  # pyright: ignore[reportArgumentType]


def test_integers_that_no_record_can_carry_are_refused() -> None:
    with pytest.raises(ConfigError, match="within ±9007199254740991"):
        Outer(seed=2**53)


def test_one_and_one_point_zero_are_the_same_settings() -> None:
    assert settings.encode(Inner(rate=1)) == settings.encode(Inner(rate=1.0))


@pytest.mark.parametrize(
    ("path", "text", "words"),
    [
        ("middle.inner.rate", "2", ["middle.inner.rate=2.0", "> 0 and ≤ 1"]),
        ("middle.inner.rate", "fast", ["middle.inner.rate='fast'", "a number"]),
        ("middle.inner.count", "1.5", ["middle.inner.count='1.5'", "an integer ≥ 1"]),
        ("middle.inner.count", "13", ["middle.inner.count=13"]),
        ("middle.inner.fast", "1", ["middle.inner.fast='1'", "true or false"]),
        ("middle.inner.sizes", "1,x", ["middle.inner.sizes='1,x'", "each an integer"]),
        ("middle.inner.coutn", "1", ["middle.inner.coutn", "did you mean 'middle.inner.count'"]),
        ("middle", "1", ["there is no setting 'middle'"]),
        ("zzz", "1", ["the fields are", "middle.inner.rate", "seed"]),
    ],
)
def test_an_override_is_refused_with_its_whole_path(path: str, text: str, words: list[str]) -> None:
    with pytest.raises(ConfigError) as caught:
        settings.override(Outer(), {path: text})
    assert all(word in str(caught.value) for word in words), caught.value


def test_overrides_reach_every_kind_and_leave_the_rest() -> None:
    typed = {"rate": "0.25", "sizes": "(3, 4,)", "fast": "False", "mode": "fancy", "count": "7"}
    made = settings.override(Outer(seed=5), {f"middle.inner.{name}": text for name, text in typed.items()})
    assert made == Outer(Middle(Inner(0.25, (3, 4), False, "fancy", 7)), seed=5)
    assert settings.override(made, {"middle.inner.sizes": ""}).middle.inner.sizes == ()


def test_flatten_lists_leaves_in_order_with_their_spec() -> None:
    leaves = settings.flatten(Outer())
    assert next(iter(leaves)) == "middle.inner.rate" and list(leaves)[-1] == "seed"
    assert leaves["middle.inner.count"][1].help == "how many"


INNER = st.builds(
    Inner,
    rate=st.floats(0, 1, exclude_min=True),
    sizes=st.lists(st.integers(1, 2**53 - 1), max_size=4).map(tuple),
    fast=st.booleans(),
    mode=st.sampled_from(["plain", "fancy"]),
    count=st.integers(1, 2**31 - 1).filter(lambda n: n != 13),
)


@given(st.builds(Outer, st.builds(Middle, INNER), st.integers(0, 2**53 - 1)))
def test_settings_survive_canonical_json(made: Outer) -> None:
    fields = canonical.decode(canonical.encode(settings.encode(made)))
    assert settings.decode(fields, Outer, own=OWN) == made


@pytest.mark.parametrize("made", [Schedule(), RelayJAXRules(), DeRelayLRules(), LegSettings()])
def test_the_settings_of_relayjax_survive_too(made: Settings) -> None:
    assert settings.decode(settings.encode(made), type(made)) == made


def test_the_class_of_a_group_is_chosen_by_its_type() -> None:
    assert settings.decode(settings.encode(DeRelayLRules(places=3)), Rules) == DeRelayLRules(places=3)


def changed(**fields: Any) -> dict[str, Any]:
    return settings.encode(Schedule()) | fields


@pytest.mark.parametrize(
    ("fields", "words"),
    [
        ([], "relay: expected the settings of a Schedule"),
        ({}, "relay: expected the settings of a Schedule"),
        (changed(type=3), "relay: expected"),
        (changed(type="os:system"), "os:system is not part of RelayJAX"),
        (changed(type="relayjaxx.evil:Schedule"), "not part of RelayJAX"),
        (changed(type="relayjax.nowhere:Schedule"), "there is no class"),
        (changed(type="relayjax.mechanism.rules:Nothing"), "there is no class"),
        (changed(type="relayjax.mechanism.rules:COIN"), "is not a Schedule"),
        (changed(type="relayjax.mechanism.rules:RelayJAXRules"), "is not a Schedule"),
        (changed(extra=1), r"relay: missing or unknown fields \['extra'\]"),
        ({k: v for k, v in changed().items() if k != "draw"}, r"missing or unknown fields \['draw'\]"),
        (changed(rounds="10"), "relay.rounds='10': must be an integer"),
        (changed(rounds=0), "relay.rounds=0: must be an integer ≥ 1"),
        (changed(rounds=[1]), "relay.rounds="),
        (changed(rounds={"type": "x"}), "relay.rounds="),
        (changed(braid_rounds="1,2"), "relay.braid_rounds='1,2'"),
        (changed(braid_rounds=[1, "2"]), "relay.braid_rounds="),
        (changed(braid_rounds=[[1]]), "relay.braid_rounds="),
        (changed(braid_rounds=[2, 1]), "relay.braid_rounds="),
    ],
)
def test_json_that_encode_would_not_have_written_is_refused(fields: Any, words: str) -> None:
    with pytest.raises(ConfigError, match=words):
        settings.decode(fields, Schedule, "relay")


@pytest.mark.parametrize("text", ["1e-1", "0.10", "nan", " 0.1", "x", 1, True, None])
def test_a_number_has_one_spelling(text: Any) -> None:
    fields = settings.encode(LegSettings()) | {"learning_rate": text}
    with pytest.raises(ConfigError):
        settings.decode(fields, LegSettings, "leg")


def test_a_nested_group_is_refused_with_its_path() -> None:
    fields = settings.encode(Outer())
    fields["middle"]["inner"]["count"] = 0
    with pytest.raises(ConfigError, match=r"^middle\.inner\.count=0: must be an integer ≥ 1"):
        settings.decode(fields, Outer, own=OWN)
    fields["middle"]["inner"] = [1]
    with pytest.raises(ConfigError, match=r"^middle\.inner: expected the settings of a Inner"):
        settings.decode(fields, Outer, own=OWN)

"""Typed, frozen settings: every field declares its default, meaning, unit and range, and is checked once.

A group of settings is a frozen dataclass that derives from `Settings` and declares its fields with
`setting`. An instance that exists is valid: construction refuses a wrong type or a value out of
range with a `ConfigError` that names the field, the value and the range.

    @dataclass(frozen=True)
    class Optimizer(Settings):
        learning_rate: float = setting(0.05, "peak step size", above=0.0)

Settings nest. `flatten` lists every leaf by its dotted path, `override` returns a copy with some
leaves replaced from text (command line), `encode` / `decode` turn them into JSON values and back.
"""

from __future__ import annotations

import dataclasses
import difflib
import importlib
import math
import typing
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, TypeVar

from relayjax.errors import ConfigError

S = TypeVar("S", bound="Settings")
_WORDS = {int: "an integer", float: "a number", bool: "true or false", str: "text"}


@dataclass(frozen=True)
class Spec:
    """What a field allows: its meaning, unit, range and choices."""

    help: str
    unit: str = ""
    low: float | None = None
    high: float | None = None
    above: float | None = None
    below: float | None = None
    choices: tuple[str, ...] = ()

    def bounds(self) -> str:
        """The allowed values in words, for messages and `--help`."""
        if self.choices:
            return "one of " + ", ".join(self.choices)
        signs = ((">", self.above), ("≥", self.low), ("<", self.below), ("≤", self.high))
        return " and ".join(f"{sign} {value:g}" for sign, value in signs if value is not None)

    def admits(self, value: Any) -> bool:
        """Whether one scalar lies in the range."""
        if self.choices:
            return value in self.choices
        if isinstance(value, float) and not math.isfinite(value):
            return False
        return not (
            (self.low is not None and value < self.low)
            or (self.high is not None and value > self.high)
            or (self.above is not None and value <= self.above)
            or (self.below is not None and value >= self.below)
        )


def setting(default: Any, help: str, **spec: Any) -> Any:
    """Declares a field of a `Settings` class.

    Args:
      default: its value when none is given; a `Settings` class means a nested group.
      help: one phrase, shown by `--help` and in errors.
      **spec: `unit`, `low`, `high` (inclusive), `above`, `below` (exclusive), `choices`.
    """
    metadata = {"spec": Spec(help, **spec)}
    if isinstance(default, type):
        return dataclasses.field(default_factory=default, metadata=metadata)
    return dataclasses.field(default=default, metadata=metadata)


@dataclass(frozen=True)
class Settings:
    """Base of every group of settings; checks the fields on construction."""

    def __post_init__(self) -> None:
        for name, kind in _kinds(type(self)).items():
            _check(name, getattr(self, name), kind, _spec(type(self), name))
        self.check()

    def check(self) -> None:
        """Hook for conditions that involve several fields; raises `ConfigError`."""


def flatten(settings: Settings, prefix: str = "") -> dict[str, tuple[Any, Spec]]:
    """Every leaf by dotted path, with its value and spec, in declaration order."""
    leaves: dict[str, tuple[Any, Spec]] = {}
    for name in _kinds(type(settings)):
        value = getattr(settings, name)
        if isinstance(value, Settings):
            leaves |= flatten(value, f"{prefix}{name}.")
        else:
            leaves[prefix + name] = (value, _spec(type(settings), name))
    return leaves


def override(settings: S, values: Mapping[str, str]) -> S:
    """A copy with some leaves replaced.

    Args:
      settings: the settings to start from.
      values: dotted path → text, as typed on a command line; tuples are comma-separated.

    Raises:
      ConfigError: a path that does not exist (with the nearest one that does), text that is not of
        the field's type, or a value out of range.
    """
    known = list(flatten(settings))
    for path in values:
        if path not in known:
            near = difflib.get_close_matches(path, known, n=1)
            hint = f"did you mean {near[0]!r}?" if near else f"the fields are: {', '.join(known)}"
            raise ConfigError(f"there is no setting {path!r}; {hint}")
    return _override(settings, dict(values), "")


def encode(settings: Settings) -> dict[str, Any]:
    """JSON values of all fields; floats as their shortest exact decimal text, since canonical JSON has none.

    A nested group carries its class as `"type": "module:Class"`.
    """
    fields: dict[str, Any] = {"type": f"{type(settings).__module__}:{type(settings).__qualname__}"}
    for name in _kinds(type(settings)):
        value = getattr(settings, name)
        if isinstance(value, Settings):
            fields[name] = encode(value)
        elif isinstance(value, float):
            fields[name] = repr(value)
        elif isinstance(value, tuple):
            fields[name] = list(value)
        else:
            fields[name] = value
    return fields


def decode(fields: Any, expected: type[S], path: str = "") -> S:
    """Settings from the JSON values of `encode`.

    Only classes of RelayJAX itself are looked up by name: a file must not choose what gets imported.

    Raises:
      ConfigError: the values do not describe an `expected`.
    """
    if not isinstance(fields, dict) or not isinstance(fields.get("type"), str):
        raise ConfigError(f"{path or 'config'}: expected the settings of a {expected.__name__}")
    found = _resolve(fields["type"], expected, path)
    kinds = _kinds(found)
    if unknown := set(fields) - set(kinds) - {"type"}:
        raise ConfigError(f"{path or 'config'}: unknown fields {sorted(unknown)}")
    values: dict[str, Any] = {}
    for name, value in fields.items():
        if name == "type":
            continue
        kind = kinds[name]
        if isinstance(kind, type) and issubclass(kind, Settings):
            values[name] = decode(value, kind, f"{path}{name}.")
        elif isinstance(value, str) and kind is not str:
            values[name] = _parse(path + name, value, kind)
        else:
            values[name] = tuple(value) if isinstance(value, list) else value
    return found(**values)


def _resolve(type_name: str, expected: type[S], path: str) -> type[S]:
    module, _, name = type_name.partition(":")
    if module.split(".")[0] != "relayjax" and module != expected.__module__:
        raise ConfigError(
            f"{path or 'config'}: {type_name} is not part of RelayJAX; "
            "give the config file that defines it with --config=FILE"
        )
    try:
        found = getattr(importlib.import_module(module), name)
    except (ImportError, AttributeError) as error:
        raise ConfigError(f"{path or 'config'}: there is no class {type_name}") from error
    if not (isinstance(found, type) and issubclass(found, expected)):
        raise ConfigError(f"{path or 'config'}: {type_name} is not a {expected.__name__}")
    return found


def _kinds(cls: type) -> dict[str, Any]:
    hints = typing.get_type_hints(cls)
    return {f.name: hints[f.name] for f in dataclasses.fields(cls)}


def _spec(cls: type, name: str) -> Spec:
    for field in dataclasses.fields(cls):
        if field.name == name:
            return field.metadata.get("spec", Spec(""))
    raise ConfigError(f"{cls.__name__} has no field {name}")


def _check(name: str, value: Any, kind: Any, spec: Spec) -> None:
    if typing.get_origin(kind) is tuple:
        element = typing.get_args(kind)[0]
        right = isinstance(value, tuple) and all(type(v) is element for v in value)
        wanted, items = f"a tuple of {element.__name__}", value if right else ()
    elif isinstance(kind, type) and issubclass(kind, Settings):
        right, wanted, items = isinstance(value, kind), kind.__name__, ()
    else:
        right = type(value) is kind or (kind is float and type(value) is int)
        wanted, items = (
            {int: "an integer", float: "a number", bool: "true or false", str: "text"}[kind],
            (value,),
        )
    meaning = f" ({spec.help})" if spec.help else ""
    if not right:
        raise ConfigError(f"{name}={value!r}: must be {wanted}{meaning}")
    if not all(spec.admits(item) for item in items):
        raise ConfigError(f"{name}={value!r}: must be {spec.bounds() or 'finite'}{meaning}")


def _override(settings: S, values: dict[str, str], prefix: str) -> S:
    changed: dict[str, Any] = {}
    for name, kind in _kinds(type(settings)).items():
        value, path = getattr(settings, name), prefix + name
        if isinstance(value, Settings):
            changed[name] = _override(value, values, path + ".")
        elif path in values:
            changed[name] = _parse(path, values[path], kind)
    try:
        return dataclasses.replace(settings, **changed)
    except ConfigError as error:
        raise ConfigError(f"{prefix}{error}") from None


def _parse(path: str, text: str, kind: Any) -> Any:
    try:
        if typing.get_origin(kind) is tuple:
            element = typing.get_args(kind)[0]
            return tuple(element(part) for part in text.strip("()").split(",") if part.strip())
        if kind is bool:
            return {"true": True, "false": False}[text.strip().lower()]
        return kind(text)
    except (ValueError, KeyError):
        name = "true or false" if kind is bool else getattr(kind, "__name__", str(kind))
        raise ConfigError(f"{path}={text!r}: must be {name}") from None

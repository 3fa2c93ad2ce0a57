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
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, TypeVar

from relayjax.errors import ConfigError

S = TypeVar("S", bound="Settings")
_EXACT = 2**53 - 1
"""Largest integer that canonical JSON can carry."""
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
        return " and ".join(f"{sign} {value:.16g}" for sign, value in signs if value is not None)

    def admits(self, value: Any) -> bool:
        """Whether one scalar lies in the range."""
        if self.choices:
            return value in self.choices
        if isinstance(value, float) and not math.isfinite(value):
            return False
        if isinstance(value, int) and abs(value) > _EXACT:
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
            if kind is float:  # so that 1 and 1.0 are the same settings, to the byte
                object.__setattr__(self, name, float(getattr(self, name)))
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
    fields: dict[str, Any] = {"type": _name(type(settings))}
    return fields | {name: _plain(getattr(settings, name)) for name in _kinds(type(settings))}


def decode(fields: Any, expected: type[S], path: str = "", own: Sequence[type[Settings]] = ()) -> S:
    """Settings from the JSON values of `encode`; every field must be there, spelt as `encode` spells it.

    Only classes of RelayJAX itself are looked up by name: a file must not choose what gets imported.

    Args:
      fields: the JSON values.
      expected: the class they must describe, or a base of it.
      path: where they stand in the whole, for messages.
      own: classes of the caller's own that may be named as well.

    Raises:
      ConfigError: the values do not describe an `expected`.
    """
    where = path or "config"
    if not isinstance(fields, dict) or not isinstance(fields.get("type"), str):
        raise ConfigError(f"{where}: expected the settings of a {expected.__name__}")
    found = _resolve(fields["type"], expected, where, own)
    kinds = _kinds(found)
    if odd := set(fields) ^ {"type", *kinds}:
        raise ConfigError(f"{where}: missing or unknown fields {sorted(odd)}")
    prefix = f"{path}." if path else ""
    values: dict[str, Any] = {}
    for name, kind in kinds.items():
        if isinstance(kind, type) and issubclass(kind, Settings):
            values[name] = decode(fields[name], kind, prefix + name, own)
        else:
            values[name] = _native(prefix + name, fields[name], kind, _spec(found, name))
    settings = _at(prefix, lambda: found(**values))
    if encode(settings) != fields:
        raise ConfigError(f"{where}: a value is not spelt as it would be written")
    return settings


def _resolve(type_name: str, expected: type[S], where: str, own: Sequence[type[Settings]]) -> type[S]:
    for cls in own:
        if issubclass(cls, expected) and _name(cls) == type_name:
            return cls
    module, _, name = type_name.partition(":")
    if module.split(".")[0] != "relayjax":
        raise ConfigError(
            f"{where}: {type_name} is not part of RelayJAX; "
            "give the config file that defines it with --config=FILE"
        )
    try:
        found = getattr(importlib.import_module(module), name)
    except (ImportError, AttributeError) as error:
        raise ConfigError(f"{where}: there is no class {type_name}") from error
    if not (isinstance(found, type) and issubclass(found, expected)):
        raise ConfigError(f"{where}: {type_name} is not a {expected.__name__}")
    return found


def _name(cls: type) -> str:
    return f"{cls.__module__}:{cls.__qualname__}"


def _plain(value: Any) -> Any:
    """A field as a JSON value."""
    if isinstance(value, Settings):
        return encode(value)
    if isinstance(value, tuple):
        return [_plain(item) for item in value]
    return repr(value) if isinstance(value, float) else value


def _native(path: str, value: Any, kind: Any, spec: Spec) -> Any:
    """A field from its JSON value."""
    if typing.get_origin(kind) is tuple and isinstance(value, list):
        return tuple(_native(path, item, typing.get_args(kind)[0], spec) for item in value)
    return _parse(path, value, kind, spec) if kind is float and isinstance(value, str) else value


def _kinds(cls: type) -> dict[str, Any]:
    hints = typing.get_type_hints(cls)
    return {f.name: hints[f.name] for f in dataclasses.fields(cls)}


def _spec(cls: type, name: str) -> Spec:
    for field in dataclasses.fields(cls):
        if field.name == name:
            return field.metadata.get("spec", Spec(""))
    raise ConfigError(f"{cls.__name__} has no field {name}")


def _check(name: str, value: Any, kind: Any, spec: Spec) -> None:
    if isinstance(kind, type) and issubclass(kind, Settings):
        if not isinstance(value, kind):
            raise ConfigError(f"{name}={value!r}: must be the settings of a {kind.__name__}")
        return
    if typing.get_origin(kind) is tuple:
        element = typing.get_args(kind)[0]
        right = isinstance(value, tuple) and all(type(v) is element and spec.admits(v) for v in value)
    else:
        right = type(value) is kind or (kind is float and type(value) is int)
        right = right and spec.admits(value)
    if not right:
        raise _refused(name, value, kind, spec)


def _refused(path: str, value: Any, kind: Any, spec: Spec) -> ConfigError:
    """The error for a value that a field cannot have: field, value, type, range and meaning."""
    many = typing.get_origin(kind) is tuple
    element = typing.get_args(kind)[0] if many else kind
    words = ["a tuple, each"] if many else []
    words += [spec.bounds()] if spec.choices else [_WORDS[element], spec.bounds()]
    if isinstance(value, int) and abs(value) > _EXACT:
        words.append(f"within ±{_EXACT}")
    note = ", in ".join(text for text in (spec.help, spec.unit) if text)
    meaning = f" ({note})" if note else ""
    return ConfigError(f"{path}={value!r}: must be {' '.join(filter(None, words))}{meaning}")


def _at(prefix: str, make: Callable[[], S]) -> S:
    """Makes settings; what they refuse is told with the path of the group they are."""
    try:
        return make()
    except ConfigError as error:
        raise ConfigError(f"{prefix}{error}") from None


def _override(settings: S, values: dict[str, str], prefix: str) -> S:
    changed: dict[str, Any] = {}
    for name, kind in _kinds(type(settings)).items():
        value, path = getattr(settings, name), prefix + name
        if isinstance(value, Settings):
            changed[name] = _override(value, values, path + ".")
        elif path in values:
            changed[name] = _parse(path, values[path], kind, _spec(type(settings), name))
    return _at(prefix, lambda: dataclasses.replace(settings, **changed))


def _parse(path: str, text: str, kind: Any, spec: Spec) -> Any:
    try:
        if typing.get_origin(kind) is tuple:
            element = typing.get_args(kind)[0]
            return tuple(
                _scalar(part.strip(), element) for part in text.strip("() ").split(",") if part.strip()
            )
        return _scalar(text, kind)
    except (ValueError, KeyError):
        raise _refused(path, text, kind, spec) from None


def _scalar(text: str, kind: Any) -> Any:
    if kind is bool:
        return {"true": True, "false": False}[text.strip().lower()]
    return kind(text)

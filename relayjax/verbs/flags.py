"""What verbs have in common: how one is declared, and how flags and arguments are read."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import TYPE_CHECKING

from absl import flags

from relayjax import settings
from relayjax.errors import ConfigError
from relayjax.identity import Keys

if TYPE_CHECKING:
    from relayjax.config import Config
    from relayjax.ledger.policy import Policy


@dataclass(frozen=True)
class Verb:
    """One command.

    Attributes:
      run: does it, given its flags and positional arguments.
      define: declares its flags, given the raw arguments.
      arguments: its positional arguments, for help.
      help: one line.
    """

    run: Callable[[flags.FlagValues, list[str]], None]
    define: Callable[[flags.FlagValues, Sequence[str]], None]
    arguments: str
    help: str


def string(values: flags.FlagValues, name: str, default: str | None, help: str) -> None:
    """A flag of text."""
    flags.DEFINE_string(name, default, help, flag_values=values)


def define_settings(values: flags.FlagValues, chosen: settings.Settings, prefix: str = "config") -> None:
    """A flag for every setting, by dotted path."""
    for path, (value, spec) in settings.flatten(chosen).items():
        text = ",".join(map(str, value)) if isinstance(value, tuple) else str(value)
        notes = "".join(f"; {note}" for note in (spec.bounds(), spec.unit) if note)
        string(values, f"{prefix}.{path}", None, f"{spec.help} ({text or 'none'}{notes})")


def given_settings(values: flags.FlagValues, prefix: str = "config") -> dict[str, str]:
    """The settings given as flags: dotted path → text."""
    return {
        name.removeprefix(f"{prefix}."): text
        for name in values
        if name.startswith(f"{prefix}.") and (text := values[name].value) is not None
    }


def config_named(arguments: Sequence[str], default: str) -> str:
    """The value of --config, which decides which other flags there are."""
    named = default
    for flag, following in pairwise([*arguments, ""]):
        if flag.lstrip("-").startswith("config=") and flag.startswith("-"):
            named = flag.partition("=")[2]
        elif flag in ("--config", "-config"):
            named = following
    return named


def workdir(arguments: list[str]) -> Path:
    """The only argument, a run's directory."""
    if len(arguments) != 1:
        raise ConfigError("give exactly one WORKDIR")
    return Path(arguments[0])


def file_of(arguments: list[str]) -> Path:
    """The only argument, a file."""
    if len(arguments) != 1:
        raise ConfigError("give exactly one FILE")
    return Path(arguments[0])


def no_arguments(arguments: list[str]) -> None:
    """Refuses arguments."""
    if arguments:
        raise ConfigError(f"unexpected argument {arguments[0]!r}; settings are given as --config.NAME=VALUE")


def config_of(source: str | None) -> Config | None:
    """The config that a flag names, if it names one."""
    if not source:
        return None
    from relayjax import config

    return config.load(source)


def keys_of(path: str) -> Keys:
    """The keys in a directory, DIRECTORY/NAME; asks for the password of locked ones."""
    from relayjax.keys_console import open_keys

    return open_keys(path)


def policy_of(file: str | None) -> Policy | None:
    """The policy in a file, if there is one."""
    if not file:
        return None
    from relayjax.witness_console import read_policy

    return read_policy(Path(file))


def required_policy(values: flags.FlagValues) -> Policy:
    """The policy that has to be given."""
    policy = policy_of(values.policy)
    if policy is None:
        raise ConfigError("--policy=FILE is needed: the logs to accept and the witnesses they need")
    return policy

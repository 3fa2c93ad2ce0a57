"""Verbs that change a member's keys, or shut it out, in a run that nobody plays at the moment."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from absl import flags
from rich.console import Console

from relayjax import backend
from relayjax.errors import ConfigError
from relayjax.identity import Keys
from relayjax.membership import Membership, Said
from relayjax.verbs.flags import Verb, keys_of, string, workdir


def _define(values: flags.FlagValues, key: str) -> None:
    string(values, "key", None, f"{key}, DIRECTORY/NAME")
    string(values, "log", None, "the log's keys, DIRECTORY/NAME; by default those in the run's directory")


def _define_new(values: flags.FlagValues) -> None:
    string(values, "new", None, "the new keys, DIRECTORY/NAME; by default made, in WORKDIR/keys")


def _define_recovery_key(values: flags.FlagValues, _: Sequence[str]) -> None:
    _define(values, "the member's key, or its recovery key if it has registered one before")
    string(
        values, "recovery", None, "the recovery key to register, DIRECTORY/NAME, made with `relayjax keys`"
    )


def _define_rotate(values: flags.FlagValues, _: Sequence[str]) -> None:
    _define(values, "the member's present keys")
    _define_new(values)


def _define_recover(values: flags.FlagValues, _: Sequence[str]) -> None:
    _define(values, "the member's recovery key")
    flags.DEFINE_integer("void", None, "first round that the old keys are void in", flag_values=values)
    _define_new(values)


def _define_revoke(values: flags.FlagValues, _: Sequence[str]) -> None:
    _define(values, "the member's recovery key, its key if it has none, or a maintainer's")
    string(values, "member", None, "whom to shut out")


def _recovery_key(values: flags.FlagValues, arguments: list[str]) -> None:
    recovery = _needed(values, "recovery")
    _say(values, arguments, lambda members, keys: members.register(keys, recovery))


def _rotate(values: flags.FlagValues, arguments: list[str]) -> None:
    new = keys_of(values.new) if values.new else None
    _say(values, arguments, lambda members, keys: members.rotate(keys, new))


def _recover(values: flags.FlagValues, arguments: list[str]) -> None:
    if values.void is None:
        raise ConfigError("--void=ROUND is needed: since which round the keys are not the member's any more")
    new = keys_of(values.new) if values.new else None
    _say(values, arguments, lambda members, keys: members.recover(keys, values.void, new))


def _revoke(values: flags.FlagValues, arguments: list[str]) -> None:
    if not values.member:
        raise ConfigError("--member=NAME is needed: whom to shut out")
    _say(values, arguments, lambda members, keys: members.revoke(keys, values.member))


def _say(values: flags.FlagValues, arguments: list[str], say: Callable[[Membership, Keys], Said]) -> None:
    from relayjax.keys_console import print_said

    directory, keys = workdir(arguments), _needed(values, "key")
    with backend.open_membership(directory, keys_of(values.log) if values.log else None) as members:
        print_said(say(members, keys), directory, Console())


def _needed(values: flags.FlagValues, flag: str) -> Keys:
    given: str | None = values[flag].value
    if not given:
        raise ConfigError(f"--{flag}=DIRECTORY/NAME is needed: {values[flag].help}")
    return keys_of(given)


VERBS = {
    "recovery-key": Verb(
        _recovery_key, _define_recovery_key, "WORKDIR", "register what lost or stolen keys are recovered with"
    ),
    "rotate": Verb(_rotate, _define_rotate, "WORKDIR", "put new keys in the place of a member's"),
    "recover": Verb(_recover, _define_recover, "WORKDIR", "put new keys in the place of lost or stolen ones"),
    "revoke": Verb(_revoke, _define_revoke, "WORKDIR", "shut a member out, or approve that as a maintainer"),
}

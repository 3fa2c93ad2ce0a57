"""Verbs of a relay whose members are processes of their own and meet in a folder, or at an address."""

from __future__ import annotations

import math
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from absl import flags
from rich.console import Console

from relayjax.errors import ConfigError
from relayjax.verbs.flags import (
    Verb,
    config_named,
    config_of,
    define_settings,
    given_settings,
    string,
    workdir,
)

if TYPE_CHECKING:
    from relayjax.peers.http_serving import Served


def _define_home(values: flags.FlagValues) -> None:
    string(values, "home", None, "your own directory: keys, and what you must not lose")


def _define_loop(values: flags.FlagValues) -> None:
    _define_home(values)
    string(values, "config", None, "config file that has the task, if it is not RelayJAX's own")
    flags.DEFINE_float("poll", 0.2, "seconds between two looks at the folder", 0.01, flag_values=values)
    flags.DEFINE_float(
        "give_up",
        600.0,
        "seconds for which a log that shows less than before is asked again",
        0.0,
        flag_values=values,
    )
    flags.DEFINE_boolean("once", False, "do what can be done now, and end", flag_values=values)


def _home(values: flags.FlagValues) -> Path:
    if not values.home:
        raise ConfigError("--home=DIRECTORY is needed: where your keys are, or will be")
    return Path(values.home)


def _place(arguments: Sequence[str], home: Path | None, *, keep: bool = True) -> str:
    """The place or places given, which the home remembers if asked to; else those that it does."""
    from relayjax.peers.home import Home
    from relayjax.peers.places import recall, remember, split

    place = ",".join(arguments) or (recall(home) if home else None)
    listed = len(split(place)) if place else 0
    if not place or len(arguments) > max(1, listed):
        raise ConfigError("give one FOLDER, or the addresses where the relay is served")
    if keep and home and arguments and Home(home).exists:
        remember(home, place)
    return place


def _define_serve(values: flags.FlagValues, what: str) -> None:
    string(values, "serve", None, what)
    string(values, "tls_cert", None, "with --serve=HOST:PORT: certificate chain for https (PEM)")
    string(values, "tls_key", None, "with --serve=HOST:PORT: its private key (PEM)")


def _served(values: flags.FlagValues, home: Path) -> Served | None:
    """Where something is served; None if nowhere."""
    from relayjax.peers.p2p_serving import served_at

    if values.serve:
        return served_at(values.serve, home, values.tls_cert, values.tls_key)
    if values.tls_cert or values.tls_key:
        raise ConfigError("--tls_cert and --tls_key go with --serve=HOST:PORT")
    return None


def _define_found(values: flags.FlagValues, arguments: Sequence[str]) -> None:
    _define_home(values)
    string(values, "config", "digits", "config file, FILE[:VARIANT], or the name of one of RelayJAX's own")
    string(values, "name", "v0", "your name; you maintain, order the records and sign the log")
    from relayjax import config

    define_settings(values, config.load(config_named(arguments, "digits")))


def _found(values: flags.FlagValues, arguments: list[str]) -> None:
    from relayjax import config
    from relayjax.peers_console import found

    folder, home = workdir(arguments), _home(values)
    found(config.resolve(values.config, given_settings(values)), folder, home, values.name, Console())


def _define_join(values: flags.FlagValues, _: Sequence[str]) -> None:
    _define_home(values)
    string(values, "name", None, "your name: a-z 0-9 _ -")
    string(values, "role", "participant", "participant: brings data and trains; maintainer: scores")
    string(values, "log_key", None, "the log's public key (64 hex digits), as known from the founder")


def _join(values: flags.FlagValues, arguments: list[str]) -> None:
    from relayjax.peers_console import join

    if not values.name:
        raise ConfigError("--name=NAME is needed: what others call you")
    home = _home(values)
    join(_place(arguments, home), home, values.name, values.role, values.log_key, Console())
    _place(arguments, home)  # it is a home now, and remembers


def _define_work(values: flags.FlagValues, _: Sequence[str]) -> None:
    _define_loop(values)
    flags.DEFINE_integer("shard", None, "which of the task's shards is your data", 0, flag_values=values)
    _define_serve(values, "[iroh:]HOST:PORT to serve other trainers what you hold at")
    flags.DEFINE_list("peers", [], "addresses where other trainers serve what they hold", flag_values=values)


def _work(values: flags.FlagValues, arguments: list[str]) -> None:
    from relayjax import peers
    from relayjax.peers_console import MemberView, work

    home = _home(values)
    place = _place(arguments, home)
    chosen, warm = config_of(values.config), not values.once
    member = peers.open_participant(
        place,
        home,
        shard=values.shard,
        config=chosen,
        warm=warm,
        serve=_served(values, home),
        peers=values.peers,
    )
    view = MemberView(place, home, Console())
    work(member, None if values.once else values.poll, view, values.give_up)


def _define_maintain(values: flags.FlagValues, _: Sequence[str]) -> None:
    _define_loop(values)
    flags.DEFINE_float(
        "patience", 60.0, "seconds a phase waits for those who stay away", 0.0, flag_values=values
    )
    flags.DEFINE_float(
        "takeover",
        None,
        "seconds without anything new before you want another to order the records "
        "(five times the patience by default)",
        1e-3,
        flag_values=values,
    )
    flags.DEFINE_boolean("begin", False, "do not wait until every place is taken", flag_values=values)
    _define_serve(values, "[iroh:]HOST:PORT to serve the folder, or your copy of the relay, at")
    string(values, "publish", None, "s3:// or gs:// address kept in step with the folder; one maintainer's")


def _maintain(values: flags.FlagValues, arguments: list[str]) -> None:
    from relayjax import peers
    from relayjax.peers_console import MemberView, work

    home = _home(values)
    place = _place(arguments, home)
    patience, takeover, served = values.patience, values.takeover, _served(values, home)
    if values.once:  # those whose letters are carried take longer than any patience
        if served or values.publish:
            raise ConfigError("--serve and --publish go on and on, --once does not; leave one of them out")
        patience = takeover = math.inf
    member = peers.open_maintainer(
        place,
        home,
        patience=patience,
        takeover=takeover,
        begin=values.begin,
        serve=served,
        publish=values.publish,
        pace=values.poll,
        config=config_of(values.config),
        warm=not values.once,
    )
    view = MemberView(place, home, Console())
    work(member, None if values.once else values.poll, view, values.give_up)


def _define_status(values: flags.FlagValues, _: Sequence[str]) -> None:
    _define_home(values)
    flags.DEFINE_boolean("watch", False, "go on looking until the relay is finished", flag_values=values)


def _status(values: flags.FlagValues, arguments: list[str]) -> None:
    from relayjax.peers_view import status

    home = Path(values.home) if values.home else None
    status(_place(arguments, home, keep=False), home, values.watch, Console())


def _define_copy(values: flags.FlagValues, _: Sequence[str]) -> None:
    string(values, "log_key", None, "the log's public key (64 hex digits), as known from the founder")


def _copy(values: flags.FlagValues, arguments: list[str]) -> None:
    from relayjax.peers_view import copy

    if len(arguments) < 2:
        raise ConfigError("give the relay's addresses, or its FOLDER, and the FOLDER of the copy")
    copy(_place(arguments[:-1], None), Path(arguments[-1]), values.log_key, Console())


VERBS = {
    "found": Verb(_found, _define_found, "FOLDER", "begin a relay of separate members in a shared folder"),
    "join": Verb(_join, _define_join, "FOLDER|URL,...", "make keys and register with a relay"),
    "work": Verb(
        _work, _define_work, "FOLDER|URL,...", "take part: bid, train on your own data, commit, reveal"
    ),
    "maintain": Verb(
        _maintain,
        _define_maintain,
        "FOLDER|URL,...",
        "score, value; order the records if you founded, or are voted",
    ),
    "copy": Verb(_copy, _define_copy, "URL,... FOLDER", "fetch a relay as far as it is, to verify it here"),
    "status": Verb(_status, _define_status, "FOLDER|URL,...", "say how far a relay is, and who is awaited"),
}

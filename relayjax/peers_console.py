"""What members of a relay see: how to join, and their loops until it is finished."""

from __future__ import annotations

import time
from collections.abc import Callable
from contextlib import AbstractContextManager, ExitStack
from pathlib import Path
from typing import TYPE_CHECKING

from rich.console import Console

from relayjax.errors import (
    ConfigError,
    DiskError,
    ExchangeError,
    IntegrityError,
    SplitViewError,
)
from relayjax.history import History
from relayjax.mechanism.state import Role
from relayjax.peers.exchange import FolderExchange
from relayjax.peers_view import REMOTE, exchange_at, own_lines, say, where

if TYPE_CHECKING:
    from relayjax.config import Config
    from relayjax.peers.follower import Follower
    from relayjax.peers.home import Home
    from relayjax.peers.http_gate import Awaited
    from relayjax.peers.http_serving import Served
    from relayjax.peers.object_keeping import Keeping

_PACE = 1.0
"""Seconds between two looks at a bucket, at least: every listing is paid for."""

Act = Callable[[History], str | None]
"""Does what the history asks for; returns what is to be told."""


def found(config: Config, folder: Path, home: Path, name: str, console: Console) -> None:
    """Founds a relay and says how others join it."""
    from relayjax.peers.founding import found
    from relayjax.peers.home import Home
    from relayjax.workdir import Workdir

    own = Home(home)
    membership = found(config, Workdir(folder), own, name)
    say(console, f"founded    {membership.origin} in {folder}; {name} orders its records")
    say(console, f"log key    {membership.log_key}")
    say(console, f"others     relayjax join {folder} --home=DIR --name=NAME --log_key={membership.log_key}")
    say(console, f"next       relayjax maintain {folder} --home={home}")


def join(place: str, home: Path, name: str, role: str, log_key: str | None, console: Console) -> None:
    """Registers with a relay and says what to do next."""
    from relayjax.peers.home import Home
    from relayjax.peers.joining import join

    if role not in (Role.PARTICIPANT.value, Role.MAINTAINER.value):
        raise ConfigError(f"--role={role}: choose participant or maintainer")
    own = Home(home)
    known = own.exists
    refused = join(exchange_at(place), own, name, role, log_key)
    if refused:
        raise ConfigError(f"{name} was not let in: {refused}")
    member = own.membership()
    say(console, f"joining    {member.origin} as {role} {name}; keys in {home / 'keys'}")
    say(console, f"log key    {member.log_key}")
    if log_key is None and not known:
        say(console, "           believed at first sight: compare it with what the founder says")
    verb = "work" if role == Role.PARTICIPANT.value else "maintain"
    say(console, f"next       relayjax {verb} {place} --home={home}")


def work(
    place: str, home: Path, shard: int | None, config: Config | None, poll: float, console: Console
) -> None:
    """A participant's loop until the relay is finished."""
    from relayjax.peers.home import Home

    own, exchange = Home(home), exchange_at(place)
    if own.membership().role != Role.PARTICIPANT.value:
        raise ConfigError(f"{home}: {own.membership().name} is no participant; use `relayjax maintain`")

    def start(history: History) -> Act:
        from relayjax.peers.participant import Participant
        from relayjax.peers.workshop import Workshop

        workshop = Workshop.of(history, config)
        shards = len(workshop.task.shards)
        if shard is None and shards > 1:
            raise ConfigError(f"--shard=K is needed: which of the task's {shards} shards is yours, 0 or more")
        trainer, data = workshop.trainer(shard or 0)
        participant = Participant(own, own.keys(), exchange, trainer, data)
        return lambda history: participant.act(history.state)

    with own.locked():
        _loop(place, own, start, poll, console)


def maintain(
    place: str,
    home: Path,
    config: Config | None,
    patience: float,
    begin: bool,
    poll: float,
    served: Served | None,
    console: Console,
    publish: str | None = None,
) -> None:
    """A maintainer's loop until the relay is finished; the founder's orders the records, too."""
    from relayjax.peers.home import Home
    from relayjax.peers.joining import follow

    own, exchange = Home(home), exchange_at(place)
    keys = own.keys()
    if own.membership().role != Role.MAINTAINER.value:
        raise ConfigError(f"{home}: {keys.name} is no maintainer; use `relayjax work`")

    def start(history: History) -> Act:
        from relayjax.peers.maintainer import Maintainer
        from relayjax.peers.workshop import Workshop

        workshop = Workshop.of(history, config)
        maintainer = Maintainer(own, keys, exchange, workshop.validator(), workshop.codec, history)
        return maintainer.act

    with own.locked():
        if own.membership().log_key != keys.public.signing:
            if served or publish:
                said = f"{keys.name} does not order the records; who founded does"
                raise ConfigError(f"--serve, --publish: {said}")
            _loop(place, own, start, poll, console)
            return
        if not isinstance(exchange, FolderExchange):
            raise ConfigError(f"{place}: {keys.name} orders the records; give the folder itself")
        follower = follow(exchange, own)
        follower.poll()
        history = follower.chronicle.history
        _order(Path(place), own, history, config, patience, begin, poll, served, publish, console)
        follower.poll()
        _finish(follower, place, own, console)


def _order(
    folder: Path,
    home: Home,
    history: History,
    config: Config | None,
    patience: float,
    begin: bool,
    poll: float,
    served: Served | None,
    publish: str | None,
    console: Console,
) -> None:
    from relayjax.pack import ModelVersion
    from relayjax.peers.http_gate import Awaited
    from relayjax.peers.http_serving import serving
    from relayjax.peers.orderer import Orderer
    from relayjax.peers.workshop import Workshop
    from relayjax.workdir import Workdir

    tell = lambda line: say(console, line)  # noqa: E731
    place, workshop = Workdir(folder), Workshop.of(history, config)
    validator = workshop.validator()
    with ExitStack() as stack:
        stack.enter_context(place.locked())
        orderer = Orderer(
            home,
            home.keys(),
            place,
            validator,
            workshop.codec,
            patience=patience,
            clock=time.monotonic,
            begin=begin,
            tell=tell,
        )
        say(console, where(orderer.state))
        size = ModelVersion(0, history.genesis.weights, history.genesis.layout).size
        limit = workshop.codec.max_size(size)
        awaited = lambda: Awaited.of(orderer.state, limit)  # noqa: E731
        server = stack.enter_context(serving(served.open(folder, awaited, tell))) if served else None
        bucket = stack.enter_context(_kept(publish, folder, awaited, poll, tell)) if publish else None
        while not orderer.state.finished:
            if bucket:
                bucket.check()
            if not orderer.act():
                time.sleep(poll)
        if bucket:
            bucket.finish()
        if server:
            say(console, f"finished   serving on until nobody asks for {patience:g} s")
            while time.monotonic() - server.asked < patience:
                time.sleep(poll)


def _kept(
    url: str,
    folder: Path,
    awaited: Callable[[], Awaited],
    poll: float,
    tell: Callable[[str], None],
) -> AbstractContextManager[Keeping]:
    """A bucket that is kept in step with a folder."""
    from relayjax.peers.object_bucket import Bucket
    from relayjax.peers.object_keeping import keeping
    from relayjax.peers.object_publishing import Publisher

    bucket = Bucket(url)
    publisher = Publisher(folder, bucket, awaited, tell)
    tell(f"publishing {bucket.url}")
    return keeping(publisher, max(poll, _PACE), tell)


def _loop(place: str, home: Home, start: Callable[[History], Act], poll: float, console: Console) -> None:
    """Follows the log and acts on it until the relay is finished."""
    from relayjax.peers.joining import follow, join

    exchange, member = exchange_at(place), home.membership()
    follower, act, told, settled = follow(exchange, home), None, "", -1
    while True:
        line, grown = None, False
        try:
            grown = follower.poll()
            state = follower.chronicle.state
            if state is None or member.name not in state.members:
                refused = join(exchange, home, member.name, member.role, member.log_key)
                line = refused and f"not let in: {refused}"
                if line is None and state is not None and state.finished:
                    line = "the relay is finished"
            else:
                if act is None:
                    act = start(follower.chronicle.history)
                if follower.chronicle.settled != settled and not state.finished:
                    settled = follower.chronicle.settled
                    say(console, where(state, member.name))
                line = act(follower.chronicle.history)
                if state.finished:
                    _finish(follower, place, home, console)
                    return
        except SplitViewError:
            raise
        except (
            DiskError,
            ExchangeError,
            IntegrityError,
        ) as error:  # others may have done that, or may put it right
            line = str(error)
        if line and line != told:
            say(console, line)
        told = line or told
        if not grown:
            time.sleep(poll)


def _finish(follower: Follower, place: str, home: Home, console: Console) -> None:
    name, state = home.membership().name, follower.chronicle.history.state
    say(console, where(state))
    for line in own_lines(state, name):
        say(console, line)
    say(console, f"ledger     {follower.size} entries, root {follower.root.hex()}")
    pinned, key = f"--log_key={home.membership().log_key}", f"--key={home.path / 'keys' / name}"
    if place.startswith(REMOTE):
        say(console, f"copy       relayjax copy {place} COPY {pinned}")
        place = "COPY"
    say(console, f"check      relayjax verify {place} {pinned} {key}")

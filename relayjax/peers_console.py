"""What members of a relay see: how to join, and their loops until it is finished."""

from __future__ import annotations

import math
import time
from collections.abc import Callable
from contextlib import AbstractContextManager, ExitStack, suppress
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from rich.console import Console

from relayjax.errors import (
    ConfigError,
    DiskError,
    ExchangeError,
    IntegrityError,
    SplitViewError,
    WorkdirError,
)
from relayjax.history import History
from relayjax.mechanism.state import Role
from relayjax.peers.exchange import FolderExchange
from relayjax.peers.places import REMOTE, own_and_others
from relayjax.peers_view import exchange_at, own_lines, places_at, say, where

if TYPE_CHECKING:
    from relayjax.config import Config
    from relayjax.peers.follower import Follower
    from relayjax.peers.home import Home
    from relayjax.peers.http_gate import Awaited
    from relayjax.peers.http_server import RelayServer
    from relayjax.peers.http_serving import Served
    from relayjax.peers.keeping import Keeping
    from relayjax.peers.office import Waiting

_PACE = 1.0
"""Seconds between two looks at a bucket, at least: every listing is paid for."""

Act = Callable[[History], tuple[bool, str | None]]
"""Does what the history asks for; returns whether the log has grown by it, and what is to be told."""


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
    place: str, home: Path, shard: int | None, config: Config | None, poll: float | None, console: Console
) -> None:
    """A participant's loop until the relay is finished, or until nothing is to be done if nobody polls."""
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
        return lambda history: (False, participant.act(history.state))

    with own.locked():
        _loop(place, own, start, poll, console)


def maintain(
    place: str,
    home: Path,
    config: Config | None,
    waiting: Waiting,
    poll: float | None,
    served: Served | None,
    console: Console,
    publish: str | None = None,
) -> None:
    """A maintainer's loop as for `work`; it orders the records while the log says so."""
    from relayjax.peers.bundle_replica import Replica
    from relayjax.peers.home import Home
    from relayjax.peers.keeping import keeping
    from relayjax.peers.mirror import Mirror

    own = Home(home)
    name = own.keys().name
    if own.membership().role != Role.MAINTAINER.value:
        raise ConfigError(f"{home}: {name} is no maintainer; use `relayjax work`")
    folder, others = own_and_others(place)
    if folder is None and own.membership().log_key == own.keys().public.signing:
        raise ConfigError(f"{place}: {name} founded this relay; give the folder itself")
    if folder is None and (served or publish):
        folder = str(home / "mirror")
    elif folder and others and not (served or publish):
        raise ConfigError("--serve or --publish is needed: others must find what is in your own copy")
    if folder is None:
        others = []
    elif Replica(Path(folder)).exists:  # where only bundles come silence is no sign, nor are votes carried
        waiting = replace(waiting, takeover=math.inf)
    if (others or served or publish) and poll is None:
        raise ConfigError("a copy is kept and served on and on, --once does not; leave one of them out")
    place = folder or place
    exchange, tell = exchange_at(place), lambda line: say(console, line)
    with own.locked(), ExitStack() as stack:
        server: RelayServer | None = None
        mirror: Mirror | None = None
        kept: list[Keeping] = []
        if others:
            clock, pace = waiting.clock, poll or _PACE
            mirror = Mirror(own, own.keys(), Path(place), places_at(others), waiting.takeover, clock, tell)
            with suppress(DiskError):  # the thread goes on
                mirror.step()
            kept.append(stack.enter_context(keeping(mirror, pace, tell)))

        def start(history: History) -> Act:
            from relayjax.peers.office import Office
            from relayjax.peers.workshop import Workshop

            nonlocal server
            workshop = Workshop.of(history, config)
            validator, codec = workshop.validator(), workshop.codec
            office = stack.enter_context(Office(own, exchange, validator, codec, waiting, tell, mirror))
            limit = codec.max_size(ModelVersion(0, "", history.genesis.layout).size)

            def awaited() -> Awaited:
                found = Awaited.of(office.newest or history.state, limit)
                if mirror and not office.orderer:  # who orders is to have deltas
                    return replace(found, paths=frozenset())
                return found

            if served:
                server = stack.enter_context(serving(served.open(Path(place), awaited, tell)))
            if publish:
                deltas = lambda: replace(awaited(), state=None)  # noqa: E731  (votes come from mirrors)
                kept.append(stack.enter_context(_kept(publish, Path(place), deltas, poll or _PACE, tell)))
            return office.act

        from relayjax.pack import ModelVersion
        from relayjax.peers.http_gate import Awaited
        from relayjax.peers.http_serving import serving

        def check() -> None:
            for one in kept:
                one.check()

        _loop(place, own, start, poll, console, check, bool(others))
        for one in kept:
            one.finish()
        if server and poll is not None:
            say(console, f"finished   serving on until nobody asks for {waiting.patience:g} s")
            while time.monotonic() - server.asked < waiting.patience:
                time.sleep(poll)


def _kept(
    url: str,
    folder: Path,
    awaited: Callable[[], Awaited],
    poll: float,
    tell: Callable[[str], None],
) -> AbstractContextManager[Keeping]:
    """A bucket that is kept in step with a folder."""
    from relayjax.peers.keeping import keeping
    from relayjax.peers.object_bucket import Bucket
    from relayjax.peers.object_publishing import Publisher

    bucket = Bucket(url)
    publisher = Publisher(folder, bucket, awaited, tell)
    tell(f"publishing {bucket.url}")
    return keeping(publisher, max(poll, _PACE), tell)


def _loop(
    place: str,
    home: Home,
    start: Callable[[History], Act],
    poll: float | None,
    console: Console,
    check: Callable[[], None] = lambda: None,
    mirrored: bool = False,
) -> None:
    """Follows the log and acts on it until the relay is finished, or until nothing is to be done.

    Args:
      place, home, poll, console: as for the verbs.
      start: is given the first history, and gives what acts.
      check: raises what has ended a thread beside this one.
      mirrored: whether the place is a folder into which others' work has yet to come.
    """
    from relayjax.peers.joining import follow, join

    exchange, member = exchange_at(place), home.membership()
    follower, act, told, settled = follow(exchange, home), None, "", -1
    disputed = set[str]()
    while True:
        line, grown = None, False
        check()
        try:
            grown = follower.poll()
            for name in follower.disputes.keys() - disputed:
                say(console, follower.disputes[name])
            disputed = set(follower.disputes)
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
                moved, line = act(follower.chronicle.history)
                grown = grown or moved
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
            if poll is None:
                raise
            line = str(error)
        except WorkdirError as error:  # over a line nothing can be there for a while
            if poll is None or (isinstance(exchange, FolderExchange) and not mirrored):
                raise
            line = str(error)
        if line and line != told:
            say(console, line)
        told = line or told
        if not grown and poll is None:
            say(console, "looked     once; more is to be done when the log has gone on")
            return
        if not grown and poll is not None:
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

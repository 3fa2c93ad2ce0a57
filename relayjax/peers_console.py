"""What members of a relay see: how to join, their loops, and how far the relay has come."""

from __future__ import annotations

import time
from collections.abc import Callable
from contextlib import ExitStack, suppress
from pathlib import Path
from typing import TYPE_CHECKING

from rich.console import Console, Group
from rich.live import Live
from rich.text import Text

from relayjax.errors import (
    ConfigError,
    DiskError,
    ExchangeError,
    IntegrityError,
    SplitViewError,
)
from relayjax.history import History
from relayjax.mechanism.rules import COIN
from relayjax.mechanism.rulesets import mechanism
from relayjax.mechanism.state import Role, State
from relayjax.peers.exchange import Exchange, FolderExchange
from relayjax.peers.http_exchange import SCHEMES, HttpExchange

if TYPE_CHECKING:
    from relayjax.config import Config
    from relayjax.peers.follower import Follower
    from relayjax.peers.home import Home
    from relayjax.peers.http_serving import Served

Act = Callable[[History], str | None]
"""Does what the history asks for; returns what is to be told."""


def _exchange(place: str) -> Exchange:
    """Where members meet: an address, else a folder."""
    return HttpExchange(place) if place.startswith(SCHEMES) else FolderExchange(Path(place))


def found(config: Config, folder: Path, home: Path, name: str, console: Console) -> None:
    """Founds a relay and says how others join it."""
    from relayjax.peers.founding import found
    from relayjax.peers.home import Home
    from relayjax.workdir import Workdir

    own = Home(home)
    membership = found(config, Workdir(folder), own, name)
    _say(console, f"founded    {membership.origin} in {folder}; {name} orders its records")
    _say(console, f"log key    {membership.log_key}")
    _say(console, f"others     relayjax join {folder} --home=DIR --name=NAME --log_key={membership.log_key}")
    _say(console, f"next       relayjax maintain {folder} --home={home}")


def join(place: str, home: Path, name: str, role: str, log_key: str | None, console: Console) -> None:
    """Registers with a relay and says what to do next."""
    from relayjax.peers.home import Home
    from relayjax.peers.joining import join

    if role not in (Role.PARTICIPANT.value, Role.MAINTAINER.value):
        raise ConfigError(f"--role={role}: choose participant or maintainer")
    own = Home(home)
    known = own.exists
    refused = join(_exchange(place), own, name, role, log_key)
    if refused:
        raise ConfigError(f"{name} was not let in: {refused}")
    member = own.membership()
    _say(console, f"joining    {member.origin} as {role} {name}; keys in {home / 'keys'}")
    _say(console, f"log key    {member.log_key}")
    if log_key is None and not known:
        _say(console, "           believed at first sight: compare it with what the founder says")
    verb = "work" if role == Role.PARTICIPANT.value else "maintain"
    _say(console, f"next       relayjax {verb} {place} --home={home}")


def work(
    place: str, home: Path, shard: int | None, config: Config | None, poll: float, console: Console
) -> None:
    """A participant's loop until the relay is finished."""
    from relayjax.peers.home import Home

    own, exchange = Home(home), _exchange(place)
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
) -> None:
    """A maintainer's loop until the relay is finished; the founder's orders the records, too."""
    from relayjax.peers.home import Home
    from relayjax.peers.joining import follow

    own, exchange = Home(home), _exchange(place)
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
            if served:
                raise ConfigError(f"--serve: {keys.name} does not order the records; who founded serves")
            _loop(place, own, start, poll, console)
            return
        if isinstance(exchange, HttpExchange):
            raise ConfigError(f"{place}: {keys.name} orders the records; give the folder itself")
        follower = follow(exchange, own)
        follower.poll()
        _order(Path(place), own, follower.chronicle.history, config, patience, begin, poll, served, console)
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
    console: Console,
) -> None:
    from relayjax.pack import ModelVersion
    from relayjax.peers.http_gate import Awaited
    from relayjax.peers.http_serving import serving
    from relayjax.peers.orderer import Orderer
    from relayjax.peers.workshop import Workshop
    from relayjax.workdir import Workdir

    tell = lambda line: _say(console, line)  # noqa: E731
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
        _say(console, _where(orderer.state))
        server = None
        if served:
            size = ModelVersion(0, history.genesis.weights, history.genesis.layout).size
            limit = workshop.codec.max_size(size)
            awaited = lambda: Awaited.of(orderer.state, limit)  # noqa: E731
            server = stack.enter_context(serving(served.open(folder, awaited, tell)))
        while not orderer.state.finished:
            if not orderer.act():
                time.sleep(poll)
        if server:
            _say(console, f"finished   serving on until nobody asks for {patience:g} s")
            while time.monotonic() - server.asked < patience:
                time.sleep(poll)


def _loop(place: str, home: Home, start: Callable[[History], Act], poll: float, console: Console) -> None:
    """Follows the log and acts on it until the relay is finished."""
    from relayjax.peers.joining import follow, join

    exchange, member = _exchange(place), home.membership()
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
                    _say(console, _where(state, member.name))
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
            _say(console, line)
        told = line or told
        if not grown:
            time.sleep(poll)


def status(place: str, home: Path | None, watch: bool, console: Console) -> None:
    """Says how far a relay has come, once or until it is finished."""
    from relayjax.peers.follower import Follower
    from relayjax.peers.home import Home
    from relayjax.peers.joining import introduced

    exchange, name, believed = _exchange(place), None, home is None
    if home is None:
        origin, log_key = introduced(exchange)
    else:
        member = Home(home).membership()
        origin, log_key, name = member.origin, member.log_key, member.name
    follower = Follower(exchange, origin, log_key)
    follower.poll()
    lines = lambda: Group(*map(Text, _status(follower, origin, log_key, believed, name)))  # noqa: E731
    if not watch:
        console.print(lines(), soft_wrap=True)
        return
    with Live(lines(), console=console, auto_refresh=False) as live:
        while not follower.chronicle.history.state.finished:
            time.sleep(1.0)
            with suppress(ExchangeError):
                follower.poll()
            live.update(lines(), refresh=True)


def copy(place: str, folder: Path, log_key: str | None, console: Console) -> None:
    """Fetches a relay into a folder of one's own and says how to verify it."""
    from relayjax.peers.copying import copy
    from relayjax.peers.follower import Follower
    from relayjax.peers.joining import introduced

    exchange = _exchange(place)
    origin, claimed = introduced(exchange)
    pinned = log_key or claimed
    follower = Follower(exchange, origin, pinned)
    copy(exchange, follower, origin, pinned, folder)
    _say(console, f"ledger     {follower.size} entries, root {follower.root.hex()}")
    _say(console, f"log key    {pinned}{'' if log_key else ', as the log says itself'}")
    _say(console, f"check      relayjax verify {folder} --log_key={pinned}")


def _status(follower: Follower, origin: str, log_key: str, believed: bool, name: str | None) -> list[str]:
    from relayjax.peers.awaiting import awaited, missing_members

    state = follower.chronicle.history.state
    head, missing = state.head, missing_members(state)
    waiting = ", ".join(awaited(state))
    if state.round.number == 1 and any(missing):
        waiting = f"{missing[0]} more participants and {missing[1]} more maintainers to join"
    lines = [
        f"relay      {origin}",
        f"log key    {log_key}{', as the log says itself' if believed else ''}",
        _where(state),
        f"awaited    {waiting or 'nobody'}",
        f"head       version {head.number}, {head.digest}",
        f"ledger     {follower.size} entries, root {follower.root.hex()}",
    ]
    return [*lines, *_own(state, name)] if name else lines


def _own(state: State, name: str) -> list[str]:
    if name not in state.members:
        return [f"{name:<10} is not registered yet"]
    licence = state.licences.get(name)
    covers = "no licence" if licence is None else f"licence up to version {licence}"
    return [f"{name:<10} {state.balances[name] / COIN:.3f} coins free, {covers}"]


def _where(state: State, name: str | None = None) -> str:
    """One line on where a relay stands."""
    if state.finished:
        return f"round      all {state.round.number - 1} are settled"
    topology, phase = mechanism(state.rules).topology(state).value, state.round.phase.name.lower()
    own = f"; {name} has {state.balances[name] / COIN:.3f} coins" if name else ""
    return f"round      {state.round.number} of {state.schedule.rounds} ({topology}), {phase}{own}"


def _finish(follower: Follower, place: str, home: Home, console: Console) -> None:
    name, state = home.membership().name, follower.chronicle.history.state
    _say(console, _where(state))
    for line in _own(state, name):
        _say(console, line)
    _say(console, f"ledger     {follower.size} entries, root {follower.root.hex()}")
    pinned, key = f"--log_key={home.membership().log_key}", f"--key={home.path / 'keys' / name}"
    if place.startswith(SCHEMES):
        _say(console, f"copy       relayjax copy {place} COPY {pinned}")
        place = "COPY"
    _say(console, f"check      relayjax verify {place} {pinned} {key}")


def _say(console: Console, line: str) -> None:
    console.print(line, markup=False, highlight=False, soft_wrap=True)

"""What anybody can see of a relay whose members meet in files: how far it is, and a copy to verify.

Neither keys nor an accelerator are needed.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING

from rich.console import Console, Group
from rich.live import Live
from rich.text import Text

from relayjax.errors import ExchangeError
from relayjax.mechanism.rules import COIN
from relayjax.mechanism.rulesets import mechanism
from relayjax.mechanism.state import State
from relayjax.peers.exchange import Exchange, FolderExchange
from relayjax.peers.http_exchange import SCHEMES, HttpExchange
from relayjax.peers.places import BUCKETS, split
from relayjax.peers.several import Place, Several

if TYPE_CHECKING:
    from relayjax.peers.follower import Follower


def exchange_at(place: str) -> Exchange:
    """Where members meet: an address of a server or of a bucket, or several of them, else a folder.

    Raises:
      ConfigError: the address is none, or the packages for a bucket are missing.
    """
    if len(names := split(place)) > 1:
        return Several(places_at(names))
    if place.startswith(BUCKETS):
        from relayjax.peers.object_exchange import ObjectExchange

        return ObjectExchange(place)
    return HttpExchange(place) if place.startswith(SCHEMES) else FolderExchange(Path(place))


def places_at(names: Sequence[str]) -> list[Place]:
    """The places of one relay; each is given up sooner than where it is the only one."""
    return [
        Place(name, HttpExchange(name, timeout=5.0, attempts=2))
        if name.startswith(SCHEMES)
        else Place(name, exchange_at(name), choosy=not name.startswith(BUCKETS))
        for name in names
    ]


def status(place: str, home: Path | None, watch: bool, console: Console) -> None:
    """Says how far a relay has come, once or until it is finished."""
    from relayjax.peers.home import Home
    from relayjax.peers.joining import introduced
    from relayjax.peers.quorum import follower as follow

    exchange, name, believed = exchange_at(place), None, home is None
    if home is None:
        origin, log_key = introduced(exchange)
    else:
        member = Home(home).membership()
        origin, log_key, name = member.origin, member.log_key, member.name
    follower = follow(exchange, origin, log_key)
    follower.poll()
    size, since = follower.size, time.monotonic()

    def lines() -> Group:
        quiet = f"; nothing new for {time.monotonic() - since:.0f} s" if watch else ""
        return Group(*map(Text, _status(follower, origin, log_key, believed, name, quiet)))

    if not watch:
        console.print(lines(), soft_wrap=True)
        return
    with Live(lines(), console=console, auto_refresh=False) as live:
        while not follower.chronicle.history.state.finished:
            time.sleep(1.0)
            with suppress(ExchangeError):
                follower.poll()
            if follower.size > size:
                size, since = follower.size, time.monotonic()
            live.update(lines(), refresh=True)


def copy(place: str, folder: Path, log_key: str | None, console: Console) -> None:
    """Fetches a relay into a folder of one's own and says how to verify it."""
    from relayjax.peers.copying import copy
    from relayjax.peers.joining import introduced
    from relayjax.peers.quorum import follower as follow

    exchange = exchange_at(place)
    origin, claimed = introduced(exchange)
    pinned = log_key or claimed
    follower = follow(exchange, origin, pinned)
    copy(exchange, follower, origin, pinned, folder)
    say(console, f"ledger     {follower.size} entries, root {follower.root.hex()}")
    say(console, f"log key    {pinned}{'' if log_key else ', as the log says itself'}")
    say(console, f"check      relayjax verify {folder} --log_key={pinned}")


def _status(
    follower: Follower, origin: str, log_key: str, believed: bool, name: str | None, quiet: str
) -> list[str]:
    """The lines of `status`; `quiet` says how long nothing has come, as far as one can know that."""
    from relayjax.peers.awaiting import awaited, missing_members

    state = follower.chronicle.history.state
    head, missing = state.head, missing_members(state)
    waiting = ", ".join(awaited(state))
    if state.round.number == 1 and any(missing):
        waiting = f"{missing[0]} more participants and {missing[1]} more maintainers to join"
    lines = [
        f"relay      {origin}",
        f"log key    {log_key}{', as the log says itself' if believed else ''}",
        where(state),
        f"orders     {state.orderer}, in term {state.term.number}",
        f"awaited    {waiting or 'nobody'}{quiet}",
        f"head       version {head.number}, {head.digest}",
        f"ledger     {follower.size} entries, root {follower.root.hex()}",
    ]
    return [*lines, *own_lines(state, name)] if name else lines


def own_lines(state: State, name: str) -> list[str]:
    """What a member has: coins and a licence."""
    if name not in state.members:
        return [f"{name:<10} is not registered yet"]
    licence = state.licences.get(name)
    covers = "no licence" if licence is None else f"licence up to version {licence}"
    return [f"{name:<10} {state.balances[name] / COIN:.3f} coins free, {covers}"]


def where(state: State, name: str | None = None) -> str:
    """One line on where a relay stands."""
    if state.finished:
        return f"round      all {state.round.number - 1} are settled"
    topology, phase = mechanism(state.rules).topology(state).value, state.round.phase.name.lower()
    own = f"; {name} has {state.balances[name] / COIN:.3f} coins" if name else ""
    return f"round      {state.round.number} of {state.schedule.rounds} ({topology}), {phase}{own}"


def say(console: Console, line: str) -> None:
    """Prints a line as it is."""
    console.print(line, markup=False, highlight=False, soft_wrap=True)

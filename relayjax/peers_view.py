"""What a person sees of a relay whose members meet in files: how far it is, and what a copy has.

Neither keys nor an accelerator are needed.
"""

from __future__ import annotations

import time
from contextlib import suppress
from pathlib import Path

from rich.console import Console, Group
from rich.live import Live
from rich.text import Text

from relayjax import peers
from relayjax.errors import ExchangeError, RollbackError
from relayjax.mechanism.rules import COIN
from relayjax.peers.standing import Account, Status


def status(place: str, home: Path | None, watch: bool, console: Console) -> None:
    """Says how far a relay has come, once or until it is finished."""
    observer = peers.follow(place, home)
    observer.poll()

    def lines() -> Group:
        return Group(*map(Text, _status(observer.status(), watch)))

    if not watch:
        console.print(lines(), soft_wrap=True)
        return
    with Live(lines(), console=console, auto_refresh=False) as live:
        while not observer.finished:
            time.sleep(1.0)
            with suppress(ExchangeError, RollbackError):
                observer.poll()
            live.update(lines(), refresh=True)


def copy(place: str, folder: Path, log_key: str | None, console: Console) -> None:
    """Fetches a relay into a folder of one's own and says how to verify it."""
    copied = peers.copy(place, folder, log_key)
    say(console, ledger(copied))
    say(console, f"log key    {copied.log_key}{', as the log says itself' if copied.believed else ''}")
    say(console, f"check      relayjax verify {folder} --log_key={copied.log_key}")


def _status(now: Status, watched: bool) -> list[str]:
    waiting = ", ".join(now.awaited)
    if any(now.missing):
        waiting = f"{now.missing[0]} more participants and {now.missing[1]} more maintainers to join"
    quiet = f"; nothing new for {now.quiet:.0f} s" if watched else ""
    lines = [
        f"relay      {now.origin}",
        f"log key    {now.log_key}{', as the log says itself' if now.believed else ''}",
        where(now),
        f"orders     {now.orderer}, in term {now.term}",
        f"awaited    {waiting or 'nobody'}{quiet}",
        f"head       version {now.head}, {now.digest}",
        ledger(now),
    ]
    return [*lines, own(now.account)] if now.account else lines


def where(now: Status) -> str:
    """One line on where a relay stands, and with how many coins a member in it."""
    if now.finished:
        return f"round      all {now.round - 1} are settled"
    account = now.account
    coins = f"; {account.name} has {account.balance / COIN:.3f} coins" if account else ""
    return f"round      {now.round} of {now.rounds} ({now.topology}), {now.phase}{coins}"


def own(account: Account) -> str:
    """What a member has: coins and a licence."""
    if not account.registered:
        return f"{account.name:<10} is not registered yet"
    licence = account.licence
    covers = "no licence" if licence is None else f"licence up to version {licence}"
    return f"{account.name:<10} {account.balance / COIN:.3f} coins free, {covers}"


def ledger(now: Status) -> str:
    """Size and root of a log."""
    return f"ledger     {now.size} entries, root {now.root}"


def say(console: Console, line: str) -> None:
    """Prints a line as it is."""
    console.print(line, markup=False, highlight=False, soft_wrap=True)

"""Where a member reaches its relay: one place or several, which its home remembers.

    places    in the home: the text that was given last, as below

A list has commas: addresses, before which a maintainer may put the folder of its own copy. An address says
where to ask, and nothing about whom to believe.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from relayjax import files
from relayjax.errors import ConfigError, FormatError
from relayjax.peers.exchange import Exchange, FolderExchange
from relayjax.peers.http_exchange import HttpExchange
from relayjax.peers.http_line import SCHEMES, Address
from relayjax.peers.p2p_address import SCHEME
from relayjax.peers.several import Place, Several

BUCKETS = ("s3://", "gs://")
REMOTE = (*SCHEMES, *BUCKETS, SCHEME)
"""How the addresses begin at which a relay is reached and does not lie."""

_FILE, _LIMIT = "places", 1 << 14


def split(text: str) -> list[str]:
    """The places that a text lists; one that lists no addresses after its first comma is one folder's name.

    Raises:
      ConfigError: a place is given twice, or an address is none.
    """
    names = text.split(",")
    for name in names:
        if name.startswith(SCHEMES):
            Address.parse(name)
        elif "://" in name and not name.startswith(REMOTE):
            raise ConfigError(f"{name}: no such address; one begins with {', '.join(REMOTE)}")
    if not all(name.startswith(REMOTE) for name in names[1:]):
        return [text]
    if len({same(name) for name in names}) < len(names):
        raise ConfigError(f"{text}: a place is given twice; each may count once")
    return names


def same(place: str) -> str:
    """One text for all ways to write an address, so that a place cannot count twice."""
    scheme, mark, rest = place.rstrip("/").partition("://")
    host, slash, path = rest.partition("/")
    return f"{scheme}{mark}{host.lower()}{slash}{path}"


def own_and_others(text: str) -> tuple[str | None, list[str]]:
    """The folder that a list begins with, None if there is none, and its addresses."""
    first, *others = split(text)
    return (None, [first, *others]) if first.startswith(REMOTE) else (first, others)


def remember(home: Path, text: str) -> None:
    """Keeps the places of a member in its home."""
    files.write_atomic(home / _FILE, text.encode(), mode=0o600)


def recall(home: Path) -> str | None:
    """The places given last; None if there are none.

    Raises:
      FormatError: the file is damaged.
    """
    file = home / _FILE
    if not file.is_file():
        return None
    try:
        return files.read(file, _LIMIT).decode()
    except UnicodeDecodeError:
        raise FormatError(f"{file}: not the text it should be; give the places again") from None


def exchange_at(place: str) -> Exchange:
    """Where members meet: an address of a server, of an endpoint or of a bucket, or several, else a folder.

    Raises:
      ConfigError: the address is none, or the packages for a bucket or for iroh are missing.
    """
    if len(names := split(place)) > 1:
        return Several(places_at(names))
    if place.startswith(SCHEME):
        from relayjax.peers.p2p_exchange import P2pExchange

        return P2pExchange(place)
    if place.startswith(BUCKETS):
        from relayjax.peers.object_exchange import ObjectExchange

        return ObjectExchange(place)
    return HttpExchange(place) if place.startswith(SCHEMES) else FolderExchange(Path(place))


def places_at(names: Sequence[str]) -> list[Place]:
    """The places of one relay; each is given up sooner than where it is the only one."""
    return [
        Place(name, HttpExchange(name, timeout=5.0, attempts=2))
        if name.startswith(SCHEMES)
        else Place(name, exchange_at(name))
        for name in names
    ]

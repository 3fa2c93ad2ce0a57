"""Where the members of a relay meet: a folder, or an address behind which there is one."""

from __future__ import annotations

from pathlib import Path

from relayjax.peers.exchange import Exchange, FolderExchange
from relayjax.peers.http_exchange import HttpExchange
from relayjax.peers.http_line import SCHEMES

BUCKETS = ("s3://", "gs://")
REMOTE = (*SCHEMES, *BUCKETS)
"""How the addresses begin at which a relay is reached and does not lie."""


def exchange_at(place: str) -> Exchange:
    """Where members meet: an address of a server or of a bucket, else a folder.

    Raises:
      ConfigError: the address is none, or the packages for a bucket are missing.
    """
    if place.startswith(BUCKETS):
        from relayjax.peers.object_exchange import ObjectExchange

        return ObjectExchange(place)
    return HttpExchange(place) if place.startswith(SCHEMES) else FolderExchange(Path(place))

"""Where the members of a relay meet: a folder, or an address behind which there is one."""

from __future__ import annotations

from pathlib import Path

from relayjax.peers.exchange import Exchange, FolderExchange
from relayjax.peers.http_exchange import HttpExchange
from relayjax.peers.http_line import SCHEMES
from relayjax.peers.p2p_address import SCHEME

BUCKETS = ("s3://", "gs://")
REMOTE = (*SCHEMES, *BUCKETS, SCHEME)
"""How the addresses begin at which a relay is reached and does not lie."""


def exchange_at(place: str) -> Exchange:
    """Where members meet: an address of a server, of an endpoint or of a bucket, else a folder.

    Raises:
      ConfigError: the address is none, or the packages for a bucket or for iroh are missing.
    """
    if place.startswith(SCHEME):
        from relayjax.peers.p2p_exchange import P2pExchange

        return P2pExchange(place)
    if place.startswith(BUCKETS):
        from relayjax.peers.object_exchange import ObjectExchange

        return ObjectExchange(place)
    return HttpExchange(place) if place.startswith(SCHEMES) else FolderExchange(Path(place))

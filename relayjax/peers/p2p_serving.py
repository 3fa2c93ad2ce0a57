"""How a folder comes to be served over iroh: the address, and the endpoint's key, which stays the same."""

from __future__ import annotations

import secrets
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

from relayjax import files
from relayjax.errors import ConfigError, FormatError, WorkdirError
from relayjax.ledger.witness_server import listen
from relayjax.peers.http_gate import Awaited
from relayjax.peers.http_server import RelayServer
from relayjax.peers.http_serving import Served
from relayjax.peers.p2p_address import SCHEME, Address, bound_to, numeric


@dataclass(frozen=True)
class ServedToPeers(Served):
    """Where a folder is served over iroh.

    Attributes:
      address: iroh:HOST:PORT; port 0 chooses a free one.
      home: whose the endpoint is.
    """

    home: Path = field(kw_only=True)

    def open(self, folder: Path, awaited: Callable[[], Awaited], tell: Callable[[str], None]) -> RelayServer:
        """Listens there and says so; arguments and errors as for `Served.open`."""
        from relayjax.peers.p2p_binding import iroh
        from relayjax.peers.p2p_server import P2pServer

        host, port = listen(self.address.removeprefix(SCHEME))
        found, version = numeric(host)
        secret = endpoint_key(self.home)
        try:
            server = P2pServer(bound_to(found, version, port), secret, folder, awaited, report=tell)
        except iroh.IrohError as error:
            raise WorkdirError(f"{self.address}: can't listen there; serve at another address") from error
        tell(f"serving    {self.url(server)}")
        return server

    def url(self, server: RelayServer) -> str:
        """The address of what `open` has opened."""
        from relayjax.peers.p2p_server import P2pServer

        if not isinstance(server, P2pServer):
            raise TypeError("that was not opened here")
        host, _ = listen(self.address.removeprefix(SCHEME))
        return str(Address(server.node, numeric(host)[0], server.port))


def served_at(address: str, home: Path, certificate: str | None = None, key: str | None = None) -> Served:
    """Where something is to be served.

    Args:
      address: HOST:PORT, or iroh:HOST:PORT.
      home: of who serves.
      certificate, key: PEM files, or neither.

    Raises:
      ConfigError: there is a certificate where none is used.
    """
    if not address.startswith(SCHEME):
        return Served(address, certificate, key)
    if certificate or key:
        raise ConfigError("--tls_cert and --tls_key go with --serve=HOST:PORT; over iroh the key is its own")
    return ServedToPeers(address, home=home)


def endpoint_key(home: Path) -> bytes:
    """The private key of a member's endpoint, made at first: 32 bytes that sign nothing but its connections.

    Raises:
      FormatError: the file is damaged.
    """
    file = home / "endpoint"
    if not file.exists():
        files.make_directory(home, mode=0o700)
        files.write_atomic(file, secrets.token_bytes(32), mode=0o600)
    if len(data := files.read(file, 33)) != 32:
        problem = "not the 32 bytes it should be; restore it, or remove it and give others the new address"
        raise FormatError(f"{file}: {problem}")
    return data

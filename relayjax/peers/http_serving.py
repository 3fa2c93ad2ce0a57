"""How a folder comes to be served: the address, the certificate, a thread that stops with whoever orders."""

from __future__ import annotations

import ssl
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from threading import Thread

from relayjax.errors import ConfigError, WorkdirError
from relayjax.ledger.witness_server import listen
from relayjax.peers.http_gate import Awaited
from relayjax.peers.http_server import RelayServer


@dataclass(frozen=True)
class Served:
    """Where a folder is served.

    Attributes:
      address: HOST:PORT; port 0 chooses a free one.
      certificate, key: PEM files, or neither.
    """

    address: str
    certificate: str | None = None
    key: str | None = None

    def open(self, folder: Path, awaited: Callable[[], Awaited], tell: Callable[[str], None]) -> RelayServer:
        """Listens there and says so.

        Args:
          folder: of the relay.
          awaited: what may be handed over now; called from several threads.
          tell: is given lines for who watches; called from several threads.

        Raises:
          ConfigError: the address is none, or certificate and key are none.
          WorkdirError: the address is taken.
        """
        if bool(self.certificate) != bool(self.key):
            raise ConfigError("--tls_cert=FILE and --tls_key=FILE belong together; give both or neither")
        tls = tls_context(Path(self.certificate), Path(self.key)) if self.certificate and self.key else None
        host, port = listen(self.address)
        try:
            server = RelayServer((host, port), folder, awaited, tls=tls, report=tell)
        except OSError as error:
            raise WorkdirError(f"{self.address}: {error.strerror}; serve at another address") from error
        tell(f"serving    {self.url(server)}")
        return server

    def url(self, server: RelayServer) -> str:
        """The address of what `open` has opened."""
        host, _ = listen(self.address)
        shown = f"[{host}]" if ":" in host else host
        return f"http{'s' if self.certificate else ''}://{shown}:{server.server_address[1]}"


@contextmanager
def serving(server: RelayServer) -> Iterator[RelayServer]:
    """Serves from a thread of its own, for a time."""
    thread = Thread(target=server.serve_forever, kwargs={"poll_interval": 0.1}, daemon=True)
    with server:
        thread.start()
        try:
            yield server
        finally:
            server.shutdown()
            thread.join()


def tls_context(certificate: Path, key: Path) -> ssl.SSLContext:
    """Reads a certificate chain and its private key, both in PEM.

    Raises:
      ConfigError: they can't be read, or do not belong together.
    """
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    try:
        context.load_cert_chain(certificate, key)
    except (OSError, ssl.SSLError) as error:
        problem = "no certificate with its private key, both in PEM"
        raise ConfigError(f"{certificate}, {key}: {problem} ({error})") from error
    return context

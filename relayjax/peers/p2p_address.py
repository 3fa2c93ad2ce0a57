"""Where somebody serves over iroh: `iroh:NODE@HOST:PORT`, the public key of its endpoint and how to reach it.

The key says who answers, whatever lies in between; nobody is asked where a key is to be found, so host and
port belong to the address.
"""

from __future__ import annotations

import re
import socket
from dataclasses import dataclass
from ipaddress import ip_address

from relayjax.errors import ConfigError, ExchangeError

SCHEME = "iroh:"
_ADDRESS = re.compile(
    SCHEME + r"([0-9a-f]{64})@(\[[0-9a-fA-F:.%]{2,64}\]|[A-Za-z0-9._-]{1,253}):([0-9]{1,5})"
)
_EVERYWHERE = {4: "0.0.0.0:0", 6: "[::]:0"}
_HERE = {4: "127.0.0.1:0", 6: "[::1]:0"}


@dataclass(frozen=True)
class Address:
    """An endpoint and how to reach it.

    Attributes:
      node: its public key, 64 hexadecimal digits.
      host, port: where it listens; an IPv6 address without brackets.
    """

    node: str
    host: str
    port: int

    @classmethod
    def parse(cls, text: str) -> Address:
        """Reads an address.

        Raises:
          ConfigError: it is none.
        """
        found = _ADDRESS.fullmatch(text)
        if found is None or not 0 < int(found[3]) < 1 << 16:
            problem = "give an address as `--serve=iroh:HOST:PORT` prints it, iroh:KEY@HOST:PORT"
            raise ConfigError(f"{text[:160]!r}: {problem}")
        return cls(found[1], found[2].strip("[]"), int(found[3]))

    def __str__(self) -> str:
        return f"{SCHEME}{self.node}@{joined(self.host, self.port)}"

    def resolve(self) -> tuple[str, int]:
        """The numeric address of the host and its version, 4 or 6; only a name is looked up, by the system.

        Raises:
          ExchangeError: there is no such name.
        """
        return numeric(self.host)


def numeric(host: str) -> tuple[str, int]:
    """The numeric address of a host and its version, see `Address.resolve`."""
    try:
        found = socket.getaddrinfo(host, None, type=socket.SOCK_DGRAM)[0][4][0]
    except OSError as error:
        raise ExchangeError(host, str(error), "see whether that is the right name") from error
    return str(found), ip_address(str(found).partition("%")[0]).version


def joined(host: str, port: int) -> str:
    """HOST:PORT, an IPv6 address in brackets."""
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"


def bound_to(host: str, version: int, port: int) -> tuple[str, str]:
    """What to bind for listening at a numeric address.

    An endpoint always has a socket for either version of IP: the other one is kept on this machine.
    """
    return joined(host, port), _HERE[10 - version]


def bound_for(host: str, version: int) -> tuple[str, str]:
    """What to bind for reaching a numeric address: nothing others could reach, if it is on this machine."""
    local = ip_address(host.partition("%")[0]).is_loopback
    return (_HERE if local else _EVERYWHERE)[version], _HERE[10 - version]

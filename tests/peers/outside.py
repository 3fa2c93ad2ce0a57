"""Serves and fetches a file over iroh in a network of its own; prints where packets would have gone.

python outside.py [route]     in a new network namespace, in which it makes the only interface

On all addresses, too: that is what a member binds that reaches others over a network. Exit 77 where the
interface can't be made.
"""

from __future__ import annotations

import fcntl
import ipaddress
import json
import os
import socket
import struct
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from threading import Thread

_TUNSETIFF, _IFF_TUN, _IFF_NO_PI = 0x400454CA, 0x0001, 0x1000
_OWN = "10.9.9.2"
_QUIET = 3.0
"""Seconds in which an endpoint has long sent what it sends by itself."""


def interface(route: bool) -> int:
    """Makes an interface; what is sent by it can be read."""
    try:
        tun = os.open("/dev/net/tun", os.O_RDWR)
        fcntl.ioctl(tun, _TUNSETIFF, struct.pack("16sH22x", b"out", _IFF_TUN | _IFF_NO_PI))
    except OSError as error:
        print(error, file=sys.stderr)
        sys.exit(77)
    commands = ["link set lo up", f"addr add {_OWN}/24 dev out", "link set out up"]
    commands += ["route add default via 10.9.9.1"] * route
    for command in commands:
        subprocess.run(["ip", *command.split()], check=True)
    return tun


def listen(tun: int, seen: list[str]) -> None:
    """Notes where packets go, but for what the system itself says to its neighbours (ICMPv6)."""
    while packet := os.read(tun, 65_536):
        if packet[0] >> 4 == 4:
            place, begin, protocol = packet[16:20], 4 * (packet[0] & 15), packet[9]
        else:
            place, begin, protocol = packet[24:40], 40, packet[6]
        if protocol != socket.IPPROTO_ICMPV6 and not (packet[0] >> 4 == 6 and protocol == 0):
            port = int.from_bytes(packet[begin + 2 : begin + 4], "big")
            seen.append(f"{ipaddress.ip_address(place)}:{port}")


def exchange(host: str, base: Path) -> None:
    """Serves a folder at a host, and fetches from it."""
    from relayjax.peers.http_gate import Awaited
    from relayjax.peers.http_serving import serving
    from relayjax.peers.p2p_exchange import P2pExchange
    from relayjax.peers.p2p_serving import ServedToPeers

    (base / "store").mkdir(parents=True)
    (base / "store" / "x").write_bytes(bytes(100_000))
    told = list[str]()
    served = ServedToPeers(f"iroh:{host}:0", home=base / "home")
    with serving(served.open(base, lambda: Awaited({}, 0), told.append)):
        address = told[0].split()[1].replace("0.0.0.0", _OWN)
        if P2pExchange(address).fetch("store/x", 100_000) != bytes(100_000):
            raise RuntimeError("the file is another one")
        time.sleep(_QUIET)


def main() -> None:
    """Prints a JSON object of lists."""
    seen = list[str]()
    tun = interface("route" in sys.argv)
    Thread(target=listen, args=(tun, seen), daemon=True).start()
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as line:
        line.sendto(b"?", ("10.9.9.9", 53))
    while not seen:
        time.sleep(0.01)
    found = {"asked": sorted(set(seen))}
    with tempfile.TemporaryDirectory() as base:
        for name, host in (("loopback", "127.0.0.1"), ("everywhere", "0.0.0.0")):
            seen.clear()
            exchange(host, Path(base) / name)
            found[name] = sorted(set(seen))
    print(json.dumps(found))


if __name__ == "__main__":
    main()

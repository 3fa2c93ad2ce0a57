"""Only its trainer puts a delta over HTTP, and nobody makes anything else of what a trainer has signed."""

from __future__ import annotations

import dataclasses
import socket
from http import HTTPStatus

import pytest
from peers.site import DELTA, OCCASION, TRAINER, Site
from peers.town import Town, play

from relayjax import hashing
from relayjax.canonical import encode_base64
from relayjax.errors import FormatError, IntegrityError
from relayjax.identity import Keys, sign
from relayjax.mechanism.state import Phase
from relayjax.peers.http_gate import Awaited
from relayjax.peers.uploads import HEADER, Occasion, Signer, verify_upload

BODY = b"a sealed delta"
SIGNED = Signer(TRAINER, OCCASION).header(DELTA, BODY)
STRANGER = Keys.generate("p0")
RECORD_TYPED = sign(BODY, TRAINER)


def test_the_owner_puts_its_delta_and_its_pieces(site: Site) -> None:
    site.server.gate._awaited = lambda: Awaited({DELTA: TRAINER.public}, 5 << 20, OCCASION)
    exchange = site.exchange()
    exchange.offer(f"{DELTA}.0", BODY)
    exchange.offer(DELTA, BODY)
    assert site.files() == {DELTA: BODY, f"{DELTA}.0": BODY}
    exchange.offer(DELTA, b"sealed anew")
    assert site.files()[DELTA] == b"sealed anew"


@pytest.mark.parametrize(
    "header",
    [
        "",
        "p0",
        "p0 x y",
        "p0 " + "0" * 64,
        f"p0 {hashing.digest(BODY)} {'A' * 88}",
        f"p1 {SIGNED.partition(' ')[2]}",
        f"p0 {hashing.digest(b'other')} {SIGNED.rpartition(' ')[2]}",
        SIGNED + " ",
        Signer(STRANGER, OCCASION).header(DELTA, BODY),
        Signer(TRAINER, dataclasses.replace(OCCASION, run="another run")).header(DELTA, BODY),
        Signer(TRAINER, dataclasses.replace(OCCASION, to="another orderer")).header(DELTA, BODY),
        Signer(TRAINER, OCCASION).header(f"{DELTA}.0", BODY),
        Signer(TRAINER, OCCASION).header(DELTA, BODY + b"x"),
    ],
)
def test_what_its_owner_has_not_signed_is_refused_before_the_body_is_read(site: Site, header: str) -> None:
    head = f"PUT /{DELTA} HTTP/1.1\r\nHost: x\r\nContent-Length: {len(BODY)}\r\n"
    with socket.create_connection(("127.0.0.1", site.port), timeout=10) as line:
        line.sendall(f"{head}{HEADER}: {header}\r\n\r\n".encode())  # the body never comes
        assert line.recv(12) == b"HTTP/1.1 403"
    assert not site.files()


def test_a_signature_is_good_for_its_own_bytes_only(site: Site) -> None:
    for body, status in (
        (b"another delta!", HTTPStatus.UNPROCESSABLE_ENTITY),
        (BODY + b"x", HTTPStatus.FORBIDDEN),
        (BODY, HTTPStatus.CREATED),
        (BODY, HTTPStatus.CREATED),  # who repeats it changes nothing
    ):
        assert site.ask("PUT", f"/{DELTA}", body, {HEADER: SIGNED})[0] == status
        assert site.files() in ({}, {DELTA: BODY})
    assert site.files() == {DELTA: BODY}


def test_what_was_signed_as_something_else_is_no_upload() -> None:
    name, digest, _ = SIGNED.split(" ")
    assert verify_upload(SIGNED, DELTA, len(BODY), TRAINER.public, OCCASION) == digest
    with pytest.raises(IntegrityError):
        header = f"{name} {digest} {encode_base64(RECORD_TYPED.signature)}"
        verify_upload(header, DELTA, len(BODY), TRAINER.public, OCCASION)
    with pytest.raises(FormatError):
        verify_upload(f"{name} {digest} not base64", DELTA, len(BODY), TRAINER.public, OCCASION)


def test_the_gate_knows_the_owners_from_the_ledger(town: Town) -> None:
    town.begin(rounds=1)
    orderer, members = town.orderer(), town.members()
    play(town, orderer, members, until=lambda: orderer.state.round.phase is Phase.REVEAL)
    awaited = Awaited.of(orderer.state, 100_000)
    keys = {f"handover/00001-delta-{name}.age": town.home(name).keys().public for name in town.participants}
    assert {path: owner.signing for path, owner in awaited.paths.items()} == {
        path: public.signing for path, public in keys.items()
    }
    assert awaited.owner("handover/00001-delta-p1.age.0") == awaited.owner("handover/00001-delta-p1.age")
    assert awaited.owner("handover/00001-delta-p9.age") is None
    assert awaited.occasion == Occasion(orderer.state.run, town.home("v0").keys().public.receiving)

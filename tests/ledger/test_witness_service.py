"""A witness as a process: what it remembers, when it dies, many at once, over HTTP, and who asks it."""

from __future__ import annotations

import hashlib
import http.client
import os
import socket
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from http import HTTPStatus
from pathlib import Path
from threading import Thread

import pytest

from relayjax.errors import ConfigError, IntegrityError, RelayError, WorkdirError
from relayjax.identity import Keys
from relayjax.ledger import Log, verify_receipt, witness_server
from relayjax.ledger.checkpoint import Checkpoint, sign_checkpoint
from relayjax.ledger.cosignature import cosigner_key
from relayjax.ledger.evidence import Evidence, verify_evidence
from relayjax.ledger.merkle import Tree, leaf_hash
from relayjax.ledger.note import parse_note, signer_key, verify_note
from relayjax.ledger.policy import Endpoint, Policy
from relayjax.ledger.witness import REQUEST_LIMIT, Refusal, Request
from relayjax.ledger.witness_client import ask, gather
from relayjax.ledger.witness_server import WitnessServer, listen
from relayjax.ledger.witness_store import Witness

KEYS, WITNESS = Keys.derive("log", b"test"), Keys.derive("witness", b"test")
ORIGIN, NAME = "relay.example/log", "witness.example/w1"
LOG = signer_key(ORIGIN, KEYS.public.signing)
TREE = Tree([leaf_hash(b"entry %d" % i) for i in range(64)])
FORK = Tree([leaf_hash(b"other %d" % i) for i in range(64)])
HASH = hashlib.sha256(ORIGIN.encode()).hexdigest()


def _note(size: int, tree: Tree = TREE) -> bytes:
    return sign_checkpoint(Checkpoint(ORIGIN, size, tree.root(size)), KEYS)


def _body(old: int, size: int, tree: Tree = TREE) -> bytes:
    proof = tuple(tree.prove_consistency(old, size)) if old else ()
    return Request(old, proof, _note(size, tree)).encode()


def _time(note: bytes, line: bytes) -> int:
    signed = verify_note(note + line, [cosigner_key(NAME, WITNESS)])
    return signed.signers[cosigner_key(NAME, WITNESS)]


@contextmanager
def _witness(directory: Path, now: list[int] | None = None, keys: Keys = WITNESS) -> Iterator[Witness]:
    witness = Witness(directory, NAME, keys, [LOG], lambda: float((now or [1000])[0]))
    try:
        yield witness
    finally:
        witness.close()


def _refused(witness: Witness, body: bytes) -> tuple[int, int | None]:
    with pytest.raises(Refusal) as caught:
        witness.add_checkpoint(body)
    return int(caught.value.status), caught.value.size


def test_a_witness_cosigns_remembers_and_never_goes_back(tmp_path: Path) -> None:
    with _witness(tmp_path) as witness:
        assert _time(_note(5), witness.add_checkpoint(_body(0, 5))) == 1000
        assert _refused(witness, _body(0, 3)) == (409, 5)
    with _witness(tmp_path) as witness:
        assert _refused(witness, _body(0, 8)) == (409, 5)
        witness.add_checkpoint(_body(5, 8))
        witness.add_checkpoint(_body(8, 8))
        assert _refused(witness, _body(5, 9)) == (409, 8)
        kept = witness.checkpoint(HASH)
        assert verify_note(kept, [LOG, cosigner_key(NAME, WITNESS)]).unknown == 0
        assert (tmp_path / HASH / "checkpoint").read_bytes() == kept
        with pytest.raises(Refusal) as caught:
            witness.checkpoint("0" * 64)
        assert caught.value.status == HTTPStatus.NOT_FOUND


def test_a_clock_that_is_put_back_does_not_show(tmp_path: Path) -> None:
    now = [1000]
    with _witness(tmp_path, now) as witness:
        witness.add_checkpoint(_body(0, 5))
        now[0] = 400
        assert _time(_note(6), witness.add_checkpoint(_body(5, 6))) == 1000
    with _witness(tmp_path, now) as witness:
        assert _time(_note(7), witness.add_checkpoint(_body(6, 7))) == 1000
        now[0] = 2000
        assert _time(_note(8), witness.add_checkpoint(_body(7, 8))) == 2000


class Kill(BaseException):
    """Stands for the process being killed."""


@pytest.mark.parametrize(("steps", "size"), [(0, 5), (1, 5), (2, 8)])
def test_killed_at_any_step_no_cosignature_has_left_that_is_forgotten(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, steps: int, size: int
) -> None:
    left = [steps]

    def dying(step: Callable[..., None]) -> Callable[..., None]:
        def call(*args: object) -> None:
            if left[0] == 0:
                raise Kill
            left[0] -= 1
            step(*args)

        return call

    with _witness(tmp_path) as witness:
        witness.add_checkpoint(_body(0, 5))
        with monkeypatch.context() as patch:
            for name in ("fsync", "replace"):  # the file, its name, the directory
                patch.setattr(os, name, dying(getattr(os, name)))
            with pytest.raises(Kill):
                witness.add_checkpoint(_body(5, 8))
    with _witness(tmp_path) as witness:
        assert _refused(witness, _body(0, 9)) == (409, size)
        witness.add_checkpoint(_body(size, 9))


def test_a_full_disk_is_no_cosignature(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    with _witness(tmp_path) as witness:
        with monkeypatch.context() as patch:
            patch.setattr(os, "fsync", full)
            with pytest.raises((OSError, RelayError), match="No space"):
                witness.add_checkpoint(_body(0, 5))
        assert _refused(witness, _body(5, 8)) == (409, 0)
        witness.add_checkpoint(_body(0, 5))


def test_of_many_at_once_one_goes_first(tmp_path: Path) -> None:
    with _witness(tmp_path) as witness:
        witness.add_checkpoint(_body(0, 5))

        def attempt(size: int) -> int:
            try:
                witness.add_checkpoint(_body(5, size))
            except Refusal as refusal:
                assert refusal.status == HTTPStatus.CONFLICT
                return 0
            return size

        with ThreadPoolExecutor(16) as pool:
            done = [size for size in pool.map(attempt, range(6, 64)) if size]
        assert len(done) == 1
        assert _refused(witness, _body(5, 63)) == (409, done[0])


def test_two_roots_of_one_size_are_kept_as_evidence(tmp_path: Path) -> None:
    with _witness(tmp_path) as witness:
        witness.add_checkpoint(_body(0, 5))
        assert _refused(witness, _body(5, 5, FORK)) == (422, None)
        assert _refused(witness, _body(5, 8, FORK)) == (422, None)
    (file,) = tmp_path.glob("split-view-*.json")
    assert "two roots of size 5" in verify_evidence(Evidence.decode(file.read_bytes()), LOG)


def test_what_is_remembered_must_be_its_own(tmp_path: Path) -> None:
    with _witness(tmp_path) as witness:
        witness.add_checkpoint(_body(0, 5))
        with pytest.raises(WorkdirError, match="stop it first"), _witness(tmp_path):
            pass
    other = Keys.derive("other", b"test")
    with pytest.raises(IntegrityError, match=HASH), _witness(tmp_path, keys=other):
        pass
    file = tmp_path / HASH / "checkpoint"
    for data in (b"", file.read_bytes().replace(b"\n5\n", b"\n4\n"), _note(5)):
        file.write_bytes(data)
        with pytest.raises(IntegrityError, match=HASH), _witness(tmp_path):
            pass
    with pytest.raises(ConfigError, match="same key"):
        Witness(tmp_path / "new", NAME, KEYS, [LOG])


@pytest.fixture
def server(tmp_path: Path) -> Iterator[WitnessServer]:
    with _witness(tmp_path / "witness") as witness:
        server = WitnessServer(("127.0.0.1", 0), witness)
        thread = Thread(target=server.serve_forever, args=(0.01,))
        thread.start()
        try:
            yield server
        finally:
            server.shutdown()
            thread.join()
            server.server_close()


def _endpoint(server: WitnessServer) -> Endpoint:
    return Endpoint(server.witness.key, f"http://127.0.0.1:{server.server_address[1]}/")


def _connection(server: WitnessServer) -> http.client.HTTPConnection:
    return http.client.HTTPConnection("127.0.0.1", server.server_address[1], timeout=10)


def _exchange(
    connection: http.client.HTTPConnection, method: str, path: str, body: bytes | None = None
) -> tuple[int, str, bytes]:
    connection.request(method, path, body)
    response = connection.getresponse()
    return response.status, response.headers["Content-Type"], response.read()


def test_the_service_answers_with_the_codes_of_the_specification(server: WitnessServer) -> None:
    connection = _connection(server)  # one for all: it is kept alive
    unknown = sign_checkpoint(Checkpoint("other.example", 0, TREE.root(0)), KEYS)
    forged = sign_checkpoint(Checkpoint(ORIGIN, 5, TREE.root(5)), WITNESS)
    plain = "text/plain; charset=utf-8"
    status, kind, line = _exchange(connection, "POST", "/add-checkpoint", _body(0, 5))
    assert (status, kind, line.decode()[:21]) == (200, plain, f"— {NAME} ")
    assert _time(_note(5), line) == 1000
    for body, expected in (
        (b"", 400),
        (_body(0, 5)[:-1], 400),
        (Request(6, (), _note(5)).encode(), 400),
        (Request(0, (), forged).encode(), 403),
        (Request(0, (), unknown).encode(), 404),
        (_body(5, 8, FORK), 422),
        (_body(5, 8), 200),
    ):
        assert _exchange(connection, "POST", "/add-checkpoint", body)[:2] == (expected, plain)
    conflict = _exchange(connection, "POST", "/add-checkpoint", _body(0, 9))
    assert conflict == (409, "text/x.tlog.size", b"8\n")
    status, kind, note = _exchange(connection, "GET", f"/{HASH}/checkpoint")
    assert (status, kind, note) == (200, plain, server.witness.checkpoint(HASH))
    for path in ("/", "/checkpoint", f"/{'0' * 64}/checkpoint", "/../lock"):
        assert _exchange(connection, "GET", path)[0] == 404
    connection.close()


def test_the_service_refuses_what_is_too_long_or_no_request(server: WitnessServer) -> None:
    for head, expected in (
        (f"POST /add-checkpoint HTTP/1.1\r\nContent-Length: {REQUEST_LIMIT + 1}\r\n\r\n", b" 413 "),
        ("POST /add-checkpoint HTTP/1.1\r\nContent-Length: -1\r\n\r\n", b" 411 "),
        ("POST /add-checkpoint HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n", b" 411 "),
        ("POST /elsewhere HTTP/1.1\r\nContent-Length: 3\r\n\r\nabc", b" 404 "),
        ("PUT /add-checkpoint HTTP/1.1\r\n\r\n", b" 501 "),
    ):
        with socket.create_connection(("127.0.0.1", server.server_address[1]), 10) as connection:
            connection.sendall(head.encode())
            assert expected in connection.makefile("rb").readline(), head
    with socket.create_connection(("127.0.0.1", server.server_address[1]), 10) as connection:
        connection.sendall(b"POST /add-checkpoint HTTP/1.1\r\nContent-Length: 10\r\n\r\nabc")
        connection.shutdown(socket.SHUT_WR)
        assert b" 400 " in connection.makefile("rb").readline()


def test_who_sends_nothing_more_is_cut_off(server: WitnessServer, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(witness_server._Handler, "timeout", 0.05)
    for start in (b"", b"POST /add-che", b"POST /add-checkpoint HTTP/1.1\r\nContent-Length: 10\r\n\r\nabc"):
        with socket.create_connection(("127.0.0.1", server.server_address[1]), 30) as connection:
            connection.sendall(start)
            assert connection.recv(1) == b""
    monkeypatch.setattr(witness_server, "_TIMEOUT", 0.0)  # for a body as a whole
    with socket.create_connection(("127.0.0.1", server.server_address[1]), 30) as connection:
        connection.sendall(b"POST /add-checkpoint HTTP/1.1\r\nContent-Length: 10\r\n\r\nabcdefghij")
        assert b" 400 " in connection.makefile("rb").readline()


def test_connections_beyond_the_limit_are_closed_and_others_served(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(witness_server, "_CONNECTIONS", 1)
    with _witness(tmp_path) as witness, WitnessServer(("127.0.0.1", 0), witness) as server:
        thread = Thread(target=server.serve_forever, args=(0.01,))
        thread.start()
        try:
            first = _connection(server)
            assert _exchange(first, "GET", "/")[0] == 404
            with pytest.raises((http.client.RemoteDisconnected, ConnectionResetError)):
                _exchange(_connection(server), "GET", "/")
            assert _exchange(first, "GET", "/")[0] == 404
            first.close()
        finally:
            server.shutdown()
            thread.join()


def test_a_log_gathers_cosignatures_and_its_receipts_carry_them(
    server: WitnessServer, tmp_path: Path
) -> None:
    absent = Endpoint(cosigner_key("absent.example", Keys.derive("absent", b"test")), "http://127.0.0.1:1")
    policy = Policy.threshold(1, [_endpoint(server), absent], [Endpoint(LOG)])
    log = Log.create(tmp_path / "log", ORIGIN, KEYS)
    for size in (3, 3, 300):
        log.append([b"entry %d" % i for i in range(log.size, size)], KEYS)
        with pytest.raises(IntegrityError, match="no witness"):
            policy.verify(log.signed_checkpoint)
        gathered = gather(log.signed_checkpoint, policy, log.prove_consistency)
        assert list(gathered.problems) == ["w2"]
        log.adopt(gathered.note)
        again = Log.open(tmp_path / "log", ORIGIN, KEYS.public.signing)
        assert policy.verify(again.signed_checkpoint).size == size
        assert len(parse_note(gather(gathered.note, policy, log.prove_consistency).note).signatures) == 2
    receipt = again.prove(7)
    assert verify_receipt(receipt, ORIGIN, KEYS.public.signing, policy).size == 300
    both = Policy.threshold(2, [_endpoint(server), absent])
    with pytest.raises(IntegrityError, match="policy asks"):
        verify_receipt(receipt, ORIGIN, KEYS.public.signing, both)
    with pytest.raises(IntegrityError, match="not the checkpoint"):
        log.adopt(_note(3))


def test_a_log_that_was_put_back_or_rewritten_gets_no_cosignature(server: WitnessServer) -> None:
    witness = _endpoint(server)
    ask(_note(40), witness, lambda old: TREE.prove_consistency(old, 40))
    with pytest.raises(IntegrityError, match="has cosigned 40 entries of this log, which now has 20"):
        ask(_note(20), witness, lambda old: TREE.prove_consistency(old, 20))
    with pytest.raises(IntegrityError, match="422"):
        ask(_note(50, FORK), witness, lambda old: FORK.prove_consistency(old, 50))


def test_an_answer_by_another_witness_is_refused(server: WitnessServer) -> None:
    other = Endpoint(cosigner_key(NAME, Keys.derive("other", b"test")), _endpoint(server).url)
    with pytest.raises(IntegrityError, match="no signature by a trusted key"):
        ask(_note(5), other, lambda old: [])
    for url in ("ftp://127.0.0.1", "witness.example", "http:///add", "http://127.0.0.1?x"):
        with pytest.raises(ConfigError, match="address"):
            ask(_note(5), Endpoint(other.key, url), lambda old: [])


def test_addresses() -> None:
    assert listen("127.0.0.1:8080") == ("127.0.0.1", 8080)
    assert listen("[::1]:0") == ("::1", 0)
    for text in ("8080", "host:", "host:65536", "host:-1"):
        with pytest.raises(ConfigError, match="HOST:PORT"):
            listen(text)

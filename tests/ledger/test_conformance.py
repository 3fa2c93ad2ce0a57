"""Against the letter of the specifications: published vectors, naive recursions, an independent verifier."""

from __future__ import annotations

import ast
import http.server
import importlib.util
import random
import subprocess
import sys
import threading
import urllib.request
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from types import ModuleType

import pytest

from relayjax.errors import IntegrityError
from relayjax.identity import Keys
from relayjax.ledger import Log
from relayjax.ledger.checkpoint import Checkpoint
from relayjax.ledger.cosignature import cosign, cosigner_key
from relayjax.ledger.merkle import Tree, leaf_hash, verify_consistency, verify_inclusion
from relayjax.ledger.note import parse_note, signer_key, verify_note
from relayjax.ledger.proof import Receipt
from relayjax.ledger.tiled import TileReader
from relayjax.ledger.vkey import VerifierKey
from relayjax.ledger.witness_client import with_cosignatures

SCRIPT = Path(__file__).with_name("independent.py")
KEYS = Keys.derive("log", b"test")
WITNESSES = {f"witness.example/w{i}": Keys.derive(f"w{i}", b"test") for i in (1, 2)}
ORIGIN = "relay.example/conformance"
VKEYS = [
    signer_key(ORIGIN, KEYS.public.signing).encode(),
    *(cosigner_key(name, keys).encode() for name, keys in WITNESSES.items()),
]

# The example of C2SP signed-note, section "Example".
NOTE_KEY = "example.com/foo+530d903a+AekyeRrm56hApGFkyQR4ZCbV54Id2LKaANYcrnKv3U2k"
NOTE = """This is an example message.

— example.com/foo Uw2QOkn8srV1yJGh2VYRlL1Tnagv1YEq6TfXppzi2ONncAlTgK7Ztg1ERYNZXsYjOBH3mFXmRKuwHjG1Yu72IneyaQM=
"""

# A checkpoint of Go's checksum database and the key that the go command has for it.
GO_KEY = "sum.golang.org+033de0ae+Ac4zctda0e5eza+HJyk9SxEdh+s3Ux18htTTAD8OuAn8"
GO_CHECKPOINT = """go.sum database tree
35225469
vt5T6GaLCXvyHFl9VUvvItR43XZxfLgftEcTyO3eJCQ=

— sum.golang.org Az3grpukl5AXaVfYkLiDGORx/DN2nlcS5kZHR5uYOBV2KA2HgXpD+gu9HHONebHLAyaKbbTM75QTtPydhKCExixSfwQ=
"""

# The seven trees of RFC 6962 section 2.1.3 in today's hash function: its leaves d0 to d6 stand for these.
LEAVES = [bytes([i]) for i in range(7)]


@pytest.fixture(scope="module")
def independent() -> ModuleType:
    """The verifier that shares no code with RelayJAX."""
    imports = {
        alias.name if isinstance(node, ast.Import) else str(node.module)
        for node in ast.walk(ast.parse(SCRIPT.read_text("utf-8")))
        if isinstance(node, ast.Import | ast.ImportFrom)
        for alias in node.names
    }
    assert not any(name.startswith(("relayjax", "tests")) for name in imports)
    spec = importlib.util.spec_from_file_location("independent", SCRIPT)
    assert spec and spec.loader
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_published_notes_verify() -> None:
    for vkey, note in ((NOTE_KEY, NOTE), (GO_KEY, GO_CHECKPOINT)):
        key = VerifierKey.decode(vkey)
        assert key.encode() == vkey
        assert verify_note(note.encode(), [key]).signers == {key: 0}
        with pytest.raises(IntegrityError, match="does not hold"):
            verify_note(note.replace("e", "a", 1).encode(), [key])
    checkpoint = Checkpoint.decode(parse_note(GO_CHECKPOINT.encode()).text)
    assert (checkpoint.origin, checkpoint.size) == ("go.sum database tree", 35225469)


def test_the_example_of_rfc_6962_section_2_1_3(independent: ModuleType) -> None:
    a, b, c, d, e, f, j = (leaf_hash(entry) for entry in LEAVES)
    node: Callable[[bytes, bytes], bytes] = lambda left, right: independent.sha256(b"\1" + left + right)  # noqa: E731
    g, h, i = node(a, b), node(c, d), node(e, f)
    k, n = node(g, h), node(i, j)
    tree = Tree([a, b, c, d, e, f, j])
    assert tree.root() == node(k, n)
    assert tree.prove_inclusion(0) == [b, h, n]
    assert tree.prove_inclusion(3) == [c, g, n]
    assert tree.prove_inclusion(4) == [f, j, k]
    assert tree.prove_inclusion(6) == [i, k]
    assert tree.prove_consistency(3) == [c, d, g, n]
    assert tree.prove_consistency(4) == [n]
    assert tree.prove_consistency(6) == [i, j, k]


def test_every_proof_of_every_size_up_to_300_holds_and_no_other_does(independent: ModuleType) -> None:
    leaves = [leaf_hash(b"%d" % i) for i in range(300)]
    tree, rng = Tree(leaves), random.Random(0)
    for size in range(1, 301):
        root = independent.mth(leaves[:size])
        assert tree.root(size) == root
        for index in rng.sample(range(size), min(size, 12)):
            proof = tree.prove_inclusion(index, size)
            assert independent.root_from_path(index, size, leaves[index], proof) == root
            verify_inclusion(leaves[index], index, size, proof, root)
            for other in {index - 1, index + 1, size - 1 - index} - {index}:
                with pytest.raises(IntegrityError):
                    verify_inclusion(leaves[index], other, size, proof, root)
        for old in rng.sample(range(1, size + 1), min(size, 12)):
            proof, old_root = tree.prove_consistency(old, size), tree.root(old)
            verify_consistency(old, size, old_root, root, proof)
            for other in {old - 1, old + 1, size} - {old}:
                with pytest.raises(IntegrityError):
                    verify_consistency(other, size, old_root, root, proof)


@pytest.mark.parametrize("size", [1, 2, 255, 256, 257, 512, 700, 65_536, 65_800])
def test_proofs_from_tiles_are_those_of_the_tree(size: int) -> None:
    leaves = [leaf_hash(b"%d" % i) for i in range(size)]
    tree, rng = Tree(leaves), random.Random(size)

    def fetch(name: str) -> bytes:
        _, level, *groups = name.partition(".p/")[0].split("/")
        number = int("".join(group[-3:] for group in groups))
        hashes = tree.levels[int(level) * 8][number * 256 : (number + 1) * 256]
        width = name.partition(".p/")[2]
        assert len(hashes) == int(width or 256)
        return b"".join(hashes)

    reader = TileReader(fetch, size)
    assert reader.root() == tree.root()
    for index in {0, size - 1, *rng.choices(range(size), k=20)}:
        assert reader.prove_inclusion(index) == tree.prove_inclusion(index)
        assert reader.prove_consistency(index + 1) == tree.prove_consistency(index + 1)
        assert reader.root(index) == tree.root(index)


@pytest.fixture(scope="module")
def log(tmp_path_factory: pytest.TempPathFactory) -> Log:
    """A log with two cosignatures, larger than 65 536 entries so that it has tiles of three levels."""
    log = Log.create(tmp_path_factory.mktemp("log"), ORIGIN, KEYS)
    for size in (10, 66_000):
        log.append([b"%d" % i * (i % 7) for i in range(log.size, size)], KEYS)
    text = parse_note(log.signed_checkpoint).text
    lines = [cosign(text, name, keys, 1_700_000_000) for name, keys in WITNESSES.items()]
    log.adopt(with_cosignatures(log.signed_checkpoint, lines))
    return log


@pytest.fixture
def served(log: Log) -> Iterator[str]:
    """The log behind a server of static files."""
    handler = partial(_Quiet, directory=str(log.path))
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        thread = threading.Thread(target=server.serve_forever, args=(0.01,))
        thread.start()
        yield f"http://127.0.0.1:{server.server_address[1]}/"
        server.shutdown()
        thread.join()


class _Quiet(http.server.SimpleHTTPRequestHandler):
    def log_message(self, format: str, *args: object) -> None:
        pass


def _fetch(prefix: str) -> Callable[[str], bytes]:
    def fetch(name: str) -> bytes:
        with urllib.request.urlopen(prefix + name, timeout=10) as response:
            return response.read()

    return fetch


def test_a_log_of_ours_passes_the_independent_verifier_over_http(
    log: Log, served: str, independent: ModuleType
) -> None:
    assert independent.check_log(_fetch(served), VKEYS) == log.entries()


def test_the_independent_verifier_is_a_program_of_its_own(log: Log, tmp_path: Path) -> None:
    def run(*arguments: str) -> str:
        program = [sys.executable, "-I", str(SCRIPT), *arguments]
        return subprocess.run(program, capture_output=True, text=True, check=True).stdout

    assert run(str(log.path), *VKEYS) == "66000 entries\n"
    (tmp_path / "entry.tlog-proof").write_bytes(log.prove(4711).encode())
    (tmp_path / "entry").write_bytes(log.entries()[4711])
    assert (
        run("--proof", str(tmp_path / "entry.tlog-proof"), str(tmp_path / "entry"), *VKEYS) == "index 4711\n"
    )
    with pytest.raises(subprocess.CalledProcessError):
        run("--proof", str(tmp_path / "entry.tlog-proof"), str(SCRIPT), *VKEYS)


def test_receipts_pass_the_independent_verifier(log: Log, independent: ModuleType) -> None:
    for index in (0, 255, 256, 65_535, 65_536, 65_999):
        receipt = log.prove(index)
        data = receipt.encode()
        assert independent.check_proof(data, receipt.entry, VKEYS) == index
        without_extra = b"\n".join(line for line in data.split(b"\n") if not line.startswith(b"extra "))
        assert independent.check_proof(without_extra, receipt.entry, VKEYS) == index
        with pytest.raises(AssertionError):
            independent.check_proof(Receipt(index ^ 1, *_rest(receipt)).encode(), receipt.entry, VKEYS)


def _rest(receipt: Receipt) -> tuple[bytes, tuple[bytes, ...], bytes]:
    return receipt.entry, receipt.proof, receipt.checkpoint

"""A verifier of tiled logs that shares no code with RelayJAX: written from the specifications alone.

    python independent.py DIRECTORY VKEY [WITNESS-VKEY ...]      checks a log as any static file server has it
    python independent.py --proof FILE ENTRY VKEY [...]          checks a .tlog-proof of an entry

It uses hashlib and, for Ed25519, cryptography. The tree is hashed as the recursion of RFC 6962 says, slowly.
"""

import base64
import hashlib
import struct
import sys
from pathlib import Path

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey


def sha256(data):
    return hashlib.sha256(data).digest()


def mth(hashes):
    """RFC 6962 section 2.1, over leaf hashes."""
    if not hashes:
        return sha256(b"")
    if len(hashes) == 1:
        return hashes[0]
    k = 1
    while k * 2 < len(hashes):
        k *= 2
    return sha256(b"\x01" + mth(hashes[:k]) + mth(hashes[k:]))


def open_note(note, vkeys):
    """C2SP signed-note and tlog-cosignature: returns the text and the names of the keys that signed it."""
    head, separator, tail = note.rpartition(b"\n\n")
    assert separator and tail.endswith(b"\n")
    text, names = head + b"\n", []
    for line in tail[:-1].decode().split("\n"):
        dash, name, encoded = line.split(" ")
        assert dash == "\u2014"
        signature = base64.b64decode(encoded, validate=True)
        for vkey in vkeys:
            key_name, key_hash, key_data = vkey.split("+", 2)
            kind, public = base64.b64decode(key_data)[:1], base64.b64decode(key_data)[1:]
            assert sha256(key_name.encode() + b"\n" + kind + public)[:4].hex() == key_hash
            if (key_name, bytes.fromhex(key_hash)) != (name, signature[:4]):
                continue
            if kind == b"\x01":
                message, signed = text, signature[4:]
            else:
                assert kind == b"\x04"
                message = b"cosignature/v1\ntime %d\n" % struct.unpack(">Q", signature[4:12]) + text
                signed = signature[12:]
            Ed25519PublicKey.from_public_bytes(public).verify(signed, message)
            names.append(name)
    return text, names


def open_checkpoint(note, vkeys):
    """C2SP tlog-checkpoint, signed by the first key and by all the others."""
    text, names = open_note(note, vkeys)
    origin, size, root, *extensions = text[:-1].decode().split("\n")
    assert all(extensions) and str(int(size)) == size
    assert sorted(names) == sorted(vkey.split("+")[0] for vkey in vkeys), names
    assert vkeys[0].split("+")[0] == origin
    return int(size), base64.b64decode(root, validate=True)


def tile_path(kind, number, width):
    """C2SP tlog-tiles, section "Merkle Tree"."""
    digits = str(number).zfill(-(-len(str(number)) // 3) * 3)
    groups = [digits[i : i + 3] for i in range(0, len(digits), 3)]
    name = "/".join([*("x" + group for group in groups[:-1]), groups[-1]])
    return f"tile/{kind}/{name}" + (f".p/{width}" if width < 256 else "")


def check_log(fetch, vkeys):
    """Checks a log through its static files; returns its entries."""
    size, root = open_checkpoint(fetch("checkpoint"), vkeys)
    entries = []
    for number in range(-(-size // 256)):
        data = fetch(tile_path("entries", number, min(256, size - number * 256)))
        while data:
            (length,) = struct.unpack(">H", data[:2])
            assert len(data) >= 2 + length
            entries.append(data[2 : 2 + length])
            data = data[2 + length :]
    assert len(entries) == size
    leaves = [sha256(b"\x00" + entry) for entry in entries]
    assert mth(leaves) == root
    level = 0
    while size >> 8 * level:
        span = 256**level
        count = size // span
        for number in range(-(-count // 256)):
            width = min(256, count - number * 256)
            expected = [
                mth(leaves[(number * 256 + i) * span : (number * 256 + i + 1) * span]) for i in range(width)
            ]
            assert fetch(tile_path(level, number, width)) == b"".join(expected)
        level += 1
    return entries


def check_proof(data, entry, vkeys):
    """C2SP tlog-proof: checks that an entry is in the log; returns its index."""
    head, _, note = data.partition(b"\n\n")
    lines = head.decode().split("\n")
    assert lines.pop(0) == "c2sp.org/tlog-proof@v1"
    if lines[0].startswith("extra "):
        base64.b64decode(lines.pop(0)[6:], validate=True)
    word, index = lines.pop(0).split(" ")
    assert word == "index" and str(int(index)) == index
    size, root = open_checkpoint(note, vkeys)
    path = [base64.b64decode(line, validate=True) for line in lines]
    assert root_from_path(int(index), size, sha256(b"\x00" + entry), path) == root
    return int(index)


def root_from_path(index, size, leaf, path):
    """The inverse of PATH of RFC 6962 section 2.1.1, from the root down."""
    if size == 1:
        assert index == 0 and not path
        return leaf
    k = 1
    while k * 2 < size:
        k *= 2
    *inner, top = path
    if index < k:
        return sha256(b"\x01" + root_from_path(index, k, leaf, inner) + top)
    return sha256(b"\x01" + top + root_from_path(index - k, size - k, leaf, inner))


if __name__ == "__main__":
    if sys.argv[1] == "--proof":
        proof, entry = (Path(name).read_bytes() for name in sys.argv[2:4])
        print("index", check_proof(proof, entry, sys.argv[4:]))
    else:
        directory = Path(sys.argv[1])
        found = check_log(lambda name: (directory / name).read_bytes(), sys.argv[2:])
        print(len(found), "entries")

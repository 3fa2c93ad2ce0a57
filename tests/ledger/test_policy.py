"""Trust policies: the file format of tlog-policy, and what they accept."""

from __future__ import annotations

import base64
import struct
from itertools import combinations

import pytest
from cryptography.hazmat.primitives.asymmetric.mldsa import MLDSA44PrivateKey
from hypothesis import given
from hypothesis import strategies as st

from relayjax.errors import FormatError, IntegrityError
from relayjax.identity import Keys
from relayjax.ledger.checkpoint import Checkpoint, sign_checkpoint
from relayjax.ledger.cosignature import cosign, cosigner_key
from relayjax.ledger.note import sign_note, signer_key
from relayjax.ledger.policy import Endpoint, Policy
from relayjax.ledger.vkey import COSIGNATURE, ML_DSA_COSIGNATURE, VerifierKey
from relayjax.ledger.witness_client import with_cosignatures

KEYS = Keys.derive("log", b"test")
ORIGIN = "relay.example/log"
LOG = signer_key(ORIGIN, KEYS.public.signing)
TEXT = Checkpoint(ORIGIN, 3, b"\7" * 32).encode()
NOTE = sign_checkpoint(Checkpoint(ORIGIN, 3, b"\7" * 32), KEYS)
NAMES = ("X1", "X2", "X3", "Y1", "Y2", "Y3")
WITNESSES = {name: Keys.derive(name.lower(), b"test") for name in NAMES}
VKEYS = {name: cosigner_key(f"{name}.example", keys) for name, keys in WITNESSES.items()}

# The example of the specification, section "Example policy", with keys put in.
EXAMPLE = "\n".join(
    [
        f"log {LOG.encode()}",
        "",
        *(f"witness {name} {VKEYS[name].encode()}" for name in NAMES[:3]),
        "group X-witnesses 2 X1 X2 X3",
        "  \t",
        *(f"witness  {name}\t{VKEYS[name].encode()} https://{name}.example" for name in NAMES[3:]),
        " # a comment, in any bytes: \u00e9",
        "group Y-witnesses any Y1 Y2 Y3",
        "group X-and-Y all X-witnesses Y-witnesses",
        "\tquorum X-and-Y ",
        "",
    ]
)


def _cosigned(names: tuple[str, ...], note: bytes = NOTE) -> bytes:
    lines = [cosign(TEXT, VKEYS[name].name, WITNESSES[name], 1000 + i) for i, name in enumerate(names)]
    return with_cosignatures(note, lines)


def test_the_example_of_the_specification_accepts_what_it_should() -> None:
    policy = Policy.decode(EXAMPLE.encode())
    assert Policy.decode(policy.encode()) == policy
    assert policy.witnesses["Y2"] == Endpoint(VKEYS["Y2"], "https://Y2.example")
    for count in range(7):
        for names in combinations(NAMES, count):
            enough = sum(name[0] == "X" for name in names) >= 2 and any(name[0] == "Y" for name in names)
            if enough:
                assert policy.verify(_cosigned(names)) == Checkpoint(ORIGIN, 3, b"\7" * 32)
            else:
                with pytest.raises(IntegrityError, match="policy asks for 'X-and-Y'"):
                    policy.verify(_cosigned(names))


@pytest.mark.parametrize("k", range(4))
def test_k_of_n(k: int) -> None:
    policy = Policy.threshold(k, [Endpoint(VKEYS[name]) for name in NAMES[:3]], [Endpoint(LOG)])
    assert Policy.decode(policy.encode()) == policy
    for count in range(4):
        if count >= k:
            policy.verify(_cosigned(NAMES[:count]))
        else:
            with pytest.raises(IntegrityError):
                policy.verify(_cosigned(NAMES[:count]))
    with pytest.raises(FormatError, match="can never be reached"):
        Policy.threshold(4, [Endpoint(VKEYS[name]) for name in NAMES[:3]])


def test_witnesses_alone_do_not_make_a_log() -> None:
    policy = Policy.threshold(1, [Endpoint(VKEYS["X1"])])
    assert policy.verify(_cosigned(("X1",)), LOG).size == 3
    with pytest.raises(IntegrityError, match="not signed by a log"):
        policy.verify(_cosigned(("X1",)))
    other = Keys.derive("other", b"test")
    forged = sign_note(TEXT, ORIGIN, other)
    with pytest.raises(IntegrityError, match="not signed by a log"):
        policy.verify(_cosigned(("X1",), forged), LOG)
    elsewhere = signer_key("other.example", KEYS.public.signing)
    note = sign_note(TEXT, "other.example", KEYS)  # a log one accepts, but not for this origin
    with pytest.raises(IntegrityError, match="not signed by a log"):
        Policy("none", (Endpoint(elsewhere),)).verify(note)


def test_a_cosignature_is_for_one_text_one_time_and_one_name() -> None:
    policy = Policy.threshold(1, [Endpoint(VKEYS["X1"])], [Endpoint(LOG)])
    good = _cosigned(("X1",))
    line = good.rpartition(b"\n\n")[2].splitlines()[-1].decode() + "\n"
    other = cosign(TEXT.replace("3", "4", 1), VKEYS["X1"].name, WITNESSES["X1"], 1000)
    assert other != line
    with pytest.raises(IntegrityError, match="does not hold"):
        policy.verify(NOTE + other.encode())
    plain = sign_note(TEXT, VKEYS["X1"].name, WITNESSES["X1"]).rpartition(b"\n\n")[2]
    with pytest.raises(IntegrityError, match="no witness"):
        policy.verify(NOTE + plain)  # signed, but not as a witness does
    start = len(good) - len(line.encode())
    for position in range(start * 8, len(good) * 8):
        damaged = bytearray(good)
        damaged[position // 8] ^= 1 << position % 8
        with pytest.raises((FormatError, IntegrityError)):
            policy.verify(bytes(damaged))


def test_post_quantum_witnesses_count_as_others_do() -> None:
    private = MLDSA44PrivateKey.from_seed_bytes(bytes(32))
    key = VerifierKey("pq.example", ML_DSA_COSIGNATURE, private.public_key().public_bytes_raw())
    assert VerifierKey.decode(key.encode()) == key
    policy = Policy.decode(f"log {LOG.encode()}\nwitness pq {key.encode()}\nquorum pq\n".encode())

    def line(origin: bytes, end: int, time: int = 1000, start: int = 0, name: bytes = b"pq.example") -> str:
        message = b"subtree/v1\n\0" + bytes([len(name)]) + name + struct.pack(">Q", time)
        message += bytes([len(origin)]) + origin + struct.pack(">QQ", start, end) + b"\7" * 32
        signature = key.key_id + struct.pack(">Q", time) + private.sign(message)
        return f"— pq.example {base64.b64encode(signature).decode()}\n"

    good = with_cosignatures(NOTE, [line(ORIGIN.encode(), 3)])
    assert policy.verify(good).size == 3
    for bad in (
        line(b"other.example", 3),
        line(ORIGIN.encode(), 4),
        line(ORIGIN.encode(), 3, start=1),
        line(ORIGIN.encode(), 3, name=b"another"),
        line(ORIGIN.encode(), 3, time=0),
    ):
        with pytest.raises(IntegrityError, match="cosignature"):
            policy.verify(with_cosignatures(NOTE, [bad]))
    rest = sign_note("no checkpoint\n", ORIGIN, KEYS) + line(ORIGIN.encode(), 3).encode()
    with pytest.raises(FormatError, match="no checkpoint"):
        policy.verify(rest)


def test_times_are_from_1_to_2_63() -> None:
    for timestamp in (0, -1, 2**63):
        with pytest.raises(FormatError, match="clock"):
            cosign(TEXT, "X1.example", WITNESSES["X1"], timestamp)


X1 = VKEYS["X1"].encode()


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("", "no quorum"),
        ("quorum none\nquorum none\n", "line 2: there is a quorum"),
        ("quorum X1\n", "not defined"),
        ("quorum none X1\n", "defines no"),
        (f"quorum X1\nwitness X1 {X1}\n", "line 1: 'X1' is not defined"),
        (f"witness none {X1}\nquorum none\n", "taken"),
        (f"witness X1 {X1}\nwitness X1 {VKEYS['X2'].encode()}\nquorum X1\n", "taken"),
        (f"witness X1 {X1}\nwitness X2 {X1}\nquorum X1\n", "twice"),
        (f"witness X1 {X1}\ngroup X1 any X1\nquorum X1\n", "taken"),
        (f"witness X1 {X1}\ngroup g any X1\ngroup h any X1 g\nquorum h\n", "each counts once"),
        (f"witness X1 {X1}\ngroup g any X1 X1\nquorum g\n", "each counts once"),
        (f"witness X1 {X1}\ngroup g 2 X1\nquorum g\n", "never be reached"),
        (f"witness X1 {X1}\ngroup g 0 X1\nquorum g\n", "neither all"),
        (f"witness X1 {X1}\ngroup g 01 X1\nquorum g\n", "neither all"),
        (f"witness X1 {X1}\ngroup g any\nquorum g\n", "defines no"),
        (f"witness X1 {X1}\ngroup g any none\nquorum g\n", "not defined"),
        (f"witness X1 {LOG.encode()}\nquorum X1\n", "signature type 0x01, not one that a witness has"),
        (f"log {X1}\nquorum none\n", "signature type 0x04, not one that a log has"),
        (f"log {LOG.encode()}\nlog {LOG.encode()}\nquorum none\n", "twice"),
        (f"log {LOG.encode()} https://a https://b\nquorum none\n", "defines no"),
        ("log relay.example\nquorum none\n", "not NAME"),
        ("quorum none\r\n", "control character"),
        ("quorum none\x7f\n", "control character"),
        ("quorum\u00a0none\n", "defines no"),
        ("# " + "x" * (1 << 18), "at most"),
    ],
)
def test_what_is_no_policy_is_refused(text: str, problem: str) -> None:
    with pytest.raises(FormatError, match=problem):
        Policy.decode(text.encode())


def test_names_are_opaque_octets() -> None:
    policy = Policy.decode(b"witness \xff\xfe " + X1.encode() + b"\nquorum \xff\xfe\n")
    assert policy.encode().startswith(b"witness \xff\xfe ")
    policy.verify(_cosigned(("X1",)), LOG)
    with pytest.raises(FormatError):
        Policy.decode(b"log \xff" + LOG.encode().encode() + b"\nquorum none\n")


@pytest.mark.parametrize(
    "text",
    [
        X1.replace("+", " ", 1),
        X1[:-1],
        X1 + "A",
        f"{X1[:10]}+00000000+{X1.rpartition('+')[2]}",
        "X1.example+00000000+",
        X1.replace("X1", "X 1"),
        "",
    ],
)
def test_what_is_no_verifier_key_is_refused(text: str) -> None:
    assert VerifierKey.decode(X1) == VKEYS["X1"]
    with pytest.raises(FormatError):
        VerifierKey.decode(text)


def test_keys_that_nobody_can_have_are_refused() -> None:
    for kind, key in ((2, LOG.public), (COSIGNATURE, bytes(32)), (COSIGNATURE, b"\2" + bytes(31))):
        with pytest.raises(FormatError):
            VerifierKey.decode(VerifierKey("a", kind, key).encode())


@given(st.binary(max_size=200))
def test_no_bytes_do_anything_but_be_refused(data: bytes) -> None:
    try:
        policy = Policy.decode(data + b"\nquorum none\n")
    except FormatError:
        return
    assert policy.quorum == "none"

"""What a witness decides: the status codes of the specification, one by one."""

from __future__ import annotations

from http import HTTPStatus

import pytest
from hypothesis import given
from hypothesis import strategies as st

from relayjax.errors import FormatError
from relayjax.identity import Keys
from relayjax.ledger.checkpoint import Checkpoint, sign_checkpoint
from relayjax.ledger.merkle import EMPTY_ROOT, Tree, leaf_hash
from relayjax.ledger.note import sign_note, signer_key
from relayjax.ledger.witness import PROOF_LIMIT, REQUEST_LIMIT, Refusal, Request, admit, decide

KEYS, OTHER = Keys.derive("log", b"test"), Keys.derive("other", b"test")
ORIGIN = "relay.example/log"
LOGS = [signer_key(ORIGIN, KEYS.public.signing)]
TREE = Tree([leaf_hash(b"entry %d" % i) for i in range(64)])
FORK = Tree([leaf_hash(b"other %d" % i) for i in range(64)])

# The example of the specification, section "add-checkpoint".
EXAMPLE = """old 20852014
PlRNCrwHpqhGrupue0L7gxbjbMiKA9temvuZZDDpkaw=
jrJZDmY8Y7SyJE0MWLpLozkIVMSMZcD5kvuKxPC3swk=
5+pKlUdi2LeF/BcMHBn+Ku6yhPGNCswZZD1X/6QgPd8=
/6WVhPs2CwSsb5rYBH5cjHV/wSmA79abXAwhXw3Kj/0=

example.com/behind-the-sofa
20852163
CsUYapGGPo4dkMgIAUqom/Xajj7h2fB2MPA3j2jxq2I=

— example.com/behind-the-sofa Az3grlgtzPICa5OS8npVmf1Myq/5IZniMp+ZJurmRDeOoRDe4URYN7u5/Zhcyv2q1gGzGku9nTo+zyWE+xeMcTOAYQ8=
— example.com/behind-the-sofa opLqBQsREYCgu6xQkYQwJr9fo45a62DN9EdmHXnZdXNqlcVGlCum2Wks+49/V6267UEjw6QUXTS5Rovnzv++qbSzm9Q=
""".encode()  # noqa: E501


def _checkpoint(size: int, tree: Tree = TREE) -> Checkpoint:
    return Checkpoint(ORIGIN, size, tree.root(size))


def _body(old: int, size: int, tree: Tree = TREE, proof: list[bytes] | None = None) -> bytes:
    if proof is None:
        proof = tree.prove_consistency(old, size) if 0 < old <= size else []
    return Request(old, tuple(proof), sign_checkpoint(_checkpoint(size, tree), KEYS)).encode()


def _status(body: bytes, last: Checkpoint | None = None) -> tuple[int, int | None]:
    """Returns the status, and the size that goes with 409."""
    try:
        decide(admit(body, LOGS), last)
    except Refusal as refusal:
        return int(refusal.status), refusal.size
    return 200, None


def test_the_example_of_the_specification_is_read() -> None:
    request = Request.decode(EXAMPLE)
    assert (request.old, len(request.proof)) == (20852014, 4)
    assert request.encode() == EXAMPLE
    with pytest.raises(Refusal) as caught:
        admit(EXAMPLE, LOGS)
    assert caught.value.status == HTTPStatus.NOT_FOUND


@pytest.mark.parametrize("old", [0, 1, 2, 7, 8, 33, 64])
@pytest.mark.parametrize("size", [0, 1, 2, 7, 8, 33, 64])
def test_whatever_goes_on_consistently_is_cosigned(old: int, size: int) -> None:
    expected = (200, None) if old <= size else (400, None)
    assert _status(_body(old, size), _checkpoint(old) if old else None) == expected


def test_a_log_that_is_not_where_it_believes_is_told_its_size() -> None:
    assert _status(_body(0, 8)) == (200, None)
    assert _status(_body(0, 8), _checkpoint(5)) == (409, 5)
    assert _status(_body(0, 3), _checkpoint(5)) == (409, 5)
    assert _status(_body(4, 8)) == (409, 0)
    assert _status(_body(4, 8), _checkpoint(5)) == (409, 5)


@pytest.mark.parametrize(
    ("body", "last"),
    [
        (_body(5, 8, proof=[]), 5),
        (_body(5, 8, proof=TREE.prove_consistency(5, 8)[:-1]), 5),
        (_body(5, 8, proof=[*TREE.prove_consistency(5, 8), EMPTY_ROOT]), 5),
        (_body(5, 8, proof=TREE.prove_consistency(4, 8)), 5),
        (_body(5, 8, FORK), 5),
        (_body(5, 5, FORK, []), 5),
        (_body(5, 5, proof=[EMPTY_ROOT]), 5),
        (_body(0, 8, proof=[EMPTY_ROOT]), 0),
    ],
)
def test_what_is_inconsistent_is_unprocessable(body: bytes, last: int) -> None:
    assert _status(body, _checkpoint(last) if last else None) == (422, None)


def test_two_roots_of_one_size_are_evidence_and_a_wrong_proof_is_none() -> None:
    for body, evidence in ((_body(5, 5, FORK, []), True), (_body(5, 8, proof=[]), False)):
        with pytest.raises(Refusal) as caught:
            decide(admit(body, LOGS), _checkpoint(5))
        assert caught.value.evidence == evidence


def test_an_empty_log_must_have_the_root_of_nothing() -> None:
    note = sign_checkpoint(Checkpoint(ORIGIN, 0, b"\1" * 32), KEYS)
    assert _status(Request(0, (), note).encode()) == (422, None)


def test_only_the_key_of_the_log_counts() -> None:
    text = _checkpoint(3).encode()
    unknown = sign_note(text, ORIGIN, OTHER)
    assert _status(Request(0, (), unknown).encode()) == (403, None)
    both = sign_checkpoint(_checkpoint(3), KEYS) + unknown.rpartition(b"\n\n")[2]
    assert _status(Request(0, (), both).encode()) == (200, None)
    line = sign_note(text.replace("3", "4", 1), ORIGIN, KEYS).rpartition(b"\n\n")[2]
    spoilt = sign_checkpoint(_checkpoint(3), KEYS) + line
    assert _status(Request(0, (), spoilt).encode()) == (403, None)
    elsewhere = sign_note(Checkpoint("other.example", 3, TREE.root(3)).encode(), ORIGIN, KEYS)
    assert _status(Request(0, (), elsewhere).encode()) == (404, None)


def test_extension_lines_are_kept_and_only_verified_lines_are() -> None:
    text = Checkpoint(ORIGIN, 3, TREE.root(3), ("more", "lines")).encode()
    note = sign_note(text, ORIGIN, KEYS) + sign_note(text, "stranger", OTHER).rpartition(b"\n\n")[2]
    proposal = admit(Request(0, (), note).encode(), LOGS)
    assert proposal.text == text
    assert [line.split(" ")[1] for line in proposal.lines] == [ORIGIN]


GOOD = _body(5, 8)


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"\n\n",
        GOOD.replace(b"old 5", b"old 05"),
        GOOD.replace(b"old 5", b"old -5"),
        GOOD.replace(b"old 5", b"old  5"),
        GOOD.replace(b"old 5", b"new 5"),
        GOOD.replace(b"old 5\n", b"old 5\r\n"),
        GOOD.replace(b"\n\n", b"\n", 1),
        GOOD.replace(b"=\n", b"\n", 1),
        GOOD[:-1],
        GOOD.replace(b"\n8\n", b"\n08\n"),
        b"old 5\nAAAA\n\n" + GOOD.partition(b"\n\n")[2],
        b"old 0\n" + b"A" * 43 + b"=\n\n",
        Request(5, tuple([EMPTY_ROOT] * (PROOF_LIMIT + 1)), sign_checkpoint(_checkpoint(8), KEYS)).encode(),
        GOOD + b"x" * REQUEST_LIMIT,
        b"\xff" + GOOD,
    ],
)
def test_what_is_malformed_is_a_bad_request(body: bytes) -> None:
    assert _status(body, _checkpoint(5)) == (400, None)


@given(st.binary(max_size=300), st.integers(0, len(GOOD)), st.integers(0, 40))
def test_no_bytes_do_anything_but_be_refused(noise: bytes, at: int, length: int) -> None:
    for body in (noise, GOOD[:at] + noise + GOOD[at + length :]):
        try:
            request = Request.decode(body)
        except FormatError:
            continue
        assert request.encode() == body
        assert _status(body, _checkpoint(5))[0] in (200, 400, 403, 404, 409, 422)

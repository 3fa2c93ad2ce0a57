"""Several places of one relay: who is asked, who is handed what, and how many must show what counts."""

from __future__ import annotations

from pathlib import Path

import pytest
from peers.town import Town

from relayjax.errors import (
    ConfigError,
    ExchangeError,
    FormatError,
    IntegrityError,
    RollbackError,
    SplitViewError,
)
from relayjax.hashing import digest
from relayjax.ledger.checkpoint import Checkpoint, sign_checkpoint
from relayjax.ledger.log import Log
from relayjax.peers import places
from relayjax.peers.exchange import FolderExchange
from relayjax.peers.home import Home
from relayjax.peers.joining import follow
from relayjax.peers.quorum import QuorumFollower, quorum
from relayjax.peers.several import Place, Several
from relayjax.verbs.peers import _place

RECORD = b"{}"
LETTER = f"inbox/{digest(RECORD)}.json"
DELTA = "handover/00001-delta-p0.age"


class Flaky:
    """A folder that may be out of reach, or refuse what is handed in; what it is asked is counted."""

    def __init__(self, folder: Path):
        self.folder = FolderExchange(folder)
        self.up, self.takes, self.asked = True, True, 0

    def fetch(self, path: str, limit: int) -> bytes | None:
        self.asked += 1
        if not self.up:
            raise ExchangeError("there", "is down", "wait")
        return self.folder.fetch(path, limit)

    def offer(self, path: str, data: bytes) -> None:
        if not self.up or not self.takes:
            raise ExchangeError("there", "does not take it", "wait")
        self.folder.offer(path, data)


class Here:
    """Three such places, and a clock."""

    def __init__(self, base: Path):
        self.now = 0.0
        self.places = [Flaky(base / f"at{k}") for k in range(3)]
        self.several = Several([Place(f"at{k}", one, lambda: self.now) for k, one in enumerate(self.places)])


@pytest.fixture
def here(tmp_path: Path) -> Here:
    return Here(tmp_path)


def test_what_one_lacks_another_has(here: Here):
    here.places[2].offer("store/x", b"there")
    assert here.several.fetch("store/x", 5) == b"there" and here.several.fetch("store/y", 5) is None
    buffer = memoryview(bytearray(5))
    assert here.several.fetch_into("store/x", buffer) == 5 and bytes(buffer) == b"there"
    here.places[0].offer("store/x", b"too long a file")
    assert here.several.fetch("store/x", 5) == b"there"
    here.places[2].up = False
    assert here.several.fetch("store/z", 5) is None
    here.now += 60.0
    for place in here.places:
        place.up = False
    with pytest.raises(ExchangeError, match="is down"):
        here.several.fetch("store/x", 5)


def test_who_does_not_answer_is_left_alone_for_a_while(here: Here):
    first = here.places[0]
    first.up = False
    for _ in range(5):
        here.several.fetch("store/x", 5)
    assert first.asked == 1
    for _ in range(20):
        here.now += 1.0
        here.several.fetch("store/x", 5)
    assert 2 < first.asked < 8
    first.up = True
    here.now += 60.0
    first.offer("store/x", b"there")
    assert here.several.fetch("store/x", 5) == b"there"


def test_records_and_deltas_go_to_all_who_take_them(here: Here):
    here.places[0].takes = False
    here.several.offer(LETTER, RECORD)
    here.several.offer(DELTA, b"sealed")
    assert [place.folder.holds(LETTER, digest(RECORD)) for place in here.places] == [False, True, True]
    assert [place.folder.fetch(DELTA, 6) for place in here.places] == [None, b"sealed", b"sealed"]
    assert here.several.holds(DELTA, digest(b"sealed")) and not here.several.holds(LETTER, digest(RECORD))
    here.places[0].takes = True
    here.several.offer(LETTER, RECORD)
    assert here.several.holds(LETTER, digest(RECORD))
    here.now += 60.0
    assert not here.several.holds(DELTA, digest(b"sealed")), "whoever did not take it may take it now"
    here.several.offer(DELTA, b"sealed")
    assert here.places[0].folder.fetch(DELTA, 6) == b"sealed"
    for place in here.places:
        place.takes = False
    with pytest.raises(ExchangeError, match="does not take"):
        here.several.offer(LETTER.replace("json", "jso"), RECORD)


def test_more_than_half_must_show_it():
    assert [quorum(count) for count in range(1, 7)] == [1, 1, 2, 3, 3, 4]


def ledgers(town: Town, here: Here, sizes: list[int]) -> QuorumFollower:
    """A relay's log of some registrations, of which each place has so many entries."""
    town.begin(rounds=1, join_all=False)
    member, keys = town.home("v0").membership(), town.home("v0").keys()
    for name in ("p0", "p1", "p2", "v1"):
        town.join(name)
    orderer = town.orderer()
    orderer.act()
    entries = list(orderer.log.entries())
    for place, size in zip(here.places, sizes, strict=True):
        log = Log.create(place.folder.folder / "ledger", member.origin, keys)
        log.append(entries[:size], keys)
    follower = follow(here.several, town.home("p0"))
    assert isinstance(follower, QuorumFollower)
    follower.note = None  # what joining has seen is more
    return follower


def show(town: Town, here: Here, place: int, size: int) -> None:
    """Has a place show so much of the log of the town."""
    member, keys = town.home("v0").membership(), town.home("v0").keys()
    log = Log.open(here.places[place].folder.folder / "ledger", member.origin, keys.public.signing)
    entries = list(Log.open(town.folder / "ledger", member.origin, keys.public.signing).entries())
    log.append(entries[log.size : size], keys)


def test_it_counts_as_far_as_more_than_half_show_it(town: Town, here: Here):
    follower = ledgers(town, here, [5, 2, 1])
    assert follower.poll() and follower.size == 2
    show(town, here, 2, 4)
    assert follower.poll() and follower.size == 4, "the first place shows that, too, within five"
    here.places[1].up = False
    assert not follower.poll()
    show(town, here, 2, 5)
    assert follower.poll() and follower.size == 5
    assert not follower.disputes
    follower = follow(here.several, town.home("p0"))
    assert follower.poll() and follower.size == 5
    here.now += 60.0
    here.places[1].up, here.places[2].up = True, False
    follower = follow(here.several, town.home("p0"))
    assert not follower.poll(), "one that shows less than was seen is no fork, and does not count"
    here.now += 60.0
    here.places[2].up = True
    assert follower.poll() and follower.size == 5


def test_most_places_showing_less_than_was_seen_is_told(town: Town, here: Here):
    follower = ledgers(town, here, [5, 5, 2])
    assert follower.poll() and follower.size == 5
    shorter = here.places[2].fetch("ledger/checkpoint", 1 << 16)
    assert shorter is not None
    here.places[1].offer("ledger/checkpoint", shorter)
    with pytest.raises(RollbackError):
        follower.poll()
    assert list(town.home("p0").path.glob("split-view-*.json")) and follower.size == 5
    show(town, here, 2, 5)
    assert not follower.poll(), "it shows the rest again"


def test_what_nobody_could_have_signed_does_not_count(town: Town, here: Here):
    follower = ledgers(town, here, [2, 2, 2])
    assert follower.poll()
    member = town.home("v0").membership()
    show(town, here, 0, 5)
    size, root = 5, follower.claim(here.places[0].fetch("ledger/checkpoint", 1 << 16) or b"").root
    forged = sign_checkpoint(Checkpoint(member.origin, size, root), town.home("p0").keys())
    here.places[1].offer("ledger/checkpoint", forged)
    assert not follower.poll() and follower.size == 2
    here.places[1].offer("ledger/checkpoint", b"nonsense")
    assert not follower.poll() and "at1" in follower.disputes
    show(town, here, 2, 5)
    assert follower.poll() and follower.size == 5


def test_another_history_is_left_out_or_ends_it(town: Town, here: Here):
    follower = ledgers(town, here, [5, 5, 5])
    assert follower.poll()
    member, keys = town.home("v0").membership(), town.home("v0").keys()
    for place, size in ((0, 5), (1, 3)):
        note = sign_checkpoint(Checkpoint(member.origin, size, b"\1" * 31 + b"\2"), keys)
        here.places[place].offer("ledger/checkpoint", note)
        if not place:
            assert not follower.poll() and list(follower.disputes) == ["at0"]
            assert len(list(town.home("p0").path.glob("split-view-*.json"))) == 1
            here.places[1].up = here.places[2].up = False  # nobody else can be asked now
            with pytest.raises(IntegrityError, match="at0 is left out") as error:
                follower.poll()
            assert not isinstance(error.value, SplitViewError)
            here.places[1].up = here.places[2].up = True
            here.now += 60.0
    with pytest.raises(SplitViewError):
        follower.poll()
    assert follower.size == 5


def test_a_home_remembers_where_its_relay_is(town: Town, tmp_path: Path):
    home = Home(tmp_path / "someone")
    home.make_keys("someone")
    urls = "http://a:1,http://b:2"
    with pytest.raises(ConfigError, match="give one FOLDER"):
        _place([], home.path)
    _place(urls.split(","), home.path)
    assert places.recall(home.path) is None, "it is nobody's home yet"
    town.begin(rounds=1, join_all=False)
    founder = town.home("v0").path
    assert _place(urls.split(","), founder) == urls and _place([], founder) == urls
    assert _place(["a look"], founder, keep=False) == "a look" and _place([], founder) == urls
    assert _place(["other"], founder) == _place([], founder) == "other"
    with pytest.raises(ConfigError, match="no such address"):
        _place(["htp://a:1,http://b:2"], founder)
    assert _place([], founder) == "other", "what is wrong is not remembered"
    (founder / "places").write_bytes(b"\xff")
    with pytest.raises(FormatError, match="give the places again"):
        places.recall(founder)
    with pytest.raises(ConfigError, match="given twice"):
        places.split("http://a:1,http://a:1")
    with pytest.raises(ConfigError, match="give one FOLDER"):
        _place(["one", "two"], founder)
    assert places.split("a,b") == ["a,b"] and places.own_and_others("a,http://b") == ("a", ["http://b"])
    assert places.own_and_others(urls) == (None, urls.split(","))

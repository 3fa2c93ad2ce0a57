"""Keys that take the place of others: they open what those opened, and are found by what they sign with."""

from __future__ import annotations

from pathlib import Path

import pytest

from relayjax.errors import AccessError, FormatError, WorkdirError
from relayjax.identity import Keys, find_keys, load_locked, open_sealed, save_locked, seal


def test_a_successor_opens_what_was_sealed_before_and_signs_anew(tmp_path: Path) -> None:
    first = Keys.generate("ada")
    second = first.successor()
    third = second.successor()
    sealed = [seal(b"weights", [keys.public.receiving]) for keys in (first, second, third)]
    assert [open_sealed(data, third) for data in sealed] == [b"weights"] * 3
    for keys, data in ((first, sealed[1]), (second, sealed[2])):
        with pytest.raises(AccessError):
            open_sealed(data, keys)
    assert len({keys.public.signing for keys in (first, second, third)}) == 3
    assert third.opens(first.public.receiving) and not first.opens(third.public.receiving)


def test_they_are_kept_with_all_they_open(tmp_path: Path) -> None:
    first = Keys.generate("ada")
    second = first.successor()
    second.save(tmp_path / "plain")
    save_locked(second, tmp_path, "password")
    lines = (tmp_path / "plain" / "ada.age").read_text().splitlines()
    assert len(lines) == 3 and lines[0].endswith(second.public.receiving)
    for kept in (Keys.load(tmp_path / "plain", "ada"), load_locked(tmp_path, "ada", "password")):
        assert kept.public == second.public and kept.opens(first.public.receiving)
        assert open_sealed(seal(b"x", [first.public.receiving]), kept) == b"x"


def test_they_are_found_by_what_they_sign_with(tmp_path: Path) -> None:
    first, other = Keys.generate("ada"), Keys.generate("bob")
    second, third = first.successor(), first.successor()
    assert find_keys(tmp_path, "ada", first.public.signing) is None
    first.save(tmp_path)
    other.save(tmp_path)
    second.save(tmp_path / "0000041")
    third.save(tmp_path / "mine")
    for keys in (first, second, third):
        found = find_keys(tmp_path, "ada", keys.public.signing)
        assert found and found.public == keys.public
    assert find_keys(tmp_path, "ada", other.public.signing) is None
    (tmp_path / "0000041" / "ada.age").write_text("")
    assert find_keys(tmp_path, "ada", third.public.signing), "others are found all the same"
    with pytest.raises(FormatError, match=r"0000041/ada\.age"):
        find_keys(tmp_path, "ada", second.public.signing)
    (tmp_path / "0000041" / "ada.age").unlink()
    with pytest.raises(WorkdirError, match=r"0000041/ada\.age"):
        find_keys(tmp_path, "ada", second.public.signing)
    with pytest.raises(FormatError):
        find_keys(tmp_path, "../ada", first.public.signing)

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from relayjax.errors import ConfigError
from relayjax.valuation import Memo
from relayjax.valuation.exact import all_coalitions

Table = Callable[..., Any]


def test_a_memo_is_the_game_and_asks_for_each_coalition_once(table_game: Table, counted: Table):
    asked = counted(table_game.random(0, 9))
    memo, coalitions = Memo(asked), all_coalitions(9)
    rng = np.random.default_rng(0)
    seen: set[int] = set()
    for _ in range(8):
        picked = rng.integers(0, 512, size=60)  # with repeats
        seen |= set(picked.tolist())
        expected = asked.game.utility_per_example(coalitions[picked])
        np.testing.assert_array_equal(memo.utility_per_example(coalitions[picked]), expected)
        assert memo.evaluated == len(seen)
    assert len(asked.asked) == len(set(asked.asked)) == len(seen) < 8 * 60
    assert memo.participants == 9 and memo.game is asked


def test_what_is_known_is_not_asked_for(table_game: Table, counted: Table):
    asked = counted(table_game.random(1, 4))
    memo, coalitions = Memo(asked), all_coalitions(4)
    memo.utility_per_example(coalitions)
    calls = asked.calls
    memo.utility_per_example(coalitions[::-1])
    assert asked.calls == calls


def test_changing_what_a_memo_returned_changes_nothing_it_remembers(table_game: Table):
    game = table_game.random(2, 4)
    memo, coalitions = Memo(game), all_coalitions(4)
    memo.utility_per_example(coalitions)[:] = 7.0
    np.testing.assert_array_equal(memo.utility_per_example(coalitions), game.table)


def test_a_memo_has_a_limit_and_evaluates_nothing_beyond_it(table_game: Table, counted: Table):
    asked = counted(table_game.random(3, 6, examples=5))  # 40 bytes a coalition
    memo, coalitions = Memo(asked, limit=40 * 20), all_coalitions(6)
    memo.utility_per_example(coalitions[:20])
    with pytest.raises(ConfigError, match="remembering 21 coalitions takes 840 bytes, more than 800"):
        memo.utility_per_example(coalitions[:21])
    assert len(asked.asked) == 20
    np.testing.assert_array_equal(memo.utility_per_example(coalitions[3:9]), asked.game.table[3:9])


@pytest.mark.parametrize("coalitions", [np.ones((1, 3)), np.ones((1, 4), bool), np.ones((0, 3), bool)])
def test_ill_formed_coalitions_are_refused(coalitions: np.ndarray, table_game: Table):
    with pytest.raises(ConfigError, match="coalitions"):
        Memo(table_game.random(0, 3)).utility_per_example(coalitions)

"""The summary agrees with the agreed state and with what was played."""

from __future__ import annotations

import pytest

from relayjax import history
from relayjax.history import History
from relayjax.measured import head_losses, legs, legs_done
from relayjax.report.payouts import payouts
from relayjax.summary import account, net_by_round, summarize


@pytest.mark.parametrize("run", ["played_run", "played_derelayl"])
def test_accounts_add_up_to_the_balances(run: str, request: pytest.FixtureRequest) -> None:
    played: History = request.getfixturevalue(run)
    summary = summarize(played)
    assert {m.name: m.account.balance for m in summary.members} == dict(played.state.balances)
    assert {m.name: m.account.net for m in summary.members} == {
        m.name: net_by_round(played, m.name)[-1] for m in summary.members
    }
    assert summary.supply.conserved


def test_accounts_add_up_in_the_middle_of_rounds(played_entries: list[bytes]) -> None:
    for size in range(1, len(played_entries) + 1, 11):
        played = history.read(played_entries[:size])
        balances = {name: account(played, name).balance for name in played.state.members}
        assert balances == dict(played.state.balances)
        assert summarize(played).supply.conserved


def test_parts_of_payouts_are_the_recorded_transfers(played_run: History) -> None:
    found = payouts(played_run, played_run.state.rules)
    assert list(found) == [1, 5]
    for round, payout in found.items():
        transfers = played_run.rounds[round - 1].settle.transfers
        assert payout.transfers() == [t for t in transfers if t[3] in ("value", "royalty")]


def test_members_and_totals(played_run: History) -> None:
    summary = summarize(played_run, [{"round": 8, "metrics": {"accuracy": 0.9}}])
    by_name = {member.name: member for member in summary.members}
    assert list(by_name) == ["p0", "p1", "p2", "p3", "v0", "v1", "v2", "observer"]
    assert (summary.legs, summary.accepted, summary.versions, summary.braid_rounds) == (14, 12, 6, 2)
    assert sum(member.refused for member in summary.participants) == 2
    assert by_name["p0"].value is not None
    assert by_name["p0"].value.value == pytest.approx(0.120 + 0.024)
    assert by_name["p0"].value.stderr == pytest.approx(0.003 + 0.003)
    assert by_name["p3"].account.earned == 0
    assert by_name["p3"].licence is None
    assert by_name["v1"].account.income == {"maintenance": 6 * 333_333}
    assert by_name["v1"].account.slashed == 1_000_000
    assert by_name["v1"].account.net == 6 * 333_333 - 1_000_000
    assert by_name["observer"].value is None
    assert summary.accuracy == 0.9
    assert (summary.pooled, summary.alone) == (None, None)


def test_measured(played_run: History) -> None:
    refused = [leg for leg in legs(played_run) if not leg.accepted]
    assert [(leg.round, leg.change) for leg in refused] == [(3, 150_000), (7, None)]
    assert legs_done(played_run) == (4, 5, 6, 7, 11, 12, 13, 14)
    losses = head_losses(played_run)
    assert losses[6] is None
    assert losses[0] == 2_300_000 - 210_001


def test_figures_from_files_are_not_trusted(played_run: History) -> None:
    odd = [{"round": 8, "metrics": {"accuracy": value}} for value in ("0.9", None, float("nan"), True, [1])]
    summary = summarize(played_run, odd, {"pooled": 3, "alone": [{"accuracy": "x"}, 7, {"accuracy": 0.5}]})
    assert (summary.accuracy, summary.pooled, summary.alone) == (None, None, 0.5)

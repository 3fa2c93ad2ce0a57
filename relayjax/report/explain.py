"""Why a member got what it got, in words and figures, from the ledger alone."""

from __future__ import annotations

import math
from collections.abc import Iterator
from statistics import fmean

from relayjax.errors import WorkdirError
from relayjax.history import History, SettledRound
from relayjax.licences import changes
from relayjax.measured import NATS, Leg, Valuation, legs, valuations
from relayjax.mechanism.payout import Payout, full_legs, measured
from relayjax.mechanism.rules import MILLION, DeRelayLRules, RelayJAXRules
from relayjax.mechanism.settlement import ESCROW
from relayjax.mechanism.state import Role
from relayjax.mechanism.truth import Reports, Verdict, distance, judge
from relayjax.records import Join
from relayjax.report.payouts import payouts
from relayjax.summary import COINS, account, ordered


def explain(history: History, name: str) -> str:
    """Tells why one member got what it got.

    Args:
      history: of the run.
      name: of the member.

    Returns:
      Plain text of several paragraphs; losses in nats, amounts in coins.

    Raises:
      WorkdirError: nobody of that name is in the run; lists who is.
    """
    if name not in history.state.members:
        raise WorkdirError(
            f"nobody called {name!r} is in this run; its members: {', '.join(ordered(history))}"
        )
    sections = {
        "": _introduction(history, name),
        "Training": _training(history, name),
        "Value and payout": _value(history, name),
        "Royalties": _royalties(history, name),
        "Remainder": _remainder(history, name),
        "Lineage rewards": _lineage(history, name),
        "Maintenance": _maintenance(history, name),
        "Licence": _licence(history, name),
        "Account": _account(history, name),
    }
    blocks = []
    for title, lines in sections.items():
        if body := [f"  {line}" if title else line for line in lines]:
            blocks.append("\n".join([title, *body] if title else body))
    return "\n\n".join(blocks) + "\n"


def _introduction(history: History, name: str) -> Iterator[str]:
    state = history.state
    entry = next(
        (i for i, record in enumerate(history.records) if isinstance(record, Join) and record.author == name),
        0,
    )
    yield f"{name}: {state.members[name].role}, introduced by ledger entry {entry}."
    if name == state.terms[0].orderer:
        also = ", orders its records and signs the log" if state.term.number == 0 else ""
        yield f"It opened the run{also}."
    for term in state.terms[1:]:
        if name == term.orderer:
            yield f"From round {term.since} on it ordered the records, in term {term.number}."
    for change in changes(history.records):
        if change.name == name:
            by = f" by {change.author}" if change.author != name else ""
            yield f"Entry {change.entry}, in round {change.round}: {change.kind.replace('_', ' ')}{by}."
    yield f"{len(history.rounds)} of {_count(state.schedule.rounds, 'round')} are settled."


def _training(history: History, name: str) -> Iterator[str]:
    own = [leg for leg in legs(history) if leg.trainer == name]
    if not own:
        if history.state.members[name].role is Role.PARTICIPANT:
            yield "It has had no leg."
        return
    rules, refused = history.state.rules, [leg for leg in own if not leg.accepted]
    changes = [leg.change for leg in own if leg.change is not None]
    yield f"{_count(len(own), 'leg')}: {len(own) - len(refused)} accepted, {len(refused)} refused."
    if isinstance(rules, RelayJAXRules):
        yield f"A leg may raise the validation loss by at most {_nats(rules.tolerance)} nats to be accepted."
    elif isinstance(rules, DeRelayLRules):
        yield f"The best {rules.accepted_share / MILLION:.0%} of a round's candidates are accepted."
    if changes:
        yield f"On average its legs changed the validation loss by {_signed(fmean(changes))} nats."
    for leg in own:
        yield f"round {leg.round:>4}  {leg.topology.value}  from version {leg.parent:>4}  {_outcome(leg)}"


def _outcome(leg: Leg) -> str:
    if leg.change is None:
        return "refused: it revealed nothing"
    if not leg.accepted:
        return f"{_signed(leg.change)} nats  refused"
    made = "the composition was not accepted" if leg.version is None else f"in version {leg.version}"
    return f"{_signed(leg.change)} nats  accepted, {made}"


def _value(history: History, name: str) -> Iterator[str]:
    rules, measured = history.state.rules, valuations(history)
    if not isinstance(rules, RelayJAXRules):
        return
    paid = payouts(history, rules)
    for valuation in measured:
        if valuation.trainer == name:
            whole = [v for v in measured if v.round == valuation.round]
            last = valuation.round == history.state.schedule.rounds
            yield from _valued_round(valuation, whole, paid.get(valuation.round), rules, last)


def _valued_round(
    own: Valuation, whole: list[Valuation], payout: Payout | None, rules: RelayJAXRules, last: bool
) -> Iterator[str]:
    yield (
        f"round {own.round}: value {_nats(own.value)} ± {_nats(own.stderr)} nats, "
        f"of {_nats(sum(v.value for v in whole))} measured over all {len(whole)} accepted"
    )
    yield f"  (at its best length, paid; Shapley gives {_nats(own.shapley)} ± {_nats(own.shapley_stderr)})"
    floor = rules.noise_floor / MILLION * math.hypot(own.stderr, own.chance)
    if own.value <= 0:
        yield "  paid nothing: only a positive value earns"
    elif own.value <= floor:
        yield (
            f"  paid nothing: within the noise floor of {_nats(floor)} nats ({rules.noise_floor / MILLION:g} "
            "standard deviations of the draw of the test and of the luck of a random direction)"
        )
    elif last:
        yield "  counts in the remainder, which the last round shares out"
    elif payout is None:
        yield "  paid nothing: the composition was not accepted, so the pot was kept"
    else:
        yield from _formula(payout, own.trainer, rules)


def _formula(payout: Payout, name: str, rules: RelayJAXRules) -> Iterator[str]:
    value, amount = dict(payout.values)[name], dict(payout.parts)[name]
    kept = f"{rules.royalty_share / MILLION:.1%} of it" if payout.royalty else "nothing (none is older)"
    yield (
        f"  due {_coins(payout.due)}, {_coins(round(payout.due / (payout.total * NATS)))} a nat; "
        f"set aside for older valued versions: {kept}"
    )
    yield (
        f"  {_coins(payout.due - payout.royalty)} × {_nats(value)} / {_nats(payout.total)} "
        f"({value / payout.total:.1%} of all positive values) = {_coins(amount)} coins"
    )


def _royalties(history: History, name: str) -> Iterator[str]:
    rules = history.state.rules
    if not isinstance(rules, RelayJAXRules):
        return
    for round, payout in payouts(history, rules).items():
        parts = [(r.version, dict(r.parts).get(name, 0)) for r in payout.royalties]
        earned = [(version, part) for version, part in parts if part]
        if earned:
            total = sum(part for _, part in earned)
            yield f"round {round}: {_coins(total)} coins out of {_coins(payout.royalty)}"
            for version, part in earned:
                yield f"  {_coins(part)} for its part in version {version}"


def _remainder(history: History, name: str) -> Iterator[str]:
    rules, last = history.state.rules, history.rounds[-1] if history.rounds else None
    if not isinstance(rules, RelayJAXRules) or last is None or not last.settle.heads:
        return
    amount = _received(last, name, "remainder")
    if amount:
        values = measured([v for v in history.state.lineage(last.settle.heads[0]) if v.values])
        legs = history.state.worked
        yield (
            f"round {last.number}: {_coins(amount)} coins of what was left at the end, in proportion to all "
            f"value measured: {_nats(dict(values)[name])} of {_nats(sum(v for _, v in values))} nats"
        )
        counted = full_legs(values, legs, rules)
        yield f"  and to the legs it worked in: {legs.get(name, 0)}, of {counted} that count"


def _lineage(history: History, name: str) -> Iterator[str]:
    rules = history.state.rules
    if not isinstance(rules, DeRelayLRules):
        return
    for settled in history.rounds:
        amount = _received(settled, name, "lineage")
        if amount:
            yield (
                f"round {settled.number}: {_coins(amount)} coins: "
                f"{amount // max(1, rules.lineage_reward)} × {_coins(rules.lineage_reward)}, "
                "once for each ancestor of an accepted version that it owns, "
                f"{rules.genesis_shares} × for the genesis"
            )


def _maintenance(history: History, name: str) -> Iterator[str]:
    scored = [settled for settled in history.rounds if name in settled.facts.scores]
    paid = [settled for settled in history.rounds if _received(settled, name, "maintenance")]
    if not scored and not paid:
        return
    earned = sum(_received(settled, name, "maintenance") for settled in paid)
    times = _count(len(paid), "round")
    yield f"Scored {_count(len(scored), 'round')}; was paid {_coins(earned)} coins in {times}."
    rules = history.state.rules
    if not isinstance(rules, RelayJAXRules):
        yield "Each round pays a fee to the writers of its four blocks, drawn by lot among the maintainers."
        return
    yield (
        f"The validators whose figures lie within {_nats(rules.score_tolerance)} nats of the median share "
        f"{rules.maintainer_share / MILLION:.1%} of the emission of {_coins(rules.emission)}; who lies "
        f"beyond it, or does not show what it pledged to, is slashed {_coins(rules.slash)} coins."
    )
    for settled in history.rounds:
        verdict = judge(settled.facts, len(settled.maintainers), rules.score_tolerance)
        if name in settled.facts.pledges and name not in verdict.truthful:
            lost = sum(a for s, _, a, why in settled.settle.transfers if (s, why) == (name, "slashed"))
            what = f"slashed {_coins(lost)} coins" if name in verdict.slashed else "not paid"
            yield f"round {settled.number}: {what}, {_doubt(settled, verdict, name)}"


def _doubt(settled: SettledRound, verdict: Verdict, name: str) -> str:
    """Why a validator's work in a round earned no wage."""
    if name in verdict.withheld:
        return "it did not show the report that it had pledged to"
    both: tuple[Reports, ...] = (settled.facts.scores, settled.facts.values)
    far = max(distance(reports, name) for reports in both if name in reports)
    if name in verdict.outliers and far:
        return f"a figure lay {_nats(far)} nats from the median"
    if name in verdict.outliers:
        return "it stated other composed weights than the majority"
    if settled.facts.values and name not in settled.facts.values:
        return "it stated no values"
    return "half of the validators contradict the other half, so nobody can tell who is right"


def _licence(history: History, name: str) -> Iterator[str]:
    granted = [(s.number, v) for s in history.rounds for n, v in s.settle.licences if n == name]
    newest = history.state.head.number
    if not granted:
        yield f"none: {_why_no_licence(history, name)}."
        return
    (first, _), (last, version) = granted[0], granted[-1]
    yield f"Licensed since round {first}; its licence covers version {version} and all earlier ones."
    if version < newest:
        yield f"Not the newest one, {newest}: since round {last} {_why_no_licence(history, name)}."


def _why_no_licence(history: History, name: str) -> str:
    role = history.state.members[name].role
    if role is Role.OBSERVER:
        return "an observer contributes nothing"
    if isinstance(history.state.rules, DeRelayLRules):
        return "it neither won a round nor tested in one that had a winner"
    if role is Role.MAINTAINER:
        return "it has not scored truthfully in a round that made a version"
    return "no valued version in the lineage holds work of its own that was worth something"


def _account(history: History, name: str) -> Iterator[str]:
    sheet, balance = account(history, name), history.state.balances[name]
    rows = [("endowment", sheet.endowment), *sheet.income.items()]
    rows += [("deposits paid", -sheet.deposited), ("deposits returned", sheet.returned)]
    rows += [("slashed", -sheet.slashed)]
    for label, amount in rows:
        if amount:
            yield f"{label:<20}{_coins(amount):>18}"
    yield f"{'= balance':<20}{_coins(balance):>18}"
    for settled in history.rounds:
        if lost := _lost(settled, name):
            yield f"(round {settled.number}: a deposit of {_coins(lost)} was forfeited)"
    if sheet.escrow:
        yield f"({_coins(sheet.escrow)} more are in escrow in the present round)"


def _received(settled: SettledRound, name: str, reason: str) -> int:
    return sum(a for _, target, a, why in settled.settle.transfers if (target, why) == (name, reason))


def _lost(settled: SettledRound, name: str) -> int:
    return sum(a for s, target, a, _ in settled.settle.transfers if s == ESCROW + name and target != name)


def _count(number: int, noun: str) -> str:
    return f"{number} {noun}" if number == 1 else f"{number} {noun}s"


def _coins(amount: int) -> str:
    return f"{amount * COINS:,.6f}".replace("-", "−")


def _nats(value: float) -> str:
    return f"{value * NATS:.6f}".replace("-", "−")


def _signed(value: float) -> str:
    return f"{value * NATS:+.6f}".replace("-", "−")

"""This module is where what clients were told is held against the books; pure."""

from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final, NamedTuple

import msgspec

from wallet_tools.torture.books import Books, Entry
from wallet_tools.torture.history import Attempt, Intent, Outcome, Role, Verb, Violation

_ASKS: Final = {Role.FIRST, Role.REPLAY, Role.RESOLVE}


class _Effect(NamedTuple):
    """What an operation does to its wallet: the signs of balance and held, the entry's type."""

    balance: int
    held: int
    entry: str | None


_EFFECTS: Final = {
    Verb.DEPOSIT: _Effect(1, 0, "deposit"),
    Verb.WITHDRAW: _Effect(-1, 0, "withdraw"),
    Verb.TRANSFER: _Effect(-1, 0, "transfer_debit"),
    Verb.HOLD: _Effect(0, 1, None),
    Verb.CAPTURE: _Effect(-1, -1, "hold_capture"),
    Verb.RELEASE: _Effect(0, -1, None),
}
# That of whatever pays another wallet.
_ENTRY_TO: Final = "transfer_debit"


@dataclass(slots=True)
class Told:
    """One operation as its client knows it: every attempt, the first definitive one, if any."""

    intent: Intent
    attempts: list[Attempt] = field(default_factory=list)

    @property
    def definitive(self) -> list[Attempt]:
        wanted = {Outcome.OK, Outcome.FAIL}
        return [each for each in self.attempts if each.answer.outcome in wanted]


def operations_of(history: Iterable[Attempt]) -> dict[tuple[str, str], Told]:
    """Return what clients meant to do, by wallet and key, each with all that was asked of it."""
    operations: dict[tuple[str, str], Told] = {}
    for attempt in history:
        if attempt.intent.role in _ASKS:
            known = operations.setdefault(attempt.intent.name, Told(attempt.intent))
            known.attempts.append(attempt)
    return operations


@dataclass(slots=True)
class _Expected:
    """What clients were told, by wallet, in minor units."""

    balances: dict[str, int] = field(default_factory=lambda: defaultdict(int))
    held: dict[str, int] = field(default_factory=lambda: defaultdict(int))

    def add(self, intent: Intent) -> None:
        effect = _EFFECTS[intent.verb]
        self.balances[intent.wallet] += effect.balance * intent.amount_minor
        self.held[intent.wallet] += effect.held * intent.amount_minor
        if intent.to:
            self.balances[intent.to] += intent.amount_minor


def judge(history: Sequence[Attempt], books: Books) -> Iterator[Violation]:
    """Yield every promise that the books or the answers break."""
    operations = operations_of(history)
    expected = _Expected()
    for told in operations.values():
        yield from _repetitions(told)
        yield from _effect(told, books, expected)
    yield from _balances(expected, books)
    yield from _refused(history, books)
    yield from _strangers(operations, books)
    yield from _order(history, books)
    for attempt in history:
        if attempt.answer.outcome is Outcome.FINDING:
            yield _violation("A0", f"an answer nobody promised: {attempt.answer.why}", [attempt])


def _repetitions(told: Told) -> Iterator[Violation]:
    """K2: every definitive answer is the first one, to the byte; K1: one of them is no repetition.

    That one may have been lost on its way: then all are repetitions.
    """
    answers = {
        (each.answer.status, each.answer.content_type, each.answer.content)
        for each in told.definitive
    }
    if len(answers) > 1:
        yield _violation("K2", "a repetition was answered with other bytes", told.attempts)
    if sum(not each.answer.is_replay for each in told.definitive) > 1:
        yield _violation("K1", "two answers say that they are the first", told.attempts)


def _effect(told: Told, books: Books, expected: _Expected) -> Iterator[Violation]:
    """M9, M10, M11: what was told to have happened did, as told; what was refused did not."""
    intent, entries = told.intent, books.entries.get(told.intent.name, [])
    if not told.definitive:
        yield _violation("R1", "nobody could learn what became of it", told.attempts)
        return
    first = told.definitive[0]
    if first.answer.outcome is Outcome.FAIL:
        if entries:
            yield _violation("M10", "it was refused and has an effect", told.attempts, entries)
        if books.operations.get(intent.name) != "rejected":
            yield _violation("M10", "a refusal was not remembered", told.attempts)
        return
    expected.add(intent)
    effect = _EFFECTS[intent.verb]
    if len(entries) != (effect.entry is not None):
        what = f"it was acknowledged and has {len(entries)} entries"
        yield _violation("M9", what, told.attempts, entries)
        return
    if not entries:
        return
    entry, kind = entries[0], _ENTRY_TO if intent.to else effect.entry
    if (entry.amount_minor, entry.type) != (effect.balance * intent.amount_minor, kind):
        yield _violation("M9", "another amount or kind was posted", told.attempts, entries)
    body = msgspec.json.decode(first.answer.content)
    problem = _untruth(body, entry)
    if intent.to and not problem:
        problem = _transfer_untruth(body, intent, entry, books)
    if problem:
        yield _violation("M11", problem, told.attempts, entries)


def _untruth(body: Mapping[str, Any], entry: Entry) -> str:
    name = "fromBalance" if "fromBalance" in body else "balance"
    if minor(body[name]) != entry.after_minor:
        return f"the answer's {name} {body[name]} is not what the entry left"
    version = body.get("version", entry.version)
    if version != entry.version or body["operationId"] != entry.operation:
        return "the answer's version or operation is not the entry's"
    return ""


def _transfer_untruth(body: Mapping[str, Any], intent: Intent, entry: Entry, books: Books) -> str:
    arrived = books.credits.get(body["transferId"], [])
    if entry.transfer != body["transferId"] or len(arrived) != 1:
        return f"the transfer of the answer has {len(arrived)} credits"
    credit = arrived[0]
    if (credit.wallet, credit.amount_minor) != (intent.to, intent.amount_minor):
        return "the money arrived elsewhere, or another amount of it"
    if books.transfers.get(body["transferId"]) != "completed":
        return "it was acknowledged and is not completed"
    if intent.verb is Verb.TRANSFER and minor(body["toBalance"]) != credit.after_minor:
        return "the answer's toBalance is not what the credit left"
    return ""


def _balances(expected: _Expected, books: Books) -> Iterator[Violation]:
    """M8: each balance, and what is held of it, is what the clients were told, exactly."""
    for what, told, there in (
        ("has", expected.balances, books.balances),
        ("holds", expected.held, books.held),
    ):
        for wallet in sorted(told.keys() | there.keys()):
            is_, said = there.get(wallet), told.get(wallet, 0)
            if is_ != said:
                told_so = f"{wallet} {what} {is_}, clients were told {said}"
                yield Violation(id="M8", what=told_so, wallet=wallet)


def _refused(history: Iterable[Attempt], books: Books) -> Iterator[Violation]:
    """M10: what is invalid left nothing, not even its key."""
    for attempt in history:
        name = attempt.intent.name
        if attempt.intent.role is Role.INVALID and (
            books.entries.get(name) or name in books.operations
        ):
            yield _violation("M10", "an invalid request left something", [attempt])


def _strangers(operations: Mapping[tuple[str, str], Told], books: Books) -> Iterator[Violation]:
    """No entry is there that nobody asked for."""
    for name, entries in books.entries.items():
        if name not in operations:
            rows = tuple(map(str, entries))
            yield Violation(id="M9", what=f"nobody asked for {name}", wallet=name[0], rows=rows)


def _order(history: Sequence[Attempt], books: Books) -> Iterator[Violation]:
    """M12, M13: whoever began after an answer came sees at least what that answer saw."""
    seen: dict[str, list[tuple[Attempt, int]]] = defaultdict(list)
    for attempt in history:
        for wallet, version in _versions(attempt, books):
            seen[wallet].append((attempt, version))
    for wallet, pairs in seen.items():
        ended = sorted(pairs, key=lambda pair: pair[0].answer.ended)
        newest, at = 0, 0
        before: Attempt | None = None
        for attempt, version in sorted(pairs, key=lambda pair: pair[0].answer.began):
            while ended[at][0].answer.ended < attempt.answer.began:
                if ended[at][1] > newest:
                    before, newest = ended[at]
                at += 1
            is_write = attempt.intent.verb is not Verb.READ
            if before is not None and version < newest + is_write:
                id_ = "M13" if is_write else "M12"
                what = f"version {version} after version {newest} was known"
                yield _violation(id_, what, [before, attempt], wallet=wallet)


def _versions(attempt: Attempt, books: Books) -> Iterator[tuple[str, int]]:
    """
    Yield the versions that an answer shows as of now, each with its wallet.

    Those of transfers and of holds name none: they are those of the entries. Only of one that was
    asked for the first time: a repetition may end what an earlier request has begun.
    """
    intent, answer = attempt.intent, attempt.answer
    if answer.outcome is not Outcome.OK or answer.is_replay:
        return
    body = msgspec.json.decode(answer.content)
    if "version" in body:
        yield intent.wallet, body["version"]
    elif intent.role is Role.FIRST:
        arrived = books.credits.get(body["transferId"], []) if intent.to else []
        for entry in (*books.entries.get(intent.name, []), *arrived):
            yield entry.wallet, entry.version


def minor(amount: str) -> int:
    """Return a rendered amount of two decimals in minor units."""
    units, _, decimals = amount.partition(".")
    return int(units) * 100 + int(decimals)


def _violation(
    id_: str,
    what: str,
    attempts: Sequence[Attempt],
    entries: Sequence[Entry] = (),
    *,
    wallet: str | None = None,
) -> Violation:
    rows = [each.line() for each in attempts] + [str(each) for each in entries]
    return Violation(
        id=id_, what=what, wallet=wallet or attempts[0].intent.wallet, rows=tuple(rows)
    )

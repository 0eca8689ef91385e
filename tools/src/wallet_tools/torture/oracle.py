"""This module is where what clients were told is held against the books; pure."""

from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final

import msgspec

from wallet_tools.torture.books import Books, Entry
from wallet_tools.torture.history import Attempt, Intent, Outcome, Role, Verb, Violation

_ASKS: Final = {Role.FIRST, Role.REPLAY, Role.RESOLVE}
_SIGN: Final = {Verb.DEPOSIT: 1, Verb.WITHDRAW: -1, Verb.TRANSFER: -1}
_ENTRY_TYPE: Final = {
    Verb.DEPOSIT: "deposit",
    Verb.WITHDRAW: "withdraw",
    Verb.TRANSFER: "transfer_debit",
}


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


def judge(history: Sequence[Attempt], books: Books) -> Iterator[Violation]:
    """Yield every promise that the books or the answers break."""
    operations = operations_of(history)
    expected: dict[str, int] = defaultdict(int)
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


def _effect(told: Told, books: Books, expected: dict[str, int]) -> Iterator[Violation]:
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
    amount_minor = _SIGN[intent.verb] * intent.amount_minor
    expected[intent.wallet] += amount_minor
    if intent.verb is Verb.TRANSFER:
        expected[intent.to] += intent.amount_minor
    if len(entries) != 1:
        what = f"it was acknowledged and has {len(entries)} entries"
        yield _violation("M9", what, told.attempts, entries)
        return
    body = msgspec.json.decode(first.answer.content)
    entry = entries[0]
    if (entry.amount_minor, entry.type) != (amount_minor, _ENTRY_TYPE[intent.verb]):
        yield _violation("M9", "another amount or kind was posted", told.attempts, entries)
    is_transfer = intent.verb is Verb.TRANSFER
    problem = (
        _transfer_untruth(body, intent, entry, books) if is_transfer else _untruth(body, entry)
    )
    if problem:
        yield _violation("M11", problem, told.attempts, entries)


def _untruth(body: Mapping[str, Any], entry: Entry) -> str:
    if minor(body["balance"]) != entry.after_minor:
        return f"the answer's balance {body['balance']} is not what the entry left"
    if body["version"] != entry.version or body["operationId"] != entry.operation:
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
    if minor(body["fromBalance"]) != entry.after_minor:
        return "the answer's fromBalance is not what the debit left"
    if minor(body["toBalance"]) != credit.after_minor:
        return "the answer's toBalance is not what the credit left"
    return ""


def _balances(expected: Mapping[str, int], books: Books) -> Iterator[Violation]:
    """M8: each balance is what the clients were told, to the last digit."""
    for wallet in sorted(expected.keys() | books.balances.keys()):
        told, held = expected.get(wallet, 0), books.balances.get(wallet)
        if held != told:
            yield Violation(
                id="M8", what=f"{wallet} has {held}, clients were told {told}", wallet=wallet
            )


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

    A transfer's answer names none: they are those of its entries. Only of one that was asked for
    the first time: a repetition may end what an earlier request has begun.
    """
    intent, answer = attempt.intent, attempt.answer
    if answer.outcome is not Outcome.OK or answer.is_replay:
        return
    body = msgspec.json.decode(answer.content)
    if intent.verb is not Verb.TRANSFER:
        yield intent.wallet, body["version"]
    elif intent.role is Role.FIRST:
        arrived = books.credits.get(body["transferId"], [])
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

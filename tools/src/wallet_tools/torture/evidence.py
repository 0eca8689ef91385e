"""This module is where the rest is held against the books: what was heard, audited, resolved."""

from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from typing import Final

from wallet_tools.torture.books import Books
from wallet_tools.torture.history import Answer, Attempt, Outcome, Role, Verb, Violation
from wallet_tools.torture.oracle import Told
from wallet_tools.torture.plan import Fault, Kind
from wallet_tools.torture.tap import Tap

# A refusal's row that waited in a process for the database is lost with that process.
_WAITS_AT_MOST_S: Final = 20.0
_ROWS_MAX: Final = 20
_COMMIT_REPLIES: Final = {"swallow_commit", "kill_after_commit"}
# What httpx calls a request for which there was no connection.
_NEVER_SENT: Final = {"ConnectError", "ConnectTimeout", "PoolTimeout"}


def heard(tap: Tap, books: Books) -> Iterator[Violation]:
    """E2, E3, E5: every event was heard, in order, nothing else was, and each said the truth."""
    events = tap.heard
    if tap.late:
        what = f"{len(tap.late)} events came after a later one of their wallet"
        yield Violation(id="E5", what=what, rows=tuple(tap.late[:_ROWS_MAX]))
    if tap.unreadable:
        rows = tuple(map(repr, tap.unreadable[:_ROWS_MAX]))
        yield Violation(id="E2", what=f"{len(rows)} messages are no events", rows=rows)
    lost = books.events.keys() - events.keys()
    unexpected = events.keys() - books.events.keys()
    for name, ids in (("lost", lost), ("unexpected", unexpected)):
        if ids:
            rows = tuple(sorted(ids)[:_ROWS_MAX])
            yield Violation(id="E3", what=f"{len(ids)} events were {name}", rows=rows)
    for event in events.keys() & books.events.keys():
        each, known = events[event], books.events[event]
        said = (each.wallet, each.version, each.fingerprint)
        if not each.is_same or said != (known.wallet, known.version, known.fingerprint):
            yield Violation(
                id="E2", what=f"event {event} said otherwise on the wire", wallet=each.wallet
            )


def audited(
    history: Sequence[Attempt],
    books: Books,
    deaths: Mapping[int, Sequence[float]],
    waited: Collection[str],
) -> tuple[list[Violation], int]:
    """
    A1, A2: each answered POST has its row, with the status that was told; no other has two.

    A refusal's row may have waited for the database in a process that was then killed: return how
    many. `deaths` are the times at which each API process was, `waited` the trace ids of the rows
    that were said to wait.
    """
    violations, excused = list(_unasked(history, books)), 0
    for attempt in history:
        answer = attempt.answer
        if attempt.intent.verb is Verb.READ or not answer.status:
            continue
        statuses = books.audited.get(attempt.intent.id, [])
        # Whoever is told 503 is told nothing; the row knows what came of it.
        if statuses == [answer.status] or (answer.status == 503 and len(statuses) == 1):
            continue
        is_refusal = answer.status >= 400
        # The answer may have been on its way to us when the process was killed.
        has_died = any(
            answer.began <= at < answer.ended + _WAITS_AT_MOST_S
            for at in deaths.get(answer.api, ())
        )
        if not statuses and is_refusal and has_died and attempt.intent.id in waited:
            excused += 1
            continue
        what = f"{answer.status} was told, audited are {statuses}"
        violations.append(
            Violation(
                id="A1" if not statuses else "A2",
                what=what,
                wallet=attempt.intent.wallet,
                rows=(attempt.line(),),
            )
        )
    return violations, excused


def _unasked(history: Iterable[Attempt], books: Books) -> Iterator[Violation]:
    """A1, the other way round: no row is there that nobody asked for, no request has two."""
    asked = {each.intent.id: each for each in history if each.intent.verb is not Verb.READ}
    for trace_id, statuses in books.audited.items():
        attempt = asked.get(trace_id)
        if attempt is None and statuses:
            yield Violation(id="A1", what=f"nobody asked for {trace_id}, audited are {statuses}")
        elif attempt is not None and not attempt.answer.status and len(statuses) > 1:
            what, wallet = f"one request, audited are {statuses}", attempt.intent.wallet
            yield Violation(id="A1", what=what, wallet=wallet, rows=(attempt.line(),))


class Coverage:
    """Whether the run has hit what it was about: before a COMMIT and after one."""

    def __init__(self, operations: Iterable[Told]) -> None:
        """Count what was unknown at first, and of it what was lost: a 503 is an answer."""
        self.with_effect = self.without_effect = 0
        self.lost_with_effect = self.lost_without_effect = 0
        for told in operations:
            if told.attempts[0].answer.outcome is not Outcome.UNKNOWN or not told.definitive:
                continue
            known = told.definitive[0]
            before = told.attempts[: told.attempts.index(known)]
            is_lost = all(_is_lost(each.answer) for each in before)
            if known.answer.is_replay:
                self.with_effect += 1
                self.lost_with_effect += is_lost
            else:
                self.without_effect += 1
                self.lost_without_effect += is_lost

    def missing(self, kinds: Collection[str], hits: Collection[Fault]) -> list[str]:
        """
        Say what was not reached; nothing if the run counts.

        Only kills have to lose answers: most of the other faults the service hides. Where there are
        wires, a reply to COMMIT has to have been kept back: other faults of theirs always hit.
        """
        have_hit = {fault.kind for fault in hits}
        missing = [f"no fault of kind {kind} hit" for kind in kinds if kind not in have_hit]
        if Kind.PROXY in kinds and not any(fault.name in _COMMIT_REPLIES for fault in hits):
            missing.append("no reply to COMMIT was kept back")
        if Kind.KILL not in kinds:
            return missing
        if not self.lost_with_effect:
            missing.append("no operation whose answer was lost turned out to have had its effect")
        if not self.lost_without_effect:
            missing.append("no operation whose answer was lost turned out to have had none")
        return missing


def _is_lost(answer: Answer) -> bool:
    """Whether a request went out and nothing came back."""
    return not answer.status and answer.why not in _NEVER_SENT


def resolved(
    history: Iterable[Attempt], before: Collection[tuple[str, str]]
) -> Iterator[Violation]:
    """
    R2: what the books had before it was asked again is answered as a repetition.

    Not the other way round: a request may have waited in a process's socket until now.
    """
    for attempt in history:
        answer, name = attempt.answer, attempt.intent.name
        is_told = answer.outcome in {Outcome.OK, Outcome.FAIL}
        is_asked = attempt.intent.role is Role.RESOLVE
        if is_asked and is_told and not answer.is_replay and name in before:
            what = "the books had the operation, and the answer says it is new"
            yield Violation(id="R2", what=what, wallet=name[0], rows=(attempt.line(),))

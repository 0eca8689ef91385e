"""This module is where it is asked what was heard, what was audited, and whether a run counts."""

from pathlib import Path

import msgspec
import pytest

from wallet_tools.torture.books import Books, Event
from wallet_tools.torture.checks import rows_that_waited
from wallet_tools.torture.evidence import Coverage, audited, heard, resolved
from wallet_tools.torture.history import Answer, Attempt, Intent, Outcome, Role, Verb
from wallet_tools.torture.oracle import operations_of
from wallet_tools.torture.plan import Fault, Kind, Lane
from wallet_tools.torture.tap import Tap, fingerprint


def _attempt(
    key: str,
    role: Role,
    outcome: Outcome,
    status: int = 0,
    *,
    is_replay: bool = False,
    ended: float = 1.0,
    why: str = "",
) -> Attempt:
    id_ = f"{key}-{role}"
    intent = Intent(id=id_, client=0, verb=Verb.DEPOSIT, role=role, wallet="a", key=key, path="/")
    answer = Answer(
        id=id_,
        outcome=outcome,
        began=ended - 0.5,
        ended=ended,
        api=0,
        status=status,
        is_replay=is_replay,
        why=why,
    )
    return Attempt(intent, answer)


LOST = _attempt("k1", Role.FIRST, Outcome.UNKNOWN)
HAD_EFFECT = _attempt("k1", Role.RESOLVE, Outcome.OK, 201, is_replay=True)
NEVER_CAME = _attempt("k2", Role.FIRST, Outcome.UNKNOWN)
HAD_NONE = _attempt("k2", Role.RESOLVE, Outcome.OK, 201)
BUSY = _attempt("k1", Role.FIRST, Outcome.UNKNOWN, 503)
BUSY_TOO = _attempt("k2", Role.REPLAY, Outcome.UNKNOWN, 503)
NEVER_SENT = _attempt("k2", Role.FIRST, Outcome.UNKNOWN, why="ConnectError")
ANSWERED = _attempt("k3", Role.FIRST, Outcome.OK, 201)


KILL = Fault(1.0, Kind.KILL, Lane.API, "kill", 0.0, 0.5)
PG = Fault(1.0, Kind.PG, Lane.POSTGRES, "kill", 0.0, 0.5)
DELAY = Fault(1.0, Kind.PROXY, Lane.WIRE, "delay", 1.0, 0.5)
SWALLOW = Fault(1.0, Kind.PROXY, Lane.WIRE, "swallow_commit", 1.0, 0.5)
KEPT_BACK = Fault(1.0, Kind.PROXY, Lane.API, "kill_after_commit", 1.0, 0.5)


def _missing(*history: Attempt, hits: tuple[Fault, ...] = (KILL,)) -> list[str]:
    return Coverage(operations_of(history).values()).missing(["kill"], hits)


def test_a_run_counts_if_faults_fell_on_both_sides_of_a_commit() -> None:
    """An unknown outcome with its effect, one without, and every kind that was asked for."""
    assert _missing(LOST, HAD_EFFECT, NEVER_CAME, HAD_NONE) == []


@pytest.mark.parametrize(
    ("history", "hits", "words"),
    [
        ((LOST, HAD_EFFECT), (KILL,), "have had none"),
        ((NEVER_CAME, HAD_NONE), (KILL,), "have had its effect"),
        ((LOST, HAD_EFFECT, NEVER_CAME, HAD_NONE), (), "kind kill"),
        ((LOST, HAD_EFFECT, NEVER_CAME), (KILL,), "have had none"),
        ((BUSY, HAD_EFFECT, NEVER_CAME, HAD_NONE), (KILL,), "have had its effect"),
        ((LOST, HAD_EFFECT, NEVER_CAME, BUSY_TOO, HAD_NONE), (KILL,), "have had none"),
        ((LOST, HAD_EFFECT, NEVER_SENT, HAD_NONE), (KILL,), "have had none"),
    ],
)
def test_a_run_that_missed_does_not_count(
    history: tuple[Attempt, ...], hits: tuple[Fault, ...], words: str
) -> None:
    """Whatever was not reached is named, however clean the rest is."""
    missing = _missing(ANSWERED, *history, hits=hits)

    assert len(missing) == 1
    assert words in missing[0]


def test_a_run_without_kills_need_not_leave_anybody_in_doubt() -> None:
    """What the service hides from its callers is hidden: that the fault hit is enough."""
    coverage = Coverage(operations_of([ANSWERED]).values())

    assert coverage.missing(["pg"], [PG]) == []
    assert coverage.missing(["pg"], []) == ["no fault of kind pg hit"]


def test_a_run_with_broken_wires_has_to_keep_a_reply_to_commit_back() -> None:
    """A wire that is only slow hits always, and is not what the kind is about."""
    coverage = Coverage(operations_of([ANSWERED]).values())

    assert coverage.missing(["proxy"], [DELAY]) == ["no reply to COMMIT was kept back"]
    assert coverage.missing(["proxy"], [DELAY, SWALLOW]) == []
    assert coverage.missing(["proxy"], [KEPT_BACK]) == []


def test_a_resolution_agrees_with_the_books() -> None:
    """What the books had is answered as a repetition; what they had not may have come meanwhile."""
    history = [HAD_EFFECT, HAD_NONE]

    assert list(resolved(history, {("a", "k1")})) == []
    assert [each.id for each in resolved(history, {("a", "k1"), ("a", "k2")})] == ["R2"]
    assert list(resolved(history, set())) == []


def test_every_answer_has_its_audit_row() -> None:
    """A missing row and a row with another status are told; a request without answer needs none."""
    books = Books()
    books.audited["k3-first"] = [201]
    assert audited([ANSWERED, LOST], books, {}, ()) == ([], 0)

    books.audited["k3-first"] = [422]
    assert [each.id for each in audited([ANSWERED], books, {}, ())[0]] == ["A2"]
    busy = _attempt("k3", Role.FIRST, Outcome.UNKNOWN, 503)
    assert audited([busy], books, {}, ()) == ([], 0)
    books.audited["k3-first"] = []
    assert [each.id for each in audited([busy], books, {}, ())[0]] == ["A1"]
    assert [each.id for each in audited([ANSWERED], books, {0: [1.5]}, ())[0]] == ["A1"]


def test_an_audit_row_belongs_to_one_request() -> None:
    """Two rows for a request that nobody answered, or a row for none, are too many."""
    books = Books()
    books.audited["k1-first"] = [201]
    assert audited([LOST], books, {}, ()) == ([], 0)
    books.audited["k1-first"] = [503, 201]
    assert [each.id for each in audited([LOST], books, {}, ())[0]] == ["A1"]

    assert [each.id for each in audited([NEVER_CAME], books, {}, ())[0]] == ["A1"]


def test_a_refusal_row_may_die_with_its_process() -> None:
    """A refusal's row that was said to wait is excused if its process was killed just after."""
    refused = _attempt("k4", Role.INVALID, Outcome.FAIL, 400, ended=10.0)
    waited = {refused.intent.id}

    assert audited([refused], Books(), {0: [12.0]}, waited) == ([], 1)
    assert audited([refused], Books(), {0: [9.9]}, waited) == ([], 1)
    assert len(audited([refused], Books(), {0: [9.0, 90.0], 1: [12.0]}, waited)[0]) == 1
    assert len(audited([refused], Books(), {0: [12.0]}, ())[0]) == 1


def test_the_log_tells_whose_row_waited(tmp_path: Path) -> None:
    """What the API could not write at once is found in its log, by the trace id of the request."""
    (tmp_path / "api-2.out").write_text(
        'not JSON\n{"event": "audit.waits", "trace_id": "t1", "audit_id": "a"}\n{"event": "x"}\n'
    )

    assert rows_that_waited(tmp_path) == {"t1"}


def _message(event: str, version: int, amount: str = "1.00") -> bytes:
    return msgspec.json.encode(
        {"id": event, "walletId": "a", "walletVersion": version, "payload": {"amount": amount}}
    )


def _books(*events: tuple[str, int]) -> Books:
    books = Books()
    for event, version in events:
        books.events[event] = Event("a", version, fingerprint({"amount": "1.00"}))
    return books


def test_the_tap_counts_what_comes_again() -> None:
    """A repetition is harmless and counted, also one that comes behind a later event."""
    tap = Tap("")
    for event, version in (("e1", 1), ("e1", 1), ("e2", 2), ("e3", 3), ("e2", 2)):
        tap.note(_message(event, version))

    assert (tap.repeated, tap.late, len(tap.heard)) == (2, [], 3)
    assert list(heard(tap, _books(("e1", 1), ("e2", 2), ("e3", 3)))) == []


def test_an_event_that_comes_late_is_flagged() -> None:
    """One that is heard for the first time after a later one of its wallet: order was promised."""
    tap = Tap("")
    for event, version in (("e1", 1), ("e3", 3), ("e2", 2)):
        tap.note(_message(event, version))

    found = list(heard(tap, _books(("e1", 1), ("e2", 2), ("e3", 3))))
    assert [(each.id, each.rows) for each in found] == [("E5", ("e2",))]


def test_a_lost_and_a_strange_event_are_flagged() -> None:
    """What the books have must have been heard, and what was heard must be in the books."""
    tap = Tap("")
    tap.note(_message("e1", 1))
    assert [each.id for each in heard(tap, _books(("e1", 1), ("e2", 2)))] == ["E3"]
    assert [each.id for each in heard(tap, _books())] == ["E3"]


def test_an_event_that_changed_on_its_way_is_flagged() -> None:
    """Another amount on the wire, at first or when it came again, is no repetition."""
    tap = Tap("")
    tap.note(_message("e1", 1))
    tap.note(_message("e1", 1, "2.00"))
    tap.note(_message("e2", 2, "2.00"))
    tap.note(b"{}")

    found = list(heard(tap, _books(("e1", 1), ("e2", 2))))
    assert [each.id for each in found] == ["E2", "E2", "E2"]

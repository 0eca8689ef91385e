"""This module is where the load is shown to notice a wrong answer, and to end in a proof."""

import json
import os
import subprocess
from pathlib import Path
from typing import Any

import pytest

from wallet_tools import promises
from wallet_tools.stress import share_of

DEPOSIT = {"amount": "5.00", "requestId": "r"}
TRANSFER = DEPOSIT | {"toWalletId": "w2"}
POSTED = {"requestId": "r", "balance": "12.50"}
ARRIVED = TRANSFER | {"status": "completed", "fromBalance": "0.00", "toBalance": "5.00"}
PROBLEM = {
    **dict.fromkeys(("type", "title", "detail", "instance", "traceId"), ""),
    "status": 422,
    "code": "insufficient_funds",
    "retryable": False,
    "required": "5.00",
    "available": "4.99",
}
ENTRIES = [
    {"amount": "-2.00", "balanceAfter": "3.00", "walletVersion": 4},
    {"amount": "5.00", "balanceAfter": "5.00", "walletVersion": 2},
]


def raw(value: Any) -> bytes:  # noqa: ANN401  # JSON
    return json.dumps(value).encode()


@pytest.mark.parametrize(
    ("verb", "asked", "status", "answer"),
    [
        ("deposit", DEPOSIT, 201, POSTED),
        ("transfer", TRANSFER, 201, ARRIVED),
        ("withdraw", DEPOSIT, 422, PROBLEM),
        ("withdraw", DEPOSIT, 404, PROBLEM | {"status": 404, "code": "wallet_not_found"}),
    ],
)
def test_a_right_answer_is_let_pass(
    verb: str, asked: dict[str, str], status: int, answer: dict[str, Any]
) -> None:
    """What the API promises is no failure, a decline among it."""
    assert promises.of_write(verb, asked, status, raw(answer)) is None


@pytest.mark.parametrize(
    ("verb", "asked", "status", "answer"),
    [
        ("deposit", DEPOSIT, 500, POSTED),
        ("deposit", DEPOSIT, 200, POSTED),
        ("deposit", DEPOSIT, 201, []),
        ("deposit", DEPOSIT, 201, POSTED | {"requestId": "s"}),
        ("deposit", DEPOSIT, 201, POSTED | {"balance": "-0.01"}),
        ("deposit", DEPOSIT, 201, POSTED | {"balance": 12.5}),
        ("transfer", TRANSFER, 201, ARRIVED | {"amount": "5.01"}),
        ("transfer", TRANSFER, 201, ARRIVED | {"status": "debited"}),
        ("transfer", TRANSFER, 201, ARRIVED | {"toBalance": "-5.00"}),
        ("withdraw", DEPOSIT, 422, PROBLEM | {"available": "5.00"}),
        ("withdraw", DEPOSIT, 422, PROBLEM | {"code": "wallet_frozen"}),
        ("withdraw", DEPOSIT, 422, PROBLEM | {"retryable": True}),
        ("withdraw", DEPOSIT, 422, PROBLEM | {"status": 404}),
        ("withdraw", DEPOSIT, 404, PROBLEM),
        ("withdraw", DEPOSIT, 422, {"code": "same_wallet"}),
    ],
)
def test_a_wrong_answer_is_a_failure(
    verb: str, asked: dict[str, str], status: int, answer: dict[str, Any] | list[Any]
) -> None:
    """Another's answer, a negative balance, a decline without a cause: each is noticed."""
    assert promises.of_write(verb, asked, status, raw(answer)) is not None


def test_a_repetition_is_the_same_and_says_so() -> None:
    """One byte more, another status or a missing mark is a failure."""
    assert promises.of_repetition((201, b"a"), (201, b"a"), "true") is None
    assert promises.of_repetition((201, b"a"), (201, b"a "), "true") is not None
    assert promises.of_repetition((201, b"a"), (200, b"a"), "true") is not None
    assert promises.of_repetition((201, b"a"), (201, b"a"), "") is not None


def test_a_contradiction_and_nonsense_are_refused() -> None:
    """A reused key names the amount, what is no amount is a 400; all else is a failure."""
    reused = {"code": "idempotency_key_reused", "errors": [{"field": "amount"}]}
    wrong = PROBLEM | {"status": 400, "code": "invalid_request"}
    assert promises.of_conflict(422, raw(reused)) is None
    assert promises.of_conflict(422, raw(reused | {"errors": []})) is not None
    assert promises.of_conflict(201, raw(POSTED)) is not None
    assert promises.of_nonsense(400, raw(wrong)) is None
    assert promises.of_nonsense(201, raw(POSTED)) is not None
    assert promises.of_nonsense(500, raw(wrong)) is not None


def test_a_page_tells_one_story() -> None:
    """Entries follow from each other, events have no gap, balances are none below zero."""
    first, second = ENTRIES
    wallet = {"balance": "1.00", "held": "0.00", "available": "1.00"}
    assert promises.of_read("", 200, raw(wallet)) is None
    assert promises.of_read("", 200, raw(wallet | {"available": "-1.00"})) is not None
    assert promises.of_read("/ledger", 200, raw({"items": ENTRIES})) is None
    assert promises.of_read("/ledger", 200, raw({"items": [second, first]})) is not None
    changed = first | {"balanceAfter": "3.01"}
    assert promises.of_read("/ledger", 200, raw({"items": [changed, second]})) is not None
    events = [{"walletVersion": each} for each in (3, 2, 1)]
    assert promises.of_read("/history", 200, raw({"items": events})) is None
    assert promises.of_read("/history", 200, raw({"items": events[::2]})) is not None
    assert promises.of_read("/stats", 200, raw({"totalDeposited": "1.00"})) is None
    assert promises.of_read("/stats", 200, raw({"totalDeposited": None})) is not None


def test_a_shape_is_how_many_are_there() -> None:
    """A spike is all of them for a fifth of the time, a soak half of them for all of it."""
    assert {share_of("steady", each / 10) for each in range(10)} == {1.0}
    assert [share_of("spike", each / 10) for each in range(10)].count(1.0) == 2
    assert {share_of("soak", each / 10) for each in range(10)} == {0.5}


@pytest.mark.slow
def test_a_small_load_ends_in_a_proof(python: str, tmp_path: Path) -> None:
    """A few seconds of it, on a stack of its own: exit code 0, a report, the books proved."""
    report = tmp_path / "report.html"
    done = subprocess.run(
        [python, "-m", "wallet_tools.dev", "stress", "--state", str(tmp_path / "state")]
        + ["--users", "6", "--minutes", "0.1", "--shape", "spike", "--report", str(report)],
        capture_output=True,
        text=True,
        check=False,
        env=os.environ | {"RABBITMQ_URL": ""},
        timeout=240,
    )

    assert done.returncode == 0, done.stdout + done.stderr
    assert "the books are right" in done.stdout
    assert "H5" in done.stdout, "the checkpoints of the stack's worker are looked at"
    assert "deposit (hot)" in report.read_text()

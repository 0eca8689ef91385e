"""This module is where withdrawals become fraud flags that the world hears of."""

from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING, Any

import msgspec
import pytest

from wallet_common.fraud import FraudRules
from wallet_common.money import Amount

if TYPE_CHECKING:
    from aio_pika.abc import AbstractIncomingMessage

    from services.worker.tests.broker.conftest import Wire
    from services.worker.tests.conftest import Bank, Worker

pytestmark = pytest.mark.broker

Until = Callable[..., Awaitable[None]]


def of_type(tapped: "list[AbstractIncomingMessage]", name: str) -> list[dict[str, Any]]:
    return [msgspec.json.decode(each.body) for each in tapped if each.routing_key == name]


async def test_rapid_withdrawals_are_flagged_with_their_evidence(
    bank: "Bank", wire: "Wire", worker: "Worker", until: Until
) -> None:
    """The third withdrawal within the window raises a flag that names all three events."""
    tapped = await wire.tap()
    worker.start_relay()
    worker.start_consumer()
    await bank.deposit("w1")

    for _ in range(3):
        await bank.withdraw("w1")

    await until(lambda: of_type(tapped, "WalletFlagged"))
    (flagged,) = of_type(tapped, "WalletFlagged")
    withdrawals = [each["id"] for each in of_type(tapped, "FundsWithdrawn")]
    assert flagged["walletId"] == "w1"
    assert flagged["walletVersion"] is None
    payload = flagged["payload"]
    assert payload.pop("flaggedAt")
    assert payload == {
        "ruleId": "rapid_withdrawals",
        "ruleVersion": 1,
        "threshold": 3,
        "observed": 3,
        "windowSeconds": 60,
        "evidence": withdrawals,
        "currency": "USD",
    }
    (stats,) = await bank.rows("SELECT suspicious, suspicious_reason FROM wallet_stats")
    assert stats["suspicious"]
    assert "3 withdrawals" in stats["suspicious_reason"]


async def test_a_large_withdrawal_is_flagged(
    bank: "Bank", wire: "Wire", worker: "Worker", until: Until
) -> None:
    """A withdrawal of exactly the threshold is flagged, one below it is not."""
    tapped = await wire.tap()
    worker.start_relay()
    worker.start_consumer()
    await bank.deposits(1, "below", "w1")
    await bank.deposit("below", "20000.00")
    await bank.deposit("w1", "20000.00")

    await bank.withdraw("below", "9999.99")
    await bank.withdraw("w1", "10000.00")

    await until(lambda: of_type(tapped, "WalletFlagged"))
    await until(bank.is_quiet)
    (flagged,) = of_type(tapped, "WalletFlagged")
    assert flagged["walletId"] == "w1"
    assert flagged["payload"]["ruleId"] == "large_transaction"
    assert flagged["payload"]["threshold"] == flagged["payload"]["observed"] == "10000.00"
    cause = of_type(tapped, "FundsWithdrawn")[-1]["id"]
    assert flagged["payload"]["evidence"] == [cause]
    suspicious = await bank.rows("SELECT wallet_id FROM wallet_stats WHERE suspicious")
    assert [row["wallet_id"] for row in suspicious] == ["w1"]


async def test_the_verdict_follows_event_times(
    bank: "Bank", wire: "Wire", worker: "Worker", until: Until
) -> None:
    """Withdrawals that are heard of late and backwards are flagged as if they had come in order."""
    tapped = await wire.tap()
    relay = worker.start_relay()
    await bank.deposit("w1")
    for _ in range(4):
        await bank.withdraw("w1")
    await until(lambda: len(tapped) == 6)
    await worker.stop(relay)
    await wire.purge()
    worker.start_consumer()

    for message in reversed(tapped):
        await wire.publish(message.body)

    await until(lambda: bank.lacks(0))
    verdicts = await bank.rows(
        "SELECT verdict ->> 'observed' AS observed FROM fraud_flags ORDER BY occurred_at"
    )
    assert [row["observed"] for row in verdicts] == ["3", "4"]


async def test_thresholds_are_settings(
    bank: "Bank", wire: "Wire", worker: "Worker", until: Until
) -> None:
    """With other thresholds the same withdrawals get another verdict."""
    worker.rules = FraudRules(rapid_count=2, rapid_window_seconds=5, large_threshold=Amount(2, 0))
    worker.start_relay()
    worker.start_consumer()
    await bank.deposit("w1")

    await bank.withdraw("w1", "1.99")
    await bank.withdraw("w1", "2.00")

    await until(bank.is_quiet)
    flags = await bank.rows("SELECT rule_id FROM fraud_flags ORDER BY rule_id")
    assert [row["rule_id"] for row in flags] == ["large_transaction", "rapid_withdrawals"]

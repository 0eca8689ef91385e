"""This module is where the whole way is walked: from HTTP to a fraud flag and a dead letter."""

from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING, Any

import aio_pika
import pytest

from wallet_db_orm.ids import new_id

if TYPE_CHECKING:
    from tests.e2e.conftest import Town

pytestmark = pytest.mark.slow

Until = Callable[..., Awaitable[None]]
POISON = b'{"type": "FundsLaundered", "amount": 1e999}'


@pytest.mark.broker
async def test_from_a_deposit_to_a_flag_and_a_letter(town: "Town", until: Until) -> None:
    """Money over HTTP ends as statistics, flags with evidence, and poison as a letter."""
    await walk(town, until)

    connection = await aio_pika.connect(town.run().rabbitmq)
    async with connection:
        exchange = await (await connection.channel()).get_exchange(town.topology.exchange)
        await exchange.publish(aio_pika.Message(POISON), "FundsLaundered")

    await until(town.letters)
    (letter,) = await town.letters()
    assert letter.body == POISON
    assert letter.routing_key == "FundsLaundered"
    assert letter.queue == "wallet.events.worker"
    assert letter.error_class == "Poison"
    await town.discard(letter.id)


async def test_the_same_without_a_broker(quiet_town: "Town", until: Until) -> None:
    """Without RabbitMQ the story is the same; the letter rests in the table."""
    await walk(quiet_town, until)

    lost = new_id()
    await quiet_town.value(f"INSERT INTO outbox (wallet_id, event_id) VALUES ('ann', '{lost}')")

    await until(quiet_town.letters)
    (letter,) = await quiet_town.letters()
    assert lost.encode() in letter.body
    assert letter.error_class == "Poison"
    await quiet_town.discard(letter.id)
    await until(quiet_town.is_quiet)


async def walk(town: "Town", until: Until) -> None:
    """Go the happy path, and prove the books at its end."""
    first = await town.post("/ann/deposit", amount="20000.00", requestId="d1")
    again = await town.post("/ann/deposit", amount="20000", requestId="d1")
    assert first.status_code == again.status_code == 201
    assert first.json()["created"] is True
    assert again.content == first.content
    assert again.headers["Idempotent-Replay"] == "true"
    assert (await town.post("/ann/deposit", amount="1", requestId="d1")).status_code == 422
    refused = await town.post("/ann/withdraw", amount="20000.01", requestId="w0")
    assert (refused.status_code, refused.json()["code"]) == (422, "insufficient_funds")
    await town.post("/bob/deposit", amount="1.00")
    moved = await town.post("/ann/transfer", amount="500.50", toWalletId="bob")
    assert (moved.json()["status"], moved.json()["toBalance"]) == ("completed", "501.50")
    for amount in ("1.00", "2.00", "10000.00"):
        assert (await town.post("/ann/withdraw", amount=amount)).status_code == 201

    await until(town.is_quiet)
    stats = await town.stats("ann")
    assert stats["totalDeposited"] == "20000.00"
    assert stats["totalWithdrawn"] == "10003.00"
    assert stats["totalTransferredOut"] == "500.50"
    assert (await town.stats("bob"))["totalTransferredIn"] == "500.50"
    assert stats["suspicious"] is True
    await check_evidence(town, stats["flags"])
    assert await town.violations() == []


async def check_evidence(town: "Town", flags: list[dict[str, Any]]) -> None:
    """Compare the flags' evidence with the withdrawals that the history tells of."""
    history = await town.get("/v1/wallets/ann/history")
    taken = [each["id"] for each in history["items"] if each["type"] == "FundsWithdrawn"]
    evidence = {flag["ruleId"]: flag["evidence"] for flag in flags}
    assert evidence == {"rapid_withdrawals": taken[::-1], "large_transaction": taken[:1]}

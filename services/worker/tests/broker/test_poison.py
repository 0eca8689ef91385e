"""This module is where messages that nobody can read are laid to rest, byte by byte."""

import json
from collections.abc import Awaitable, Callable
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

import pytest

from wallet_common import topology as names
from wallet_common.topology import Topology

if TYPE_CHECKING:
    from services.worker.tests.broker.conftest import Wire
    from services.worker.tests.conftest import Bank, Worker

pytestmark = pytest.mark.broker

Until = Callable[..., Awaitable[None]]


def a_body(**changes: object) -> bytes:
    """Return a deposit that could be read, with some fields changed; `...` leaves one out."""
    message: dict[str, Any] = {
        "id": "e1",
        "type": "FundsDeposited",
        "schemaVersion": 1,
        "occurredAt": "2026-01-01T12:00:00Z",
        "walletId": "w1",
        "walletVersion": 7,
        "payload": {"amount": "1.00", "currency": "USD"},
    } | changes
    return json.dumps({name: value for name, value in message.items() if value is not ...}).encode()


POISON = {
    "empty": b"",
    "not JSON": b"not json",
    "cut off": a_body()[:-1],
    "an array": b"[]",
    "a number": b"1",
    "NaN": b"NaN",
    "invalid UTF-8": a_body().replace(b"w1", b"w\xff"),
    "no text at all": bytes(range(256)),
    "deeply nested": b"[" * 50_000,
    "a megabyte": a_body(type="Unknown", filling="x" * 1_000_000),
    "no id": a_body(id=...),
    "no type": a_body(type=...),
    "no wallet": a_body(walletId=...),
    "no payload": a_body(payload=...),
    "a number for an id": a_body(id=1),
    "text for a version": a_body(walletVersion="7"),
    "a number for a time": a_body(occurredAt=1),
    "an unknown type": a_body(type="FundsLaundered"),
    "an unknown schema": a_body(schemaVersion=2),
    "a negative amount": a_body(payload={"amount": "-1.00", "currency": "USD"}),
    "a wallet nobody knows": a_body(walletId="stranger"),
}


async def test_poison_rests_unchanged_and_harms_no_other(
    bank: "Bank", wire: "Wire", worker: "Worker", until: Until, topology: Topology
) -> None:
    """Each unreadable body is in the dead letter queue byte by byte; those behind it pass."""
    await bank.deposit("w1")
    worker.start_consumer()

    await wire.publish(*POISON.values(), key="any.key", headers={"x-other": "kept"})
    worker.start_relay()
    await bank.deposits(3, "w1", "w2")

    await until(bank.is_quiet)
    await until(lambda: wire.holds(len(POISON), topology.dead_letter_queue))
    letters = await wire.letters()
    assert sorted(each.body for each in letters) == sorted(POISON.values())
    assert {each.routing_key for each in letters} == {"any.key"}
    assert {each.headers["x-other"] for each in letters} == {"kept"}
    assert await bank.violations() == []


async def test_a_letter_says_why_when_and_where_from(
    bank: "Bank", wire: "Wire", worker: "Worker", until: Until, topology: Topology
) -> None:
    """A letter's headers hold error, class, attempts, times, queue and routing key."""
    before = datetime.now(UTC)
    worker.start_consumer()

    await wire.publish(a_body(type="FundsLaundered"), key="FundsLaundered")

    await until(lambda: wire.holds(1, topology.dead_letter_queue))
    (letter,) = await wire.letters()
    headers = letter.headers
    assert headers[names.ERROR_CLASS_HEADER] == "Poison"
    assert "FundsLaundered" in str(headers[names.ERROR_HEADER])
    assert headers[names.ATTEMPTS_HEADER] == 1
    assert headers[names.ORIGIN_QUEUE_HEADER] == topology.queue
    assert headers[names.ROUTING_KEY_HEADER] == "FundsLaundered"
    first, last = headers[names.FIRST_FAILED_HEADER], headers[names.LAST_FAILED_HEADER]
    assert before <= datetime.fromisoformat(str(first)) <= datetime.fromisoformat(str(last))
    assert letter.delivery_mode == 2


@pytest.mark.parametrize("attempts", [-7, 10**9, "many", True])
async def test_a_forged_count_of_attempts_stops_nobody(
    bank: "Bank",
    wire: "Wire",
    worker: "Worker",
    until: Until,
    topology: Topology,
    attempts: int | str,
) -> None:
    """Whatever stands in the header that counts attempts, the letter arrives."""
    await bank.deposit("w1")
    await bank.refuse_statistics_of("w1")
    worker.start_consumer()

    await wire.publish(a_body(), headers={names.ATTEMPTS_HEADER: attempts})

    await until(lambda: wire.holds(1, topology.dead_letter_queue))


async def test_letters_wait_for_their_queue(
    bank: "Bank", wire: "Wire", worker: "Worker", until: Until, topology: Topology
) -> None:
    """A letter that the broker cannot place is not lost: it is placed once there is a place."""
    worker.start_relay()
    worker.start_consumer()
    await bank.deposit("w1")
    await until(bank.is_quiet)
    await wire.use(lambda channel: channel.queue_delete(topology.dead_letter_queue))

    await wire.publish(b"poison")
    await until(lambda: wire.holds(0))
    await wire.declare()

    await until(lambda: wire.holds(1, topology.dead_letter_queue))


async def test_headers_that_cannot_be_sent_again_hold_nothing_up(
    bank: "Bank", wire: "Wire", worker: "Worker", until: Until, topology: Topology
) -> None:
    """A stranger's odd header is told in the letter as text; the message rests like any other."""
    worker.start_consumer()

    await wire.publish(b"not json", headers={"odd": bytearray(b"\xff"), "float": 0.5})

    await until(lambda: wire.holds(1, topology.dead_letter_queue))
    (letter,) = await wire.letters()
    assert letter.body == b"not json"
    assert isinstance(letter.headers["odd"], str)

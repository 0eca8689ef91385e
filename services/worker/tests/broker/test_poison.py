"""This module is where messages that nobody can read are laid to rest, byte by byte."""

import asyncio
import json
import random
from collections.abc import Awaitable, Callable
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

import pytest
from aio_pika.abc import AbstractChannel
from pamqp.commands import Basic
from structlog.testing import capture_logs

from wallet_common import topology as names
from wallet_common.topology import Topology
from wallet_letters.wire import WireTime
from wallet_tools.postgres import PostgresServer

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
    "five megabytes": a_body(type="Unknown", filling="x" * 5_000_000),
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


@pytest.mark.parametrize("lost", ["queue", "exchange"])
async def test_letters_wait_for_their_place(
    bank: "Bank", wire: "Wire", worker: "Worker", until: Until, topology: Topology, lost: str
) -> None:
    """A letter that the broker cannot place is not lost: the place is made again, for it."""
    worker.start_relay()
    worker.start_consumer()
    await bank.deposit("w1")
    await until(bank.is_quiet)
    await wire.publish(b"first")
    await until(lambda: wire.holds(1, topology.dead_letter_queue))
    if lost == "queue":
        await wire.use(lambda channel: channel.queue_delete(topology.dead_letter_queue))
    else:
        await wire.use(lambda channel: channel.exchange_delete(topology.dead_letter_exchange))

    with capture_logs() as said:
        await wire.publish(b"poison")
        await until(lambda: wire.holds(0))
        await until(lambda: wire.has_again(topology.dead_letter_queue))
        await until(lambda: wire.holds(1 if lost == "queue" else 2, topology.dead_letter_queue))

    assert (await wire.letters())[-1].body == b"poison"
    # What else was in hand stayed there: the consumer's channel lives.
    assert [each["event"] for each in said] == ["letters.wait", "letter.died"]


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


async def conclusions(bank: "Bank") -> list[object]:
    """Return what was concluded from the events, without the time at which it was."""
    flags = """
        SELECT wallet_id, event_id, rule_id, rule_version, reason, occurred_at,
            verdict::jsonb - 'flaggedAt' AS verdict
        FROM fraud_flags ORDER BY wallet_id, event_id, rule_id
    """
    return [*await bank.rows(flags), *await bank.rows("SELECT * FROM wallet_stats ORDER BY 1")]


def strewn(bodies: list[bytes]) -> list[bytes]:
    """Return each body newest first and twice more in any order, with the poison in between."""
    chance, again = random.Random(20), bodies * 2
    chance.shuffle(again)
    strewn = bodies[::-1] + again
    for poison in POISON.values():
        strewn.insert(chance.randrange(len(strewn)), poison)
    return strewn


async def is_only_poison(wire: "Wire") -> bool:
    """Whether no more lies there than the poison, which may still be on its way."""
    return await wire.depth(wire.topology.dead_letter_queue) <= len(POISON)


@pytest.mark.slow
async def test_no_disorder_changes_a_conclusion(
    bank: "Bank",
    wire: "Wire",
    worker: "Worker",
    postgres_server: PostgresServer,
    until: Until,
    stays: Until,
    topology: Topology,
) -> None:
    """Thrice, backwards, shuffled, amid poison, with two workers and a database that stops."""
    tapped = await wire.tap()
    parts = worker.start_relay(), worker.start_recovery(), worker.start_consumer()
    wallets = [f"w{number}" for number in range(10)]
    await bank.deposits(20, *wallets)
    for _ in range(5):
        await asyncio.gather(*(bank.withdraw(each) for each in wallets))
    await bank.abandon_transfer("w0", "w1", "7.00")
    await until(bank.is_quiet)
    in_order = await conclusions(bank)
    await worker.stop(*parts)
    bodies = [each.body for each in tapped if each.routing_key != "WalletFlagged"]
    await bank.execute("TRUNCATE processed_events, wallet_stats, fraud_flags")

    for _ in range(2):
        worker.start_consumer()
    disorder = strewn(bodies)
    middle = len(disorder) // 2
    await wire.publish(*disorder[:middle])
    await asyncio.to_thread(postgres_server.stop)
    await wire.publish(*disorder[middle:])
    await stays(lambda: is_only_poison(wire), 20)
    await asyncio.to_thread(postgres_server.start)

    await until(lambda: bank.lacks(0), 60)
    await until(lambda: wire.holds(0))
    await until(lambda: wire.holds(len(POISON), topology.dead_letter_queue))
    assert await conclusions(bank) == in_order
    for _ in range(2):
        await wire.publish(*bodies)
    worker.start_relay()
    await bank.deposit("last")
    await until(bank.is_quiet)
    await until(lambda: wire.holds(0))
    assert await bank.violations() == []
    await bank.execute("DELETE FROM wallet_stats WHERE wallet_id = 'last'")
    assert await conclusions(bank) == in_order
    assert sorted(each.body for each in await wire.letters()) == sorted(POISON.values())


async def test_a_time_beyond_every_calendar_stops_nobody(
    bank: "Bank", wire: "Wire", worker: "Worker", until: Until, topology: Topology
) -> None:
    """A property that the library would break at: the message is a letter, its neighbours apply."""
    when = WireTime.now(UTC)
    when.number = 2**64 - 1

    async def send(channel: AbstractChannel) -> None:
        await (await channel.get_underlay_channel()).basic_publish(
            b"out of time", routing_key=topology.queue, properties=Basic.Properties(timestamp=when)
        )

    await wire.use(send)
    worker.start_relay()
    await bank.deposits(5, "w1")

    worker.start_consumer()

    await until(bank.is_quiet)
    await until(lambda: wire.holds(1, topology.dead_letter_queue))
    assert await bank.violations() == []
    assert [letter.body for letter in await wire.letters()] == [b"out of time"]

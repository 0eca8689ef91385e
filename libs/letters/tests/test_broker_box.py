"""This module is where the broker's box meets what only a broker has: strangers, rivals, deaths."""

import struct
from collections.abc import Awaitable, Callable, Sequence
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, TypeVar

import aio_pika
import asyncpg
import pytest
from pamqp.commands import Basic

from wallet_common.topology import Topology
from wallet_db_orm.database import Database
from wallet_letters import acts, wire
from wallet_letters.broker import BrokerBox
from wallet_letters.letters import LettersAway, called
from wallet_letters.views import listed
from wallet_tools.ports import free_port

if TYPE_CHECKING:
    from libs.letters.tests.conftest import BrokerGrave

pytestmark = pytest.mark.broker

T = TypeVar("T")
Eventually = Callable[[Callable[[], Awaitable[Any]]], Awaitable[Any]]


def one(things: Sequence[T]) -> T:
    (thing,) = things
    return thing


async def test_ids_are_unique_whatever_the_message_ids(broker_grave: "BrokerGrave") -> None:
    """Shared, missing and unspeakable message ids: each letter has its own id."""
    for number, message_id in enumerate(["plain", "twin", "twin", "twin", None, "a/b c", "é"]):
        body = b"same" if message_id == "twin" and number > 1 else b"%d" % number
        await broker_grave.publish(aio_pika.Message(body, message_id=message_id))
    box = broker_grave.box()

    letters = await acts.look(box)

    ids = [each.id for each in letters]
    assert len(set(ids)) == 7
    assert ids[0] == "plain"
    assert [each.id for each in await acts.look(box)] == ids
    assert all(each.replace("~", "").replace(".", "").isalnum() for each in ids)
    assert all(called(letters, each.name) is each for each in letters)


async def test_a_name_stays_over_a_replay_and_another_death(
    broker_grave: "BrokerGrave", database: Database, eventually: Eventually
) -> None:
    """Whatever the worker and the broker note on it, it is the same letter."""
    topology = broker_grave.topology
    await broker_grave.publish(
        aio_pika.Message(
            b"odd",
            message_id="a/b",
            headers={
                "x-origin-queue": topology.queue,
                "x-original-routing-key": "FundsDeposited",
                "x-error": "no",
                "x-attempts": 4,
                "x-first-failed-at": "2026-01-31T12:00:00+00:00",
                "mine": 1,
            },
        )
    )
    first = one(await acts.look(broker_grave.box()))
    await acts.replay(broker_grave.box(), database, "alice", lambda rest: rest)

    queue = await broker_grave.channel.get_queue(topology.queue)
    await (await queue.get()).reject(requeue=False)

    again = one(await eventually(lambda: acts.look(broker_grave.box())))
    assert (again.id, again.name, again.replays) == (first.id, first.name, 1)


async def test_a_strangers_headers_hide_nobody(
    broker_grave: "BrokerGrave", database: Database
) -> None:
    """Times beyond every calendar, odd types, endless text: listed, and sent on as it came."""
    when = wire.WireTime.now(UTC)
    when.number = 2**64 - 1
    headers: Any = {
        "when": when,
        "raw": bytearray(b"\xff\x00"),
        "deep": {"a": [{"b": None}, 1.5]},
        "huge": "x" * 100_000,
        "x-attempts": "many",
        "x-replays": 2**40,
        "x-error": "red \x1b[31m\0",
        "x-first-failed-at": "yesterday",
    }
    underlay = await broker_grave.channel.get_underlay_channel()
    properties = Basic.Properties(
        message_id="odd", timestamp=when, headers=headers, priority=3, correlation_id="c"
    )
    await underlay.basic_publish(
        b"odd", routing_key=broker_grave.topology.dead_letter_queue, properties=properties
    )
    await broker_grave.lay(b"good")

    async with broker_grave.box().opened() as held:
        assert [item.size for item in listed(held).items] == [3, 4]
        odd = held.letters[0]
    assert odd.error.isprintable()
    assert (odd.id, odd.attempts, odd.first_failed_at) == ("odd", 0, None)
    await acts.replay(broker_grave.box(), database, "alice", lambda rest: rest[:1])

    back = one(await broker_grave.messages())
    assert (back.body, back.message_id, back.priority) == (b"odd", "odd", 3)
    assert back.timestamp.number == 2**64 - 1
    assert back.headers["huge"] == headers["huge"]
    assert "x-error" not in back.headers


async def test_what_the_broker_gave_up_on_tells_why(
    broker_grave: "BrokerGrave", eventually: Eventually
) -> None:
    """Dead-lettered by its delivery limit, a message has no headers of ours; `x-death` tells."""
    topology = broker_grave.topology
    exchange = await broker_grave.channel.get_exchange(topology.exchange)
    await exchange.publish(aio_pika.Message(b"killer"), "FundsWithdrawn")
    queue = await broker_grave.channel.get_queue(topology.queue)
    before = datetime.now(UTC)
    while (message := await queue.get(fail=False)) is not None:
        await message.nack(requeue=True)

    letter = one(await eventually(lambda: acts.look(broker_grave.box())))

    assert (letter.queue, letter.routing_key) == (topology.queue, "FundsWithdrawn")
    assert letter.error_class == "DeliveryLimit"
    assert letter.first_failed_at is not None
    assert abs((letter.first_failed_at - before).total_seconds()) < 60


async def test_what_died_alone_is_of_its_own_queue(
    broker_grave: "BrokerGrave", eventually: Eventually
) -> None:
    """Listed with the queue where it came from, and put back there."""
    topology = broker_grave.topology
    alone = await broker_grave.channel.get_queue(topology.alone_queue)
    out = broker_grave.channel.default_exchange
    await out.publish(aio_pika.Message(b"killer"), topology.alone_queue)
    await (await alone.get()).reject(requeue=False)

    letter = one(await eventually(lambda: acts.look(broker_grave.box())))

    assert letter.queue == topology.queue


async def test_a_lookers_death_changes_nothing(broker_grave: "BrokerGrave") -> None:
    """Killed with a thousand letters in hand, a looker leaves them all there, in their order."""
    bodies = [b"%d" % number for number in range(1_000)]
    await broker_grave.lay(*bodies)

    async with broker_grave.box().opened() as held:
        await held.put_back(held.letters[:10])
        connection: Any = held._channel.connection
        connection._writer_task.cancel()

    assert [each.body for each in await acts.look(broker_grave.box())] == bodies[10:]


async def test_a_letter_whose_queue_is_gone_stays(
    broker_grave: "BrokerGrave", database: Database, sql: asyncpg.Connection
) -> None:
    """Nobody would receive it, so it rests on; the reason is told, and in the log."""
    await broker_grave.publish(
        aio_pika.Message(b"lost", message_id="lost", headers={"x-origin-queue": "gone.q"}),
        aio_pika.Message(b"lost too", message_id="lost", headers={"x-origin-queue": "gone.q"}),
    )

    replayed = await acts.replay(broker_grave.box(), database, "alice", lambda rest: rest)

    assert replayed.done == 0
    assert set(replayed.refused.values()) == {"there is no queue gone.q"}
    assert len(await acts.look(broker_grave.box())) == 2
    refusals = "SELECT count(*) FROM operator_log WHERE act = 'letter.replay_refused'"
    assert await sql.fetchval(refusals) == 2


async def test_a_broker_that_is_away_is_told() -> None:
    """No broker, and no endless wait for one."""
    with pytest.raises(LettersAway, match="does not answer"):
        await acts.look(BrokerBox(f"amqp://a:b@127.0.0.1:{free_port()}/", Topology()))


async def test_a_queue_that_was_never_declared_is_told(broker_grave: "BrokerGrave") -> None:
    """The message says which queue lacks, and who declares it."""
    with pytest.raises(LettersAway, match=r"nowhere\.worker\.dlq"):
        await acts.look(BrokerBox(broker_grave.broker.url, Topology("nowhere")))


def test_headers_nested_without_end_are_read() -> None:
    """Below a depth that nobody needs the bytes are left as they are."""
    inner = b""
    for _ in range(2_000):
        inner = b"\x01\xffF" + struct.pack(">I", len(inner)) + inner
    wire.read_anything()

    end, found = wire._table(struct.pack(">I", len(inner)) + inner)

    assert end == len(inner) + 4
    assert list(found) == ["\\xff"]

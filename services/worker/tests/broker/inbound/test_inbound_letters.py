"""This module is where other services' messages have to wait, or are laid to rest."""

from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING

import aio_pika
import pytest
from aio_pika.abc import AbstractChannel

from wallet_common import topology as names
from wallet_common.topology import Topology

if TYPE_CHECKING:
    from services.worker.tests.broker.conftest import Wire
    from services.worker.tests.broker.inbound.conftest import Neighbour
    from services.worker.tests.conftest import Bank, Worker

pytestmark = pytest.mark.broker

Until = Callable[..., Awaitable[None]]


async def test_a_reversal_waits_and_then_happens(
    neighbour: "Neighbour", bank: "Bank", until: Until, wire: "Wire", topology: Topology
) -> None:
    """It goes through the tiers while the money lacks; there is money again before they end."""
    await neighbour.topup("t1", "ann", "10.00")
    await until(lambda: neighbour.answers("t1"))
    wallet_id = await bank.value("SELECT id FROM wallets")
    await bank.withdraw(wallet_id, "1.00")

    await neighbour.failure("t1")
    await until(lambda: wire.holds(3, topology.retry_queue(300, topology.revert_queue)))
    await bank.deposit(wallet_id, "1.00")

    await until(lambda: len(neighbour.answers("t1")) == 2)
    assert neighbour.answers("t1") == ["completed", "chargeback"]
    assert await neighbour.balance("ann") == 0


async def test_a_reversal_that_is_never_paid_rests_with_its_reason(
    neighbour: "Neighbour", bank: "Bank", until: Until, wire: "Wire", topology: Topology
) -> None:
    """After the tiers it is a letter that says what lacks; nothing is answered meanwhile."""
    await neighbour.topup("t1", "ann", "10.00")
    await until(lambda: neighbour.answers("t1"))
    await bank.withdraw(await bank.value("SELECT id FROM wallets"), "1.00")

    await neighbour.failure("t1")

    await until(lambda: wire.holds(3, topology.dead_letter_queue))
    headers = (await wire.letters())[0].headers
    assert headers[names.ERROR_CLASS_HEADER] == "NotPayable"
    assert "insufficient_funds, 1.00 USD are missing" in str(headers[names.ERROR_HEADER])
    assert headers[names.ATTEMPTS_HEADER] == 3
    assert headers[names.ORIGIN_QUEUE_HEADER] == topology.revert_queue
    assert headers[names.ROUTING_KEY_HEADER] == names.FAILURE_KEY
    assert neighbour.answers("t1") == ["completed"]


async def test_a_letter_that_is_put_back_takes_effect(
    neighbour: "Neighbour", bank: "Bank", until: Until, wire: "Wire", topology: Topology
) -> None:
    """Once the money is there, what was laid to rest is done, from the queue that it came from."""
    await neighbour.topup("t1", "ann", "10.00")
    await until(lambda: neighbour.answers("t1"))
    wallet_id = await bank.value("SELECT id FROM wallets")
    await bank.withdraw(wallet_id, "1.00")
    await neighbour.failure("t1")
    await until(lambda: wire.holds(3, topology.dead_letter_queue))
    letters = await wire.letters()
    await bank.deposit(wallet_id, "1.00")

    async def put_back(channel: AbstractChannel) -> None:
        for each in letters:
            queue = str(each.headers[names.ORIGIN_QUEUE_HEADER])
            await channel.default_exchange.publish(aio_pika.Message(each.body), queue)

    await wire.use(put_back)

    await until(lambda: len(neighbour.answers("t1")) == 2)
    await until(lambda: wire.holds(0, topology.revert_queue))
    assert await neighbour.balance("ann") == 0


UNREADABLE = {
    names.SIGN_UP_KEY: [b"", b"no json", b"[]", b"{}", b'{"userId":"a b"}', b'{"id":7}'],
    names.COMPLETION_KEY: [
        b"\xff\x00",
        b'{"transactionId":"p1","type":"topup","userId":"ann"}',
        b'{"transactionId":"p2","type":"payout","userId":"ann","amount":1}',
        b'{"transactionId":"p3","type":"topup","userId":"ann","amount":1.001}',
        b'{"transactionId":"p4","type":"transfer","userId":"ann","amount":1}',
    ],
    names.FAILURE_KEY: [b"null", b'{"type":"topup"}', b'{"transactionId":"' + b"x" * 999 + b'"}'],
}


async def test_poison_rests_with_its_origin_and_harms_no_other(
    neighbour: "Neighbour", bank: "Bank", until: Until, wire: "Wire", topology: Topology
) -> None:
    """Byte by byte, in the one dead letter queue; those behind it take effect."""
    for key, bodies in UNREADABLE.items():
        await neighbour.tell(key, *bodies)
    await neighbour.topup("t1", "ann")

    await until(lambda: neighbour.answers("t1"))
    expected = {
        (queue, key, body)
        for (key, bodies), queue in zip(UNREADABLE.items(), topology.inbound_queues, strict=True)
        for body in bodies
    }
    await until(lambda: wire.holds(len(expected), topology.dead_letter_queue))
    letters = await wire.letters()
    assert {
        (each.headers[names.ORIGIN_QUEUE_HEADER], each.routing_key, each.body) for each in letters
    } == expected
    assert {each.headers[names.ERROR_CLASS_HEADER] for each in letters} == {"Poison"}
    assert {each.headers[names.ATTEMPTS_HEADER] for each in letters} == {1}


async def test_a_held_wallet_dead_letters_nothing(
    neighbour: "Neighbour", bank: "Bank", until: Until, wire: "Wire", topology: Topology
) -> None:
    """While a stranger holds the wallet its messages come back uncounted, and others pass."""
    await neighbour.topup("t1", "ann")
    await until(lambda: neighbour.answers("t1"))
    stranger = await bank.session()
    async with stranger.transaction():
        await stranger.fetch("SELECT FROM wallets FOR UPDATE")
        await neighbour.topup("t2", "ann")
        retried = topology.retry_queue(100, topology.update_queue)
        await until(lambda: wire.holds(1, retried))
        await neighbour.topup("t3", "bob")
        await until(lambda: neighbour.answers("t3"))
    await stranger.close()

    await until(lambda: neighbour.answers("t2"))
    assert await wire.holds(0, topology.dead_letter_queue)
    assert await neighbour.balance("ann") == 2_000


async def test_events_leave_though_a_foreign_exchange_is_of_another_kind(
    wire: "Wire", worker: "Worker", bank: "Bank", until: Until, topology: Topology
) -> None:
    """What another service declared otherwise keeps none of our events from leaving."""

    async def misdeclare(channel: AbstractChannel) -> None:
        await channel.declare_exchange(topology.transaction_exchange, "fanout", durable=True)

    await wire.use(misdeclare)
    worker.start_relay()
    worker.start_consumer()

    await bank.deposit("w1")

    await until(bank.is_quiet)

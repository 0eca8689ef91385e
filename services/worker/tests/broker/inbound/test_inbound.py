"""This module is where other services' messages take effect, and our answers go out."""

import itertools
import json
from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING

import aio_pika
import pytest
from aio_pika.abc import AbstractChannel
from pamqp.common import FieldTable

from wallet_common.topology import ANSWER_KEY, Topology
from wallet_worker.settlement import Terms

if TYPE_CHECKING:
    from services.worker.tests.broker.conftest import Wire
    from services.worker.tests.broker.inbound.conftest import Neighbour
    from services.worker.tests.conftest import Bank, Worker

pytestmark = pytest.mark.broker

Until = Callable[..., Awaitable[None]]


async def test_a_sign_up_makes_a_wallet(
    neighbour: "Neighbour", bank: "Bank", until: Until, wire: "Wire", topology: Topology
) -> None:
    """One for each user, though each sign-up was sent three times, with nothing on it."""
    await neighbour.sign_up("ann", "bob")

    await until(lambda: bank.value("SELECT count(*) = 2 FROM wallets"))
    await until(lambda: wire.holds(0, topology.user_queue))
    assert await neighbour.balance("ann") == await neighbour.balance("bob") == 0


async def test_an_opening_balance_comes_from_outside(
    stranger: "Neighbour",
    wire: "Wire",
    worker: "Worker",
    bank: "Bank",
    until: Until,
    topology: Topology,
) -> None:
    """It is a posting like any other, once."""
    worker.terms = Terms("USD", opening_balance=worker.rules.large_threshold)
    worker.start_inbound()
    await until(lambda: stranger.is_consumed(topology.user_queue))

    await stranger.sign_up("ann")

    await until(lambda: bank.value("SELECT count(*) > 0 FROM ledger_entries"))
    await until(lambda: wire.holds(0, topology.user_queue))
    assert await bank.rows("SELECT type, counter_account, amount_minor FROM ledger_entries") == [
        {"type": "deposit", "counter_account": "@external", "amount_minor": 1_000_000}
    ]


async def test_transactions_move_money_and_are_answered(
    neighbour: "Neighbour", bank: "Bank", until: Until
) -> None:
    """A top-up in cents of a double, then a transfer: once each, though told three times."""
    await neighbour.sign_up("ann", "bob")
    await until(lambda: bank.value("SELECT count(*) = 2 FROM wallets"))

    await neighbour.topup("t1", "ann", 0.29)
    await neighbour.topup("t2", "ann", "10.00")
    await until(lambda: neighbour.answers("t2"))
    await neighbour.transfer("t3", "ann", "bob", "4.29")
    await until(lambda: neighbour.answers("t3"))

    await until(bank.is_quiet)
    assert [neighbour.answers(name) for name in ("t1", "t2", "t3")] == [["completed"]] * 3
    assert (await neighbour.balance("ann"), await neighbour.balance("bob")) == (600, 429)
    answer = neighbour.heard[-1]
    assert answer.routing_key == "wallet.transactionFinalized"
    told = json.loads(answer.body)
    assert told.pop("finalizedAt").endswith("Z")
    assert told == {
        "transactionId": "t3",
        "userId": "ann",
        "status": "completed",
        "success": True,
        "reason": None,
    }
    rows = await bank.rows("SELECT DISTINCT method, url, principal, trace_id FROM api_audit")
    assert {row["trace_id"] for row in rows} == {"trace-1"}
    assert {row["url"] for row in rows} == {
        f"{exchange}/{key}" for key, exchange in neighbour.exchanges.items() if "failed" not in key
    }


async def test_failures_undo_what_was_done(
    neighbour: "Neighbour", bank: "Bank", until: Until
) -> None:
    """After a top-up, after a transfer, and before either: no money is anywhere it was not."""
    await neighbour.sign_up("ann", "bob")
    await until(lambda: bank.value("SELECT count(*) = 2 FROM wallets"))
    await neighbour.topup("t1", "ann")
    await until(lambda: neighbour.answers("t1"))
    await neighbour.transfer("t2", "ann", "bob")
    await neighbour.failure("t3")
    await until(lambda: neighbour.answers("t2") and neighbour.answers("t3"))

    await neighbour.failure("t2")
    await until(lambda: len(neighbour.answers("t2")) == 2)
    await neighbour.failure("t1")
    await neighbour.topup("t3", "ann")

    await until(lambda: len(neighbour.answers("t1")) == len(neighbour.answers("t3")) == 2)
    assert neighbour.answers("t1") == neighbour.answers("t2") == ["completed", "chargeback"]
    assert neighbour.answers("t3") == ["chargeback", "chargeback"]
    await until(bank.is_quiet)
    assert (await neighbour.balance("ann"), await neighbour.balance("bob")) == (0, 0)


async def test_what_cannot_be_paid_has_failed(
    neighbour: "Neighbour", bank: "Bank", until: Until
) -> None:
    """No money, no such user: nothing moves, and the answer says why."""
    await neighbour.sign_up("ann", "bob")
    await until(lambda: bank.value("SELECT count(*) = 2 FROM wallets"))

    await neighbour.transfer("t1", "ann", "bob")
    await neighbour.transfer("t2", "ann", "eve")

    await until(lambda: neighbour.answers("t1") and neighbour.answers("t2"))
    assert neighbour.answers("t1") == ["insufficient_funds"]
    assert neighbour.answers("t2") == ["recipient_not_found"]
    assert await bank.value("SELECT count(*) FROM ledger_entries") == 0


async def test_what_concerns_one_user_is_done_in_its_order(
    neighbour: "Neighbour", bank: "Bank", until: Until
) -> None:
    """Each pays on at once what the one before has just got: nobody lacks anything."""
    users = [f"u{number}" for number in range(20)]
    await neighbour.sign_up(*users)
    bodies = [{"transactionId": "first", "type": "topup", "userId": "u0", "amount": 10}] + [
        {"transactionId": f"t{at}", "type": "transfer", "userId": payer, "recipientId": payee}
        | {"amount": "10.00"}
        for at, (payer, payee) in enumerate(itertools.pairwise(users))
    ]

    await neighbour.tell("transaction.completed", *(json.dumps(each).encode() for each in bodies))

    names = [str(each["transactionId"]) for each in bodies]
    await until(lambda: all(neighbour.answers(name) for name in names), 30)
    assert {answer for name in names for answer in neighbour.answers(name)} == {"completed"}
    assert await neighbour.balance("u19") == 1000


async def test_a_transfer_may_arrive_before_the_sign_up(
    neighbour: "Neighbour", bank: "Bank", until: Until
) -> None:
    """Queues overtake each other: whose wallet lacks is asked for once more before it fails."""
    await neighbour.topup("t1", "ann")
    await until(lambda: neighbour.answers("t1"))

    await neighbour.transfer("t2", "ann", "bob")
    await neighbour.sign_up("bob")

    await until(lambda: neighbour.answers("t2"))
    assert neighbour.answers("t2") == ["completed"]


async def test_answers_that_nobody_takes_hold_up_no_event(
    neighbour: "Neighbour", bank: "Bank", wire: "Wire", until: Until, topology: Topology
) -> None:
    """Another service's queue is full: our events leave, what was refused leaves when it can."""
    name = f"{topology.exchange}.full"

    async def fill(channel: AbstractChannel) -> None:
        limits: FieldTable = {"x-max-length": 1, "x-overflow": "reject-publish"}
        full = await channel.declare_queue(name, arguments=limits)
        await channel.default_exchange.publish(aio_pika.Message(b"stone"), name)
        await full.bind(topology.transaction_exchange, ANSWER_KEY)

    await wire.use(fill)
    await neighbour.sign_up("ann")
    await until(lambda: bank.value("SELECT count(*) = 1 FROM wallets"))
    for number in range(10):
        await neighbour.topup(f"t{number}", "ann")
    await until(lambda: bank.value("SELECT count(*) = 10 FROM ledger_entries"))

    await bank.deposits(50, "w1", "w2")

    await until(lambda: bank.lacks(0))
    answers = "SELECT count(*) FROM outbox WHERE answer IS NOT NULL"
    assert await bank.value(answers) == await bank.pending() == 10
    await wire.use(lambda channel: channel.queue_delete(name))
    await until(bank.has_sent_all)
    assert all("completed" in neighbour.answers(f"t{number}") for number in range(10))

"""This module is where other services' users and transactions take effect in the books."""

from typing import TYPE_CHECKING

import pytest

from tests.orders import asked_for, freezing
from wallet_common.errors import NotPayable, Poison
from wallet_common.money import parse_amount

if TYPE_CHECKING:
    from services.worker.tests.conftest import Bank
    from services.worker.tests.settlement.conftest import Service


async def freeze(bank: "Bank", owner_id: str) -> None:
    wallet_id = await bank.value(f"SELECT id FROM wallets WHERE owner_id = '{owner_id}'")
    command = freezing(wallet_id)
    await bank.lanes.submit(asked_for(command))


async def test_a_sign_up_opens_one_wallet(service: "Service", bank: "Bank") -> None:
    """However often it is told; without an opening balance no money moves."""
    for _ in range(3):
        await service.sign_up("ann")

    rows = await bank.rows("SELECT owner_id, currency, balance_minor FROM wallets")
    assert rows == [{"owner_id": "ann", "currency": "USD", "balance_minor": 0}]
    assert await service.entries() == []


async def test_an_opening_balance_comes_once(service: "Service") -> None:
    """Also when it was another amount the first time."""
    for amount in ("5.00", "5.00", "7.00"):
        await service.user("ann", amount)

    assert await service.balance("ann") == "5.00"
    assert await service.entries() == ["deposit"]


async def test_a_wallet_that_was_opened_otherwise_is_the_users(
    service: "Service", bank: "Bank"
) -> None:
    """A sign-up finds the wallet that a top-up opened before it, and adds the opening balance."""
    await service.topup("t1", "ann", "3.00", opening_balance=parse_amount("5"))
    assert await service.balance("ann") == "3.00"

    await service.user("ann", "5.00")

    assert await service.balance("ann") == "8.00"
    assert await bank.value("SELECT count(*) FROM wallets") == 1


async def test_a_topup_is_a_deposit_once(service: "Service", bank: "Bank") -> None:
    """Told three times it moved money once and is answered once; the entry says which it was."""
    await service.sign_up("ann")

    for _ in range(3):
        await service.topup("t1", "ann", "10.00")

    assert await service.balance("ann") == "10.00"
    assert await service.answers("t1") == ["completed"]
    (entry,) = await bank.rows("SELECT reference, request_id, trace_id FROM ledger_entries")
    assert entry["reference"] == "t1"
    assert entry["trace_id"] == "trace"
    assert " " in entry["request_id"]


async def test_a_transfer_moves_money_between_users(service: "Service") -> None:
    """From one to the other, once."""
    await service.user("ann", "10.00")
    await service.sign_up("bob")

    for _ in range(3):
        await service.transfer("t1", "ann", "bob", "4.00")

    assert await service.balance("ann") == "6.00"
    assert await service.balance("bob") == "4.00"
    assert await service.answers("t1") == ["completed"]


async def test_what_cannot_be_done_has_failed_with_a_reason(
    service: "Service", bank: "Bank"
) -> None:
    """No funds, no sender, no recipient, nobody else, no wallet, a frozen one: nothing moves."""
    await service.user("ann", "10.00")
    await service.sign_up("bob")

    await service.transfer("poor", "bob", "ann")
    await service.transfer("senderless", "eve", "ann")
    await service.transfer("recipientless", "ann", "eve")
    await service.transfer("selfish", "ann", "ann")
    await service.topup("walletless", "eve", opens_late=False)
    await freeze(bank, "bob")
    await service.topup("frozen", "bob")

    assert await service.answers("poor") == ["insufficient_funds"]
    assert await service.answers("senderless") == ["wallet_not_found"]
    assert await service.answers("recipientless") == ["recipient_not_found"]
    assert await service.answers("selfish") == ["same_wallet"]
    assert await service.answers("walletless") == ["wallet_not_found"]
    assert await service.answers("frozen") == ["wallet_frozen"]
    assert await service.entries() == ["deposit"]


async def test_a_refusal_stands(service: "Service") -> None:
    """A transfer that could not be paid stays failed though it could be paid now."""
    await service.sign_up("ann")
    await service.sign_up("bob")
    await service.transfer("t1", "ann", "bob")
    await service.topup("t2", "ann")

    await service.transfer("t1", "ann", "bob")

    assert await service.balance("ann") == "10.00"
    assert await service.answers("t1") == ["insufficient_funds"]


async def test_another_transaction_of_the_same_id_is_poison(service: "Service") -> None:
    """One id, one transaction: another amount or user moves nothing."""
    await service.topup("t1", "ann", "10.00")

    with pytest.raises(Poison, match="amount_minor"):
        await service.topup("t1", "ann", "11.00")
    with pytest.raises(Poison, match="user_id"):
        await service.topup("t1", "eve", "10.00")

    assert await service.entries() == ["deposit"]
    assert await service.answers("t1") == ["completed"]


async def test_a_failure_that_comes_first_is_the_last_word(service: "Service") -> None:
    """No money moves, whatever comes later; both messages are answered."""
    await service.sign_up("ann")
    for _ in range(2):
        await service.failure("t1", "declined")

    for _ in range(2):
        await service.topup("t1", "ann")

    assert await service.balance("ann") == "0.00"
    assert await service.answers("t1") == ["declined", "declined"]


async def test_a_failed_topup_opens_no_wallet(service: "Service") -> None:
    """Whoever was never a customer does not become one by what failed."""
    await service.failure("t1")

    await service.topup("t1", "ann")

    assert await service.balance("ann") is None


async def test_a_topup_is_taken_back_once(service: "Service", bank: "Bank") -> None:
    """By an entry of its own that says what it reverses; the other messages change nothing."""
    await service.topup("t1", "ann", "10.00")

    for _ in range(3):
        await service.failure("t1")
        await service.topup("t1", "ann", "10.00")

    assert await service.balance("ann") == "0.00"
    assert await service.entries() == ["deposit", "deposit_reversal"]
    assert await service.answers("t1") == ["completed", "chargeback"]
    sql = "SELECT payload ->> $1 FROM events WHERE type = 'DepositReversed'"
    deposit = await bank.value("SELECT operation_id FROM ledger_entries WHERE type = 'deposit'")
    assert await bank.value(sql, "reversedOperationId") == str(deposit)
    assert await bank.value(sql, "reason") == "chargeback"


@pytest.mark.parametrize("frozen", [(), ("ann", "bob")])
async def test_a_transfer_is_taken_back_once(
    service: "Service", bank: "Bank", frozen: tuple[str, ...]
) -> None:
    """By a transfer that names it, whatever became of the two wallets meanwhile."""
    await service.user("ann", "10.00")
    await service.sign_up("bob")
    await service.transfer("t1", "ann", "bob", "4.00")
    for owner_id in frozen:
        await freeze(bank, owner_id)

    for _ in range(3):
        await service.failure("t1")

    assert await service.balance("ann") == "10.00"
    assert await service.balance("bob") == "0.00"
    assert await service.answers("t1") == ["completed", "chargeback"]
    sql = "SELECT id, reverses, state FROM transfers ORDER BY initiated_at"
    first, back = await bank.rows(sql)
    assert (first["reverses"], back["reverses"]) == (None, first["id"])
    assert {first["state"], back["state"]} == {"completed"}


async def test_a_reversal_waits_for_money(service: "Service") -> None:
    """What was spent cannot be taken back yet; once there is money again it is, once."""
    await service.user("ann", "0.50")
    await service.sign_up("bob")
    await service.topup("t1", "ann", "10.00")
    await service.transfer("t2", "ann", "bob", "8.00")
    await service.transfer("t3", "bob", "ann", "7.50")
    await service.transfer("t4", "ann", "bob", "9.00")

    with pytest.raises(NotPayable, match=r"insufficient_funds, 9\.00 USD"):
        await service.failure("t1")
    with pytest.raises(NotPayable, match=r"6\.50 USD"):
        await service.failure("t3")
    assert await service.answers("t1") == ["completed"]

    await service.topup("t5", "ann", "20.00")
    for name in ("t1", "t3"):
        await service.failure(name)
        await service.failure(name)

    assert await service.answers("t1") == await service.answers("t3") == ["completed", "chargeback"]
    assert await service.balance("ann") == "3.50"


async def test_held_money_is_not_taken_back(service: "Service", bank: "Bank") -> None:
    """A hold binds what a reversal would need."""
    await service.topup("t1", "ann", "10.00")
    await bank.execute("UPDATE wallets SET held_minor = 1 WHERE owner_id = 'ann'")

    with pytest.raises(NotPayable):
        await service.failure("t1")

    await bank.execute("UPDATE wallets SET held_minor = 0 WHERE owner_id = 'ann'")
    await service.failure("t1")
    assert await service.balance("ann") == "0.00"


async def test_a_transfer_that_came_back_by_itself_is_not_taken_back(
    service: "Service", bank: "Bank"
) -> None:
    """It moved nothing in the end; its failure says no more than that."""
    await service.user("ann", "10.00")
    await service.user("bob", "92233720368547758.07")
    await service.transfer("t1", "ann", "bob")

    await service.failure("t1")

    assert await service.balance("ann") == "10.00"
    assert await service.answers("t1") == ["balance_limit_exceeded", "balance_limit_exceeded"]
    assert await bank.value("SELECT count(*) FROM transfers") == 1


async def test_each_message_leaves_its_audit_row(service: "Service", bank: "Bank") -> None:
    """Whether or not it moved money, with its body, and on the event of what it did."""
    await service.sign_up("ann")
    await service.topup("t1", "ann")
    await service.failure("t1")
    await service.failure("never")

    rows = await bank.rows("SELECT * FROM api_audit ORDER BY id")
    assert [row["request_id"] for row in rows] == [None, "t1", "t1", "never"]
    assert {(row["method"], row["url"], row["principal"]) for row in rows} == {
        ("AMQP", "exchange/key", "exchange")
    }
    assert b'"topup"' in rows[1]["body"]
    told = await bank.rows("SELECT type, audit_id FROM events ORDER BY wallet_version")
    assert [(each["type"], each["audit_id"]) for each in told] == [
        ("WalletCreated", rows[0]["id"]),
        ("FundsDeposited", rows[1]["id"]),
        ("DepositReversed", rows[2]["id"]),
    ]


async def test_a_reversal_has_left_and_is_no_withdrawal(service: "Service", bank: "Bank") -> None:
    """Three large reversals at once raise no flag."""
    for number in range(3):
        await service.topup(f"t{number}", "ann", "20000.00")
        await service.failure(f"t{number}")

    assert await service.balance("ann") == "0.00"
    assert await bank.value("SELECT count(*) FROM fraud_flags") == 0

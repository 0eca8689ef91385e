"""This module is where rows are forged that constraints refuse: who drops those is seen as well."""

from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from libs.db_orm.tests.conftest import Books, Ledger
    from libs.db_orm.tests.verify.conftest import Forged

Dropped = Callable[[str, tuple[str, ...]], AbstractAsyncContextManager[None]]

SECOND = "wallet_id = 'cid' AND wallet_version = 2"
SIGNS = ("ck_ledger_entries_type_sign_and_counter",)
COVERED = ("ck_wallets_above_its_floor",)
HELD = ("ck_wallets_held_not_negative",)
# The table, those of its constraints that refuse it, the forgery, what it breaks besides L6, and
# one of these with the place that it tells.
FORGED: dict[str, tuple[str, tuple[str, ...], str, set[str], str, dict[str, Any]]] = {
    "an entry that moves nothing": (
        "ledger_entries",
        SIGNS,
        f"UPDATE ledger_entries SET amount_minor = 0 WHERE {SECOND}",
        {"M1", "M2", "M3", "M5", "E1", "H1"},
        "M2",
        {"walletId": "cid", "walletVersion": 2},
    ),
    "an entry whose other leg is not where its type has it": (
        "ledger_entries",
        ("ck_ledger_entries_transfer_named",),
        f"UPDATE ledger_entries SET transfer_id = gen_random_uuid() WHERE {SECOND}",
        {"M2", "E1", "H1", "S3", "S5", "S7"},
        "M2",
        {"walletId": "cid", "walletVersion": 2},
    ),
    "a deposit that says it is a withdrawal": (
        "ledger_entries",
        SIGNS,
        f"UPDATE ledger_entries SET type = 'withdraw' WHERE {SECOND}",
        {"M2", "K8", "E1", "H1"},
        "M2",
        {"walletId": "cid", "walletVersion": 2},
    ),
    "a negative balance": (
        "wallets",
        (*COVERED, *HELD),
        "UPDATE wallets SET balance_minor = -1, held_minor = -1 WHERE id = 'cid'",
        {"M1", "M3", "M4", "M12", "B1"},
        "M4",
        {"walletId": "cid", "walletVersion": 3},
    ),
    "more held than is there": (
        "wallets",
        COVERED,
        "UPDATE wallets SET held_minor = balance_minor + 1 WHERE id = 'cid'",
        {"M4", "B1"},
        "M4",
        {"walletId": "cid", "walletVersion": 3},
    ),
    "something held, though nothing binds it": (
        "wallets",
        (),
        "UPDATE wallets SET held_minor = balance_minor WHERE id = 'cid'",
        {"B1"},
        "B1",
        {"walletId": "cid"},
    ),
    "less than nothing held": (
        "wallets",
        HELD,
        "UPDATE wallets SET held_minor = -1 WHERE id = 'cid'",
        {"M4", "B1"},
        "M4",
        {"walletId": "cid", "walletVersion": 3},
    ),
    "a balance that once was negative": (
        "ledger_entries",
        (),
        f"UPDATE ledger_entries SET balance_after_minor = -1 WHERE {SECOND}",
        {"M5", "E1", "H1", "K8"},
        "M5",
        {"walletId": "cid", "walletVersion": 2},
    ),
    "a key with two operations": (
        "operations",
        ("pk_operations",),
        (
            "INSERT INTO operations SELECT wallet_id, request_id, gen_random_uuid(), type, meaning,"
            " outcome, trace_id, audit_id, occurred_at FROM operations"
            " WHERE wallet_id = 'bob' AND outcome ->> 'type' = 'rejected'"
        ),
        {"K1"},
        "K1",
        {"walletId": "bob"},
    ),
}


@pytest.fixture
def dropped(books: "Books") -> Dropped:
    """Return how to do without some of a table's constraints until the block ends."""

    @asynccontextmanager
    async def drop(table: str, names: tuple[str, ...]) -> AsyncIterator[None]:
        rows = await books.rows(
            "SELECT conname AS name, pg_get_constraintdef(oid) AS definition FROM pg_constraint"
            " WHERE conrelid = $1::text::regclass AND conname = ANY($2)",
            *(table, names),
        )
        for each in rows:
            await books.execute(f"ALTER TABLE {table} DROP CONSTRAINT {each['name']}")
        yield
        for each in rows:
            added = f"ADD CONSTRAINT {each['name']} {each['definition']}"
            await books.execute(f"ALTER TABLE {table} {added}")

    return drop


async def test_what_a_constraint_refused_is_seen_without_it(
    good: "Ledger", dropped: Dropped, forged: "Forged"
) -> None:
    """The row is named by its own invariant, and each constraint that let it in by L6."""
    for name, (table, constraints, forgery, broken, invariant, place) in FORGED.items():
        async with dropped(table, constraints), forged(table, forgery):
            violations = await good.violations()

        gone = {"walletId": None, "table": table, "is": "missing"}
        assert violations.pop("L6", []) == [gone | {"constraint": each} for each in constraints], (
            name
        )
        assert set(violations) == broken, name
        (found,) = violations[invariant]
        assert found.items() >= place.items(), name
    assert await good.violations(at_rest=True) == {}


# What no constraint refuses: the rows agree with the rules of their own table.
ALLOWED: dict[str, tuple[str, str, set[str], str, dict[str, Any]]] = {
    "an event that tells a hundred times the amount": (
        "events",
        (
            "UPDATE events SET payload = replace(replace(payload::text, '\"50.00\"',"
            f" '\"5000\"'), '\"0.00\"', '\"0\"')::json WHERE {SECOND}"
        ),
        {"E1"},
        "E1",
        {"walletId": "cid", "walletVersion": 2},
    ),
    "one operation with two entries": (
        "ledger_entries",
        (
            "UPDATE ledger_entries AS l SET operation_id = b.operation_id FROM ledger_entries AS b"
            " WHERE b.wallet_id = 'cid' AND b.wallet_version = 2"
            " AND l.wallet_id = 'cid' AND l.wallet_version = 3"
        ),
        {"K1", "K8", "E1", "H1"},
        "K1",
        {"walletId": "cid", "walletVersion": 3},
    ),
    "an operation under another key": (
        "operations",
        "UPDATE operations SET request_id = 'forged' WHERE wallet_id = 'yen'",
        {"K8", "A7", "A8"},
        "K8",
        {"walletId": "yen", "requestId": "forged", "walletVersion": 2},
    ),
    "an operation that another key has too": (
        "operations",
        (
            "INSERT INTO operations SELECT wallet_id, 'forged', operation_id, type, meaning,"
            " outcome, trace_id, audit_id, occurred_at FROM operations WHERE wallet_id = 'yen'"
        ),
        {"K8", "A7"},
        "K8",
        {"walletId": "yen", "requestId": "forged", "walletVersion": 2},
    ),
    "a transfer that arrived in another currency": (
        "ledger_entries",
        (
            "UPDATE ledger_entries SET currency = 'EUR'"
            " WHERE wallet_id = 'bob' AND type = 'transfer_credit'"
        ),
        {"M1", "M7", "E1", "H1", "S3"},
        "M7",
        {"walletId": "bob"},
    ),
    "a transfer that came back in another currency": (
        "ledger_entries",
        (
            "UPDATE ledger_entries SET currency = 'EUR'"
            " WHERE wallet_id = 'bob' AND type = 'transfer_refund'"
        ),
        {"M1", "M7", "E1", "H1", "S3"},
        "M7",
        {"walletId": "bob"},
    ),
    "a transfer in another currency than its entries": (
        "transfers",
        "UPDATE transfers SET currency = 'EUR' WHERE from_wallet_id = 'ann'",
        {"S3"},
        "S3",
        {"walletId": "ann", "state": "completed"},
    ),
    "a transfer that arrived twice": (
        "ledger_entries",
        (
            "UPDATE ledger_entries AS l SET type = 'transfer_credit', counter_account = '@transit',"
            " transfer_id = t.id FROM transfers AS t"
            f" WHERE t.from_wallet_id = 'ann' AND {SECOND}"
        ),
        {"S3", "S4", "S5", "K8", "E1", "H1"},
        "S4",
        {"walletId": "ann", "state": "completed"},
    ),
    "a transfer that was taken twice": (
        "ledger_entries",
        (
            "UPDATE ledger_entries AS l SET type = 'transfer_debit', counter_account = '@transit',"
            " transfer_id = t.id FROM transfers AS t WHERE t.from_wallet_id = 'ann'"
            " AND wallet_id = 'ann' AND wallet_version = 3"
        ),
        {"S3", "S4", "S5", "K8", "E1", "H1"},
        "S4",
        {"walletId": "ann", "state": "completed"},
    ),
    "a transfer that came back twice": (
        "ledger_entries",
        (
            "UPDATE ledger_entries AS l SET type = 'transfer_refund', counter_account = '@transit',"
            " transfer_id = t.id FROM transfers AS t"
            " WHERE t.from_wallet_id = 'bob' AND wallet_id = 'bob' AND wallet_version = 2"
        ),
        {"S3", "S4", "S5", "K8", "E1", "H1"},
        "S4",
        {"walletId": "bob", "state": "failed"},
    ),
    "a transfer whose arrival is told twice": (
        "events",
        (
            "UPDATE events AS e SET type = 'TransferCredited', transfer_id = t.id"
            f" FROM transfers AS t WHERE t.from_wallet_id = 'ann' AND {SECOND}"
        ),
        {"S2", "S4", "E1"},
        "S4",
        {"walletId": "ann", "state": "completed"},
    ),
}


async def test_what_no_constraint_refuses_is_seen(good: "Ledger", forged: "Forged") -> None:
    """Exactly the invariants that it contradicts tell it, and name the place."""
    for name, (table, forgery, broken, invariant, place) in ALLOWED.items():
        async with forged(table, forgery):
            violations = await good.violations()

        assert set(violations) == broken, name
        (found,) = violations[invariant]
        assert found.items() >= place.items(), name
    assert await good.violations(at_rest=True) == {}

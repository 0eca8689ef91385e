"""This module is where the database asserts the core's rules a second time."""

from typing import TYPE_CHECKING

import asyncpg

from libs.db_orm.tests.good_rows import ARCHIVED, GOOD, NOW, STATS, WALLET

if TYPE_CHECKING:
    from libs.db_orm.tests.conftest import Books

ENDED = {"finished_at": NOW}
IN_TRANSIT = {"counter_account": "'@transit'", "transfer_id": "gen_random_uuid()"}
OF_A_TRANSFER = {"transfer_id": "gen_random_uuid()"}
TERMS = {
    "quote_id": "gen_random_uuid()",
    "rate": "'0.5'",
    "to_currency": "'EUR'",
    "to_amount_minor": "50",
    "residue": "'0'",
}
BAD: list[tuple[str, str, dict[str, str]]] = [
    ("wallets", "held_not_negative", {"held_minor": "-1"}),
    ("wallets", "above_its_floor", {"balance_minor": "-1"}),
    ("wallets", "above_its_floor", {"held_minor": "101"}),
    ("wallets", "above_its_floor", {"floor_minor": "1"}),
    ("wallets", "version_positive", {"version": "0"}),
    ("wallets", "currency_code", {"currency": "'usd'"}),
    ("wallets", "currency_code", {"currency": "'USDT'"}),
    ("wallets", "currency_code", {"currency": "'BTC.19'"}),
    ("wallets", "status_known", {"status": "'dormant'"}),
    ("wallets", "frozen_some_way", {"frozen": "'in'"}),
    ("wallets", "frozen_some_way", {"status": "'frozen'", "frozen": "'up'"}),
    ("wallets", "head_is_a_hash", {"head": "'short'"}),
    ("ledger_entries", "hash_is_a_hash", {"hash": "'short'"}),
    ("audit_seals", "counts", {"seal": "0"}),
    ("audit_seals", "counts", {"ids": "'{}'", "digests": "''"}),
    ("audit_seals", "a_digest_each", {"digests": "'short'"}),
    ("audit_seals", "hash_is_a_hash", {"hash": "'short'"}),
    ("checkpoints", "counted", {"checkpoint": "0"}),
    ("checkpoint_heads", "head_is_a_hash", {"head": "'short'"}),
    ("operations", "request_id_length", {"request_id": "''"}),
    ("operations", "request_id_length", {"request_id": "repeat('x', 129)"}),
    ("ledger_entries", "type_sign_and_counter", {"amount_minor": "0"}),
    ("ledger_entries", "type_sign_and_counter", {"amount_minor": "-1"}),
    ("ledger_entries", "type_sign_and_counter", {"type": "'withdraw'"}),
    ("ledger_entries", "type_sign_and_counter", {"type": "'deposit_reversal'"}),
    ("ledger_entries", "type_sign_and_counter", {"type": "'hold_capture'"}),
    (
        *("ledger_entries", "type_sign_and_counter"),
        {"type": "'withdraw_reversal'", "amount_minor": "-1"},
    ),
    ("ledger_entries", "type_sign_and_counter", {"type": "'gift'"}),
    ("ledger_entries", "type_sign_and_counter", IN_TRANSIT),
    ("ledger_entries", "type_sign_and_counter", {"type": "'transfer_debit'"} | IN_TRANSIT),
    ("ledger_entries", "type_sign_and_counter", {"type": "'transfer_credit'"}),
    (
        *("ledger_entries", "type_sign_and_counter"),
        {"type": "'transfer_refund'", "amount_minor": "-1"} | IN_TRANSIT,
    ),
    ("ledger_entries", "transfer_named", {"transfer_id": "gen_random_uuid()"}),
    (
        *("ledger_entries", "transfer_named"),
        {"type": "'transfer_credit'", "counter_account": "'@transit'"},
    ),
    ("reversals", "part_of_the_original", {"amount_minor": "0"}),
    ("reversals", "part_of_the_original", {"amount_minor": "2"}),
    (
        *("ledger_entries", "type_sign_and_counter"),
        {"type": "'transfer_credit'", "counter_account": "'@fx:EUR'"} | OF_A_TRANSFER,
    ),
    ("ledger_entries", "type_sign_and_counter", {"counter_account": "'@fx:USD'"} | OF_A_TRANSFER),
    (
        *("ledger_entries", "transfer_named"),
        {"type": "'transfer_credit'", "counter_account": "'@fx:USD'"},
    ),
    ("transfers", "terms_whole", {"quote_id": "gen_random_uuid()"}),
    ("transfers", "terms_whole", TERMS | {"to_currency": "'USD'"}),
    ("transfers", "terms_whole", TERMS | {"to_amount_minor": "0"}),
    ("ledger_entries", "type_sign_and_counter", {"type": "'fee'", "counter_account": "'@fees'"}),
    (
        *("ledger_entries", "type_sign_and_counter"),
        {"type": "'fee_refund'", "counter_account": "'@fees'", "amount_minor": "-1"},
    ),
    ("transfers", "fee_not_negative", {"fee_minor": "-1"}),
    ("fee_schedules", "operation_known", {"operation": "'hold'"}),
    ("fee_schedules", "percent_is_one", {"percent": "'0'"}),
    ("fee_schedules", "percent_is_one", {"percent": "'101'"}),
    ("fee_schedules", "percent_is_one", {"percent": "'1e1'"}),
    ("fee_schedules", "bounds_make_sense", {"flat_minor": "-1"}),
    ("fee_schedules", "bounds_make_sense", {"min_minor": "-1"}),
    ("fee_schedules", "bounds_make_sense", {"min_minor": "2", "max_minor": "1"}),
    ("fx_rates", "two_currencies", {"to_currency": "'USD'"}),
    ("fx_rates", "rate_is_positive", {"rate": "'0.00'"}),
    ("fx_rates", "rate_is_positive", {"rate": "'-1'"}),
    ("fx_rates", "rate_is_positive", {"rate": "'1e3'"}),
    ("fx_rates", "valid_for_a_while", {"valid_to": "now()"}),
    ("fx_quotes", "two_currencies", {"to_currency": "'USD'"}),
    ("fx_quotes", "rate_is_positive", {"rate": "'0'"}),
    ("fx_quotes", "amounts_positive", {"from_minor": "0"}),
    ("fx_quotes", "amounts_positive", {"to_minor": "0"}),
    ("fx_quotes", "residue_is_decimal", {"residue": "'0.50'"}),
    ("fx_quotes", "residue_is_decimal", {"residue": "'x'"}),
    ("fx_quotes", "good_for_a_while", {"expires_at": "now()"}),
    ("holds", "amount_positive", {"amount_minor": "0"}),
    ("holds", "parts_not_negative", {"captured_minor": "-1"}),
    ("holds", "parts_not_negative", {"released_minor": "-1"}),
    ("holds", "parts_not_negative", {"expired_minor": "-1"}),
    ("holds", "parts_add_up", {"captured_minor": "60", "released_minor": "40"}),
    ("holds", "parts_add_up", {"captured_minor": "101"}),
    ("holds", "parts_add_up", {"status": "'captured'", "captured_minor": "99"}),
    ("holds", "parts_add_up", {"status": "'released'", "released_minor": "99"}),
    ("holds", "parts_add_up", {"status": "'expired'", "expired_minor": "99"}),
    ("holds", "parts_add_up", {"status": "'void'", "released_minor": "100"}),
    ("holds", "expired_is_told", {"status": "'expired'", "released_minor": "100"}),
    ("holds", "expired_is_told", {"status": "'released'", "expired_minor": "100"}),
    ("transfers", "amount_positive", {"amount_minor": "0"}),
    ("transfers", "two_wallets", {"to_wallet_id": "'w1'"}),
    ("transfers", "state_is_told", {"state": "'lost'"}),
    ("transfers", "state_is_told", {"state": "'initiated'"}),
    ("transfers", "state_is_told", ENDED),
    ("transfers", "state_is_told", {"state": "'completed'", "to_balance_minor": "1"}),
    ("transfers", "state_is_told", {"state": "'completed'"} | ENDED),
    ("transfers", "state_is_told", {"state": "'failed'"} | ENDED),
    ("transfers", "state_is_told", {"state": "'failed'", "reason": "'wallet_frozen'"}),
    ("events", "steps_are_versioned", {"wallet_version": "NULL"}),
    ("events", "steps_are_versioned", {"type": "'WalletFlagged'"}),
    ("api_audit", "status_is_http", {"status": "99"}),
    ("api_audit", "status_is_http", {"status": "600"}),
    *(("wallet_stats", "totals_not_negative", {name: "-1"}) for name in STATS if "total" in name),
    ("dead_letters", "counts", {"attempts": "0"}),
    ("dead_letters", "counts", {"replays": "-1"}),
    ("archived_partitions", "range_not_empty", {"from_id": ARCHIVED["to_id"]}),
    ("archived_partitions", "counts", {"rows": "-1"}),
    ("archived_partitions", "counts", {"operations": "-1"}),
    ("archived_partitions", "sha256_is_hex", {"sha256": "repeat('X', 64)"}),
    ("archived_partitions", "sha256_is_hex", {"sha256": "'0'"}),
    ("outbox", "replays_counted", {"replays": "-1"}),
    ("settlements", "state_known", {"state": "'reversed'"}),
    ("settlements", "plan_is_whole", {"type": "NULL"}),
    ("settlements", "plan_is_whole", {"currency": "NULL"}),
    ("settlements", "amount_positive", {"amount_minor": "0"}),
    ("owner_keys", "key_or_erased", {"wrapped": "NULL"}),
    ("owner_keys", "key_or_erased", {"erased_at": NOW}),
    ("pii_index", "digest_length", {"digest": "'short'"}),
    ("proofs", "mode_known", {"mode": "'half'"}),
    ("proofs", "counts", {"position": "-1"}),
    ("proofs", "counts", {"took_ms": "-1"}),
]


async def insert(connection: asyncpg.Connection, table: str, row: dict[str, str]) -> None:
    values = ", ".join(row.values())
    await connection.execute(f"INSERT INTO {table} ({', '.join(row)}) VALUES ({values})")


async def refused(connection: asyncpg.Connection, table: str, row: dict[str, str]) -> str | None:
    """Return the name of the constraint that refuses the row; None if none does."""
    attempt = connection.transaction()
    await attempt.start()
    try:
        await insert(connection, table, row)
    except asyncpg.IntegrityConstraintViolationError as error:
        return str(error.constraint_name)
    else:
        return None
    finally:
        await attempt.rollback()


async def test_the_database_refuses_what_the_core_asserts_against(books: "Books") -> None:
    """Every row that contradicts a rule of the core is refused by the check of that name."""
    async with books.session() as connection:
        answers = [
            (table, row, await refused(connection, table, GOOD[table] | row))
            for table, _, row in BAD
        ]

    assert answers == [(table, row, f"ck_{table}_{name}") for table, name, row in BAD]


async def test_every_check_of_the_database_is_seen_to_refuse(books: "Books") -> None:
    """No check is decoration: each one refuses a row above, and the good rows pass them all."""
    checks = await books.rows(
        "SELECT conname FROM pg_constraint"
        " WHERE contype = 'c' AND connamespace = 'public'::regnamespace"
    )
    assert {row["conname"] for row in checks} == {f"ck_{table}_{name}" for table, name, _ in BAD}

    async with books.session() as connection:
        answers = {table: await refused(connection, table, row) for table, row in GOOD.items()}
    assert answers == dict.fromkeys(GOOD)


async def test_nothing_is_recorded_twice(books: "Books") -> None:
    """One wallet per id and per owner and currency, one operation per key, one row per version."""
    good = GOOD | {"wallets": WALLET | {"owner_id": "'ann'"}}
    again = [
        ("wallets", "pk_wallets", {"owner_id": "'bob'"}),
        ("wallets", "uq_wallets_owner_id_currency", {"id": "'w2'"}),
        ("operations", "pk_operations", {"type": "'withdraw'"}),
        ("ledger_entries", "pk_ledger_entries", {"amount_minor": "7"}),
        ("events", "uq_events_wallet_id_wallet_version", {"id": "gen_random_uuid()"}),
    ]

    async with books.session() as connection:
        for table in {table for table, _, _ in again}:
            await insert(connection, table, good[table])
        for table, key, change in again:
            assert await refused(connection, table, good[table] | change) == key


async def test_wallets_without_an_owner_may_be_many(books: "Books") -> None:
    """The rule of one wallet per owner and currency is about owners; nobody is none."""
    async with books.session() as connection:
        await insert(connection, "wallets", WALLET)
        assert await refused(connection, "wallets", WALLET | {"id": "'w2'"}) is None

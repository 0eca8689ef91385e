"""This module is where tables are kept in shape while they grow: settings, room, small outboxes."""

from typing import TYPE_CHECKING

from wallet_db_orm import storage

if TYPE_CHECKING:
    from libs.db_orm.tests.conftest import Books, Builders, Ledger

KIND = {
    "wallets": {"fillfactor": "60", **storage.CHANGED},
    "transfers": {"fillfactor": "80", **storage.CHANGED},
    "holds": {"fillfactor": "70", **storage.CHANGED},
    "wallet_stats": {"fillfactor": "70", **storage.CHANGED},
    "outbox": storage.CHURNED,
    "rate_limits": {"fillfactor": "50", **storage.CHURNED},
    "operations": storage.ADDED,
    "ledger_entries": storage.ADDED,
    "events": storage.ADDED,
    "processed_events": storage.ADDED,
    "fraud_flags": storage.ADDED,
    "feed": storage.ADDED,
    "reversals": storage.ADDED,
    "batches": storage.ADDED,
    "fx_rates": storage.ADDED,
    "fee_schedules": storage.ADDED,
    "fx_quotes": {"fillfactor": "80", **storage.CHANGED},
    "settlements": {"fillfactor": "80", **storage.CHANGED},
    "audit_seals": storage.ADDED,
    "checkpoint_heads": storage.ADDED,
    "unsealed_audit": storage.CHURNED,
    "owner_keys": storage.CHANGED,
    "proven_wallets": {"fillfactor": "80", **storage.CHANGED},
    "pii_index": storage.CHANGED,
    "api_audit_rest": storage.ADDED,
    # Small, and changed by hand.
    "archived_partitions": {},
    "checkpoints": {},
    "proofs": {},
    "dead_letters": {},
    "discarded_letters": {},
    "operator_log": {},
    "alembic_version": {},
}


async def test_every_table_has_the_settings_of_its_kind(books: "Books") -> None:
    """Nothing that grows is left to thresholds that grow with it, nor to a scale of its size."""
    rows = await books.rows(
        "SELECT relname::text AS name, coalesce(reloptions, '{}') AS options FROM pg_class"
        " WHERE relkind = 'r' AND relnamespace = 'public'::regnamespace"
    )

    found = {row["name"]: dict(option.split("=") for option in row["options"]) for row in rows}
    months = [name for name in found if name.startswith("api_audit_2")]
    assert len(months) == 4
    assert found == KIND | dict.fromkeys(months, storage.ADDED)


async def test_an_outbox_that_empties_stays_small(books: "Books") -> None:
    """A hundred thousand events that came and went leave no more room than a few rounds need."""
    largest = 0
    for _ in range(10):
        await books.execute(
            "INSERT INTO outbox (wallet_id, event_id)"
            " SELECT 'w' || n, gen_random_uuid() FROM generate_series(1, 10000) AS n"
        )
        await books.execute("DELETE FROM outbox")
        # What the autovacuum does after so many dead rows.
        await books.execute("VACUUM outbox")
        size = await books.value("SELECT pg_total_relation_size('outbox')")
        largest = max(largest, size)

    assert largest < 3 * 1024 * 1024
    assert await books.count("outbox") == 0


async def test_a_wallet_is_changed_in_place(
    ledger: "Ledger", books: "Books", a: "Builders"
) -> None:
    """Moving money writes no index of the wallets: there is room on the page, no indexed column."""
    for number in range(50):
        for wallet_id in ("ann", "bob", "cid"):
            await ledger.post(a.deposit(f"{wallet_id}{number % 10}", "1.00"))
    await ledger.close()

    await books.execute("SELECT pg_stat_force_next_flush()")
    counted = await books.rows(
        "SELECT n_tup_upd, n_tup_hot_upd FROM pg_stat_user_tables WHERE relname = 'wallets'"
    )

    assert counted == [{"n_tup_upd": 120, "n_tup_hot_upd": 120}]


async def test_the_newest_flags_are_found_along_an_index(books: "Books") -> None:
    """However many flags a wallet has, its latest are read without sorting them."""
    await books.execute(
        "INSERT INTO fraud_flags SELECT 'w', n::text, 'r', 1, '', '{}', now(), now()"
        " FROM generate_series(1, 5000) AS n"
    )
    await books.execute("ANALYZE fraud_flags")

    plan = await books.rows(
        "EXPLAIN SELECT verdict FROM fraud_flags WHERE wallet_id = 'w'"
        " ORDER BY occurred_at DESC, event_id DESC, rule_id LIMIT 100"
    )

    told = "\n".join(row["QUERY PLAN"] for row in plan)
    assert "ix_fraud_flags_newest" in told
    assert "Sort" not in told

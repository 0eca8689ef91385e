"""This module is where every forgery is seen, and its place named."""

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from libs.db_orm.tests.conftest import Ledger
    from libs.db_orm.tests.verify.conftest import Forged


FIRST = "wallet_id = 'cid' AND wallet_version = 2"
FORGED: dict[str, tuple[str, str, set[str], str]] = {
    "a changed amount": (
        "ledger_entries",
        f"UPDATE ledger_entries SET amount_minor = amount_minor + 1 WHERE {FIRST}",
        {"M1", "M3", "M5", "E1"},
        "cid",
    ),
    "a changed balance after an entry": (
        "ledger_entries",
        f"UPDATE ledger_entries SET balance_after_minor = balance_after_minor + 1 WHERE {FIRST}",
        {"M5", "K8", "E1"},
        "cid",
    ),
    "a changed balance": (
        "wallets",
        "UPDATE wallets SET balance_minor = balance_minor + 1 WHERE id = 'cid'",
        {"M1", "M3"},
        "cid",
    ),
    "a deleted entry": (
        "ledger_entries",
        f"DELETE FROM ledger_entries WHERE {FIRST}",
        {"M1", "M3", "M5", "K8", "E1"},
        "cid",
    ),
    "a deleted event": ("events", f"DELETE FROM events WHERE {FIRST}", {"M6", "E1"}, "cid"),
    "a deleted last event": (
        "events",
        "DELETE FROM events WHERE wallet_id = 'ann' AND type = 'TransferCompleted'",
        {"M6"},
        "ann",
    ),
    "a deleted wallet": ("wallets", "DELETE FROM wallets WHERE id = 'cid'", {"M3", "M6"}, "cid"),
    "a deleted operation": (
        "operations",
        "DELETE FROM operations WHERE wallet_id = 'yen'",
        {"K8"},
        "yen",
    ),
    "a deleted audit row": (
        "api_audit",
        "DELETE FROM api_audit WHERE wallet_id = 'yen'",
        {"A5", "A7"},
        "yen",
    ),
    "a deleted transfer": (
        "transfers",
        "DELETE FROM transfers WHERE from_wallet_id = 'bob'",
        {"S3"},
        "bob",
    ),
    "a forged entry": (
        "ledger_entries",
        (
            "INSERT INTO ledger_entries (wallet_id, wallet_version, type, amount_minor,"
            " balance_after_minor, currency, counter_account, operation_id, request_id,"
            " occurred_at, trace_id, hash) SELECT 'cid', 4, 'deposit', 100, 5200, 'USD',"
            " '@external', gen_random_uuid(), 'forged', now(), 'forged', sha256('')"
        ),
        {"M1", "M3", "K8", "E1", "H1", "H2"},
        "cid",
    ),
    "a forged event": (
        "events",
        (
            "INSERT INTO events (wallet_id, id, wallet_version, type, payload, occurred_at)"
            " SELECT wallet_id, gen_random_uuid(), 4, type, payload, occurred_at FROM events"
            f" WHERE {FIRST}"
        ),
        {"M6", "E1"},
        "cid",
    ),
    "an event with another amount": (
        "events",
        (
            'UPDATE events SET payload = replace(payload::text, \'"amount":"50.00"\','
            f' \'"amount":"50.01"\')::json WHERE {FIRST}'
        ),
        {"E1"},
        "cid",
    ),
    "an entry in another currency": (
        "ledger_entries",
        f"UPDATE ledger_entries SET currency = 'EUR' WHERE {FIRST}",
        {"M1", "M7", "E1"},
        "cid",
    ),
    "an operation with another outcome": (
        "operations",
        (
            'UPDATE operations SET outcome = \'{"type":"rejected","reason":"same_wallet"}\''
            " WHERE wallet_id = 'yen'"
        ),
        {"K8"},
        "yen",
    ),
    "a completed transfer that says it failed": (
        "transfers",
        "UPDATE transfers SET state = 'failed', reason = 'forged' WHERE from_wallet_id = 'ann'",
        {"S3"},
        "ann",
    ),
    "a failed transfer that says it completed": (
        "transfers",
        (
            "UPDATE transfers SET state = 'completed', to_balance_minor = 0"
            " WHERE from_wallet_id = 'bob'"
        ),
        {"S3"},
        "bob",
    ),
    "a completed transfer that says it is on its way": (
        "transfers",
        "UPDATE transfers SET state = 'debited', finished_at = NULL WHERE from_wallet_id = 'ann'",
        {"S2", "S7"},
        "ann",
    ),
    "a failed transfer that says it is on its way": (
        "transfers",
        "UPDATE transfers SET state = 'debited', finished_at = NULL WHERE from_wallet_id = 'bob'",
        {"S2", "S3", "S5", "S7"},
        "bob",
    ),
    "an audit id that is another's": (
        "ledger_entries",
        f"UPDATE ledger_entries SET audit_id = gen_random_uuid() WHERE {FIRST}",
        {"K8", "E1"},
        "cid",
    ),
    "a transfer's event that never was": (
        "events",
        "DELETE FROM events WHERE type = 'TransferInitiated' AND wallet_id = 'ann'",
        {"M6", "S2"},
        "ann",
    ),
    "a place in the feed without its event": (
        "feed",
        (
            "INSERT INTO feed (position, wallet_id, event_id)"
            " SELECT max(position) + 1, 'cid', gen_random_uuid() FROM feed"
        ),
        {"E9"},
        "cid",
    ),
    "an event with two places": (
        "feed",
        (
            "INSERT INTO feed (position, wallet_id, event_id)"
            " SELECT (SELECT max(position) + 1 FROM feed), wallet_id, event_id FROM feed"
            " WHERE wallet_id = 'cid' LIMIT 1"
        ),
        {"E9"},
        "cid",
    ),
    "an event that waits though it has left": (
        "outbox",
        (
            "INSERT INTO outbox (wallet_id, event_id)"
            " SELECT wallet_id, event_id FROM feed WHERE wallet_id = 'cid' LIMIT 1"
        ),
        {"E9"},
        "cid",
    ),
    "an event that neither waits nor has left": (
        "feed",
        (
            "DELETE FROM feed WHERE wallet_id = 'cid'"
            " AND position = (SELECT max(position) FROM feed WHERE wallet_id = 'cid')"
        ),
        {"E9"},
        "cid",
    ),
    "an event that overtook another": (
        "feed",
        (
            "WITH own AS (SELECT event_id, position, position = min(position) OVER () AS is_first"
            " FROM feed WHERE wallet_id = 'cid' ORDER BY position LIMIT 2)"
            " UPDATE feed SET event_id = other.event_id FROM own, own AS other"
            " WHERE feed.position = own.position AND own.is_first <> other.is_first"
        ),
        {"E9"},
        "cid",
    ),
    "a transfer of another amount": (
        "transfers",
        "UPDATE transfers SET amount_minor = amount_minor + 1 WHERE from_wallet_id = 'ann'",
        {"S3"},
        "ann",
    ),
}


async def test_every_forgery_is_seen_and_its_wallet_named(good: "Ledger", forged: "Forged") -> None:
    """Whatever is changed behind the books' back stands out, at the wallet where it was done."""
    for name, (table, forgery, broken, wallet_id) in FORGED.items():
        async with forged(table, forgery):
            violations = await good.violations()

        named = {each: {v["walletId"] for v in found} for each, found in violations.items()}
        assert broken <= set(named), name
        assert all(wallet_id in named[each] for each in broken), name
        # What a checkpoint signs is of all wallets: there H3 names the one.
        named.pop("H4", None)
        assert all(None not in wallet_ids for wallet_ids in named.values()), name
    assert await good.violations(at_rest=True) == {}


async def test_changed_statistics_are_seen_at_rest(good: "Ledger", forged: "Forged") -> None:
    """Each total, the last activity and the suspicion are recomputed from the ledger."""
    for forgery in (
        "UPDATE wallet_stats SET total_deposited_minor = 1",
        "UPDATE wallet_stats SET total_withdrawn_minor = 1",
        "UPDATE wallet_stats SET total_transferred_in_minor = 1",
        "UPDATE wallet_stats SET total_transferred_out_minor = 1",
        "UPDATE wallet_stats SET last_activity_at = now()",
        "UPDATE wallet_stats SET suspicious = false",
        "DELETE FROM wallet_stats",
        "DELETE FROM fraud_flags",
    ):
        table = "fraud_flags" if "fraud_flags" in forgery else "wallet_stats"
        async with forged(table, f"{forgery} WHERE wallet_id = 'ann'"):
            assert await good.violations() == {}
            assert await good.violations(at_rest=True) == {"E4": [{"walletId": "ann"}]}, forgery

    nobody = (
        "INSERT INTO wallet_stats SELECT 'nobody', currency, 0, 0, 0, 0, now(), false, NULL, NULL"
        " FROM wallet_stats WHERE wallet_id = 'ann'"
    )
    async with forged("wallet_stats", nobody):
        assert await good.violations(at_rest=True) == {"E4": [{"walletId": "nobody"}]}
    assert await good.violations(at_rest=True) == {}

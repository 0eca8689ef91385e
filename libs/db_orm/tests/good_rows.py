"""This module is where each table has a row that the database takes, as SQL by column."""

NOW = "now()"
WALLET = {
    "id": "'w1'",
    "currency": "'USD'",
    "balance_minor": "100",
    "held_minor": "0",
    "status": "'active'",
    "version": "1",
    "created_at": NOW,
    "updated_at": NOW,
}
OPERATION = {
    "wallet_id": "'w1'",
    "request_id": "'k1'",
    "operation_id": "gen_random_uuid()",
    "type": "'deposit'",
    "meaning": "'{}'",
    "outcome": "'{}'",
    "trace_id": "'t'",
    "occurred_at": NOW,
}
ENTRY = {
    "wallet_id": "'w1'",
    "wallet_version": "2",
    "type": "'deposit'",
    "amount_minor": "100",
    "balance_after_minor": "100",
    "currency": "'USD'",
    "counter_account": "'@external'",
    "operation_id": "gen_random_uuid()",
    "request_id": "'k1'",
    "occurred_at": NOW,
    "trace_id": "'t'",
    "hash": "sha256('')",
}
TRANSFER = {
    "from_wallet_id": "'w1'",
    "id": "gen_random_uuid()",
    "to_wallet_id": "'w2'",
    "amount_minor": "100",
    "currency": "'USD'",
    "state": "'debited'",
    "request_id": "'k1'",
    "from_balance_minor": "0",
    "trace_id": "'t'",
    "initiated_at": NOW,
}
EVENT = {
    "wallet_id": "'w1'",
    "id": "gen_random_uuid()",
    "wallet_version": "1",
    "type": "'WalletCreated'",
    "payload": "'{}'",
    "occurred_at": NOW,
}
AUDIT = {
    "id": "gen_random_uuid()",
    "method": "'POST'",
    "url": "'/'",
    "body": "''",
    "headers": "'{}'",
    "status": "201",
    "trace_id": "'t'",
    "duration_us": "1",
}
STATS = {
    "wallet_id": "'w1'",
    "currency": "'USD'",
    "last_activity_at": NOW,
    "suspicious": "false",
    "total_deposited_minor": "0",
    "total_withdrawn_minor": "0",
    "total_transferred_in_minor": "0",
    "total_transferred_out_minor": "0",
}
LETTER = {
    "id": "gen_random_uuid()",
    "queue": "'q'",
    "routing_key": "'k'",
    "body": "''",
    "error": "'e'",
    "error_class": "'E'",
    "attempts": "1",
    "replays": "0",
    "first_failed_at": NOW,
    "last_failed_at": NOW,
}
ARCHIVED = {
    "name": "'api_audit_2020_01'",
    "from_id": "gen_random_uuid()",
    "to_id": "'ffffffff-ffff-ffff-ffff-ffffffffffff'",
    "rows": "0",
    "operations": "0",
    "sha256": "repeat('0', 64)",
}
WAITING = {"wallet_id": "'w1'", "event_id": "gen_random_uuid()"}
SETTLEMENT = {
    "transaction_id": "'t1'",
    "type": "'topup'",
    "amount_minor": "1",
    "currency": "'USD'",
    "state": "'accepted'",
}
SEAL = {
    "seal": "1",
    "ids": "ARRAY[gen_random_uuid()]",
    "digests": "sha256('')",
    "sealed_at": NOW,
    "hash": "sha256('')",
}
CHECKPOINT = {"checkpoint": "1", "line": "'{}'"}
HEAD = {
    "wallet_id": "'w1'",
    "checkpoint": "1",
    "version": "1",
    "balance_minor": "1",
    "head": "sha256('')",
}
AN_ID = "gen_random_uuid()"
OWNER_KEY = {"owner_id": "'ada'", "key_id": AN_ID, "master_id": "'m1'", "wrapped": "'key'"}
PROOF = {
    "id": "gen_random_uuid()",
    "snapshot_at": NOW,
    "mode": "'whole'",
    "ok": "true",
    "took_ms": "1",
    "position": "0",
    "asked_by": "'ada'",
    "checked": "'{}'",
    "violations": "'[]'",
}
HOLD = {
    "wallet_id": "'w1'",
    "id": "gen_random_uuid()",
    "currency": "'USD'",
    "amount_minor": "100",
    "captured_minor": "0",
    "released_minor": "0",
    "expired_minor": "0",
    "status": "'open'",
    "request_id": "'k1'",
    "trace_id": "'t'",
    "placed_at": NOW,
}
REVERSED = {
    "wallet_id": "'w1'",
    "operation_id": "gen_random_uuid()",
    "reversal_id": "gen_random_uuid()",
    "amount_minor": "1",
    "original_minor": "1",
    "occurred_at": NOW,
}
BATCH = {
    "principal": "'payroll'",
    "id": "gen_random_uuid()",
    "meaning": "'{}'",
    "audit_id": "gen_random_uuid()",
}
RATE = {
    "from_currency": "'USD'",
    "to_currency": "'EUR'",
    "id": "gen_random_uuid()",
    "rate": "'0.5'",
    "valid_from": NOW,
    "audit_id": "gen_random_uuid()",
    "recorded_at": NOW,
}
FEES = {
    "operation": "'deposit'",
    "currency": "'USD'",
    "id": "gen_random_uuid()",
    "flat_minor": "0",
    "min_minor": "0",
    "audit_id": "gen_random_uuid()",
    "recorded_at": NOW,
}
QUOTE = {
    "id": "gen_random_uuid()",
    "from_currency": "'USD'",
    "to_currency": "'EUR'",
    "rate": "'0.5'",
    "from_minor": "100",
    "to_minor": "50",
    "residue": "'0'",
    "audit_id": "gen_random_uuid()",
    "quoted_at": NOW,
    "expires_at": f"{NOW} + interval '1 s'",
}
INDEXED = {"wallet_id": "'w1'", "key": "'email'", "digest": "sha256('')", "master_id": "'m1'"}
GOOD: dict[str, dict[str, str]] = {
    "wallets": WALLET,
    "operations": OPERATION,
    "ledger_entries": ENTRY,
    "transfers": TRANSFER,
    "events": EVENT,
    "api_audit": AUDIT,
    "wallet_stats": STATS,
    "dead_letters": LETTER,
    "archived_partitions": ARCHIVED,
    "outbox": WAITING,
    "settlements": SETTLEMENT,
    "audit_seals": SEAL,
    "checkpoints": CHECKPOINT,
    "checkpoint_heads": HEAD,
    "owner_keys": OWNER_KEY,
    "pii_index": INDEXED,
    "proofs": PROOF,
    "holds": HOLD,
    "reversals": REVERSED,
    "batches": BATCH,
    "fx_rates": RATE,
    "fee_schedules": FEES,
    "fx_quotes": QUOTE,
}

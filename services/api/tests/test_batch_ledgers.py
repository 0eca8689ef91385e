"""This module is where what batches write is compared with what single requests do."""

from random import Random

import asyncpg
import httpx
import msgspec

from services.api.tests.test_batches import Command, command, send, single


async def test_bulk_and_singly_give_the_same_ledgers_byte_for_byte(
    api: httpx.AsyncClient, sql: asyncpg.Connection
) -> None:
    """
    Three hundred commands, some refused, with fees, transfers to and fro between the wallets: one
    by one, in a batch, as lines, and in one transaction. But for what is drawn anew each time.
    """
    for operation in ("deposit", "withdraw", "transfer"):
        body = {"percent": "1.5", "min": "0.01"}
        assert (await api.put(f"/v1/fees/{operation}/USD", json=body)).status_code == 200

    def asked(way: str) -> list[Command]:
        drawn = Random(11)
        kinds = ("deposit", "deposit", "withdraw", "transfer")
        made = []
        for number in range(300):
            kind, sender = drawn.choice(kinds), drawn.randrange(8)
            amount = f"{drawn.randrange(1, 5_000)}.{drawn.randrange(100):02}"
            more: Command = {"requestId": f"k{number}", "reference": f"r{number}"}
            if kind == "transfer":
                more["toWalletId"] = f"{way}-{(sender + drawn.randrange(1, 4)) % 8}"
            made.append(command(kind, f"{way}-{sender}", amount, **more))
        return made

    for way in ("one", "many", "lines", "all"):
        for number in range(8):
            opened = await api.post("/v1/wallets", json={"id": f"{way}-{number}"})
            assert opened.status_code == 201
    statuses = [(await single(api, each)).status_code for each in asked("one")]
    foretold = await api.post("/v1/batches?dryRun=true", json={"commands": asked("many")})
    many = await send(api, asked("many"))
    content = b"".join(msgspec.json.encode(each) + b"\n" for each in asked("lines"))
    lines = await api.post(
        "/v1/batches/stream", content=content, headers={"Content-Type": "application/x-ndjson"}
    )
    accepted = [each for each, status in zip(asked("all"), statuses, strict=True) if status == 201]
    whole = await api.post("/v1/batches", json={"atomic": True, "commands": accepted})

    assert whole.status_code == 201, whole.text
    assert [each["status"] for each in foretold.json()["results"]] == statuses
    assert [each.status for each in many] == statuses
    answered = [msgspec.json.decode(each) for each in lines.content.splitlines()]
    assert [each["status"] for each in answered if "status" in each] == statuses
    assert {201, 422} == set(statuses)
    ledgers = [await _ledger(sql, way) for way in ("one", "many", "lines", "all")]
    assert len(ledgers[0]) > 300
    assert ledgers[0] == ledgers[1] == ledgers[2] == ledgers[3]


async def _ledger(sql: asyncpg.Connection, way: str) -> list[bytes]:
    """Return the entries of the wallets `way`-n as JSON, without ids that are drawn and times."""
    rows = await sql.fetch(
        "SELECT split_part(wallet_id, '-', 2), wallet_version, type, amount_minor,"
        " balance_after_minor, currency, counter_account, request_id, reference,"
        " transfer_id IS NULL FROM ledger_entries WHERE wallet_id LIKE $1 || '-%'"
        " ORDER BY wallet_id, wallet_version",
        way,
    )
    return [msgspec.json.encode(list(row)) for row in rows]

"""This module is where personal data goes through a whole stack and is found nowhere in it."""

import subprocess
from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

import aio_pika
import pytest

from wallet_tools import environment
from wallet_tools.postgres import binary

if TYPE_CHECKING:
    from tests.e2e.conftest import Town

pytestmark = [pytest.mark.broker, pytest.mark.slow]

CANARY = "CANARY-7f3a"
ADA = {"email": f"{CANARY}@example.org", "phone": {"home": f"{CANARY}-2"}, "tier": "gold"}
MOVEMENT = {"amount": "1", "metadata": ADA}
JSON = {"Content-Type": "application/json"}
OPENING = f'{{"ownerId": "canary-ada", "metadata": {{"email": "{CANARY}-3"}}'
Until = Callable[..., Awaitable[None]]


def dump_of(database: str) -> bytes:
    """Return all that the database holds, as pg_dump writes it."""
    url = urlsplit(database)
    done = subprocess.run(
        [str(binary("pg_dump")), "-h", str(url.hostname), "-p", str(url.port)]
        + ["-U", str(url.username), url.path[1:]],
        env=environment.system() | {"PGPASSWORD": url.password or ""},
        capture_output=True,
        check=True,
    )
    return done.stdout


async def refusals(town: "Town") -> list[tuple[int, str]]:
    """Send personal data where it is refused, in every way; return what was answered."""
    answers = [
        await town.post("", id="canary-2", metadata=ADA),
        await town.post("", ownerId="canary-ada", currency="EUR", metadata={"a": ADA}),
        await town.post("", ownerId="canary-ada", currency="NONE", metadata=ADA),
        await town.post("", ownerId="canary-ada", email=f"{CANARY}-4"),
        *[await town.post(f"/canary-1/{verb}", **MOVEMENT) for verb in ("deposit", "withdraw")],
        await town.post("/canary-1/transfer", toWalletId="canary-2", **MOVEMENT),
        await town.api.post(
            "/v1/batches",
            json={"commands": [{"type": "deposit", "walletId": "canary-1", **MOVEMENT}]},
        ),
        await town.api.post("/v1/wallets", content=OPENING, headers=JSON),
        await town.api.post("/v1/wallets", content=OPENING + "}\0", headers=JSON),
        await town.api.post("/v1/wallets", content=OPENING + "}", headers={"Content-Type": "a/b"}),
        await town.api.post("/v1/nothing", json=ADA),
        await town.api.post(f"/v1/wallets?email={CANARY}-5", json={"metadata": ADA}),
        await town.api.get("/v1/wallets", params={"metadata": f"tier:{CANARY}-6"}),
        await town.api.get("/v1/wallets", params={"metadata": f"email:{CANARY}\n", "limit": "x"}),
    ]
    return [(answer.status_code, answer.text) for answer in answers]


async def test_personal_data_is_nowhere_but_in_answers(town: "Town", until: Until) -> None:
    """In no dump, log, message or refusal, whatever was sent; erased, not even in an answer."""
    run = town.run()
    assert run.rabbitmq is not None
    broker = await aio_pika.connect(run.rabbitmq)
    async with broker:
        channel = await broker.channel()
        tap = await channel.declare_queue(exclusive=True)
        await tap.bind(town.topology.exchange, "#")

        opened = await town.post("", id="canary-1", ownerId="canary-ada", metadata=ADA)
        again = await town.post("", id="canary-1", ownerId="canary-ada", metadata=ADA)
        refused = await refusals(town)
        await town.post("/canary-1/deposit", amount="5")
        found = await town.api.get("/v1/wallets", params={"metadata": f"email:{ADA['email']}"})
        await until(town.is_quiet)
        messages = []
        while (message := await tap.get(fail=False, no_ack=True)) is not None:
            messages.append(message.body)

    assert opened.json()["metadata"] == again.json()["metadata"] == ADA
    assert [each["walletId"] for each in found.json()["items"]] == ["canary-1"]
    assert all(400 <= status < 500 and CANARY not in text for status, text in refused), refused
    told = [body for body in messages if b'"canary-1"' in body]
    assert {body.split(b'"type":"')[1].split(b'"')[0] for body in told} == {
        b"WalletCreated",
        b"FundsDeposited",
    }
    assert not [body for body in messages if CANARY.encode() in body]
    dump = dump_of(run.database_admin)
    assert b"wallet-pii:1:" in dump
    places = {"the dump": dump} | {log.name: log.read_bytes() for log in town.state.logs.iterdir()}
    assert {"api.log", "api.out", "worker.log", "postgres.log"} <= places.keys()
    assert [name for name, held in places.items() if CANARY.encode() in held] == []

    erased = await town.api.post("/v1/admin/owners/canary-ada/erase", json={"reason": "a test"})
    assert erased.status_code == 201
    shown = await town.get("/v1/wallets/canary-1")
    assert shown["metadata"] == {"email": "[erased]", "phone": "[erased]", "tier": "gold"}
    assert await town.violations() == []

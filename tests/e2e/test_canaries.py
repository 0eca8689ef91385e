"""Promises about what a secret leaves behind: sent in any place, it is found in none of ours."""

import asyncio
import base64
import os
import subprocess
from collections.abc import Awaitable, Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

import aio_pika
import httpx
import pytest

from wallet_tools import environment
from wallet_tools.postgres import binary

if TYPE_CHECKING:
    from tests.e2e.conftest import Town

pytestmark = pytest.mark.slow

Until = Callable[..., Awaitable[None]]
DEPOSIT = "/v1/wallets/canary/deposit"
JSON = {"Content-Type": "application/json"}


def secret(place: str) -> str:
    """Return a value that nobody else writes anywhere."""
    return f"CANARY-secret-{place}-7f3a"


def data(place: str) -> str:
    """Return a value that its sender wants to be kept."""
    return f"CANARY-data-{place}-7f3a"


# Where a request says something that is not for us: headers, and what we never asked for.
HEADERS = {
    "authorization": {"Authorization": f"Bearer {secret('authorization')}"},
    "basic": {"Authorization": f"Basic {secret('basic')}"},
    "proxy": {"Proxy-Authorization": f"Bearer {secret('proxy')}"},
    "cookie": {"Cookie": f"session={secret('cookie')}"},
    "api-key": {"X-Api-Key": secret("api-key")},
    "unknown-header": {"X-Whatever": secret("unknown-header")},
    "forwarded": {"Forwarded": f"for={secret('forwarded')}"},
    "bad-trace": {"X-Trace-Id": f"{secret('bad-trace')} with a space"},
}
BODIES = {
    "unknown-field": f'{{"amount":"1","password":"{secret("unknown-field")}"}}',
    "unknown-object": f'{{"amount":"1","card":{{"number":"{secret("unknown-object")}"}}}}',
    "unknown-list": f'{{"amount":"1","tokens":["{secret("unknown-list")}"]}}',
    "escaped": f'{{"amount":"1","p\\u0061ss":"{secret("escaped")}"}}',
    "key-twice": f'{{"amount":"1","x":1,"x":"{secret("key-twice")}"}}',
    "malformed": f'{{"amount":"1","password":"{secret("malformed")}"',
    "no-json": f"password={secret('no-json')}",
    "bytes": f'{{"amount":"\xff","password":"{secret("bytes")}"}}',
    "deep": '{"a":' * 500 + f'"{secret("deep")}"' + "}" * 500,
    "large": f'{{"password":"{secret("large")}"}}'.ljust(70_000),
}
PATHS = {
    "query": f"{DEPOSIT}?access_token={secret('query')}",
    "query-of-a-read": f"/v1/wallets?token={secret('query-of-a-read')}",
    "path": f"/v1/{secret('path')}/deposit",
    "path-behind": f"{DEPOSIT}/{secret('path-behind')}",
    "path-of-a-read": f"/reset-password/{secret('path-of-a-read')}",
}
SECRETS = [secret(place) for place in (*HEADERS, *BODIES, *PATHS)]
# Places that are there to keep what a caller writes.
DATA = {name: data(name) for name in ("metadata", "reference", "key", "owner", "header-key")}


async def send_all(api: httpx.AsyncClient) -> list[httpx.Response]:
    """Send every secret in its place, on good requests and on bad ones; return all answers."""
    good = b'{"amount":"1"}'
    answers = []
    for headers in HEADERS.values():
        answers.append(await api.post(DEPOSIT, content=good, headers=JSON | headers))
        answers.append(await api.post(DEPOSIT, content=b"{", headers=JSON | headers))
        answers.append(await api.get("/v1/wallets/canary", headers=headers))
        answers.append(await api.get("/v1/nothing", headers=headers))
    for text in BODIES.values():
        body = text.encode("latin-1")
        asked = [
            *(("POST", path, JSON) for path in (DEPOSIT, "/v1/wallets", "/v1/batches", "/v1/x")),
            *(("POST", DEPOSIT, {"Content-Type": "text/x"}), ("PUT", DEPOSIT, JSON)),
        ]
        answers += [
            await api.request(method, path, content=body, headers=headers)
            for method, path, headers in asked
        ]
    for path in PATHS.values():
        answers.append(await api.post(path, content=good, headers=JSON))
        answers.append(await api.get(path))
    return answers


async def send_data(api: httpx.AsyncClient) -> None:
    """Send what is to be kept."""
    opened = {"id": "canary", "ownerId": DATA["owner"]}
    assert (await api.post("/v1/wallets", json=opened)).status_code == 201
    asked = {"amount": "1", "requestId": DATA["key"], "reference": DATA["reference"]}
    asked["metadata"] = {"note": DATA["metadata"]}  # type: ignore[assignment]  # JSON
    assert (await api.post(DEPOSIT, json=asked)).status_code == 201
    headers = {"Idempotency-Key": DATA["header-key"]}
    assert (await api.post(DEPOSIT, json={"amount": "1"}, headers=headers)).status_code == 201


def spellings(value: str) -> Iterator[bytes]:
    """Yield how a value may stand in a dump: as text, as bytes in hexadecimal or Base64."""
    plain = value.encode()
    yield plain
    yield plain.hex().encode()
    # Whatever comes before moves Base64 by up to two bytes; what is left in the middle is enough.
    for shift in range(3):
        yield base64.b64encode(b"\0" * shift + plain)[4:-4]


def found(values: list[str], where: bytes) -> list[str]:
    return [value for value in values if any(each in where for each in spellings(value))]


def dump(url: str) -> bytes:
    """Return the whole database as `pg_dump` writes it."""
    address = urlsplit(url)
    return subprocess.run(
        [str(binary("pg_dump")), "--inserts", "-d", url.replace(f":{address.password}@", "@")],
        env=environment.system() | {"PGPASSWORD": address.password or ""},
        capture_output=True,
        check=True,
    ).stdout


def files_under(folder: Path) -> Iterator[tuple[Path, bytes]]:
    for path, _, names in os.walk(folder):
        for name in names:
            yield Path(path, name), Path(path, name).read_bytes()


@pytest.mark.broker
async def test_a_secret_is_found_nowhere(town: "Town", until: Until) -> None:
    """Dump, logs, messages and letters hold what is data, and no secret, however it was sent."""
    # When this has been heard of, the exchange is there.
    await town.post("/first/deposit", amount="1")
    await until(town.is_quiet)
    connection = await aio_pika.connect(town.run().rabbitmq)
    async with connection:
        channel = await connection.channel()
        queue = await channel.declare_queue(exclusive=True)
        await queue.bind(town.topology.exchange, "#")
        await send_data(town.api)
        answers = await send_all(town.api)
        await until(town.is_quiet)
        messages = b"".join([body async for body in heard(queue)])
    letters = b"".join(each.body for each in await town.letters())
    dumped = await asyncio.to_thread(dump, town.run().database_admin)

    assert found(SECRETS, dumped) == []
    assert found(SECRETS, messages + letters) == []
    logs = list(files_under(town.state.logs))
    assert {"api.log", "worker.log"} <= {path.name for path, _ in logs}
    assert {path.name: lost for path, text in logs if (lost := found(SECRETS, text))} == {}
    # What a caller is told back: the address that it asked for, and nothing else.
    told = b"".join(told_back(each) for each in answers)
    assert found(SECRETS, told) == []
    # The search would have found them: data is where it belongs.
    assert found(list(DATA.values()), dumped) == list(DATA.values())
    assert found([DATA["key"]], messages) == [DATA["key"]]


async def heard(queue: aio_pika.abc.AbstractQueue) -> Any:  # noqa: ANN401  # bytes, one by one
    """Yield the bodies of all messages that are there."""
    while (message := await queue.get(no_ack=True, fail=False)) is not None:
        yield message.body


def told_back(answer: httpx.Response) -> bytes:
    """Return an answer with its headers, without the `instance` that names the address asked."""
    assert answer.status_code < 500, answer.text
    lines = str(answer.headers.multi_items()).encode()
    if answer.headers["Content-Type"] != "application/problem+json":
        return lines + answer.content
    problem = answer.json()
    del problem["instance"]
    return lines + str(problem).encode()

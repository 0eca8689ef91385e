"""Promises about exactness: what is sent is what is kept, to the last digit, or it is refused."""

import asyncio
from collections.abc import Awaitable, Callable

import asyncpg
import httpx
import pytest

JSON = {"Content-Type": "application/json"}
Builder = Callable[..., Awaitable[str]]


async def test_a_tenth_ten_thousand_times_is_a_thousand(
    api: httpx.AsyncClient, sql: asyncpg.Connection
) -> None:
    """0.1 deposited ten thousand times, many at once, is 1000.00 and no cent else."""

    async def deposit(times: int) -> None:
        for _ in range(times):
            done = await api.post("/v1/wallets/w/deposit", content=b'{"amount":0.1}', headers=JSON)
            assert done.status_code == 201

    await asyncio.gather(*(deposit(200) for _ in range(50)))

    assert (await api.get("/v1/wallets/w")).json()["balance"] == "1000.00"
    assert await sql.fetchval("SELECT sum(amount_minor) FROM ledger_entries") == 100_000
    assert await sql.fetchval("SELECT count(*) FROM api_audit WHERE status = 201") == 10_000


async def test_an_amount_is_kept_exactly(api: httpx.AsyncClient, a_wallet: Builder) -> None:
    """Numbers that a double would change, and any spelling of them, come back as they were."""
    for currency, text in [
        ("USD", b"9007199254740993.01"),
        ("USD", b'"9007199254740993.01"'),
        ("USD", b"92233720368547758.07"),
        ("USD", b"0.01"),
        ("USD", b"0.29"),
        ("USD", b"1.10"),
        ("KWD", b"9007199254740.993"),
        ("JPY", b"900719925474099301"),
        ("USD", b'"\\u0031.\\u0035\\u0030"'),
    ]:
        path = f"/v1/wallets/{await a_wallet('0', currency)}"
        body = b'{"amount":%b}' % text
        done = await api.post(f"{path}/deposit", content=body, headers=JSON)

        shown = text.strip(b'"').decode("unicode_escape")
        assert (done.status_code, done.json()["balance"]) == (201, shown)
        assert (await api.get(path)).json()["balance"] == shown
        assert (await api.get(f"{path}/ledger")).json()["items"][0]["amount"] == shown


async def test_trailing_zeros_may_not_exceed_the_currency(
    api: httpx.AsyncClient, a_wallet: Builder
) -> None:
    """The decimals of the wallet's own currency are the measure, not those of the default one."""
    yen, dinar = await a_wallet("0", "JPY"), await a_wallet("0", "KWD")

    statuses = [
        (await api.post(f"/v1/wallets/{wallet_id}/deposit", json={"amount": amount})).status_code
        for wallet_id, amount in [(yen, "1.0"), (yen, "1"), (dinar, "1.001"), (dinar, "1.0010")]
    ]

    assert statuses == [400, 201, 201, 400]


async def test_a_balance_that_would_not_fit_is_refused(
    api: httpx.AsyncClient, a_wallet: Builder
) -> None:
    """A deposit beyond the 64-bit range is refused as an outcome; the balance stays."""
    path = f"/v1/wallets/{await a_wallet('92233720368547758.06')}"

    refused = await api.post(f"{path}/deposit", json={"amount": "0.02"})
    last = await api.post(f"{path}/deposit", json={"amount": "0.01"})

    assert (refused.status_code, refused.json()["code"]) == (422, "balance_limit_exceeded")
    assert last.json()["balance"] == "92233720368547758.07"


async def test_metadata_is_kept_verbatim(api: httpx.AsyncClient, a_wallet: Builder) -> None:
    """Numbers, order, spelling and hostile words of metadata come back byte for byte."""
    path = f"/v1/wallets/{await a_wallet('0')}"
    metadata = (
        b'{"z":1.10,"a":9007199254740993.0001,"e":1E400,"n":null,"__proto__":{"x":[{}]},'
        b'"s":"${jndi:ldap://x} {{7*7}} %n%s \'; DROP TABLE wallets;--","u":"\\u00e9\xc3\xa9"}'
    )

    done = await api.post(
        f"{path}/deposit", content=b'{"amount":1,"metadata":%b}' % metadata, headers=JSON
    )

    assert done.status_code == 201
    assert b'"metadata":%b' % metadata in (await api.get(f"{path}/ledger")).content


@pytest.mark.parametrize(("depth", "expected"), [(31, 201), (32, 400), (900, 400), (2_000, 400)])
async def test_metadata_may_be_nested_thirty_two_levels(
    api: httpx.AsyncClient, depth: int, expected: int
) -> None:
    """Metadata is kept down to its 32nd level and refused below: no depth breaks the service."""
    nested = b"[" * depth + b"]" * depth
    body = b'{"amount":1,"metadata":{"a":%b}}' % nested

    answered = await api.post("/v1/wallets/w/deposit", content=body, headers=JSON)

    assert answered.status_code == expected

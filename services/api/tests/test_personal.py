"""Promises about personal data: sealed where it is stored, shown to readers, refused elsewhere."""

from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any

import asyncpg
import httpx
import pytest

from wallet_api.settings import ApiSettings
from wallet_runtime.settings import SettingsRefused

OLD, NEW = bytes(range(32)).hex(), bytes(range(100, 132)).hex()
SIGNS = "a secret that is longer than the sixty-four bytes which HS512 wants"
KEYS = "email,phone"
ADA = {"email": "ada@example.org", "phone": 123, "tier": 1}
Configured = Callable[..., ApiSettings]
ClientOf = Callable[[ApiSettings], Any]


@pytest.fixture
async def api(configured: Configured, client_of: ClientOf) -> AsyncIterator[httpx.AsyncClient]:
    """Yield a client of an application that has personal data declared."""
    settings = configured(WALLET_PII_METADATA_KEYS=KEYS, WALLET_MASTER_KEY=f"old:{OLD}")
    async with client_of(settings) as client:
        yield client


async def opened(api: httpx.AsyncClient, wallet_id: str, **more: object) -> httpx.Response:
    asked = {"id": wallet_id, "ownerId": "ada", "metadata": ADA} | more
    answered = await api.post("/v1/wallets", json=asked)
    assert answered.status_code == 201, answered.text
    return answered


async def metadata_of(api: httpx.AsyncClient, wallet_id: str) -> Any:  # noqa: ANN401  # JSON
    return (await api.get(f"/v1/wallets/{wallet_id}")).json()["metadata"]


async def test_readers_see_what_the_database_does_not(
    api: httpx.AsyncClient, sql: asyncpg.Connection
) -> None:
    """Each way to read a wallet answers the metadata that came; the row holds ciphertexts."""
    answered = await opened(api, "w1")
    at = answered.json()["createdAt"]

    shown = [
        answered.json(),
        (await opened(api, "w1")).json(),
        (await api.get("/v1/wallets/w1")).json(),
        (await api.get("/v1/wallets/w1", params={"at": at})).json(),
        *(await api.get("/v1/wallets")).json()["items"],
    ]
    assert [each["metadata"] for each in shown] == [ADA] * 5
    assert list(shown[0]["metadata"]) == list(ADA)
    stored = await sql.fetchval("SELECT metadata::text FROM wallets")
    assert "ada@example" not in stored
    assert '"tier":1' in stored
    assert stored.count("wallet-pii:1:") == 2


async def test_a_value_is_found_by_equality(api: httpx.AsyncClient) -> None:
    """A search finds the wallets that have just that value, of all owners, a page at a time."""
    await opened(api, "w1")
    await opened(api, "w2", currency="EUR")
    await opened(api, "w3", ownerId="bob")
    await opened(api, "w4", ownerId="eve", metadata={"email": "eve@example.org:x", "phone": None})

    async def found(search: str, **more: str) -> list[str]:
        page = await api.get("/v1/wallets", params={"metadata": search, **more})
        assert page.status_code == 200, page.text
        return [each["walletId"] for each in page.json()["items"]]

    assert await found("email:ada@example.org") == ["w1", "w2", "w3"]
    assert await found("email:ada@example.org", ownerId="bob") == ["w3"]
    assert await found("email:ada@example.org", currency="EUR") == ["w2"]
    assert await found("email:eve@example.org:x") == ["w4"]
    assert await found("phone:123") == ["w1", "w2", "w3"]
    assert await found("phone:ada@example.org") == await found("email:ADA@example.org") == []
    first = await api.get("/v1/wallets", params={"metadata": "phone:123", "limit": 2})
    cursor = first.json()["nextCursor"]
    assert await found("phone:123", cursor=cursor) == ["w3"]
    other = await api.get("/v1/wallets", params={"metadata": "phone:124", "cursor": cursor})
    assert other.status_code == 400


@pytest.mark.parametrize("search", ["tier:1", "email", ":x", "email:", "nothing:x", "email:a\nb"])
async def test_only_declared_keys_can_be_searched(api: httpx.AsyncClient, search: str) -> None:
    """A search for another key, or of another form, is a 400 that repeats none of it."""
    refused = await api.get("/v1/wallets", params={"metadata": search})

    assert (refused.status_code, refused.json()["code"]) == (400, "invalid_request")
    assert "nothing" not in refused.text


async def test_personal_data_needs_an_owner(api: httpx.AsyncClient) -> None:
    """Erasure is by owner, so a wallet of nobody takes none; other metadata it does."""
    refused = await api.post("/v1/wallets", json={"id": "w1", "metadata": ADA})
    taken = await api.post("/v1/wallets", json={"id": "w2", "metadata": {"tier": 1}})

    assert (refused.status_code, refused.json()["code"]) == (400, "owner_required_for_pii")
    assert "ada@example" not in refused.text
    assert (await api.get("/v1/wallets/w1")).status_code == 404
    assert taken.status_code == 201


@pytest.mark.parametrize(
    "metadata", [{"email": "a"}, {"note": {"email": "a"}}, {"note": [{"\x65mail": None}]}]
)
async def test_the_ledger_takes_no_personal_data(
    api: httpx.AsyncClient,
    books: Callable[[], Awaitable[tuple[int, ...]]],
    metadata: dict[str, object],
) -> None:
    """A movement with a declared key anywhere in its metadata is refused, alone or in a batch."""
    await opened(api, "w1")
    await api.post("/v1/wallets/w1/deposit", json={"amount": "5", "metadata": {"tier": "email"}})
    before = await books()

    for verb, more in [("deposit", {}), ("withdraw", {}), ("transfer", {"toWalletId": "w2"})]:
        asked = {"amount": "1", "metadata": metadata} | more
        refused = await api.post(f"/v1/wallets/w1/{verb}", json=asked)
        assert (refused.status_code, refused.json()["code"]) == (400, "pii_not_allowed_here")
        command = asked | {"type": verb, "walletId": "w1"}
        batch = await api.post("/v1/batches", json={"commands": [command]})
        assert (batch.status_code, batch.json()["code"]) == (400, "pii_not_allowed_here")
        assert batch.json()["errors"][0]["field"] == "commands[0].metadata"
    assert await books() == before


async def test_what_cannot_be_sealed_is_refused(api: httpx.AsyncClient) -> None:
    """A declared key deeper down, and a text that looks sealed, are a 400 and open nothing."""
    nested = await api.post(
        "/v1/wallets", json={"ownerId": "ada", "metadata": {"email": "a", "note": {"phone": 1}}}
    )
    posing = await api.post("/v1/wallets", json={"metadata": {"note": "wallet-pii:1:k:AAAA"}})
    broken = await api.post(
        "/v1/wallets",
        content=b'{"ownerId": "ada", "metadata": {"email": "\\ud800"}}',
        headers={"Content-Type": "application/json"},
    )

    assert (nested.status_code, nested.json()["code"]) == (400, "pii_not_allowed_here")
    assert (posing.status_code, posing.json()["code"]) == (400, "invalid_request")
    assert broken.status_code == 400


MOVES = {
    "to another wallet": "UPDATE wallets AS w SET metadata = o.metadata FROM wallets AS o"
    " WHERE w.id = 'w2' AND o.id = 'w1'",
    "to another key": "UPDATE wallets SET metadata = json_build_object('phone', metadata->'email')"
    " WHERE id = 'w2'",
    "of another owner": "UPDATE wallets AS w SET metadata = o.metadata FROM wallets AS o"
    " WHERE w.id = 'w2' AND o.id = 'w3'",
    "with another's key": "UPDATE owner_keys SET wrapped = (SELECT wrapped FROM owner_keys"
    " WHERE owner_id = 'bob') WHERE owner_id = 'ada'",
}


@pytest.mark.parametrize("move", MOVES)
async def test_a_moved_ciphertext_opens_nowhere(
    api: httpx.AsyncClient, sql: asyncpg.Connection, move: str
) -> None:
    """It is refused with 503 pii_unreadable, never shown, and keeps no other wallet from a list."""
    await opened(api, "w1")
    await opened(api, "w2", currency="EUR", metadata={"email": "second@example.org"})
    await opened(api, "w3", ownerId="bob")
    await sql.execute(MOVES[move])

    refused = await api.get("/v1/wallets/w2")

    assert (refused.status_code, refused.json()["code"]) == (503, "pii_unreadable")
    assert refused.headers["Content-Type"] == "application/problem+json"
    assert "Retry-After" in refused.headers
    assert "@example.org" not in refused.text
    page = await api.get("/v1/wallets")
    marked = {each["walletId"]: each["metadata"] for each in page.json()["items"]}
    assert set(marked["w2"].values()) <= {"[unreadable]", 1}
    assert marked["w3"] == ADA
    paid = await api.post("/v1/wallets/w2/deposit", json={"amount": "1"})
    assert paid.status_code == 201


async def test_an_erased_owner_is_erased_for_good(
    api: httpx.AsyncClient, sql: asyncpg.Connection
) -> None:
    """After an erasure the marks stand where the values stood, and no more of them are taken."""
    await opened(api, "w1")
    await opened(api, "w2", ownerId="bob")
    await api.post("/v1/wallets/w1/deposit", json={"amount": "5"})
    rows = "SELECT id, metadata::text, balance_minor, version FROM wallets ORDER BY id"
    before = await sql.fetch(rows)

    erased = await api.post("/v1/admin/owners/ada/erase", json={"reason": "she asked for it"})
    again = await api.post("/v1/admin/owners/ada/erase", json={"reason": "once more"})
    unknown = await api.post("/v1/admin/owners/nobody/erase", json={"reason": "she asked"})

    assert (erased.status_code, again.status_code) == (201, 201), erased.text
    assert erased.json() == again.json()
    assert erased.json()["ownerId"] == "ada"
    assert (unknown.status_code, unknown.json()["code"]) == (404, "owner_not_found")
    assert await metadata_of(api, "w1") == {"email": "[erased]", "phone": "[erased]", "tier": 1}
    assert await metadata_of(api, "w2") == ADA
    assert await sql.fetch(rows) == before
    assert await sql.fetchval("SELECT count(*) FROM pii_index WHERE wallet_id = 'w1'") == 0
    found = await api.get("/v1/wallets", params={"metadata": "email:ada@example.org"})
    assert [each["walletId"] for each in found.json()["items"]] == ["w2"]
    asked = {"ownerId": "ada", "currency": "EUR"}
    refused = await api.post("/v1/wallets", json=asked | {"metadata": ADA})
    assert (refused.status_code, refused.json()["code"]) == (409, "owner_erased")
    assert (await api.post("/v1/wallets", json=asked)).status_code == 201
    acts = await sql.fetch("SELECT act, subject, details::text FROM operator_log ORDER BY id")
    assert [tuple(each) for each in acts][:1] == [
        ("owner.erase", "ada", '{"reason":"she asked for it"}')
    ]


@pytest.mark.parametrize("body", [{}, {"reason": ""}, {"reason": " "}, {"reason": "a", "x": 1}])
async def test_an_erasure_has_a_reason(api: httpx.AsyncClient, body: dict[str, object]) -> None:
    """Without a reason, or with more than that, nothing is erased."""
    await opened(api, "w1")

    refused = await api.post("/v1/admin/owners/ada/erase", json=body)

    assert refused.status_code == 400
    assert await metadata_of(api, "w1") == ADA


async def test_a_user_needs_no_owner_id_and_no_stranger_reads(
    configured: Configured, client_of: ClientOf, token: Callable[..., str]
) -> None:
    """A user's wallet is its own, personal data included; who may not read it finds nothing."""
    secret = {"WALLET_AUTH": "jwt", "WALLET_JWT_SECRET": SIGNS}
    masters = {"WALLET_PII_METADATA_KEYS": KEYS, "WALLET_MASTER_KEY": OLD}

    def as_(role: str, sub: str) -> dict[str, str]:
        return {"Authorization": f"Bearer {token(sub=sub, roles=[role])}"}

    async with client_of(configured(**secret, **masters)) as api:
        ada, bob = as_("user", "ada"), as_("user", "bob")
        mine = await api.post("/v1/wallets", json={"id": "w1", "metadata": ADA}, headers=ada)
        search = {"metadata": "email:ada@example.org"}
        found = [
            (await api.get("/v1/wallets", params=search, headers=who)).json()["items"]
            for who in (ada, as_("auditor", "eve"), bob)
        ]
        foreign = await api.get("/v1/wallets/w1", headers=bob)
        erased = await api.post("/v1/admin/owners/ada/erase", json={"reason": "x"}, headers=ada)

    assert (mine.status_code, mine.json()["ownerId"]) == (201, "ada")
    assert [[each["metadata"] for each in items] for items in found] == [[ADA], [ADA], []]
    assert (foreign.status_code, erased.status_code) == (404, 403)
    assert "example.org" not in foreign.text


async def test_two_master_keys_read_and_find_the_same(
    api: httpx.AsyncClient, configured: Configured, client_of: ClientOf
) -> None:
    """A process with a new master key before the old one reads and finds what both have sealed."""
    await opened(api, "w1")
    masters = f"new:{NEW}\nold:{OLD}"
    settings = configured(WALLET_PII_METADATA_KEYS=KEYS, WALLET_MASTER_KEY=masters)
    async with client_of(settings) as rotated:
        await opened(rotated, "w2", ownerId="bob")
        page = await rotated.get("/v1/wallets", params={"metadata": "email:ada@example.org"})

    assert [each["metadata"] for each in page.json()["items"]] == [ADA, ADA]
    assert (await api.get("/v1/wallets/w2")).json()["code"] == "pii_unreadable"


async def test_without_declared_keys_nothing_is_sealed(
    api: httpx.AsyncClient, configured: Configured, client_of: ClientOf
) -> None:
    """Once no key is declared, new values stay plain; what was sealed is still opened, or shut."""
    await opened(api, "w1")
    async with client_of(
        configured(WALLET_PII_METADATA_KEYS="", WALLET_MASTER_KEY=f"old:{OLD}")
    ) as plain:
        await opened(plain, "w2", ownerId="bob", metadata={"email": "bob@example.org"})
        assert await metadata_of(plain, "w2") == {"email": "bob@example.org"}
        assert await metadata_of(plain, "w1") == ADA
    async with client_of(configured(WALLET_MASTER_KEY="")) as keyless:
        assert (await keyless.get("/v1/wallets/w1")).json()["code"] == "pii_unreadable"


def test_declared_keys_need_a_master_key(configured: Configured) -> None:
    """A process that could not encrypt what it is told to does not start, and says what lacks."""
    with pytest.raises(SettingsRefused, match="WALLET_MASTER_KEY: is needed"):
        configured(WALLET_PII_METADATA_KEYS=KEYS)
    with pytest.raises(SettingsRefused, match="WALLET_PII_METADATA_KEYS"):
        configured(WALLET_PII_METADATA_KEYS="a:b", WALLET_MASTER_KEY=OLD)
    with pytest.raises(SettingsRefused, match="WALLET_MASTER_KEY") as refused:
        configured(WALLET_MASTER_KEY="hush")
    assert "hush" not in str(refused.value)
    assert OLD not in repr(configured(WALLET_PII_METADATA_KEYS=KEYS, WALLET_MASTER_KEY=OLD))

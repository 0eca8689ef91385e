"""Promises about lists: every item exactly once, and no cursor but the list's own."""

import string
from collections.abc import Awaitable, Callable
from datetime import UTC, datetime
from typing import Any

import httpx
import pytest

from wallet_api import cursors

Builder = Callable[..., Awaitable[str]]
LISTS = ["/v1/wallets", "/v1/wallets/w00/history", "/v1/wallets/w00/ledger"]


@pytest.fixture
async def filled(api: httpx.AsyncClient) -> httpx.AsyncClient:
    """Return a client of books with 23 wallets, the first of which has many events and entries."""
    for n in range(23):
        owner = {"ownerId": f"owner{n}"} if n % 2 else {}
        await api.post("/v1/wallets", json={"id": f"w{n:02}", "currency": "USD", **owner})
    for n in range(12):
        await api.post("/v1/wallets/w00/deposit", json={"amount": "5"})
        await api.post("/v1/wallets/w00/withdraw", json={"amount": str(n % 4 + 1)})
    return api


async def walk(api: httpx.AsyncClient, path: str, **query: str | int) -> list[list[Any]]:
    """Return the pages of a list."""
    pages: list[list[Any]] = []
    while len(pages) < 100:
        answered = await api.get(path, params=query)
        assert answered.status_code == 200, answered.text
        page = answered.json()
        pages.append(page["items"])
        if page["nextCursor"] is None:
            return pages
        query["cursor"] = page["nextCursor"]
    pytest.fail("the list has no end")


async def test_walking_a_list_meets_each_item_once(filled: httpx.AsyncClient) -> None:
    """Whatever the size of the pages, together they are the whole list in the same order."""
    for path in LISTS:
        whole = [item for page in await walk(filled, path, limit=200) for item in page]
        assert len(whole) in {23, 24, 25}
        for limit in (1, 7, 23, 24, 25):
            pages = await walk(filled, path, limit=limit)
            assert [item for page in pages for item in page] == whole
            assert all(len(page) == limit for page in pages[:-1])


async def test_fifty_items_are_the_default(filled: httpx.AsyncClient) -> None:
    """Without a limit a page has at most fifty items."""
    for _ in range(30):
        await filled.post("/v1/wallets/w00/deposit", json={"amount": "1"})

    pages = await walk(filled, "/v1/wallets/w00/history")

    assert [len(page) for page in pages] == [50, 5]


async def test_a_walk_is_not_disturbed_by_what_is_new(filled: httpx.AsyncClient) -> None:
    """What happens during a walk neither repeats nor hides what was there before."""
    path = "/v1/wallets/w00/history"
    before = [item for page in await walk(filled, path) for item in page]
    first = (await filled.get(path, params={"limit": 10})).json()

    await filled.post("/v1/wallets/w00/deposit", json={"amount": "1"})
    rest = await walk(filled, path, limit=10, cursor=first["nextCursor"])

    assert first["items"] + [item for page in rest for item in page] == before


async def test_a_changed_cursor_is_refused(filled: httpx.AsyncClient) -> None:
    """A cursor in which any character is another one, or is missing or added, is a 400."""
    for path in LISTS:
        cursor = (await filled.get(path, params={"limit": 3})).json()["nextCursor"]
        changed = [cursor[:-1], cursor + "A", cursor + "=", cursor.swapcase(), f" {cursor}"]
        for place, was in enumerate(cursor):
            letters = string.ascii_letters + string.digits + "-_"
            other = letters[(letters.index(was) + 1) % len(letters)]
            changed.append(cursor[:place] + other + cursor[place + 1 :])

        for each in changed:
            refused = await filled.get(path, params={"limit": 3, "cursor": each})
            assert (refused.status_code, refused.json()["code"]) == (400, "invalid_request"), each


async def test_a_cursor_works_nowhere_else(filled: httpx.AsyncClient) -> None:
    """A cursor of another list, another wallet or other filters is a 400."""
    for n in range(3):
        await filled.post("/v1/wallets/w01/deposit", json={"amount": f"{n + 1}"})
    places = [
        ("/v1/wallets", {}),
        ("/v1/wallets", {"currency": "USD"}),
        ("/v1/wallets", {"status": "active"}),
        ("/v1/wallets/w00/history", {}),
        ("/v1/wallets/w00/history", {"before": "2100-01-01T00:00:00Z"}),
        ("/v1/wallets/w01/history", {}),
        ("/v1/wallets/w00/ledger", {}),
        ("/v1/wallets/w00/ledger", {"type": "deposit"}),
        ("/v1/wallets/w00/ledger", {"from": "2000-01-01T00:00:00Z"}),
        ("/v1/wallets/w00/ledger", {"to": "2100-01-01T00:00:00Z"}),
        ("/v1/wallets/w01/ledger", {}),
    ]
    cursors = [
        (await filled.get(path, params={"limit": "1", **query})).json()["nextCursor"]
        for path, query in places
    ]

    assert None not in cursors
    for place, (path, query) in enumerate(places):
        for origin, cursor in enumerate(cursors):
            answered = await filled.get(path, params={"limit": "1", "cursor": cursor, **query})
            assert answered.status_code == (200 if place == origin else 400), (path, query)


async def test_wallets_are_found_by_owner_currency_and_status(filled: httpx.AsyncClient) -> None:
    """Filters narrow the list together; what nothing matches is an empty page."""
    await filled.post("/v1/wallets", json={"id": "e", "ownerId": "owner1", "currency": "EUR"})

    async def ids(**query: str) -> list[str]:
        page = (await filled.get("/v1/wallets", params=query)).json()
        return [item["walletId"] for item in page["items"]]

    assert await ids(ownerId="owner1") == ["e", "w01"]
    assert await ids(ownerId="owner1", currency="USD", status="active") == ["w01"]
    assert await ids(ownerId="nobody") == await ids(status="closed") == []


async def test_the_ledger_is_narrowed_by_type_and_time(filled: httpx.AsyncClient) -> None:
    """`type` keeps one kind; `from` is included and `to` is not."""
    path = "/v1/wallets/w00/ledger"
    every = (await filled.get(path)).json()["items"]
    middle = every[10]["occurredAt"]

    later = [e for page in await walk(filled, path, limit=5, **{"from": middle}) for e in page]
    earlier = [e for page in await walk(filled, path, limit=5, to=middle) for e in page]
    kinds = [e for page in await walk(filled, path, limit=5, type="withdraw") for e in page]

    assert later + earlier == every
    assert later[-1] == every[10]
    assert kinds == [entry for entry in every if entry["type"] == "withdraw"]
    empty = await filled.get(path, params={"type": "transfer_refund"})
    assert empty.json() == {"items": [], "nextCursor": None}


async def test_history_before_a_time(filled: httpx.AsyncClient) -> None:
    """`before` hides what happened then and later; the offset of the time counts."""
    path = "/v1/wallets/w00/history"
    every = (await filled.get(path)).json()["items"]
    middle = datetime.fromisoformat(every[7]["occurredAt"])

    for spelled in (middle.astimezone(UTC).isoformat(), middle.isoformat().replace("+00:00", "Z")):
        found = (await filled.get(path, params={"before": spelled})).json()["items"]
        assert found == every[8:]


@pytest.mark.parametrize("place", ["x", "-1", "9" * 30, "", "a\0b", "1e3", "\u0661"])
async def test_a_cursor_made_by_hand_is_refused(api: httpx.AsyncClient, place: str) -> None:
    """A cursor's check is no secret, so what it leads to is looked at as well."""
    await api.post("/v1/wallets/w/deposit", json={"amount": "1"})

    history = cursors.encode("history:w:None", place)
    wallets = cursors.encode("wallets:None:None:None", place + "\0")

    for path, cursor in (("/v1/wallets/w/history", history), ("/v1/wallets", wallets)):
        answered = await api.get(path, params={"cursor": cursor})
        assert answered.status_code == 400, answered.text

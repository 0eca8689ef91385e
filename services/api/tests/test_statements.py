"""This module is where statements and system accounts are read over HTTP."""

import csv
import io
import re
from collections.abc import Awaitable, Callable
from datetime import UTC, datetime, timedelta

import asyncpg
import httpx
import pytest

AWallet = Callable[..., Awaitable[str]]
A_MOMENT = timedelta(microseconds=1)


def spelled(at: datetime) -> str:
    return at.astimezone(UTC).isoformat().replace("+00:00", "Z")


@pytest.fixture
async def wallet_id(api: httpx.AsyncClient, a_wallet: AWallet) -> str:
    """Return a wallet with five entries: 100, -1, -2, -3 and +50."""
    wallet_id = await a_wallet()
    for amount, begins in (("1.00", "="), ("2.00", "\uff1d"), ("3.00", "\u2028 =")):
        body = {"amount": amount, "reference": f"{begins}cmd()"}
        await api.post(f"/v1/wallets/{wallet_id}/withdraw", json=body)
    await api.post(f"/v1/wallets/{wallet_id}/deposit", json={"amount": "50.00"})
    return wallet_id


@pytest.fixture
async def moments(sql: asyncpg.Connection, wallet_id: str) -> list[datetime]:
    """Return when the five entries were made."""
    rows = await sql.fetch(
        "SELECT occurred_at FROM ledger_entries WHERE wallet_id = $1 ORDER BY wallet_version",
        wallet_id,
    )
    return [row["occurred_at"] for row in rows]


async def test_lines_lead_from_one_balance_to_the_other(
    api: httpx.AsyncClient, wallet_id: str, moments: list[datetime]
) -> None:
    """From a time on, before another: whichever two, opening and lines make closing."""
    ends = [None, *moments, moments[-1] + A_MOMENT]
    balances = {
        None: 0,
        **dict(zip(ends[1:], (0, 10_000, 9_900, 9_700, 9_400, 14_400), strict=True)),
    }
    for number, begin in enumerate(ends):
        for end in ends[number + 1 :]:
            assert end is not None
            asked = {"to": spelled(end)} | ({"from": spelled(begin)} if begin else {})
            answer = await api.get(f"/v1/wallets/{wallet_id}/statement", params=asked)

            told = answer.json()
            opening, closing, *amounts = (
                int(each.replace(".", ""))
                for each in (
                    *(told["openingBalance"], told["closingBalance"]),
                    *(line["amount"] for line in told["lines"]),
                )
            )
            assert (opening, closing) == (balances[begin], balances[end])
            assert opening + sum(amounts) == closing
            assert told["to"] == spelled(end)


async def test_without_times_it_is_the_whole_past(api: httpx.AsyncClient, wallet_id: str) -> None:
    """From the wallet's beginning until now, each line as the ledger has it."""
    wallet = (await api.get(f"/v1/wallets/{wallet_id}")).json()
    ledger = (await api.get(f"/v1/wallets/{wallet_id}/ledger")).json()["items"]

    told = (await api.get(f"/v1/wallets/{wallet_id}/statement")).json()

    assert told["from"] == wallet["createdAt"]
    assert (told["openingBalance"], told["closingBalance"]) == ("0.00", wallet["balance"])
    assert told["lines"] == [
        {name: entry[name] for name in line}
        for line, entry in zip(told["lines"], ledger[::-1], strict=True)
    ]


async def test_a_time_in_which_nothing_moved_has_its_balance(
    api: httpx.AsyncClient, wallet_id: str, moments: list[datetime]
) -> None:
    """Between two entries, and before the wallet was there."""
    between = {"from": spelled(moments[0] + A_MOMENT), "to": spelled(moments[1])}
    before = {"from": "2020-01-01T00:00:00Z", "to": "2020-01-02T00:00:00Z"}

    quiet = (await api.get(f"/v1/wallets/{wallet_id}/statement", params=between)).json()
    none = (await api.get(f"/v1/wallets/{wallet_id}/statement", params=before)).json()

    assert (quiet["openingBalance"], quiet["closingBalance"], quiet["lines"]) == (
        *("100.00", "100.00"),
        [],
    )
    assert (none["openingBalance"], none["closingBalance"], none["lines"]) == ("0.00", "0.00", [])


async def test_a_spreadsheet_has_the_same_and_calculates_nothing(
    api: httpx.AsyncClient, wallet_id: str
) -> None:
    """A header, a line for each end, the entries between; a caller's text is text."""
    answer = await api.get(f"/v1/wallets/{wallet_id}/statement", params={"format": "csv"})

    assert answer.headers["content-type"].startswith("text/csv")
    assert answer.text.count("\r\n") == 8
    rows = list(csv.DictReader(io.StringIO(answer.text)))
    assert [row["type"] for row in rows] == [
        *("opening_balance", "deposit"),
        *(["withdraw"] * 3),
        *("deposit", "closing_balance"),
    ]
    assert [row["balance"] for row in rows][-2:] == ["144.00", "144.00"]
    assert [row["reference"] for row in rows[2:5]] == ["'=cmd()", "'\uff1dcmd()", "'\u2028 =cmd()"]
    assert rows[2]["amount"] == "-1.00"


@pytest.mark.parametrize(
    ("query", "field"),
    [
        ({"from": "yesterday"}, "from"),
        ({"from": "2026-01-02T00:00:00+00:60"}, "from"),
        ({"from": "2026-01-02T00:00:00Z", "to": "2026-01-01T00:00:00Z"}, "to"),
        ({"from": "2999-01-01T00:00:00Z"}, "from"),
        ({"format": "xls"}, "format"),
        ({"limit": "5"}, "limit"),
    ],
)
async def test_bad_questions_are_told_by_their_parameter(
    api: httpx.AsyncClient, wallet_id: str, query: dict[str, str], field: str
) -> None:
    """400, and the parameter."""
    answer = await api.get(f"/v1/wallets/{wallet_id}/statement", params=query)

    assert answer.status_code == 400
    assert [each["field"] for each in answer.json()["errors"]] == [field]


async def test_an_unknown_wallet_has_no_statement(api: httpx.AsyncClient) -> None:
    """404, as everywhere."""
    answer = await api.get("/v1/wallets/nobody/statement")

    assert (answer.status_code, answer.json()["code"]) == (404, "wallet_not_found")


async def test_a_statement_that_is_too_long_says_so(
    api: httpx.AsyncClient, wallet_id: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Memory is bounded: whoever asks for more lines is told to ask for a shorter time."""
    monkeypatch.setattr("wallet_api.statements.LINES_MAX", 4)

    answer = await api.get(f"/v1/wallets/{wallet_id}/statement")

    assert (answer.status_code, answer.json()["code"]) == (400, "statement_too_long")


async def test_accounts_and_wallets_sum_to_zero_in_each_currency(
    api: httpx.AsyncClient, a_wallet: AWallet, sql: asyncpg.Connection
) -> None:
    """What came from outside, less what went there, is what the wallets have."""
    usd, jpy = await a_wallet("100.00"), await a_wallet("500", "JPY")
    await api.post(f"/v1/wallets/{usd}/withdraw", json={"amount": "30.00"})

    listed = (await api.get("/v1/accounts")).json()["items"]
    yen = (await api.get("/v1/accounts", params={"currency": "JPY"})).json()["items"]
    euro = (await api.get("/v1/accounts", params={"currency": "EUR"})).json()["items"]

    others = {
        (name, currency): nothing
        for currency, nothing in (("JPY", "0"), ("USD", "0.00"))
        for name in ("@fees", "@transit", "@rounding", f"@fx:{currency}")
    }
    assert {(each["account"], each["currency"]): each["balance"] for each in listed} == {
        ("@external", "JPY"): "-500",
        ("@external", "USD"): "-70.00",
    } | others
    assert yen == [each for each in listed if each["currency"] == "JPY"]
    assert {each["balance"] for each in euro} == {"0.00"}
    assert jpy


async def test_an_account_is_known_of_every_instant(
    api: httpx.AsyncClient, wallet_id: str, moments: list[datetime]
) -> None:
    """Before, at and after each entry."""
    asked = [moments[0] - A_MOMENT, *moments]

    told = [
        (await api.get("/v1/accounts/@external", params={"at": spelled(at)})).json()["balance"]
        for at in asked
    ]
    now = (await api.get("/v1/accounts/@external", params={"currency": "USD"})).json()

    assert told == ["0.00", "-100.00", "-99.00", "-97.00", "-94.00", "-144.00"]
    assert now == {"account": "@external", "currency": "USD", "balance": "-144.00"}
    assert wallet_id


@pytest.mark.parametrize(
    ("address", "status", "code"),
    [
        ("/v1/accounts/@nobody", 404, "account_not_found"),
        # Gold has a code, and no minor unit.
        ("/v1/accounts?currency=XAU", 400, "invalid_request"),
        ("/v1/accounts/@external?currency=XAU", 400, "invalid_request"),
        ("/v1/accounts/@fx:USD?currency=EUR", 400, "invalid_request"),
        ("/v1/accounts/@external?at=now", 400, "invalid_request"),
        ("/v1/accounts?at=2026-01-01T00:00:00Z", 400, "invalid_request"),
    ],
)
async def test_bad_questions_about_accounts(
    api: httpx.AsyncClient, address: str, status: int, code: str
) -> None:
    """Unknown accounts, currencies, times and parameters."""
    answer = await api.get(address)

    assert (answer.status_code, answer.json()["code"]) == (status, code)


async def test_a_statement_on_paper_has_every_line_on_its_pages(
    api: httpx.AsyncClient, a_wallet: AWallet
) -> None:
    """Whatever letters a reference has, and the same bytes for the same statement."""
    wallet_id = await a_wallet("100.00")
    for number in range(60):
        body = {"amount": "1.00", "reference": f"Müller {number} 東京 {'x' * 200}"}
        await api.post(f"/v1/wallets/{wallet_id}/withdraw", json=body)
    until = (await api.get(f"/v1/wallets/{wallet_id}")).json()["updatedAt"]
    asked = {"format": "pdf", "to": until}

    answer, again = [
        await api.get(f"/v1/wallets/{wallet_id}/statement", params=asked) for _ in range(2)
    ]

    assert answer.headers["content-type"] == "application/pdf"
    assert answer.content.startswith(b"%PDF-")
    assert answer.content == again.content
    assert len(re.findall(rb"/Type /Page\b", answer.content)) == 2


@pytest.mark.parametrize("format_", ["json", "csv", "pdf"])
async def test_a_statement_may_begin_with_the_calendar(
    api: httpx.AsyncClient, a_wallet: AWallet, format_: str
) -> None:
    """The first instant there is has no earlier one, in no time zone."""
    wallet_id = await a_wallet("1.00")
    asked = {"from": "0001-01-01T00:00:00Z", "format": format_}

    answer = await api.get(f"/v1/wallets/{wallet_id}/statement", params=asked)

    assert answer.status_code == 200, answer.text
    if format_ == "json":
        assert answer.json()["from"] == "0001-01-01T00:00:00Z"
    if format_ == "csv":
        assert answer.headers["Content-Type"] == "text/csv; header=present; charset=utf-8"


async def test_a_statement_that_ends_before_its_wallet_begins_there(
    api: httpx.AsyncClient, wallet_id: str
) -> None:
    """Nothing moved in no time."""
    end = "2020-01-01T00:00:00Z"

    answer = await api.get(f"/v1/wallets/{wallet_id}/statement", params={"to": end})

    told = answer.json()
    assert (told["from"], told["to"], told["lines"]) == (end, end, [])

"""This module is where statements are put on paper."""

from collections.abc import Callable
from datetime import UTC, datetime

import pytest

from wallet_api import paper
from wallet_api.books import open_books
from wallet_api.past_schemas import StatementAnswer, StatementLine
from wallet_api.problems import Problem
from wallet_api.settings import ApiSettings
from wallet_api.statements import printed
from wallet_db_orm.database import Database

NOW = datetime(2026, 11, 27, tzinfo=UTC)


def a_statement(*references: str, wallet_id: str = "w") -> StatementAnswer:
    lines = [
        StatementLine(
            wallet_version=number,
            occurred_at=NOW,
            type="deposit",
            amount="1.00",
            balance_after="1.00",
            counter_account="@external",
            operation_id="o",
            transfer_id=None,
            request_id="r",
            reference=reference,
        )
        for number, reference in enumerate(references)
    ]
    return StatementAnswer(
        wallet_id=wallet_id,
        currency="USD",
        since=NOW,
        until=NOW,
        opening_balance="0.00",
        closing_balance="1.00",
        lines=lines,
    )


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("rent", "rent"),
        ("i" * 45, "i" * 45),
        ("i" * 46, "i" * 41 + "..."),
        ("W" * 256, "W" * 9 + "..."),
        ("\u6771", "?"),
        ("", ""),
    ],
)
def test_what_has_no_room_ends_in_an_ellipsis(text: str, shown: str) -> None:
    """As many letters as fit, by their widths in Helvetica: i 222 thousandths, W 944, a dot 278."""
    assert paper.cut(text, room=0.222 * 8 * 45.5, size=8) == shown


async def test_behind_too_many_others_a_statement_is_not_put_on_paper(
    configured: Callable[..., ApiSettings],
) -> None:
    """One at a time, and nobody waits for long: 503, come back."""
    settings = configured()
    database = Database(settings.database_url.get_secret_value(), application_name="wallet-api")
    books = open_books(settings, database)

    first = await printed(books, a_statement("rent"))
    async with books.press:
        with pytest.raises(Problem) as refused:
            await printed(books, a_statement("rent"))

    assert first.startswith(b"%PDF-")
    assert (refused.value.status, refused.value.code) == (503, "busy")
    assert await printed(books, a_statement("rent")) == first
    await database.dispose()

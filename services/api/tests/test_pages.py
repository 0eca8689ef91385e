"""This module is where the pages of docs/ are executed: what they say is answered is answered."""

import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest

DOCS = Path(__file__).parents[3] / "docs"
PAGES = (
    "assets.md",
    "bulk.md",
    "dry-run.md",
    "exchange.md",
    "fees.md",
    "holds.md",
    "limits.md",
    "past.md",
    "reversals.md",
    "wallet-life.md",
)
BLOCK = re.compile(r"```http\n(.*?)```", re.DOTALL)
EXCHANGE = re.compile(r"(GET|POST|PUT|DELETE) (\S+)(?: (\{.*\}))?\n(\d{3}) (\{.*\})")


def exchanges(page: str) -> Iterator[tuple[str, ...]]:
    """Yield a page's requests with their answers: method, address, body, status, body."""
    text = (DOCS / page).read_text("utf-8")
    for block in BLOCK.findall(text):
        told = [part for part in block.split("\n\n") if part.strip()]
        found = [EXCHANGE.fullmatch(part.strip()) for part in told]
        assert all(found), f"{page} has a block that is no list of exchanges: {block}"
        yield from (match.groups("") for match in found if match)


def named(text: str, names: dict[str, str]) -> str:
    """Return the text with what was answered before in the place of its name."""
    return re.sub(r"<\w+>", lambda name: names[name[0]], text)


def compare(told: Any, answered: Any, names: dict[str, str]) -> None:  # noqa: ANN401  # any JSON
    """Assert that an answer has what the page says; a `<name>` stands for whatever was answered."""
    if isinstance(told, dict):
        for key, value in told.items():
            compare(value, answered[key], names)
    elif isinstance(told, list):
        for value, other in zip(told, answered, strict=True):
            compare(value, other, names)
    elif isinstance(told, str) and re.fullmatch(r"<\w+>", told):
        assert names.setdefault(told, answered) == answered
    else:
        assert answered == told


@pytest.mark.parametrize("page", PAGES)
async def test_a_page_is_true(api: httpx.AsyncClient, page: str) -> None:
    """Sent from its top to its end, each request is answered as the page says."""
    names: dict[str, str] = {}
    asked = list(exchanges(page))
    assert asked
    for method, address, body, status, told in asked:
        answer = await api.request(
            method, named(address, names), json=json.loads(named(body, names)) if body else None
        )

        assert answer.status_code == int(status), answer.text
        compare(json.loads(told), answer.json(), names)

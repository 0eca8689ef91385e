"""This module is where the journal is held to its word: what is meant is on disk first."""

import asyncio
from pathlib import Path

from wallet_tools.torture import journal as journals
from wallet_tools.torture.history import Answer, Attempt, Intent, Outcome
from wallet_tools.torture.journal import Journal
from wallet_tools.torture.workload import Client


def _answer(intent: Intent) -> Answer:
    return Answer(id=intent.id, outcome=Outcome.OK, began=1, ended=2, api=0, content=b"\x00\xff")


async def test_an_intent_is_on_disk_before_it_is_sent(tmp_path: Path) -> None:
    """Once `intend` has returned, whoever opens the file finds the request, byte for byte."""
    client = Client(1, 0)
    with Journal(tmp_path / "journal") as journal:
        intent = client.next({})
        await journal.intend(intent)
        assert list(journals.read(tmp_path / "journal")) == [intent]

        answer = _answer(intent)
        await journal.tell(answer)
        assert list(journals.read(tmp_path / "journal")) == [Attempt(intent, answer)]


async def test_writers_that_come_together_share_a_sync(tmp_path: Path) -> None:
    """A hundred clients at once cost a few fsyncs, and none of their lines is lost."""
    client = Client(1, 0)
    intents = [client.next({}) for _ in range(100)]
    with Journal(tmp_path / "journal") as journal:
        await asyncio.gather(*(journal.intend(intent) for intent in intents))
        assert 1 <= journal.syncs < 10

    assert list(journals.read(tmp_path / "journal")) == intents

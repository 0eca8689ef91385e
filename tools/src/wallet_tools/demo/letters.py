"""This module is where the demo lets messages die, and is their operator."""

import os
import signal
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime
from typing import Any

import aio_pika
import asyncpg
import msgspec

from wallet_common import topology as names
from wallet_common.topology import Topology
from wallet_db_orm import dead_letters
from wallet_db_orm.database import Database
from wallet_db_orm.ids import new_id
from wallet_tools.demo.story import Story, check, tell, until

_LETTERS = "/v1/admin/dead-letters"


_REASON = "made up by the demo"


async def tell_of_letters(story: Story, database: Database) -> None:
    """Tell how a dead event is foretold and replayed, and how nonsense is thrown away."""
    await _tell_of_an_event(story, database)
    await _tell_of_nonsense(story)


async def _tell_of_an_event(story: Story, database: Database) -> None:
    with _standing_still(story.run.pids.worker):
        title, asked = "While the worker stands still: a deposit", {"amount": "5.00"}
        await story.post(title, f"/{story.bob}/deposit", 201, asked)
        page = await story.client.get(f"/v1/wallets/{story.bob}/history", params={"limit": 1})
        event = page.json()["items"][0]
        await _lay_down(story, database, event)
        letter = await _letter(story, event["id"])
        title = "Its event lies among the dead letters. What would a replay change? A dry run"
        shown = (await story.ask(title, "GET", f"{_LETTERS}/{letter['id']}", 200)).json()
        projection = shown["projection"]
        before, after = (projection[when]["totalDeposited"] for when in ("before", "after"))
        print(f"     total deposited: {before} -> {after}")
        check(before != after, "the dry run foretells nothing")
    replay = f"{_LETTERS}/{letter['id']}/replay"
    await story.ask("The worker goes on; the letter is replayed", "POST", replay, 201)

    async def is_applied() -> bool:
        stats = await story.client.get(f"/v1/wallets/{story.bob}/stats")
        ready = await story.client.get("/readyz")
        told = (stats.json()["totalDeposited"], ready.json()["outboxRows"])
        return bool(told == (after, 0))

    await until(is_applied, "what the dry run foretold")
    title = "As foretold, and once, though the event came from the outbox too"
    await story.get(title, f"/{story.bob}/stats")


@contextmanager
def _standing_still(pids: Sequence[int]) -> Iterator[None]:
    for pid in pids:
        os.kill(pid, signal.SIGSTOP)
    try:
        yield
    finally:
        for pid in pids:
            os.kill(pid, signal.SIGCONT)


async def _lay_down(story: Story, database: Database, event: dict[str, Any]) -> None:
    """Make a letter of an event, as the worker does with what keeps failing."""
    queue, body, now = story.topology.queue, msgspec.json.encode(event), datetime.now(UTC)
    if story.run.rabbitmq is None:
        letter = dead_letters.Letter(
            id=event["id"],
            queue=queue,
            routing_key=event["type"],
            body=body,
            error=_REASON,
            error_class="Demo",
            attempts=1,
            first_failed_at=now,
            last_failed_at=now,
        )
        await dead_letters.keep(database.primary, letter)
        return
    headers: Any = {
        names.ORIGIN_QUEUE_HEADER: queue,
        names.ERROR_HEADER: _REASON,
        names.ERROR_CLASS_HEADER: "Demo",
        names.ATTEMPTS_HEADER: 1,
        names.FIRST_FAILED_HEADER: now.isoformat(),
        names.LAST_FAILED_HEADER: now.isoformat(),
    }
    message = aio_pika.Message(body, headers=headers, message_id=event["id"])
    exchange = story.topology.dead_letter_exchange
    await _publish(story.run.rabbitmq, exchange, message, event["type"])


async def _tell_of_nonsense(story: Story) -> None:
    if story.run.rabbitmq:
        resting = story.topology.dead_letter_queue
        message_id = await _publish_nonsense(story.run.rabbitmq, story.topology)
    else:
        resting = "dead_letters, the table"
        message_id = await _point_at_nothing(story)
    letter = await _letter(story, message_id)
    tell(f"A message that nobody can read rests in {resting}")
    print(f"     {letter['errorClass']}: {letter['error']}")
    title = "An operator looks at it; a dry run says what a replay would change"
    shown = (await story.ask(title, "GET", f"{_LETTERS}/{letter['id']}", 200)).json()
    print(f"     dry run: {shown['projection']}")
    if story.run.rabbitmq:
        await story.ask(
            "It is replayed all the same", "POST", f"{_LETTERS}/{letter['id']}/replay", 201
        )
        letter = await _letter(story, message_id, replays=1)
        tell(f"It dies again, and is seen to have been replayed {letter['replays']} time")
    discarded, why = f"{_LETTERS}/{letter['id']}/discard", {"reason": _REASON}
    await story.ask("It is thrown away; the archive keeps it", "POST", discarded, 201, why)
    told = (await story.client.get(_LETTERS)).json()
    check(all(each["id"] != letter["id"] for each in told["items"]), "the letter is still there")


async def _publish_nonsense(url: str, topology: Topology) -> str:
    message_id = new_id()
    message = aio_pika.Message(b"not an event, says the demo", message_id=message_id)
    await _publish(url, topology.exchange, message, "Demo")
    return message_id


async def _publish(url: str, exchange: str, message: aio_pika.Message, key: str) -> None:
    connection = await aio_pika.connect(url, timeout=10)
    async with connection:
        channel = await connection.channel(publisher_confirms=True, on_return_raises=True)
        there = await channel.get_exchange(exchange)
        await there.publish(message, key, mandatory=True, timeout=10)


async def _point_at_nothing(story: Story) -> str:
    """Queue an event that does not exist, and return its id."""
    event_id = new_id()
    connection = await asyncpg.connect(story.run.database)
    try:
        await connection.execute(
            "INSERT INTO outbox (wallet_id, event_id) VALUES ($1, $2)", story.ada, event_id
        )
    finally:
        await connection.close()
    return event_id


async def _letter(story: Story, message_id: str, replays: int = 0) -> Any:  # noqa: ANN401  # JSON
    found: list[Any] = []

    async def is_there() -> bool:
        answer = await story.client.get(_LETTERS)
        # A moment ago somebody else may have had them in hand.
        listed = answer.json()["items"] if answer.status_code == 200 else []
        for each in listed:
            shown = await story.client.get(f"{_LETTERS}/{each['id']}")
            if each["replays"] == replays and message_id in shown.text:
                found.append(each)
        return bool(found)

    await until(is_there, "the dead letter")
    return found[0]

"""
This module is where an operator's dead letters are: on the broker, or in the table without one.

Looking never changes a letter: it is fetched unacknowledged and put back. A letter leaves the
queue only after its copy was confirmed somewhere else, or when it is discarded by name.
"""

import hashlib
import re
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from typing import Any, Final, Protocol

import aio_pika
import msgspec
from aio_pika.abc import AbstractChannel, AbstractIncomingMessage

from wallet_common import topology as names
from wallet_common.errors import Poison
from wallet_common.events import decode
from wallet_common.topology import Topology
from wallet_db_orm import dead_letters
from wallet_db_orm.database import Database

_CONFIRM_TIMEOUT_S: Final = 10
_VARIABLE: Final = re.compile(r"[0-9a-f]{8}-[0-9a-f-]{27}|\d+")


class Letter(msgspec.Struct, frozen=True, kw_only=True, rename="camel"):
    """A dead letter as it is listed; `group` names letters that died of the same error."""

    id: str
    queue: str
    routing_key: str
    group: str
    error: str
    error_class: str
    attempts: int
    replays: int
    first_failed_at: str | None
    last_failed_at: str | None
    size: int
    headers: dict[str, Any]
    body: bytes


class LetterBox(Protocol):
    """Where letters rest; there is one for the broker and one for the table."""

    async def letters(self) -> Sequence[Letter]:
        """Return the letters, oldest first; of the table the first thousand."""

    async def replay(self, letter_id: str) -> bool:
        """Put the letter back to where it came from; False if there is no such letter."""

    async def discard(self, letter_id: str) -> bool:
        """Throw the letter away; False if there is no such letter."""


class BrokerBox:
    """The dead letter queue itself."""

    def __init__(self, url: str, topology: Topology) -> None:
        self._url = url
        self._topology = topology

    async def letters(self) -> Sequence[Letter]:
        async with self._fetched() as (_, messages):
            return [_letter_of(message, self._topology) for message in messages]

    async def replay(self, letter_id: str) -> bool:
        async with self._fetched() as (channel, messages):
            found = self._find(messages, letter_id)
            if found is None:
                return False
            letter = _letter_of(found, self._topology)
            copy = aio_pika.Message(
                found.body,
                headers={
                    **_without_failure(found.headers),
                    names.REPLAYS_HEADER: letter.replays + 1,
                },
                message_id=found.message_id,
                content_type=found.content_type,
                delivery_mode=aio_pika.DeliveryMode.PERSISTENT,
            )
            await channel.default_exchange.publish(
                copy, letter.queue, mandatory=True, timeout=_CONFIRM_TIMEOUT_S
            )
            await found.ack()
            return True

    async def discard(self, letter_id: str) -> bool:
        async with self._fetched() as (_, messages):
            found = self._find(messages, letter_id)
            if found is None:
                return False
            await found.ack()
            return True

    def _find(
        self, messages: Sequence[AbstractIncomingMessage], letter_id: str
    ) -> AbstractIncomingMessage | None:
        named = (each for each in messages if _letter_of(each, self._topology).id == letter_id)
        return next(named, None)

    @asynccontextmanager
    async def _fetched(
        self,
    ) -> AsyncIterator[tuple[AbstractChannel, Sequence[AbstractIncomingMessage]]]:
        """Hold every letter; those that nobody acknowledged are back when the block ends."""
        connection = await aio_pika.connect(self._url, timeout=5)
        async with connection:
            channel = await connection.channel(publisher_confirms=True, on_return_raises=True)
            queue = await channel.get_queue(self._topology.dead_letter_queue)
            messages = []
            while (message := await queue.get(no_ack=False, fail=False)) is not None:
                messages.append(message)
            yield channel, messages
            # Closing returns what is left; told one by one, in order, it keeps its order.
            for message in messages:
                if not message.processed:
                    await message.nack(requeue=True)


class TableBox:
    """The table that stands in while there is no broker."""

    def __init__(self, database: Database) -> None:
        self._engine = database.primary

    async def letters(self) -> Sequence[Letter]:
        return [_letter_of_row(row) for row in await dead_letters.letters(self._engine)]

    async def replay(self, letter_id: str) -> bool:
        found = next((each for each in await self.letters() if each.id == letter_id), None)
        if found is None:
            return False
        try:
            event = decode(found.body)
        except Poison:
            return False
        return await dead_letters.put_back(self._engine, letter_id, event.wallet_id, event.id)

    async def discard(self, letter_id: str) -> bool:
        return await dead_letters.drop(self._engine, letter_id)


def group_of(error_class: str, error: str) -> str:
    """Return a short name for an error, the same whatever ids and numbers it mentions."""
    signature = f"{error_class}: {_VARIABLE.sub('#', error)}"
    return hashlib.blake2b(signature.encode(), digest_size=4).hexdigest()


def _letter_of(message: AbstractIncomingMessage, topology: Topology) -> Letter:
    headers = dict(message.headers)
    error_class = str(headers.get(names.ERROR_CLASS_HEADER, "DeliveryLimit"))
    error = str(headers.get(names.ERROR_HEADER, "given up on by the broker"))
    fingerprint = hashlib.blake2b(message.body, digest_size=8).hexdigest()
    return Letter(
        id=message.message_id or fingerprint,
        queue=str(headers.get(names.ORIGIN_QUEUE_HEADER, topology.queue)),
        routing_key=str(headers.get(names.ROUTING_KEY_HEADER, message.routing_key)),
        group=group_of(error_class, error),
        error=error,
        error_class=error_class,
        attempts=_count(headers, names.ATTEMPTS_HEADER),
        replays=_count(headers, names.REPLAYS_HEADER),
        first_failed_at=_text(headers, names.FIRST_FAILED_HEADER),
        last_failed_at=_text(headers, names.LAST_FAILED_HEADER),
        size=len(message.body),
        headers={
            name: value if isinstance(value, int) else str(value) for name, value in headers.items()
        },
        body=message.body,
    )


def _letter_of_row(row: dead_letters.Letter) -> Letter:
    return Letter(
        id=row.id,
        queue=row.queue,
        routing_key=row.routing_key,
        group=group_of(row.error_class, row.error),
        error=row.error,
        error_class=row.error_class,
        attempts=row.attempts,
        replays=row.replays,
        first_failed_at=row.first_failed_at.isoformat(),
        last_failed_at=row.last_failed_at.isoformat(),
        size=len(row.body),
        headers={},
        body=row.body,
    )


def _without_failure(headers: Mapping[str, Any]) -> dict[str, Any]:
    """Return the headers of a message that has all its attempts before it again."""
    failure = {
        *(names.ATTEMPTS_HEADER, names.ERROR_HEADER, names.ERROR_CLASS_HEADER),
        *(names.FIRST_FAILED_HEADER, names.LAST_FAILED_HEADER),
    }
    return {
        name: value
        for name, value in headers.items()
        if name not in failure and "death" not in name
    }


def _count(headers: Mapping[str, Any], name: str) -> int:
    value = headers.get(name, 0)
    return value if isinstance(value, int) else 0


def _text(headers: Mapping[str, Any], name: str) -> str | None:
    value = headers.get(name)
    return None if value is None else str(value)

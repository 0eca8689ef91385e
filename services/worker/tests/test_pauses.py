"""This module is where a part that tries for ever ends all the same when it is told to."""

import asyncio

import pytest

from wallet_worker.pauses import Pauses


async def test_a_cancellation_that_was_swallowed_still_ends_the_part() -> None:
    """A library turns it into an error, as the broker's does while it connects: heard later."""
    pauses, is_in = Pauses("test.waits"), asyncio.Event()

    async def connect() -> None:
        try:
            is_in.set()
            await asyncio.Event().wait()
        except asyncio.CancelledError:
            message = "the connection was lost"
            raise ConnectionError(message) from None

    async def part() -> None:
        while True:
            try:
                await connect()
            except ConnectionError as error:
                await pauses.wait(error)

    task = asyncio.create_task(part())
    await is_in.wait()
    task.cancel()

    with pytest.raises(asyncio.CancelledError):
        await asyncio.wait_for(task, 5)


async def test_a_cancellation_swallowed_by_success_is_heard_too() -> None:
    """Connected in spite of it: the first good news ends the part."""
    pauses, is_in = Pauses("test.waits"), asyncio.Event()

    async def part() -> None:
        try:
            is_in.set()
            await asyncio.Event().wait()
        except asyncio.CancelledError:
            pauses.over()

    task = asyncio.create_task(part())
    await is_in.wait()
    task.cancel()

    with pytest.raises(asyncio.CancelledError):
        await asyncio.wait_for(task, 5)

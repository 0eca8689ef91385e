"""This module is where it is specified what a process does about its own garbage."""

import asyncio
import gc
import weakref

from wallet_runtime import memory


class _Link:
    """Something that holds on to itself, as a connection does whose error names it."""

    def __init__(self) -> None:
        self.itself = self


async def test_what_holds_on_to_itself_is_swept_away() -> None:
    """A cycle that the collector was too lazy to look for is gone after the next sweep."""
    loop, gone = asyncio.get_running_loop(), asyncio.Event()
    gc.disable()
    try:
        weakref.finalize(_Link(), loop.call_soon_threadsafe, gone.set)
        sweeping = asyncio.create_task(memory.sweep(every_s=0.01))

        async with asyncio.timeout(10):
            await gone.wait()
        sweeping.cancel()
    finally:
        gc.enable()

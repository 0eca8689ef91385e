"""This module is where a process tells the garbage collector what stays and when to look."""

import asyncio
import gc
from typing import Final

# Requests and events leave next to no cycles; looking for them often costs every caller. It is
# more than full lanes hold: what is only on its way is not looked through.
_YOUNG_OBJECTS_MAX: Final = 250_000
_SWEEP_EVERY_S: Final = 60.0


def settle() -> None:
    """Exempt all that was made so far from collections, and have fewer of them."""
    gc.collect()
    gc.freeze()
    gc.set_threshold(_YOUNG_OBJECTS_MAX, 20, 100)


async def sweep(every_s: float = _SWEEP_EVERY_S) -> None:
    """
    Collect every so often, until cancelled.

    A lost connection leaves a few cycles, and whole buffers of messages hang on them: too few
    objects for the collector to come by itself before they are many megabytes.
    """
    while True:
        await asyncio.sleep(every_s)
        gc.collect()

"""This module is where intents and outcomes are on disk before anything depends on them."""

import asyncio
import os
from collections.abc import Iterator
from pathlib import Path
from types import TracebackType
from typing import Self

import msgspec

from wallet_tools.torture.history import Answer, Attempt, Intent


class Line(msgspec.Struct, frozen=True, omit_defaults=True):
    """One line of the file: an intent, or what came of an earlier one."""

    intent: Intent | None = None
    answer: Answer | None = None


class Journal:
    """
    A file of JSON lines that all clients share; writers that come together share an fsync.

    An intent is durable before `intend` returns, so before its request is sent: whoever reads the
    file after a crash of the harness knows of every request that may have had an effect.
    """

    def __init__(self, path: Path) -> None:
        self._file = path.open("ab")
        self._waiting: list[tuple[bytes, asyncio.Future[None]]] = []
        self._writing: asyncio.Task[None] | None = None
        self.syncs = 0

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        at: TracebackType | None,
    ) -> None:
        self._file.close()

    async def intend(self, intent: Intent) -> None:
        """Write down what is about to be asked; returns when it is durable."""
        await self._add(Line(intent=intent))

    async def tell(self, answer: Answer) -> None:
        """Write down what came of it; returns when it is durable."""
        await self._add(Line(answer=answer))

    async def _add(self, line: Line) -> None:
        done = asyncio.get_running_loop().create_future()
        self._waiting.append((msgspec.json.encode(line) + b"\n", done))
        if self._writing is None:
            self._writing = asyncio.create_task(self._write())
        await asyncio.shield(done)

    async def _write(self) -> None:
        while self._waiting:
            batch, self._waiting = self._waiting, []
            try:
                await asyncio.to_thread(self._append, b"".join(text for text, _ in batch))
            except OSError as error:
                for _, done in batch:
                    done.set_exception(error)
            else:
                for _, done in batch:
                    done.set_result(None)
        self._writing = None

    def _append(self, text: bytes) -> None:
        self._file.write(text)
        self._file.flush()
        os.fsync(self._file.fileno())
        self.syncs += 1


def read(path: Path) -> Iterator[Intent | Attempt]:
    """Yield each attempt as its answer is met, then the intents that nobody told the end of."""
    open_intents: dict[str, Intent] = {}
    with path.open("rb") as file:
        for text in file:
            line = msgspec.json.decode(text, type=Line)
            if line.intent is not None:
                open_intents[line.intent.id] = line.intent
            if line.answer is not None:
                yield Attempt(open_intents.pop(line.answer.id), line.answer)
    yield from open_intents.values()

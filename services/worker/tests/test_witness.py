"""This module is where checkpoints reach those outside: the file, and who listens for them."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path
from typing import TYPE_CHECKING

import httpx
import pytest

from wallet_common.checkpoints import Contradiction, read
from wallet_runtime.checkpoint_file import lines_of
from wallet_runtime.checkpoints import CheckpointSettings
from wallet_worker import checkpointing
from wallet_worker.witness import Off, Witness

if TYPE_CHECKING:
    from services.worker.tests.conftest import Bank

Until = Callable[..., Awaitable[None]]


class Receiver:
    """Whoever keeps the checkpoints on another machine: an HTTP server that is sometimes ill."""

    def __init__(self) -> None:
        self.took: list[str] = []
        self.is_ill = False
        self.url = ""

    async def answer(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        head = (await reader.readuntil(b"\r\n\r\n")).decode().lower()
        size = int(head.partition("content-length: ")[2].partition("\r\n")[0])
        body = (await reader.readexactly(size)).decode()
        if not self.is_ill:
            self.took.append(body.rstrip("\n"))
        status = b"503 Ill" if self.is_ill else b"204 No Content"
        writer.write(b"HTTP/1.1 " + status + b"\r\nconnection: close\r\ncontent-length: 0\r\n\r\n")
        await writer.drain()
        writer.close()


@pytest.fixture
async def receiver() -> AsyncIterator[Receiver]:
    receiver = Receiver()
    server = await asyncio.start_server(receiver.answer, "127.0.0.1")
    receiver.url = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}/checkpoints"
    async with server:
        yield receiver


def settings(**given: object) -> CheckpointSettings:
    names = {name: f"WALLET_{name.upper()}" for name in given}
    return CheckpointSettings.model_validate({names[name]: value for name, value in given.items()})


def key(file: Path, webhook: str = "", **more: object) -> CheckpointSettings:
    return settings(
        checkpoint_key="ab" * 32, checkpoint_file=str(file), checkpoint_webhook=webhook, **more
    )


def only_webhook(url: str) -> CheckpointSettings:
    return settings(checkpoint_key="ab" * 32, checkpoint_webhook=url)


async def test_a_checkpoint_is_in_the_file_when_it_is_told(bank: "Bank", tmp_path: Path) -> None:
    """Each is appended; what is missing of those before is written with it."""
    file = tmp_path / "checkpoints.jsonl"
    witness = Witness(bank.database, key(file))

    await bank.deposit("w1")
    first = await witness.checkpoint()
    again = await witness.checkpoint()
    file.unlink()
    await bank.deposit("w2")
    second = await witness.checkpoint()

    assert first.checkpoint is not None
    assert second.checkpoint is not None
    assert again.checkpoint is None
    assert (first.lines_written, again.lines_written, second.lines_written) == (1, 0, 2)
    assert [read(line).checkpoint for line in lines_of(file)] == [1, 2]
    assert (first.checkpoint.wallets, second.checkpoint.wallets) == (1, 2)


async def test_a_file_of_other_books_stops_the_witness(bank: "Bank", tmp_path: Path) -> None:
    """A database that was set back must not go on in the file as if nothing had happened."""
    file = tmp_path / "checkpoints.jsonl"
    await bank.deposit("w1")
    await Witness(bank.database, key(file)).checkpoint()
    await bank.execute("ALTER TABLE checkpoints DISABLE TRIGGER USER; DELETE FROM checkpoints")

    with pytest.raises(Contradiction):
        await Witness(bank.database, key(file)).checkpoint()


async def test_who_listens_gets_every_line_in_the_end(
    bank: "Bank", receiver: Receiver, tmp_path: Path
) -> None:
    """One that could not be told is told at the next one, in order and once."""
    witness = Witness(bank.database, key(tmp_path / "c", receiver.url))
    await bank.deposit("w1")
    await witness.checkpoint()
    receiver.is_ill = True
    await bank.deposit("w1")
    with pytest.raises(httpx.HTTPStatusError):
        await witness.checkpoint()
    receiver.is_ill = False
    await bank.deposit("w1")

    await witness.checkpoint()

    assert receiver.took == lines_of(tmp_path / "c")
    assert [read(line).checkpoint for line in receiver.took] == [1, 2, 3]


JUNK = """INSERT INTO checkpoints VALUES (2, '{"junk":1}')"""


@pytest.mark.parametrize("has_file", [True, False])
async def test_what_nobody_signed_is_told_to_nobody(
    bank: "Bank", receiver: Receiver, tmp_path: Path, has_file: bool
) -> None:
    """A line that a role has put into the database stays there; no checkpoint follows it."""
    file = tmp_path / "c"
    given = key(file, receiver.url) if has_file else only_webhook(receiver.url)
    witness = Witness(bank.database, given)
    await bank.deposit("w1")
    await witness.checkpoint()
    await bank.execute(JUNK)
    await bank.deposit("w1")

    for _ in range(2):
        with pytest.raises(Contradiction, match="checkpoint"):
            await witness.checkpoint()

    assert [read(line).checkpoint for line in receiver.took] == [1]
    assert len(lines_of(file)) == has_file


@pytest.mark.parametrize(
    ("given", "lacks"),
    [({"checkpoint_file": "f"}, "WALLET_CHECKPOINT_KEY"), ({"checkpoint_key": "ab" * 32}, "FILE")],
)
async def test_without_a_key_or_a_place_there_are_no_checkpoints(
    bank: "Bank", given: dict[str, object], lacks: str
) -> None:
    """It is said which setting lacks; the worker's part ends and the worker goes on."""
    with pytest.raises(Off, match=lacks):
        Witness(bank.database, settings(**given))

    await asyncio.wait_for(checkpointing.run(bank.database, settings(**given)), 5)


async def test_workers_take_one_when_it_is_due(bank: "Bank", tmp_path: Path, until: Until) -> None:
    """Two workers at once take as many as one would, and none while nothing changes."""
    file = tmp_path / "checkpoints.jsonl"
    await bank.deposit("w1")
    parts = [
        asyncio.create_task(checkpointing.run(bank.database, key(file, checkpoint_seconds=0.5)))
        for _ in range(2)
    ]

    await until(lambda: len(lines_of(file)) == 1)
    await bank.deposit("w1")
    await until(lambda: len(lines_of(file)) == 2)

    first, second = (read(line).at for line in lines_of(file))
    assert (second - first).total_seconds() >= 0.5
    for part in parts:
        part.cancel()
    await asyncio.wait(parts)

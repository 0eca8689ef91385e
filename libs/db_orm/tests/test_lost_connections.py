"""This module is where the database goes away in the middle and nothing is lost or doubled."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import suppress
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

import pytest

from wallet_common.errors import Busy
from wallet_common.operations import Receipt
from wallet_common.transfer import TransferState
from wallet_common.wallet import Wallet
from wallet_db_orm.database import Trouble, trouble
from wallet_tools.postgres import PostgresServer

if TYPE_CHECKING:
    from libs.db_orm.tests.conftest import Books, Builders, Ledger

# What a COMMIT looks like on the wire, asked and answered.
ASKED, ANSWERED = b"COMMIT;\0", b"C\0\0\0\x0bCOMMIT\0"


class Wire:
    """A way to the server that can be cut at the worst moment."""

    def __init__(self, port: int) -> None:
        self._port = port
        self.entrance = 0
        self.cut_at: bytes | None = None
        self.cuts = 0

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        back, forth = await asyncio.open_connection("127.0.0.1", self._port)
        ways = [
            asyncio.create_task(self._carry(reader, forth)),
            asyncio.create_task(self._carry(back, writer)),
        ]
        await asyncio.wait(ways, return_when=asyncio.FIRST_COMPLETED)
        for end in (forth, writer):
            end.transport.abort()
        await asyncio.wait(ways)

    async def _carry(self, source: asyncio.StreamReader, sink: asyncio.StreamWriter) -> None:
        with suppress(ConnectionError):
            while data := await source.read(65536):
                if self.cut_at is not None and self.cut_at in data:
                    self.cut_at, self.cuts = None, self.cuts + 1
                    return
                sink.write(data)
                await sink.drain()


@pytest.fixture
async def wire(postgres_server: PostgresServer) -> AsyncIterator[Wire]:
    """Yield a way to the server that can be cut."""
    wire = Wire(postgres_server.port)
    async with await asyncio.start_server(wire.serve, "127.0.0.1", 0) as server:
        wire.entrance = server.sockets[0].getsockname()[1]
        yield wire


@pytest.fixture
async def distant(wire: Wire, ledger: "Ledger") -> AsyncIterator["Ledger"]:
    """Yield a process that reaches the same books over the wire."""
    address = urlsplit(ledger.url)
    server = address.netloc.rpartition(":")[0]
    distant = type(ledger)(address._replace(netloc=f"{server}:{wire.entrance}").geturl())
    yield distant
    await distant.close()


@pytest.mark.parametrize("cut_at", [ASKED, ANSWERED], ids=["asked", "answered"])
async def test_an_order_met_again_after_an_unanswered_commit_is_no_replay(
    distant: "Ledger", wire: Wire, books: "Books", a: "Builders", cut_at: bytes
) -> None:
    """Whether COMMIT or only its answer was lost: one effect, told as the first time."""
    wire.cut_at = cut_at

    first = await distant.record(a.deposit("w1", "10.00", request_id="k1"), audited=True)
    again = await distant.record(a.deposit("w1", "10.00", request_id="k1"), audited=True)

    assert wire.cuts == 1
    assert isinstance(first.operation.outcome, Receipt)
    assert first.operation.outcome.created
    assert (first.is_replay, again.is_replay) == (False, True)
    assert await books.balances() == {"w1": 1000}
    # One row for each of the two requests, though the first was carried out twice.
    assert await books.count("api_audit") == 2


@pytest.mark.parametrize("cut_at", [ASKED, ANSWERED], ids=["asked", "answered"])
async def test_every_step_of_a_transfer_survives_an_unanswered_commit(
    distant: "Ledger", wire: Wire, books: "Books", a: "Builders", cut_at: bytes
) -> None:
    """Cut at the debit, the credit or the end, a transfer happens once and is told once."""
    await distant.post(a.deposit("w1", "10.00"))
    await distant.post(a.deposit("w2", "10.00"))

    for _ in range(3):
        wire.cut_at = cut_at
        debited = await distant.debit(a.transfer("w1", "w2", "1.00"), audited=True)
        wire.cut_at = cut_at
        ended = await distant.finished(debited)
        assert ended.state is TransferState.COMPLETED

    assert wire.cuts == 6
    assert await books.balances() == {"w1": 700, "w2": 1300}
    assert await books.count("api_audit WHERE status = 201") == 3
    assert await books.count("events WHERE type = 'TransferCompleted'") == 3


async def test_a_refusal_and_an_opening_survive_an_unanswered_commit(
    distant: "Ledger", wire: Wire, books: "Books", a: "Builders"
) -> None:
    """A rejection is remembered once, a wallet opened once, and neither looks like a repetition."""
    wire.cut_at = ANSWERED
    opened = await distant.ask(a.opening("w1", owner_id="ann"), audited=True)
    wire.cut_at = ANSWERED
    refused = await distant.record(a.withdrawal("w1", "1.00"), audited=True)

    assert wire.cuts == 2
    assert opened == Wallet("w1", "USD", "ann", version=1)
    assert not refused.is_replay
    assert (await books.count("operations"), await books.count("events")) == (1, 1)
    assert await books.count("api_audit") == 2


async def test_ended_sessions_under_load_lose_nothing_and_double_nothing(
    ledger: "Ledger", other: "Ledger", books: "Books", a: "Builders"
) -> None:
    """While sessions are ended again and again every caller gets an outcome, each order once."""
    orders = [a.deposit(f"w{number % 7}", "1.00") for number in range(350)]
    going = True

    async def administrator() -> int:
        ended = 0
        while going:
            ended += await books.terminate()
            # The next blow falls when some work has been done in between.
            await asyncio.gather(*(ledger.insist(a.deposit("pace", "1.00")) for _ in range(3)))
        return ended

    async def client(process: "Ledger", mine: int) -> list[bool]:
        return [(await process.insist(each)).is_replay for each in orders[mine::25]]

    blows = asyncio.create_task(administrator())
    replays = await asyncio.gather(
        *(client((ledger, other)[number % 2], number) for number in range(25))
    )
    going = False

    assert await blows > 5
    assert sum(map(len, replays)) == 350
    balances = await books.balances()
    assert [balances[f"w{number}"] for number in range(7)] == [5_000] * 7
    asked = ", ".join(f"'{each.request_id}'" for each in orders)
    assert await books.count(f"operations WHERE request_id IN ({asked})") == 350


async def test_transfers_whose_sessions_are_ended_reach_their_end(
    ledger: "Ledger", books: "Books", a: "Builders"
) -> None:
    """Transfers driven through ended sessions keep every cent, and none stays on its way."""
    for wallet_id in ("w1", "w2"):
        await ledger.post(a.deposit(wallet_id, "100.00"))

    async def pay(wallet_id: str, to: str) -> None:
        command = a.transfer(wallet_id, to, "1.00")
        await ledger.insist(command)
        while True:
            try:
                ended = await ledger.finished(await ledger.stored(command))
            except Exception as error:
                if not isinstance(error, Busy) and trouble(error) is not Trouble.CONNECTION:
                    raise
            else:
                assert ended.state is TransferState.COMPLETED
                return

    async with asyncio.TaskGroup() as payments:
        driven = [payments.create_task(pay(*pair)) for pair in [("w1", "w2"), ("w2", "w1")] * 30]
        while not all(each.done() for each in driven):
            await books.terminate()
            await ledger.insist(a.deposit("pace", "1.00"))

    balances = await books.balances()
    assert (balances["w1"], balances["w2"]) == (10_000, 10_000)
    assert await books.in_transit() == 0
    assert await books.count("transfers WHERE state = 'completed'") == 60

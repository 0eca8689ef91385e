"""This module is where tests of settlements get another service, and workers that serve it."""

import asyncio
import itertools
import json
from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine, Generator
from contextlib import suppress
from datetime import UTC, datetime
from functools import partial
from typing import TYPE_CHECKING, Any

import pytest
from msgspec.structs import replace

from wallet_common.money import parse_amount
from wallet_common.topology import ATTEMPTS_HEADER
from wallet_db_orm.audit import AuditRecord
from wallet_db_orm.database import Database
from wallet_db_orm.group_commit import GroupCommit
from wallet_db_orm.ids import new_id
from wallet_worker.settlement import Settlements, Terms

if TYPE_CHECKING:
    from services.worker.tests.conftest import Bank, Worker


def origin(body: bytes) -> AuditRecord:
    return AuditRecord(
        id=new_id(),
        method="AMQP",
        url="exchange/key",
        body=body,
        # Come back once already: what lacks a wallet by now has none.
        headers={ATTEMPTS_HEADER: "1"},
        client_ip=None,
        principal="exchange",
        wallet_id=None,
        request_id=None,
        trace_id="trace",
        received_at=datetime.now(UTC),
    )


class Interrupted:
    """
    Work that is cancelled, as by a killed process, at the so manieth time that it waits.

    With a bell it sleeps there instead, as in a stopped process, until the bell rings.
    """

    def __init__(
        self, work: Coroutine[Any, Any, None], waits: int, bell: asyncio.Event | None = None
    ) -> None:
        self._work = work
        self._waits = waits
        self._bell = bell
        self.was_reached = False

    async def live(self) -> None:
        with suppress(asyncio.CancelledError):
            await asyncio.create_task(self._run())

    async def _run(self) -> None:
        await self

    def __await__(self) -> Generator[Any, Any, None]:
        inner = self._work.__await__()
        resume: Callable[[], Any] = partial(next, inner)
        for number in itertools.count(1):
            try:
                waits_for = resume()
            except StopIteration:
                return
            is_here = number == self._waits
            self.was_reached |= is_here
            task = asyncio.current_task()
            assert task is not None
            if is_here and self._bell is None:
                task.cancel()
            try:
                yield waits_for
                resume = partial(next, inner)
            except BaseException as error:  # noqa: BLE001  # what the work waited for has raised
                resume = partial(inner.throw, error)
            if is_here and self._bell is not None:
                yield from self._bell.wait().__await__()


class Service:
    """Another service: it tells two workers, in turn, of its users and transactions."""

    def __init__(self, bank: "Bank", terms: Terms) -> None:
        self.bank = bank
        self.terms = terms
        self._databases = [Database(bank.url, application_name="wallet-worker") for _ in range(2)]
        self._lanes = [GroupCommit(each) for each in self._databases]
        self._turns = itertools.cycle(zip(self._databases, self._lanes, strict=True))

    def at(self, **terms: object) -> Settlements:
        """Return one of the two workers, at these terms instead."""
        return Settlements(*next(self._turns), replace(self.terms, **terms))

    async def sign_up(self, user_id: str, **terms: object) -> None:
        body = json.dumps({"userId": user_id}).encode()
        await self.at(**terms).sign_up(body, origin(body))

    async def topup(self, name: str, user_id: str, amount: str = "10.00", **terms: object) -> None:
        told = {"transactionId": name, "type": "topup", "userId": user_id, "amount": amount}
        await self._complete(told, terms)

    async def transfer(self, name: str, user_id: str, to: str, amount: str = "4.00") -> None:
        told = {"transactionId": name, "type": "TRANSFER", "fromUserId": user_id, "toUserId": to}
        await self._complete(told | {"amount": amount}, {})

    async def move(self, kind: str, name: str, user_id: str) -> None:
        """Bring in 4.00, or send them to bob."""
        if kind == "topup":
            await self.topup(name, user_id, "4.00")
        else:
            await self.transfer(name, user_id, "bob", "4.00")

    async def failure(self, name: str, reason: str = "chargeback") -> None:
        body = json.dumps({"transactionId": name, "reason": reason}).encode()
        await self.at().fail(body, origin(body))

    async def user(self, user_id: str, amount: str) -> None:
        """Have a user with so much money."""
        await self.sign_up(user_id, opening_balance=parse_amount(amount))

    async def balance(self, user_id: str) -> str | None:
        """Return the balance in units; None if the user has no wallet."""
        sql = "SELECT balance_minor FROM wallets WHERE owner_id = $1"
        minor = await self.bank.value(sql, user_id)
        return None if minor is None else f"{minor / 100:.2f}"

    async def answers(self, name: str) -> list[str]:
        """Return what was answered about a transaction: `completed`, or the reason it failed."""
        sql = "SELECT answer FROM outbox WHERE answer IS NOT NULL ORDER BY position"
        told = [json.loads(row["answer"]) for row in await self.bank.rows(sql)]
        for each in told:
            assert each["success"] == (each["status"] == "completed") == (each["reason"] is None)
        return [each["reason"] or each["status"] for each in told if each["transactionId"] == name]

    async def entries(self) -> list[str]:
        sql = "SELECT type FROM ledger_entries ORDER BY occurred_at, wallet_version"
        return [row["type"] for row in await self.bank.rows(sql)]

    async def _complete(self, told: dict[str, str], terms: dict[str, object]) -> None:
        body = json.dumps(told).encode()
        await self.at(**terms).complete(body, origin(body))

    async def close(self) -> None:
        for lanes, database in zip(self._lanes, self._databases, strict=True):
            await lanes.close()
            await database.dispose()


@pytest.fixture
async def service(
    bank: "Bank",
    worker_at: "Callable[[str | None], Worker]",
    until: Callable[..., Awaitable[None]],
) -> AsyncIterator[Service]:
    """Yield another service; the books are proved when the test is over."""
    service = Service(bank, Terms("USD"))
    yield service
    await service.close()
    worker_at(None).start_direct()
    # Without a broker answers stay for one; here they count as told.
    await bank.execute("DELETE FROM outbox WHERE answer IS NOT NULL")
    await until(bank.is_quiet)
    assert await bank.violations() == []


@pytest.fixture
def interrupted() -> type[Interrupted]:
    """Return what interrupts work at any of its waits."""
    return Interrupted

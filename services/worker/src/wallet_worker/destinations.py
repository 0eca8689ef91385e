"""This module is where the relay's two destinations are: the broker, and our own delivery."""

import math
from collections.abc import Iterable, Sequence
from datetime import UTC, datetime
from time import monotonic
from typing import Final

import msgspec
import structlog

from wallet_common.errors import Poison
from wallet_common.events import decode
from wallet_common.topology import Topology
from wallet_db_orm import dead_letters
from wallet_db_orm.database import Database, Trouble, trouble
from wallet_db_orm.outbox import ANSWERS, Pending
from wallet_worker import topology as declared
from wallet_worker.delivery import Delivery
from wallet_worker.links import CONFIRM_TIMEOUT_S, Outlet
from wallet_worker.pauses import Pauses, in_short
from wallet_worker.publishing import Outgoing, Publisher

# What was not confirmed is sent again after so long, twice as long each time.
_HOLD_S: Final = 0.1
_HOLD_MAX_S: Final = 10.0
# More wallets than this in trouble at once: the broker itself is.
_HELD_MAX: Final = 1_000

log = structlog.get_logger("wallet_worker")


class _Hold(msgspec.Struct, frozen=True):
    until_s: float
    delay_s: float


class BrokerDestination:
    """
    Publishes persistent, mandatory and confirmed, the confirms of a batch awaited together.

    A wallet with an event that some queue refused waits a while, with all that it has behind it;
    the others do not.
    """

    def __init__(self, url: str, topology: Topology) -> None:
        self._topology = topology
        self._outlet = Outlet(url, topology, declared.declare_outbound)
        self._pauses = Pauses("relay.unconfirmed")
        self._publisher: Publisher | None = None
        self._holds: dict[str, _Hold] = {}

    @property
    def held_back(self) -> set[str]:
        now_s = monotonic()
        return {wallet_id for wallet_id, hold in self._holds.items() if hold.until_s > now_s}

    @property
    def due_in_s(self) -> float:
        return _due_in_s(hold.until_s for hold in self._holds.values())

    async def send(self, batch: Sequence[Pending]) -> set[int]:
        """
        Return the confirmed positions; raises if there is none: better start afresh.

        Not for answers alone: that other services refuse them is no reason to.
        """
        if self._publisher is None:
            self._publisher = Publisher(await self._outlet.channel())
        outgoing = [self._outgoing(pending) for pending in batch]
        results = await self._publisher.publish(outgoing, timeout_s=CONFIRM_TIMEOUT_S)
        failures = [result for result in results if result is not None]
        if len(failures) == len(batch) and not all(pending.is_answer for pending in batch):
            raise failures[0]
        if failures:
            self._pauses.tell(failures[0])
        failed = {
            pending.wallet_id
            for pending, result in zip(batch, results, strict=True)
            if result is not None
        }
        self._hold(failed, {pending.wallet_id for pending in batch})
        return {
            pending.position
            for pending, result in zip(batch, results, strict=True)
            if result is None
        }

    def _hold(self, failed: set[str], sent: set[str]) -> None:
        for wallet_id in sent - failed:
            self._holds.pop(wallet_id, None)
        now_s = monotonic()
        # Of those that were due and not sent somebody else has disposed.
        due_s = now_s - _HOLD_MAX_S
        self._holds = {each: hold for each, hold in self._holds.items() if hold.until_s > due_s}
        for wallet_id in failed:
            earlier = self._holds.get(wallet_id)
            delay_s = min(2 * earlier.delay_s, _HOLD_MAX_S) if earlier else _HOLD_S
            self._holds[wallet_id] = _Hold(now_s + delay_s, delay_s)
        if len(self._holds) > _HELD_MAX:
            self._holds.clear()
            message = f"events of more than {_HELD_MAX} wallets are refused"
            raise ConnectionError(message)

    async def close(self) -> None:
        self._publisher = None
        await self._outlet.close()

    def _outgoing(self, pending: Pending) -> Outgoing:
        names = self._topology
        return Outgoing(
            pending.event_id,
            names.transaction_exchange if pending.is_answer else names.exchange,
            pending.routing_key,
            pending.body,
            # Whether anybody listens to our answers is the other service's business.
            is_mandatory=not pending.is_answer,
        )


class _Postponed(msgspec.Struct, frozen=True):
    wallet_id: str
    attempts: int
    until_s: float
    first_failed_at: datetime


class DirectDestination:
    """
    Applies events itself, by the consumer's delivery; letters rest in the table.

    An event that failed stays in the outbox, with what its wallet has behind it, until its delay
    is over; other wallets do not wait.
    """

    def __init__(self, database: Database, topology: Topology, delivery: Delivery) -> None:
        self._database = database
        self._topology = topology
        self._delivery = delivery
        self._postponed: dict[int, _Postponed] = {}

    @property
    def held_back(self) -> set[str]:
        now_s = monotonic()
        waiting = {each.wallet_id for each in self._postponed.values() if each.until_s > now_s}
        # Answers to other services stay for a worker that has a broker.
        return {ANSWERS, *waiting}

    @property
    def due_in_s(self) -> float:
        return _due_in_s(each.until_s for each in self._postponed.values())

    async def send(self, batch: Sequence[Pending]) -> set[int]:
        now_s = monotonic()
        due = [
            pending
            for pending in batch
            if pending.position not in self._postponed
            or self._postponed[pending.position].until_s <= now_s
        ]
        failures = await self._applied(due)
        settled = set()
        for pending, failure in zip(due, failures, strict=True):
            if failure is None:
                self._postponed.pop(pending.position, None)
                settled.add(pending.position)
            elif await self._is_buried(pending, failure):
                settled.add(pending.position)
        return settled

    async def close(self) -> None:
        """Nothing is held."""

    async def _applied(self, batch: Sequence[Pending]) -> list[Exception | None]:
        """Apply the events, and return for each what kept it from being applied."""
        failures: list[Exception | None] = [None] * len(batch)
        readable = {}
        for at, pending in enumerate(batch):
            try:
                readable[at] = decode(pending.body)
            except Exception as error:  # noqa: BLE001  # becomes the letter's reason
                failures[at] = error
        told = await self._delivery.deliver(list(readable.values()))
        for at, failure in zip(readable, told, strict=True):
            failures[at] = failure
        return failures

    async def _is_buried(self, pending: Pending, error: Exception) -> bool:
        """Lay the event to rest after its last attempt; False if it has to wait for the next."""
        earlier = self._postponed.pop(pending.position, None)
        attempts = earlier.attempts + 1 if earlier else 1
        first_failed_at = earlier.first_failed_at if earlier else datetime.now(UTC)
        delays_ms = self._topology.retry_delays_ms
        if trouble(error) is Trouble.CONTENTION:
            # Somebody else's lock is no fault of the event, however long it is held.
            attempts -= 1
        if not isinstance(error, Poison) and attempts <= len(delays_ms):
            until_s = monotonic() + delays_ms[max(0, attempts - 1)] / 1000
            self._postponed[pending.position] = _Postponed(
                pending.wallet_id, attempts, until_s, first_failed_at
            )
            log.warning("message.postponed", **_told(pending, error, attempts))
            return False
        await self._bury(pending, error, attempts, first_failed_at)
        return True

    async def _bury(
        self, pending: Pending, error: Exception, attempts: int, first_failed_at: datetime
    ) -> None:
        await dead_letters.keep(
            self._database.primary,
            dead_letters.Letter(
                id=pending.event_id,
                queue=self._topology.queue,
                routing_key=pending.routing_key,
                body=pending.body,
                error=in_short(error),
                error_class=type(error).__name__,
                attempts=attempts,
                replays=pending.replays,
                first_failed_at=first_failed_at,
                last_failed_at=datetime.now(UTC),
            ),
        )
        log.error("letter.died", **_told(pending, error, attempts))


def _due_in_s(untils_s: Iterable[float]) -> float:
    now_s = monotonic()
    return min((until_s for until_s in untils_s if until_s > now_s), default=math.inf) - now_s


def _told(pending: Pending, error: Exception, attempts: int) -> dict[str, object]:
    return {
        "message_id": pending.event_id,
        "routing_key": pending.routing_key,
        "attempts": attempts,
        "error_class": type(error).__name__,
        "error": in_short(error),
    }

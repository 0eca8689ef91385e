"""
This module is where concurrent callers share a transaction.

A lane has one queue and one open transaction at a time, two while it is deep. When it is free it
takes what is queued, applies it as one batch and resolves the callers; meanwhile the next batch
forms. There is no timer: a lone order is a batch of one and waits for nobody. See docs/adr/0004.
"""

import asyncio
from collections import deque
from collections.abc import Sequence
from contextlib import aclosing
from time import monotonic
from typing import Final
from zlib import crc32

from sqlalchemy.ext.asyncio import AsyncEngine

from wallet_common.errors import Busy
from wallet_db_orm.database import LANE_TRANSACTIONS, Database, Lease, Trouble, trouble
from wallet_db_orm.doorbell import Doorbell
from wallet_db_orm.ledger import apply
from wallet_db_orm.orders import Applied, Order
from wallet_db_orm.waiting import Waiting, fail, resolve, wanted, within_patience

BATCH_MAX: Final = 512
PENDING_MAX: Final = 4_096
# With so many orders for other wallets in its queue a lane has a second transaction, so that the
# process does not wait for the disk.
DEEP: Final = 128
# So often an order whose wallet another process holds goes back to the head of the queue before it
# is waited for: with batches this big each of several processes always holds some of them.
PUT_BACK_MAX: Final = 4
# Longer than this nobody waits: the caller is told to come back.
PATIENCE_S: Final = 5.0
_FIRST_PAUSE_S: Final = 0.05
_PAUSE_MAX_S: Final = 0.5
# So long a wallet whose lock was still held keeps its own lane though nobody asks for it.
_STAYS_APART_S: Final = 30.0


class GroupCommit:
    """
    The only way to write. `submit` returns after COMMIT, or raises Busy when nothing is known.

    A wallet that somebody else holds locked leaves its lane and waits in a lane of its own, so
    that only its own callers wait with it.
    """

    def __init__(self, database: Database) -> None:
        self._database = database
        self._lanes = [_Lane(self, database.lanes) for _ in range(database.lane_count)]
        # The wallets that wait in lanes of their own.
        self.apart: dict[str, _Lane] = {}
        self._watched: deque[Waiting] = deque()
        self._timer: asyncio.TimerHandle | None = None
        self.doorbell = Doorbell(database.fresh)

    @property
    def pending(self) -> int:
        """How many have been submitted and not been answered yet."""
        return sum(not each.answer.done() for each in self._watched)

    def has_room(self, orders: int) -> bool:
        """Say whether so many more may be submitted now."""
        if len(self._watched) + orders > PENDING_MAX:
            # Who was answered is looked for now and then, and not each time.
            self._watched = deque(each for each in self._watched if not each.answer.done())
        return len(self._watched) + orders <= PENDING_MAX

    def submit(
        self, order: Order, *, behind: asyncio.Future[Applied] | None = None
    ) -> asyncio.Future[Applied]:
        """
        Queue `order` and return what will have come of it after COMMIT.

        Awaiting it raises Busy: at once when the queue is full, after `PATIENCE_S` at the latest.
        Cancelling does no harm: it is carried out or not. What was submitted `behind` another order
        for the same wallet is carried out only if that one was, whatever came of it; else Busy.
        """
        answer: asyncio.Future[Applied] = asyncio.get_running_loop().create_future()
        if not self.has_room(1):
            answer.set_exception(Busy("too many requests are waiting"))
            return answer
        waiting = Waiting(order, answer, monotonic() + PATIENCE_S, behind)
        self._lane_of(order).put(waiting)
        self._watch(waiting)
        return answer

    async def close(self) -> None:
        """Finish what is queued; nothing may be submitted any more."""
        while running := [each for each in [*self._lanes, *self.apart.values()] if each.is_running]:
            await running[0].drained()
        await self.doorbell.close()

    def set_apart(self, waiting: Waiting) -> None:
        """Let an order wait in its wallet's own lane, outside everybody else's way."""
        wallet_id = waiting.order.command.wallet_id
        if wallet_id not in self.apart:
            own = _Lane(self, self._database.apart, apart_for=wallet_id)
            self.apart[wallet_id] = own
        self.apart[wallet_id].put(waiting)

    def follow_apart(self, waiting: Waiting, lane: "_Lane") -> bool:
        """Queue an order of `lane` behind those of its wallet that have left it; say if it was."""
        own = self.apart.get(waiting.order.command.wallet_id)
        if own is None or own is lane:
            return False
        own.put(waiting)
        return True

    def rejoin(self, wallet_id: str, lane: "_Lane") -> None:
        """Forget a wallet's own lane; its next order goes the common way again."""
        if self.apart.get(wallet_id) is lane and not lane.is_running:
            del self.apart[wallet_id]

    def _watch(self, waiting: Waiting) -> None:
        """Whatever holds it up, a queue or a lock or a silent server, nobody waits longer."""
        while self._watched and self._watched[0].answer.done():
            self._watched.popleft()
        self._watched.append(waiting)
        if self._timer is None:
            self._timer = asyncio.get_running_loop().call_later(PATIENCE_S, self._give_up)

    def _give_up(self) -> None:
        """Answer those whose time has come. One timer for all: all wait equally long."""
        now = monotonic()
        while self._watched and (
            self._watched[0].answer.done() or self._watched[0].deadline_s <= now
        ):
            fail([self._watched.popleft()], TimeoutError())
        self._timer = None
        if self._watched:
            until_s = self._watched[0].deadline_s - now
            self._timer = asyncio.get_running_loop().call_later(until_s, self._give_up)

    def _lane_of(self, order: Order) -> "_Lane":
        """
        Return the wallet's lane.

        Who asks on behalf of an owner may be a stranger, whom no wallet's lock may delay: that is
        found out in the common lane, and whoever is none follows the others of the wallet.
        """
        wallet_id = order.command.wallet_id
        own = None if order.owner_id else self.apart.get(wallet_id)
        return own or self._lanes[crc32(wallet_id.encode()) % len(self._lanes)]


class _Lane:
    """
    One queue, carried out by one transaction at a time: by two while it is deep.

    No wallet is in both, so that each wallet's orders are carried out as they came.
    """

    def __init__(
        self, group: GroupCommit, engine: AsyncEngine, *, apart_for: str | None = None
    ) -> None:
        self._group = group
        self._engine = engine
        self._apart_for = apart_for
        self._queue: deque[Waiting] = deque()
        self._tasks: set[asyncio.Task[None]] = set()
        self._serving = 0
        self._under_way: set[str] = set()
        self._is_clear = True

    def put(self, waiting: Waiting) -> None:
        self._queue.append(waiting)
        # Deep is looked at now and then: what waits may be for wallets that are under way.
        is_deep = self._serving < LANE_TRANSACTIONS and len(self._queue) % DEEP == 0
        if not self._serving or is_deep:
            self._serving += 1
            task = asyncio.create_task(self._run())
            self._tasks.add(task)
            task.add_done_callback(self._end)

    @property
    def is_running(self) -> bool:
        return bool(self._tasks)

    async def drained(self) -> None:
        while self._tasks:
            await asyncio.wait(self._tasks)

    async def _run(self) -> None:
        async with aclosing(Lease(self._engine)) as lease:
            try:
                while batch := self._take():
                    wallet_ids = {each.order.command.wallet_id for each in batch}
                    self._under_way |= wallet_ids
                    await self._settle(lease, batch)
                    self._under_way -= wallet_ids
            finally:
                # More may be queued while the connection is given back.
                self._serving -= 1

    def _take(self) -> list[Waiting]:
        """Take what is next; beside another transaction `DEEP` orders at least, or none."""
        if self._serving == 1:
            return [self._queue.popleft() for _ in range(min(BATCH_MAX, len(self._queue)))]
        busy = self._under_way
        free = [each for each in self._queue if each.order.command.wallet_id not in busy]
        if len(free) < DEEP:
            return []
        taken = set(map(id, free[:BATCH_MAX]))
        self._queue = deque(each for each in self._queue if id(each) not in taken)
        return free[:BATCH_MAX]

    def _end(self, task: asyncio.Task[None]) -> None:
        self._tasks.discard(task)
        # While its lock is still held the wallet stays apart: its next caller delays no one.
        if self._apart_for is not None and not self._tasks:
            stays_s = 0 if self._is_clear else _STAYS_APART_S
            asyncio.get_running_loop().call_later(
                stays_s, self._group.rejoin, self._apart_for, self
            )

    async def _settle(self, lease: Lease, batch: Sequence[Waiting]) -> None:
        """Resolve every caller of the batch, whatever happens."""
        pause_s = _FIRST_PAUSE_S
        # What is free goes first; what another process holds for its own batch is waited for next.
        waits = self._apart_for is not None
        while batch := wanted(batch):
            try:
                orders = [each.order for each in batch]
                aside = () if waits else self._group.apart
                applied = await apply(lease, orders, waits=waits, aside=aside)
            except Exception as error:  # noqa: BLE001  # handed to the callers, none is swallowed
                if trouble(error) is not Trouble.CONNECTION:
                    return await self._part(lease, batch, error)
                # COMMIT may have gone through unanswered. Asking again tells: every order is
                # remembered by its key, so what happened is found and what did not happens now.
                batch = within_patience(batch, error)
                await asyncio.sleep(pause_s)
                pause_s = min(2 * pause_s, _PAUSE_MAX_S)
            else:
                left = resolve(batch, applied)
                is_stuck = waits or len(left) == len(batch)
                left = [each for each in left if not self._group.follow_apart(each, self)]
                batch = left if is_stuck else self._put_back(left)
                self._group.doorbell.ring()
                waits, self._is_clear = True, True
        return None

    def _put_back(self, left: Sequence[Waiting]) -> list[Waiting]:
        """
        Queue again, before all else, what another process holds while there is anything else to do.

        Returns what is to be waited for now: nothing is put back for ever.
        """
        if not self._queue:
            return list(left)
        stays = [each for each in left if each.put_back == PUT_BACK_MAX]
        again = [each for each in left if each.put_back < PUT_BACK_MAX]
        for each in again:
            each.put_back += 1
        self._queue.extendleft(reversed(again))
        return stays

    async def _part(self, lease: Lease, batch: Sequence[Waiting], error: Exception) -> None:
        """A batch failed as a whole: see to it that one bad wallet or order harms no other."""
        kind = trouble(error)
        self._is_clear = False
        if kind is Trouble.CONTENTION and self._apart_for is None:
            self._set_apart(batch)
        elif kind is Trouble.OTHER and len(batch) > 1:
            for each in batch:
                # What its wallet's earlier order met may have moved the wallet out of here.
                if not self._group.follow_apart(each, self):
                    await self._settle(lease, [each])
        else:
            fail(batch, error)

    def _set_apart(self, batch: Sequence[Waiting]) -> None:
        """Move the wallets of `batch` out of this lane, with what they have queued, in order."""
        wallet_ids = {each.order.command.wallet_id for each in batch}
        queued, self._queue = self._queue, deque()
        for each in batch:
            self._group.set_apart(each)
        for each in queued:
            # Whoever may be a stranger is looked at first, as in `_lane_of`.
            if each.order.command.wallet_id in wallet_ids and not each.order.owner_id:
                self._group.set_apart(each)
            else:
                self._queue.append(each)

"""This module is where a run goes its way: boot, load, faults, heal, drain, resolve, check."""

import asyncio
import contextlib
import time
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Final

from wallet_tools.state import StateFolder
from wallet_tools.torture import (
    books,
    checks,
    evidence,
    gear,
    journal as journals,
    oracle,
    outside,
    summary,
)
from wallet_tools.torture.clients import Asker, Crowd
from wallet_tools.torture.gauges import Gauges
from wallet_tools.torture.ground import Ground
from wallet_tools.torture.history import Attempt, Violation
from wallet_tools.torture.journal import Journal
from wallet_tools.torture.nemesis import Nemesis
from wallet_tools.torture.plan import Kind, schedule
from wallet_tools.torture.quick import AWAY
from wallet_tools.torture.result import Result
from wallet_tools.torture.scene import Findings, Order, Scene
from wallet_tools.torture.tap import Tap
from wallet_tools.torture.watch import Watch
from wallet_tools.torture.workload import wallets_of

DRAIN_S: Final = 60.0
_HEAL_S: Final = 60.0
# RabbitMQ before 4 writes a second late which log belongs to a new quorum queue; a kill before
# that would be of the declaring, not of the work.
_SETTLE_S: Final = 2.0
_PROGRESS_EVERY_S: Final = 1.0


def _begun() -> Findings:
    return Findings(datetime.now(UTC).strftime("%Y-%m-%d %H:%M UTC"))


@dataclass(slots=True)
class Run:
    """One run; `say` hears of its progress."""

    order: Order
    say: Callable[[str], None]
    found: Findings = field(default_factory=_begun)

    async def carry_out(self) -> Result:
        """
        Do it all and return what there is to report; the stack is gone afterwards.

        Raises:
            TortureFailed: it could not be carried out.
        """
        ground, kinds = self._ground()
        for reason in self.found.not_run:
            self.say(f"this cannot become a clean run: {reason}")
        async with self._scene(ground, kinds) as scene:
            self.found.machine = await summary.describe(ground)
            await self._under_load(scene)
            # What the books themselves contradict is told as it was found, and nothing is mended.
            self.found.violations += scene.watch.violations
            if not scene.watch.violations:
                await self._come_to_rest(scene)
                await self._check(scene)
        return summary.sum_up(self.order, scene, self.found)

    @property
    def _journal(self) -> Path:
        return self.order.state / "journal.jsonl"

    def _ground(self) -> tuple[Ground, tuple[Kind, ...]]:
        """Return the stack to be, and the kinds of faults that this machine lets us do."""
        state, kinds = StateFolder.at(self.order.state), list(self.order.kinds)
        ground = Ground(state)
        if Kind.CLOCK in kinds:
            ground.clocks = gear.find_clocks(state.path / "clocks")
            if ground.clocks is None:
                self.found.not_run.append("clock: libfaketime is not installed")
                kinds.remove(Kind.CLOCK)
        if Kind.DISK in kinds:
            if gear.may_mount():
                ground.disk = gear.SmallDisk(ground.service_logs)
            else:
                self.found.not_run.append("disk: no file system may be mounted here")
                kinds.remove(Kind.DISK)
        return ground, tuple(kinds)

    @contextlib.asynccontextmanager
    async def _scene(self, ground: Ground, kinds: tuple[Kind, ...]) -> AsyncIterator[Scene]:
        """Yield everybody in place: the stack up, the wallets open, the tap listening."""
        order = self.order
        async with contextlib.AsyncExitStack() as closing:
            closing.push_async_callback(ground.close)
            await asyncio.to_thread(ground.prepare)
            tap = Tap(ground.rabbitmq.url)
            closing.push_async_callback(tap.close)
            await tap.open()
            await ground.populate()
            journal = closing.enter_context(Journal(self._journal))
            asker = Asker(ground.api_url, journal)
            closing.push_async_callback(asker.close)
            crowd = Crowd(asker, order.seed, order.clients, order.pace_s)
            await crowd.open()
            await asyncio.sleep(_SETTLE_S)
            nemesis, watch = (
                Nemesis(ground, wallets_of(order.seed)),
                Watch(ground.admin_url, ground.owner_url, ground.state.checkpoint_file),
            )
            plan = schedule(order.seed, order.seconds, kinds)
            yield Scene(ground, tap, asker, crowd, nemesis, watch, Gauges(ground), plan)

    async def _under_load(self, scene: Scene) -> None:
        """Let clients, nemesis and watch go on until the time is up, or something is found."""
        began = self.found.began = time.monotonic()
        end, watch = began + self.order.seconds, scene.watch
        raging = asyncio.create_task(scene.nemesis.rage(scene.plan, began, self.order.seconds))
        beside = [
            asyncio.create_task(work)
            for work in (watch.run(), scene.gauges.run(), self._tell(scene))
        ]

        def is_over() -> bool:
            # None of them ends by itself; if one does, its reason is told below.
            has_ended = any(task.done() for task in beside)
            return time.monotonic() > end or bool(watch.violations) or has_ended

        try:
            await scene.crowd.run(is_over)
            self.found.lasted_s = time.monotonic() - began
            for task in beside:
                if task.done() and not watch.violations:
                    task.result()
            if watch.violations:
                raging.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await raging
        finally:
            for task in (raging, *beside):
                task.cancel()
            await asyncio.gather(raging, *beside, return_exceptions=True)
            await scene.nemesis.heal()

    async def _come_to_rest(self, scene: Scene) -> None:
        """Wait for everybody to be back, for quiet; resolve; wait for quiet again."""
        if not await scene.ground.becomes_whole(_HEAL_S):
            what = f"not every process answers {_HEAL_S:.0f} s after healing"
            self.found.violations.append(Violation(id="L3", what=what))
        await self._drain(scene, "after healing, without any client's help")
        self.found.before = await checks.operations_known(scene.ground.admin_url)
        self.say("resolving what is unknown")
        await scene.crowd.resolve()
        await self._drain(scene, "after resolving")

    async def _drain(self, scene: Scene, when: str) -> None:
        self.say(f"draining {when}")
        began = time.monotonic()
        while (passed_s := time.monotonic() - began) < DRAIN_S:
            with contextlib.suppress(*AWAY):
                if await self._is_quiet(scene):
                    self.found.drained_s.append(round(passed_s, 1))
                    return
            await asyncio.sleep(0.2)
        what = f"not quiet {DRAIN_S:.0f} s {when}"
        self.found.violations.append(Violation(id="S1", what=what))

    async def _is_quiet(self, scene: Scene) -> bool:
        """Whether nothing is under way, all was heard, and the file has every checkpoint."""
        url, file = scene.ground.admin_url, scene.ground.state.checkpoint_file
        return (
            await books.is_quiet(url)
            and len(scene.tap.heard) >= await checks.events_known(url)
            and len(outside.lines(file)) >= await checks.checkpoints_known(url)
        )

    async def _check(self, scene: Scene) -> None:
        self.say("checking")
        ground = scene.ground
        # Judged is what is on disk: whatever becomes of this process, the file is the evidence.
        history = [each for each in journals.read(self._journal) if isinstance(each, Attempt)]
        assert len(history) == len(scene.asker.history), "every answer was written down"
        report = await checks.proved(ground.owner_url, outside.at_rest(ground.state))
        self.found.proved = {f"{each.id} {each.name}": each.checked for each in report.invariants}
        facts = await books.read(ground.admin_url)
        deaths = {number: part.kills for number, part in enumerate(ground.of_kind("api"))}
        waited = checks.rows_that_waited(ground.state.logs)
        unaudited, self.found.audit_lost = evidence.audited(history, facts, deaths, waited)
        self.found.violations += [
            *checks.contradictions(report),
            *outside.missing(ground.state.checkpoint_file),
            *oracle.judge(history, facts),
            *evidence.heard(scene.tap, facts),
            *unaudited,
            *evidence.resolved(history, self.found.before),
            *await checks.letters(ground.rabbitmq.url),
            *checks.scanned(ground.state.logs),
            *checks.unannounced(ground.parts.values()),
        ]

    async def _tell(self, scene: Scene) -> None:
        while True:
            await asyncio.sleep(_PROGRESS_EVERY_S)
            passed_s = time.monotonic() - self.found.began
            self.say(summary.progress(self.order, scene, passed_s))

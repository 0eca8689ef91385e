"""This module is where a plan's faults are carried out on a running stack, and taken back."""

import asyncio
import contextlib
import signal
import time
from collections.abc import Awaitable, Callable
from typing import Final

import asyncpg

from wallet_tools.torture.ground import APIS, WORKERS, Ground
from wallet_tools.torture.parts import Part
from wallet_tools.torture.plan import Fault, Lane, Struck
from wallet_tools.torture.proxy import Then, Wire
from wallet_tools.torture.quick import AWAY

# A victim has to have been at work: a process that is only starting holds nothing.
_AT_WORK_S: Final = 2.5
_VICTIM_S: Final = 20.0
_POLL_S: Final = 0.2
_LOCK_TIMEOUT_MS: Final = 4_000
_CLOCK_JUMPS_S: Final = (-90, -30, -5, 5, 30, 600)
_DELAY_S: Final = 0.15

# What takes back the faults that are the broker's own.
_RUNNING: Final = ("start_app",)
_ROOMY: Final = ("set_vm_memory_high_watermark", "0.4")

Act = Callable[[Fault], Awaitable[bool]]


class Nemesis:
    """Carries a plan out, lane by lane; a fault that is late comes as soon as its lane is free."""

    def __init__(self, ground: Ground, wallets: list[str]) -> None:
        self._ground = ground
        self._wallets = wallets
        self._began = 0.0
        self._troubles_broker = False
        self.struck: list[Struck] = []
        self._acts: dict[tuple[Lane, str], Act] = {
            (Lane.API, "kill"): self._kill,
            (Lane.WORKER, "kill"): self._kill,
            (Lane.API, "stop"): self._stop,
            (Lane.WORKER, "stop"): self._stop,
            (Lane.POSTGRES, "immediate"): lambda fault: self._crash(fault, signal.SIGQUIT),
            (Lane.POSTGRES, "kill"): lambda fault: self._crash(fault, signal.SIGKILL),
            (Lane.POSTGRES, "terminate"): self._terminate,
            (Lane.RABBITMQ, "kill"): self._kill_broker,
            (Lane.RABBITMQ, "stop_app"): self._stop_app,
            (Lane.RABBITMQ, "alarm"): self._alarm,
            (Lane.RABBITMQ, "close"): self._close_connections,
            (Lane.LOCK, "wallet"): self._lock_wallet,
            (Lane.LOCK, "ledger_entries"): self._lock_table,
            (Lane.LOCK, "outbox"): self._lock_table,
            (Lane.LOCK, "api_audit"): self._lock_table,
            (Lane.WIRE, "delay"): self._delay,
            (Lane.WIRE, "cut"): self._cut,
            (Lane.WIRE, "dark"): self._dark,
            (Lane.WIRE, "swallow_commit"): self._swallow_commit,
            (Lane.WIRE, "swallow_confirm"): self._swallow_confirm,
            (Lane.API, "kill_after_commit"): self._kill_after_commit,
            (Lane.API, "kill_before_commit"): self._kill_before_commit,
            (Lane.CLOCK, "jump"): self._jump,
            (Lane.DISK, "full"): self._fill,
        }

    async def rage(self, plan: list[Fault], began: float, seconds: float) -> None:
        """Carry the plan out; `began` is when the run did, on the monotonic clock."""
        self._began = began
        self._troubles_broker = any(fault.lane is Lane.RABBITMQ for fault in plan)
        async with asyncio.TaskGroup() as lanes:
            for lane in Lane:
                faults = [fault for fault in plan if fault.lane is lane]
                lanes.create_task(self._rage_in(faults, seconds))

    async def heal(self) -> None:
        """Take everything back that may still be switched on."""
        for part in self._ground.parts.values():
            part.strike(signal.SIGCONT)
        for wire in (*self._ground.to_postgres.values(), *self._ground.to_rabbitmq.values()):
            wire.delay_s = 0.0
            wire.disarm()
            wire.lighten()
        for name in (*APIS, *WORKERS):
            if self._ground.clocks is not None:
                self._ground.clocks.set(name, 0)
        if self._ground.disk is not None:
            self._ground.disk.free()
        if self._troubles_broker:
            for undo in (_RUNNING, _ROOMY):
                await self._control(*undo)

    async def _rage_in(self, faults: list[Fault], seconds: float) -> None:
        for fault in faults:
            delay = self._began + fault.at_s - time.monotonic()
            await asyncio.sleep(max(0.0, delay))
            if time.monotonic() > self._began + seconds:
                return
            began = time.monotonic()
            has_hit = False
            with contextlib.suppress(*AWAY):
                has_hit = await self._acts[fault.lane, fault.name](fault)
            ended = time.monotonic()
            self.struck.append(Struck(fault, began - self._began, ended - self._began, has_hit))

    async def _kill(self, fault: Fault) -> bool:
        part = self._one_of(fault)
        return await self._at_work(part) and part.strike(signal.SIGKILL)

    async def _stop(self, fault: Fault) -> bool:
        part = self._one_of(fault)
        if not (await self._at_work(part) and part.strike(signal.SIGSTOP)):
            return False
        await asyncio.sleep(fault.seconds)
        part.strike(signal.SIGCONT)
        return True

    async def _crash(self, _: Fault, number: signal.Signals) -> bool:
        part = self._ground.parts["postgres"]
        is_up = await _within(_VICTIM_S, self._ground.postgres_answers)
        return is_up and part.strike(number)

    async def _terminate(self, fault: Fault) -> bool:
        """End one half of the sessions, drawn anew by each row's own luck."""
        sql = """
            SELECT count(pg_terminate_backend(pid)) FROM pg_stat_activity
            WHERE application_name IN ('wallet-api', 'wallet-worker')
                AND (pid * 7919 + $1) % 2 = 0
        """
        connection = await asyncpg.connect(self._ground.admin_url, timeout=3)
        try:
            ended: int = await connection.fetchval(sql, int(fault.pick * 1000))
        finally:
            connection.terminate()
        return ended > 0

    async def _kill_broker(self, _: Fault) -> bool:
        part = self._ground.parts["rabbitmq"]
        is_up = await _within(_VICTIM_S, self._ground.rabbitmq_answers)
        return is_up and part.strike(signal.SIGKILL)

    async def _stop_app(self, fault: Fault) -> bool:
        return await self._for_a_while(fault, ("stop_app",), _RUNNING)

    async def _alarm(self, fault: Fault) -> bool:
        alarm = ("set_vm_memory_high_watermark", "0.00001")
        return await self._for_a_while(fault, alarm, _ROOMY)

    async def _for_a_while(self, fault: Fault, do: tuple[str, ...], undo: tuple[str, ...]) -> bool:
        if not await _within(_VICTIM_S, self._ground.rabbitmq_answers):
            return False
        has_hit = await self._control(*do)
        await asyncio.sleep(fault.seconds)
        # Also if we were not told that it was done: it may have been, later.
        await self._control(*undo)
        return has_hit

    async def _close_connections(self, _: Fault) -> bool:
        return await self._control("close_all_connections", "torture")

    async def _control(self, *arguments: str) -> bool:
        return await asyncio.to_thread(self._ground.rabbitmq.control, *arguments)

    async def _lock_wallet(self, fault: Fault) -> bool:
        wallet = self._wallets[int(fault.pick * len(self._wallets))]
        return await self._hold(f"SELECT 1 FROM wallets WHERE id = '{wallet}' FOR UPDATE", fault)  # noqa: S608

    async def _lock_table(self, fault: Fault) -> bool:
        return await self._hold(f"LOCK TABLE {fault.name} IN ACCESS EXCLUSIVE MODE", fault)

    async def _hold(self, sql: str, fault: Fault) -> bool:
        settings = {"lock_timeout": str(_LOCK_TIMEOUT_MS), "application_name": "torture-lock"}
        connection = await asyncpg.connect(
            self._ground.admin_url, timeout=3, command_timeout=10, server_settings=settings
        )
        has_hit = False
        try:
            async with connection.transaction():
                await connection.execute(sql)
                has_hit = True
                await asyncio.sleep(fault.seconds)
        except AWAY:
            pass  # The server may crash meanwhile, and lets go of every lock.
        finally:
            connection.terminate()
        return has_hit

    async def _delay(self, fault: Fault) -> bool:
        wire = self._wire(fault)
        wire.delay_s = _DELAY_S
        await asyncio.sleep(fault.seconds)
        wire.delay_s = 0.0
        return True

    async def _cut(self, fault: Fault) -> bool:
        return self._wire(fault).cut() > 0

    async def _dark(self, fault: Fault) -> bool:
        wire = self._wire(fault)
        wire.darken()
        await asyncio.sleep(fault.seconds)
        wire.lighten()
        return True

    async def _swallow_commit(self, fault: Fault) -> bool:
        wires = list(self._ground.to_postgres.values())
        wire = wires[int(fault.pick * len(wires))]
        wire.arm(Then.CUT)
        return await wire.taken(fault.seconds)

    async def _swallow_confirm(self, fault: Fault) -> bool:
        # Only the worker that holds the relay publishes: whichever is first.
        wires = [self._ground.to_rabbitmq[name] for name in WORKERS]
        for wire in wires:
            wire.arm(Then.GO_ON)
        waits = [asyncio.create_task(wire.taken(fault.seconds)) for wire in wires]
        await asyncio.wait(waits, return_when=asyncio.FIRST_COMPLETED)
        for wire in wires:
            wire.disarm()
        return any(await asyncio.gather(*waits))

    async def _kill_after_commit(self, fault: Fault) -> bool:
        """Kill an API process between its COMMIT and its answer."""
        part = self._one_of(fault)
        if not await self._at_work(part):
            return False
        wire = self._ground.to_postgres[part.name]
        wire.arm(Then.HOLD)
        return await wire.taken(fault.seconds) and part.strike(signal.SIGKILL)

    async def _kill_before_commit(self, fault: Fault) -> bool:
        """Kill an API process whose requests cannot reach the database."""
        part = self._one_of(fault)
        if not await self._at_work(part):
            return False
        wire = self._ground.to_postgres[part.name]
        wire.darken()
        await asyncio.sleep(fault.seconds)
        has_hit = part.strike(signal.SIGKILL)
        # Only now, or what it had sent would arrive.
        wire.lighten()
        return has_hit

    async def _jump(self, fault: Fault) -> bool:
        clocks, names = self._ground.clocks, (*APIS, *WORKERS)
        if clocks is None:
            return False
        name = names[int(fault.pick * len(names))]
        clocks.set(name, _CLOCK_JUMPS_S[int(fault.pick * 1000) % len(_CLOCK_JUMPS_S)])
        await asyncio.sleep(fault.seconds)
        clocks.set(name, 0)
        return True

    async def _fill(self, fault: Fault) -> bool:
        disk = self._ground.disk
        if disk is None:
            return False
        try:
            await asyncio.to_thread(disk.fill)
            await asyncio.sleep(fault.seconds)
        finally:
            disk.free()
        return True

    def _one_of(self, fault: Fault) -> Part:
        parts = self._ground.of_kind(fault.lane.value)
        return parts[int(fault.pick * len(parts))]

    def _wire(self, fault: Fault) -> Wire:
        wires = [*self._ground.to_postgres.values(), *self._ground.to_rabbitmq.values()]
        wires = [wire for wire in wires if wire.is_used] or wires
        return wires[int(fault.pick * len(wires))]

    async def _at_work(self, part: Part) -> bool:
        """Wait until the victim has begun to work: an API that answers, a worker past its start."""

        async def works() -> bool:
            if part.kind == "api":
                return part.age_s > 0 and await self._ground.answers(part.name, "/healthz")
            return part.age_s >= _AT_WORK_S

        return await _within(_VICTIM_S, works)


async def _within(seconds: float, condition: Callable[[], Awaitable[bool]]) -> bool:
    deadline = time.monotonic() + seconds
    while not await condition():
        if time.monotonic() > deadline:
            return False
        await asyncio.sleep(_POLL_S)
    return True

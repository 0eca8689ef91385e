"""This module is where a finished run is summed up, and the machine it ran on described."""

import asyncio
import os
import platform
from pathlib import Path
from typing import Final

import asyncpg

from wallet_tools.bench import machine
from wallet_tools.bench.checkout import revision
from wallet_tools.state import ROOT
from wallet_tools.torture import checks, evidence, gauges, oracle, result
from wallet_tools.torture.ground import Ground
from wallet_tools.torture.history import Outcome, Role
from wallet_tools.torture.scene import Findings, Order, Scene

_VERDICTS: Final = {
    result.Exit.CLEAN: "clean",
    result.Exit.VIOLATED: "VIOLATIONS",
    result.Exit.NOT_RUN: "NOT RUN",
}


async def describe(ground: Ground) -> dict[str, object]:
    """Return the machine and the versions that a run is about."""
    connection = await asyncpg.connect(ground.admin_url, timeout=5)
    try:
        postgres = await connection.fetchval("SHOW server_version")
    finally:
        connection.terminate()
    broker = await asyncio.to_thread(machine.broker_version, ground.rabbitmq.url)
    return {
        "revision": revision(ROOT),
        "cpu": machine.cpu_model(Path("/proc/cpuinfo").read_text()),
        "cores": os.cpu_count(),
        "memoryGiB": round(machine.memory_gib(Path("/proc/meminfo").read_text()), 1),
        "kernel": f"{platform.system()} {platform.release()}",
        "python": platform.python_version(),
        "postgres": postgres,
        "rabbitmq": broker,
    }


def killed(ground: Ground) -> dict[str, int]:
    """Return how many processes of each type were killed."""
    kinds = ("api", "worker", "postgres", "rabbitmq")
    return {kind: sum(len(part.kills) for part in ground.of_kind(kind)) for kind in kinds}


def progress(order: Order, scene: Scene, passed_s: float) -> str:
    """Return the one line that tells how a run is going."""
    last = scene.asker.history[-500:]
    unknown = sum(each.answer.outcome is Outcome.UNKNOWN for each in last)
    kills = " ".join(f"{kind} {count}" for kind, count in killed(scene.ground).items())
    return (
        f"{passed_s:.0f} of {order.seconds:.0f} s: {len(scene.asker.history)} requests,"
        f" {unknown} of the last {len(last)} unknown; killed: {kills};"
        f" {scene.watch.looks} looks at the books, all well"
    )


def sum_up(order: Order, scene: Scene, found: Findings) -> result.Result:
    """Return the result: violated, or clean, or so clean that it proves nothing."""
    history, watch, tap = scene.asker.history, scene.watch, scene.tap
    coverage = evidence.Coverage(oracle.operations_of(history).values())
    hit = {each.fault for each in scene.nemesis.struck if each.has_hit}
    # What was asked for counts, not what this machine let us do.
    missing = coverage.missing(order.kinds, hit)
    code = result.Exit.NOT_RUN if missing else result.Exit.CLEAN
    trends = scene.gauges.trends()
    leaks = gauges.leaks(trends) if found.lasted_s >= gauges.JUDGED_FROM_S else ()
    violations = [*found.violations, *leaks]
    if violations:
        code = result.Exit.VIOLATED
    loaded = [each for each in history if each.intent.role is not Role.RESOLVE]
    told = sum(each.answer.outcome is not Outcome.UNKNOWN for each in loaded)
    return result.Result(
        verdict=_VERDICTS[code],
        exit_code=code,
        seed=order.seed,
        minutes=order.minutes,
        faults=[kind.value for kind in order.kinds],
        not_run=found.not_run,
        missing=missing,
        machine=found.machine,
        started_at=found.started_at,
        operations=result.operations_table(history),
        requests=len(history),
        answered_per_second=round(told / found.lasted_s, 1),
        latency_ms=result.latency_of(loaded),
        kills=killed(scene.ground),
        hits=result.hits_of((fault.label for fault in scene.plan), scene.nemesis.struck),
        unknown_with_effect=coverage.with_effect,
        unknown_without_effect=coverage.without_effect,
        lost_with_effect=coverage.lost_with_effect,
        lost_without_effect=coverage.lost_without_effect,
        looks=watch.looks,
        whole_looks=watch.whole_looks,
        looks_missed=watch.missed,
        drained_s=found.drained_s,
        events=len(tap.heard),
        events_repeated=tap.repeated,
        events_late=len(tap.late),
        audit_lost_in_killed=found.audit_lost,
        proved=found.proved,
        gauges=trends,
        violations=list(checks.with_last_operations(violations, history)),
        marks=result.marks_of(scene.nemesis.struck),
        seconds=result.seconds_of(loaded, found.began),
    )

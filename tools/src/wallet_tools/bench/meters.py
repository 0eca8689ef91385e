"""This module is where the kernel is asked what a load cost: CPU, memory, how busy the machine."""

import os
import resource
import time
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from wallet_tools.stack import Pids

_TICK_US: Final = 1_000_000 / os.sysconf("SC_CLK_TCK")


@dataclass(frozen=True, slots=True)
class Reading:
    """CPU time so far, in microseconds; `machine_*` are sums over all cores."""

    at: float
    api_us: float
    postgres_us: float
    worker_us: float
    broker_us: float
    generator_us: float
    machine_us: float
    machine_idle_us: float
    machine_steal_us: float


@dataclass(frozen=True, slots=True)
class Cost:
    """
    What was spent between two readings: microseconds of CPU, and shares of the machine from 0 to 1.

    `other_share` is what nobody who takes part accounts for: above a tenth, somebody else was at
    work on this machine, and the figures are noisy.
    """

    api_us: float
    postgres_us: float
    worker_us: float
    broker_us: float
    generator_us: float
    idle_share: float
    steal_share: float
    other_share: float


def read(pids: Pids) -> Reading:
    """
    Read all meters at about the same time.

    Raises:
        ProcessLookupError: one of the processes is gone; what it cost cannot be told any more.
    """
    usage = resource.getrusage(resource.RUSAGE_CHILDREN)
    machine = machine_times_us(Path("/proc/stat").read_text())
    return Reading(
        at=time.monotonic(),
        api_us=sum(_cpu_us(pid) for pid in pids.api),
        postgres_us=family_us(pids.postgres),
        worker_us=sum(_cpu_us(pid) for pid in pids.worker),
        broker_us=family_us(pids.rabbitmq) if pids.rabbitmq else 0.0,
        generator_us=(usage.ru_utime + usage.ru_stime) * 1e6,
        machine_us=sum(machine.values()),
        machine_idle_us=machine["idle"] + machine["iowait"],
        machine_steal_us=machine["steal"],
    )


def cost(before: Reading, after: Reading) -> Cost:
    total = max(after.machine_us - before.machine_us, 1.0)
    idle = after.machine_idle_us - before.machine_idle_us
    steal = after.machine_steal_us - before.machine_steal_us
    api = after.api_us - before.api_us
    postgres = after.postgres_us - before.postgres_us
    worker = after.worker_us - before.worker_us
    broker = after.broker_us - before.broker_us
    generator = after.generator_us - before.generator_us
    other = total - idle - steal - api - postgres - worker - broker - generator
    return Cost(
        api_us=api,
        postgres_us=postgres,
        worker_us=worker,
        broker_us=broker,
        generator_us=generator,
        idle_share=idle / total,
        steal_share=steal / total,
        other_share=max(0.0, other / total),
    )


def family_us(parent: int) -> float:
    """
    Return the CPU time of a process and all below it, also of those that have ended.

    Whoever waits for a child has its time in `cutime` and `cstime` from then on: the time moves
    from one sum to the other and is counted once. Backends of PostgreSQL come and go that way.
    """
    total = 0.0
    for pid in _family(parent):
        try:
            fields = _stat(pid)
        except ProcessLookupError:  # It has ended since, and is missing in both: a tick or two.
            continue
        total += sum(fields[11:15]) * _TICK_US
    return total


def _family(parent: int) -> list[int]:
    parents: dict[int, list[int]] = {}
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            try:
                parents.setdefault(_stat(int(entry.name))[1], []).append(int(entry.name))
            except ProcessLookupError:
                continue
    found = [parent]
    for pid in found:
        found += parents.get(pid, [])
    return found


def rss_max_mib(pids: Iterable[int]) -> float:
    """Return the most memory that one of the processes ever had resident."""
    return max((_status_kib(pid, "VmHWM") / 1024 for pid in pids), default=0.0)


def machine_times_us(proc_stat: str) -> dict[str, float]:
    """Return the first line of /proc/stat by name; guests are counted in user already."""
    names = ("user", "nice", "system", "idle", "iowait", "irq", "softirq", "steal")
    values = proc_stat.split("\n", 1)[0].split()[1 : 1 + len(names)]
    return {name: int(value) * _TICK_US for name, value in zip(names, values, strict=True)}


def stat_fields(text: str) -> list[int]:
    """Return what follows the name in /proc/PID/stat; the state's letter becomes a 0."""
    # A name may hold spaces and parentheses, so the last one counts.
    return [0, *(int(each) for each in text.rpartition(")")[2].split()[1:])]


def _cpu_us(pid: int) -> float:
    fields = _stat(pid)
    return (fields[11] + fields[12]) * _TICK_US


def _stat(pid: int) -> list[int]:
    try:
        return stat_fields(Path(f"/proc/{pid}/stat").read_text())
    except OSError as error:
        raise ProcessLookupError(f"process {pid} is gone") from error


def _status_kib(pid: int, name: str) -> int:
    for line in Path(f"/proc/{pid}/status").read_text().splitlines():
        if line.startswith(f"{name}:"):
            return int(line.split()[1])
    return 0

"""This module is where wrk is called, the cheapest generator of closed loops there is."""

import re
import subprocess
from pathlib import Path
from typing import Final

import msgspec

from wallet_tools import environment
from wallet_tools.bench.figures import BenchFailed
from wallet_tools.bench.traffic import Traffic

SCRIPT: Final = Path(__file__).with_name("traffic.lua")
# Longer than the service's own patience: a slow answer is a latency, not an error.
_TIMEOUT_S: Final = 20


class Told(msgspec.Struct, frozen=True):
    """What the script says at the end; times in microseconds, errors as wrk counts them."""

    sent: int
    repeated: int
    entries: int
    answered: int
    duration_us: int
    p50_us: int
    p95_us: int
    p99_us: int
    connect: int
    read: int
    write: int
    timeout: int
    status: int

    @property
    def failure(self) -> str:
        """Name what went wrong, empty if nothing did."""
        counts = {
            "answers that are no 2xx": self.status,
            "connections refused": self.connect,
            "reads failed": self.read,
            "writes failed": self.write,
            "answers too late": self.timeout,
        }
        return ", ".join(f"{count} {what}" for what, count in counts.items() if count)


def command(
    wrk: str, url: str, traffic: Traffic, *, connections: int, seconds: int, threads: int
) -> list[str]:
    load = ["-t", str(min(threads, connections)), "-c", str(connections)]
    time = ["-d", f"{seconds}s", "--timeout", f"{_TIMEOUT_S}s"]
    known = ["-H", f"Authorization: {traffic.authorization}"] if traffic.authorization else []
    script = [*known, "-s", str(SCRIPT), url, "--", traffic.kind, traffic.prefix, str(traffic.pool)]
    rest = [str(traffic.distance), str(traffic.batch), str(traffic.seed), traffic.stem]
    return [wrk, *load, *time, *script, *rest]


def run(arguments: list[str]) -> Told:
    """
    Run wrk to its end.

    Raises:
        BenchFailed: it could not, or did not say what came of it.
    """
    done = subprocess.run(
        arguments, capture_output=True, text=True, check=False, env=environment.system()
    )
    if done.returncode:
        raise BenchFailed(f"wrk failed: {done.stderr.strip() or done.stdout.strip()}")
    return parse(done.stdout)


def parse(output: str) -> Told:
    """
    Return the line of JSON among what wrk prints itself.

    Raises:
        BenchFailed: there is none.
    """
    found = re.search(r"^\{.*\}$", output, re.MULTILINE)
    if found is None:
        raise BenchFailed(f"wrk did not say what it measured:\n{output}")
    return msgspec.json.decode(found[0], type=Told)


def version(wrk: str) -> str:
    done = subprocess.run([wrk, "-v"], capture_output=True, text=True, check=False)
    return (done.stdout or done.stderr).split("[")[0].strip()

"""This module is where pgbench runs, the measure of what this PostgreSQL can do on this machine."""

import math
import re
import subprocess
import time
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Final
from urllib.parse import urlsplit

from wallet_tools import environment
from wallet_tools.bench.books import Books, database_url
from wallet_tools.bench.figures import BenchFailed, percentile
from wallet_tools.postgres import binary

DATABASE: Final = "pgbench"
ROLE: Final = "bench"
ATTEMPTS: Final = 3
THREADS: Final = 2
# Enough for percentiles; a line for each transaction would cost what is to be measured.
SAMPLING_RATE: Final = 0.1
TRANSACTION: Final = "TPC-B, prepared"


@dataclass(frozen=True, slots=True, kw_only=True)
class Measured:
    """What a reference run came to; latencies in milliseconds."""

    operations: int
    operations_per_second: float
    average_ms: float
    p50_ms: float
    p95_ms: float
    p99_ms: float


class Pgbench:
    """pgbench on a database of its own in the subject's server."""

    def __init__(self, url: str, folder: Path, scale: int) -> None:
        self._url = urlsplit(database_url(url, DATABASE))
        self._folder = folder
        self._scale = scale
        self.repeated = 0

    def prepare(self, books: Books) -> float:
        """Fill the database, once in its life; return the seconds it took."""
        began = time.monotonic()
        # A login of its own that costs little to check: what 32 of them take is taken from the
        # time of a run, and on a busy machine it was a quarter of it.
        books.execute("SET scram_iterations = 1")
        books.execute(f"CREATE ROLE {ROLE} SUPERUSER LOGIN PASSWORD '{self._url.password}'")
        books.execute("RESET scram_iterations")
        books.execute(f"CREATE DATABASE {DATABASE} OWNER {ROLE}")
        self._run("-i", "-q", "-s", str(self._scale))
        return time.monotonic() - began

    def run(self, clients: int, seconds: int) -> Measured:
        """
        Run TPC-B; returns when it is over. A run that came to nothing is repeated, and counted.

        Raises:
            BenchFailed: it came to nothing again and again, or failed.
        """
        for _ in range(ATTEMPTS):
            measured = self._measure(clients, seconds)
            if measured.operations:
                return measured
            self.repeated += 1
        raise BenchFailed(f"pgbench did nothing in {seconds} s, {ATTEMPTS} times: try more seconds")

    def version(self) -> str:
        return self._run("--version").strip()

    def _measure(self, clients: int, seconds: int) -> Measured:
        for left in self._logs():
            left.unlink()
        log = ["--log", f"--log-prefix={self._folder / 'pgbench-log'}"]
        if clients > 1:
            log.append(f"--sampling-rate={SAMPLING_RATE}")
        load = ("-c", str(clients), "-j", str(min(THREADS, clients)), "-T", str(seconds))
        told = self._run("-M", "prepared", *load, *log)
        lines = (line for file in self._logs() for line in file.read_text().splitlines())
        return parse(told, lines)

    def _logs(self) -> list[Path]:
        return list(self._folder.glob("pgbench-log*"))

    def _run(self, *arguments: str) -> str:
        # In the environment, because arguments are for everybody to read.
        address = {
            "PGHOST": self._url.hostname or "",
            "PGPORT": str(self._url.port),
            "PGUSER": ROLE,
            "PGPASSWORD": self._url.password or "",
            "PGDATABASE": DATABASE,
        }
        done = subprocess.run(
            [str(binary("pgbench")), *arguments],
            capture_output=True,
            text=True,
            check=False,
            env=environment.system() | address,
        )
        if done.returncode:
            raise BenchFailed(f"pgbench failed: {done.stderr.strip()}")
        return done.stdout


def parse(output: str, log: Iterable[str]) -> Measured:
    """
    Return what pgbench says, with the percentiles of its log (third column: microseconds).

    Raises:
        BenchFailed: it does not say, or transactions failed.
    """
    operations = _number(r"transactions actually processed: (\d+)", output)
    if _number(r"number of failed transactions: (\d+)", output):
        raise BenchFailed(f"transactions of pgbench failed:\n{output}")
    latencies = sorted(int(line.split()[2]) / 1e3 for line in log)
    return Measured(
        operations=int(operations),
        # Of no transactions it tells neither.
        operations_per_second=_number(r"tps = ([\d.]+) \(without", output) if operations else 0.0,
        average_ms=_number(r"latency average = ([\d.]+) ms", output) if operations else math.nan,
        p50_ms=percentile(latencies, 0.50),
        p95_ms=percentile(latencies, 0.95),
        p99_ms=percentile(latencies, 0.99),
    )


def _number(pattern: str, output: str) -> float:
    found = re.search(pattern, output)
    if found is None:
        raise BenchFailed(f"pgbench did not say what it measured:\n{output}")
    return float(found[1])

"""This module is where it is read what the figures were measured on."""

import asyncio
import json
import os
import platform
import subprocess
from pathlib import Path
from typing import Any, Final

import aio_pika
from aio_pika.exceptions import AMQPError

from wallet_tools import environment
from wallet_tools.bench.books import Books
from wallet_tools.bench.checkout import revision
from wallet_tools.bench.subject import Subject

DATABASE_SETTINGS: Final = [
    "server_version",
    "fsync",
    "synchronous_commit",
    "full_page_writes",
    "shared_buffers",
    "max_wal_size",
    "min_wal_size",
    "wal_compression",
    "commit_delay",
]
LIBRARIES: Final = ["litestar", "uvicorn", "uvloop", "httptools", "asyncpg", "msgspec"]
_ASK: Final = """
import importlib.metadata, json, platform, sys
names = {"python": platform.python_version()}
for name in sys.argv[1:]:
    try:
        names[name] = importlib.metadata.version(name)
    except importlib.metadata.PackageNotFoundError:
        names[name] = None
print(json.dumps(names))
"""


def describe(subjects: list[Subject], books: list[Books], generators: list[str]) -> dict[str, Any]:
    """Return the machine, its servers, and each subject with its libraries."""
    broker = subjects[0].run().rabbitmq
    return {
        "cpu": cpu_model(Path("/proc/cpuinfo").read_text()),
        "cores": os.cpu_count(),
        "memoryGiB": round(memory_gib(Path("/proc/meminfo").read_text()), 1),
        "kernel": f"{platform.system()} {platform.release()}",
        "database": books[0].show(DATABASE_SETTINGS),
        "rabbitmq": broker_version(broker) if broker else None,
        "generators": generators,
        "subjects": [
            {
                "name": subject.name,
                "revision": revision(subject.checkout),
                "libraries": libraries(subject.checkout),
            }
            for subject in subjects
        ],
    }


def libraries(checkout: Path) -> dict[str, str | None]:
    """Return the versions that a checkout's own environment has."""
    done = subprocess.run(
        [str(checkout / ".venv" / "bin" / "python"), "-c", _ASK, *LIBRARIES],
        capture_output=True,
        text=True,
        check=True,
        env=environment.system(),
    )
    versions: dict[str, str | None] = json.loads(done.stdout)
    return versions


def broker_version(url: str) -> str | None:
    """Return what RabbitMQ says of itself when greeted; None if it does not answer."""

    async def greet() -> str:
        async with await aio_pika.connect(url, timeout=10) as connection:
            assert connection.transport is not None, "it is connected"
            properties = connection.transport.connection.server_properties
            return str(properties["version"])

    try:
        return asyncio.run(greet())
    except (OSError, AMQPError):
        return None


def cpu_model(cpuinfo: str) -> str:
    for line in cpuinfo.splitlines():
        name, _, value = line.partition(":")
        if name.strip() == "model name":
            return value.strip()
    return platform.machine()


def memory_gib(meminfo: str) -> float:
    return int(meminfo.split("MemTotal:", 1)[1].split(maxsplit=1)[0]) / 1024**2

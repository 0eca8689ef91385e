"""This module is where the bare handler runs beside the API, in as many processes."""

import contextlib
import subprocess
import sys
import urllib.request
from collections.abc import Iterator
from pathlib import Path

from wallet_tools import environment
from wallet_tools.bench.figures import BenchFailed
from wallet_tools.ports import LOOPBACK, listen_anywhere
from wallet_tools.processes import wait_until
from wallet_tools.state import appended, tail


@contextlib.contextmanager
def bare_handler(processes: int, log: Path) -> Iterator[str]:
    """
    Yield the address of the bare handler; its processes share one socket, as the API's do.

    Raises:
        BenchFailed: it does not answer.
    """
    with contextlib.ExitStack() as started:
        listener = started.enter_context(listen_anywhere())
        url = f"http://{LOOPBACK}:{listener.getsockname()[1]}"
        output = started.enter_context(appended(log))
        for _ in range(processes):
            process = subprocess.Popen(
                [sys.executable, "-m", "wallet_tools.bench.bare", str(listener.fileno())],
                env=environment.system(),
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
                pass_fds=[listener.fileno()],
            )
            started.callback(process.wait)
            started.callback(process.terminate)
        if not wait_until(lambda: _answers(url), 20):
            raise BenchFailed(f"the bare handler does not answer:\n{tail(log)}")
        yield url


def _answers(url: str) -> bool:
    try:
        with urllib.request.urlopen(f"{url}/v1/wallets/any", timeout=2) as answer:
            return bool(answer.status == 200)
    except OSError:
        return False

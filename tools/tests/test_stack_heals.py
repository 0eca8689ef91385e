"""This module is where a running stack is shown to outlive the death of any of its processes."""

import json
import os
import signal
import urllib.request
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import msgspec
import pytest

from wallet_tools import stack
from wallet_tools.options import Options
from wallet_tools.postgres import PostgresServer, ServerFailed
from wallet_tools.processes import wait_until
from wallet_tools.rabbitmq import accepts_login
from wallet_tools.state import StateFolder


def run_of(state: StateFolder) -> stack.Run:
    run = stack.read_run(state)
    assert run is not None, "the stack is not complete"
    return run


def ask(state: StateFolder) -> dict[str, Any]:
    """Return what a stand-in of the API answers: its pid and its environment."""
    with urllib.request.urlopen(f"{run_of(state).api}/", timeout=10) as answer:
        body: dict[str, Any] = json.load(answer)
        return body


def states(state: StateFolder) -> dict[str, str]:
    return {each["name"]: each["state"] for each in stack.status(state).processes}


def eventually(condition: Callable[[], bool], seconds: float = 20) -> None:
    assert wait_until(condition, seconds), "it did not happen in time"


def query(state: StateFolder, sql: str) -> str:
    """Return the answer of the stack's database; nothing while it is away."""
    try:
        return PostgresServer(state.postgres, state.logs / "query.log").execute(sql, "wallet")
    except ServerFailed:
        return ""


def test_two_processes_share_one_port(running: StateFolder) -> None:
    """Both API processes answer at the one address, and both are in run.json."""
    seen: set[int] = set()

    def both_answered() -> bool:
        seen.add(ask(running)["pid"])
        return seen == set(run_of(running).pids.api)

    eventually(both_answered)


def test_services_get_their_addresses(running: StateFolder) -> None:
    """A service is told its database, and an empty broker URL when there is no broker."""
    given, run = ask(running)["environment"], run_of(running)

    assert given["WALLET_DATABASE_URL"] == run.database.replace("://", "+asyncpg://", 1)
    assert given["RABBITMQ_URL"] == ""
    assert given["WALLET_AUTH"] == "off"
    assert given["LOG_DIR"] == str(running.logs)
    assert run.rabbitmq is None
    assert run.pids.rabbitmq is None


def test_a_killed_service_comes_back(running: StateFolder) -> None:
    """After kill -9 of an API process and the worker both run again; the others stay."""
    before = run_of(running).pids

    os.kill(before.api[0], signal.SIGKILL)
    os.kill(before.worker[0], signal.SIGKILL)

    eventually(lambda: run_of(running).pids.api[0] != before.api[0])
    eventually(lambda: run_of(running).pids.worker[0] != before.worker[0])
    assert run_of(running).pids.api[1] == before.api[1]
    assert run_of(running).pids.postgres == before.postgres


def test_clients_wait_while_the_api_is_down(running: StateFolder) -> None:
    """A request sent while no API process lives is answered by the next one."""
    before = run_of(running).pids
    os.kill(before.supervisor, signal.SIGSTOP)
    for pid in before.api:
        os.kill(pid, signal.SIGKILL)
    eventually(lambda: states(running)["api"] == states(running)["api 2"] == "dead")

    with ThreadPoolExecutor(1) as pool:
        answer = pool.submit(ask, running)
        assert not wait_until(answer.done, 0.3)
        os.kill(before.supervisor, signal.SIGCONT)
        assert answer.result(timeout=20)["pid"] not in before.api


def test_a_killed_postgres_comes_back(running: StateFolder) -> None:
    """After kill -9 of the postmaster it runs again at the same address with its data."""
    before = run_of(running)
    query(running, "CREATE TABLE IF NOT EXISTS survivors AS SELECT 42 AS answer")

    os.kill(before.pids.postgres, signal.SIGKILL)

    eventually(lambda: run_of(running).pids.postgres != before.pids.postgres)
    eventually(lambda: query(running, "SELECT answer FROM survivors") == "42")
    assert run_of(running).database == before.database


def test_a_stopped_supervisor_restarts_nothing(running: StateFolder) -> None:
    """While the supervisor is stopped the dead stay dead; once it goes on they come back."""
    before = run_of(running).pids
    os.kill(before.supervisor, signal.SIGSTOP)

    os.kill(before.worker[0], signal.SIGKILL)
    # Three times the pause before a restart.
    assert not wait_until(lambda: run_of(running).pids.worker != before.worker, 0.6)
    assert states(running)["supervisor"] == "stopped"
    assert states(running)["worker"] == "dead"

    os.kill(before.supervisor, signal.SIGCONT)
    eventually(lambda: run_of(running).pids.worker != before.worker)


def test_status_tells_what_runs(running: StateFolder) -> None:
    """Every process is listed with its pid; one that was restarted says so."""
    before = run_of(running).pids
    os.kill(before.worker[0], signal.SIGKILL)
    eventually(lambda: run_of(running).pids.worker != before.worker)

    status, pids = stack.status(running), run_of(running).pids

    assert status.state == "up"
    assert status.api == run_of(running).api
    expected = {pids.supervisor, pids.postgres, *pids.api, *pids.worker}
    assert {each["pid"] for each in status.processes} == expected
    assert {each["state"] for each in status.processes} == {"running"}
    assert [each["restarts"] > 0 for each in status.processes if each["name"] == "worker"] == [True]


@pytest.mark.broker
@pytest.mark.slow
def test_a_killed_broker_comes_back(running: StateFolder, stand_ins: Options) -> None:
    """After kill -9 of the broker it runs again at the same URL; `down` leaves no Erlang behind."""
    stack.down(running)
    with_broker = msgspec.structs.replace(stand_ins, has_broker=None)
    before = stack.up(running, with_broker, say=lambda _: None)
    assert before.rabbitmq is not None
    assert before.pids.rabbitmq is not None
    password, _, port = before.rabbitmq.rstrip("/").partition("@")
    login = (int(port.rpartition(":")[2]), "wallet", password.rpartition(":")[2])
    assert accepts_login(*login)

    os.kill(before.pids.rabbitmq, signal.SIGKILL)

    eventually(lambda: run_of(running).pids.rabbitmq != before.pids.rabbitmq)
    eventually(lambda: _logs_in(*login), 60)
    assert run_of(running).rabbitmq == before.rabbitmq
    stack.down(running)
    assert running.ownership().pids() == []


def _logs_in(port: int, user: str, password: str) -> bool:
    try:
        return accepts_login(port, user, password)
    except OSError:
        return False

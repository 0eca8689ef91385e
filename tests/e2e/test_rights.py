"""This module is where a running stack is shown to use its roles, and to keep its secrets."""

import json
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

import asyncpg
import pytest

from services.api.tests.inputs.tokens import SECRET

if TYPE_CHECKING:
    from tests.e2e.conftest import Town

pytestmark = pytest.mark.slow

Until = Callable[..., Awaitable[None]]
USERS = """
SELECT DISTINCT application_name || ' ' || usename FROM pg_stat_activity
WHERE datname = current_database() AND application_name IN ('wallet-api', 'wallet-worker')
"""


async def test_each_process_is_its_own_role(quiet_town: "Town", until: Until) -> None:
    """The API and the worker do their whole work as roles that can do nothing else."""
    assert (await quiet_town.post("/rita/deposit", amount="20000.00")).status_code == 201
    assert (await quiet_town.post("/rita/withdraw", amount="15000.00")).status_code == 201
    await until(quiet_town.is_quiet)

    assert (await quiet_town.stats("rita"))["suspicious"] is True
    users = f"SELECT array_agg(each) FROM ({USERS}) AS found (each)"
    assert sorted(await quiet_town.value(users)) == [
        "wallet-api wallet_api",
        "wallet-worker wallet_worker",
    ]
    connection = await asyncpg.connect(quiet_town.run().database)
    try:
        assert await connection.fetchval("SELECT current_user") == "wallet_api"
        for attempt in ("DELETE FROM events", "UPDATE wallets SET owner_id = 'eve'"):
            with pytest.raises(asyncpg.InsufficientPrivilegeError):
                await connection.execute(attempt)
    finally:
        await connection.close(timeout=5)


async def test_no_secret_is_in_an_argument_or_a_log(quiet_town: "Town") -> None:
    """Passwords and keys of a stack are in its own files alone, and these only its owner reads."""
    state = quiet_town.state
    kept = json.loads((state.postgres / "server.json").read_text("utf-8"))["passwords"]
    secrets = {word.encode() for word in kept.values()}
    for file in (state.master_key_file, state.checkpoint_key_file):
        secrets.add(file.read_bytes().strip())
    secrets.add(SECRET.encode())
    assert len(secrets) == 8
    run = quiet_town.run()
    for url in (run.database, run.database_owner, run.database_admin):
        assert (urlsplit(url).password or "").encode() in secrets

    arguments = [path.read_bytes() for path in Path("/proc").glob("[0-9]*/cmdline")]
    logs = [path.read_bytes() for path in state.logs.rglob("*") if path.is_file()]
    assert logs
    for text in arguments + logs:
        assert not any(secret in text for secret in secrets)
    for file in (state.run_file, state.postgres / "server.json"):
        assert file.stat().st_mode & 0o077 == 0

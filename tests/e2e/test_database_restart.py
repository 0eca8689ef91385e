"""This module is where PostgreSQL goes away and comes back, and nobody else is restarted."""

import os
import signal
from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from tests.e2e.conftest import Caller, Town

pytestmark = [pytest.mark.broker, pytest.mark.slow]

Until = Callable[..., Awaitable[None]]


@pytest.mark.parametrize("blow", [signal.SIGKILL, signal.SIGQUIT, signal.SIGINT])
async def test_api_and_worker_outlive_their_database(
    town: "Town",
    callers_of: Callable[["Town", int], list["Caller"]],
    until: Until,
    blow: signal.Signals,
) -> None:
    """Killed, ended at once or ended quickly: the same processes go on as soon as it is back."""
    before = town.run().pids
    (caller,) = callers_of(town, 1)
    wallet_id = f"restart{blow}"
    await caller.ask(f"/{wallet_id}/deposit", amount="1.00")

    os.kill(before.postgres, blow)
    await until(lambda: town.run().pids.postgres != before.postgres)
    answers = [await caller.ask(f"/{wallet_id}/deposit", amount="1.00") for _ in range(5)]

    assert {each.status_code for each in answers} == {201}
    assert caller.statuses <= {201, 503}
    await until(town.is_quiet)
    after = town.run().pids
    assert (after.api, after.worker) == (before.api, before.worker)
    assert (await town.get(f"/v1/wallets/{wallet_id}"))["balance"] == "6.00"
    assert await town.violations() == []

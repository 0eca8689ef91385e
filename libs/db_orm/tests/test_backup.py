"""This module is where a backup that was taken under load is restored, and proved."""

import asyncio
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from wallet_db_orm import checkpoints, seals
from wallet_db_orm.database import Database
from wallet_db_orm.examine_checkpoints import outside
from wallet_db_orm.verify import verify
from wallet_runtime.signing import SharedKey
from wallet_tools import environment
from wallet_tools.identity import ordinary_user
from wallet_tools.ports import LOOPBACK
from wallet_tools.postgres import ADMIN, PostgresServer, binary
from wallet_tools.state import appended, recall, remember

if TYPE_CHECKING:
    from libs.db_orm.tests.conftest import Builders, Ledger

KEY = SharedKey(bytes(32))


class Elsewhere:
    """A second server, whose data is a hot copy of the first one's."""

    def __init__(self, origin: PostgresServer, folder: Path) -> None:
        self._origin = origin
        self.server = PostgresServer(folder, folder / "postgres.log", origin.marks)

    def copy(self) -> None:
        """Take a base backup, with the log that is written meanwhile."""
        self.server.data.mkdir(mode=0o700)
        runner = ordinary_user()
        runner.give(self.server.data)
        password = recall(self._origin.home / "server.json")["passwords"][ADMIN]
        where = ("-h", LOOPBACK, "-p", str(self._origin.port), "-U", ADMIN, "--no-password")
        with appended(self.server.log) as log:
            copying = runner.popen(
                [str(binary("pg_basebackup")), "-D", str(self.server.data), "-c", "fast", *where],
                env=environment.system() | {"PGPASSWORD": password},
                cwd=self.server.home,
                stdout=log,
            )
        assert copying.wait(timeout=60) == 0
        passwords = recall(self._origin.home / "server.json")["passwords"]
        remember(self.server.home / "server.json", passwords=passwords)


@pytest.fixture
def elsewhere(postgres_server: PostgresServer, server_folder: Path) -> Iterator[Elsewhere]:
    folder = server_folder / "elsewhere"
    folder.mkdir()
    elsewhere = Elsewhere(postgres_server, folder)
    yield elsewhere
    elsewhere.server.stop()
    shutil.rmtree(folder)


async def test_a_backup_taken_under_load_is_proved_where_it_is_restored(
    ledger: "Ledger", a: "Builders", elsewhere: Elsewhere
) -> None:
    """In the middle of deposits, transfers and seals: the copy is one good instant of the books."""
    done = asyncio.Event()

    async def load(wallet_id: str, other: str) -> None:
        while not done.is_set():
            await ledger.post(a.deposit(wallet_id, "2.00"), audited=True)
            await ledger.transfer(a.transfer(wallet_id, other, "1.00"), audited=True)
            await seals.seal(ledger.database.primary)

    await ledger.post(a.deposit("w0", "1.00"), audited=True)
    line = await checkpoints.take(ledger.database.primary, KEY)
    assert line is not None
    names = [f"w{number}" for number in range(4)]
    loads = [asyncio.create_task(load(one, names[n - 1])) for n, one in enumerate(names)]
    await asyncio.to_thread(elsewhere.copy)
    done.set()
    await asyncio.gather(*loads)
    await asyncio.to_thread(elsewhere.server.start)

    name = ledger.url.rpartition("/")[2]
    url = environment.addresses(elsewhere.server.url(name), None)["WALLET_DATABASE_URL"]
    restored = Database(url, application_name="wallet-test")
    report = await verify(restored.primary, outside=[outside(lambda: [line], KEY)])
    await restored.dispose()

    assert [each for each in report.invariants if each.violations] == []
    checked = {each.id: each.checked for each in report.invariants}
    assert min(checked["H1"], checked["A5"]) > 1, "the load is in it"
    assert checked["H5"] == 1

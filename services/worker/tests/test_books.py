"""This module is where the worker proves the books on schedule, and says what it found."""

import asyncio
import secrets
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from datetime import timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any

from structlog.testing import capture_logs

from wallet_db_orm import proving as proving_of
from wallet_runtime.checkpoints import CheckpointSettings
from wallet_worker import books
from wallet_worker.witness import Witness

if TYPE_CHECKING:
    from services.worker.tests.conftest import Bank

Until = Callable[..., Awaitable[None]]
NO_FILE = CheckpointSettings()


@asynccontextmanager
async def proving(
    bank: "Bank",
    workers: int,
    checkpoints: CheckpointSettings = NO_FILE,
    *,
    whole_every: timedelta = timedelta(days=1),
) -> AsyncIterator[list[Any]]:
    """Let so many workers prove the books every second, and yield their log lines."""
    with capture_logs() as logs:
        parts = [
            asyncio.create_task(books.run(bank.database, 1.0, checkpoints, whole_every))
            for _ in range(workers)
        ]
        yield logs
        for part in parts:
            assert not part.done()
            part.cancel()
        await asyncio.gather(*parts, return_exceptions=True)


async def has_proved(logs: list[Any], times: int) -> bool:
    return len(logs) >= times


async def test_workers_prove_the_books_in_turn(bank: "Bank", until: Until) -> None:
    """The first proof is whole, those after it incremental; two workers share one schedule."""
    await bank.deposit("w1", "10.00")

    async with proving(bank, 2) as logs:
        await until(lambda: has_proved(logs, 3), 30)

    told = [(line["event"], line["mode"]) for line in logs]
    assert told[:3] == [("books.verified", "whole")] + [("books.verified", "incremental")] * 2
    gap = await bank.value(
        "SELECT min(gap) FROM (SELECT snapshot_at - lag(snapshot_at) OVER (ORDER BY id) AS gap"
        " FROM proofs) AS each"
    )
    assert gap.total_seconds() >= 1


async def has_violated(logs: list[Any], times: int) -> bool:
    return bool(sum(line["event"] == "books.violated" for line in logs) >= times)


async def test_a_violation_is_told_until_it_is_gone(bank: "Bank", until: Until) -> None:
    """It is an error line with invariant and wallet; the next proof is a whole one."""
    await bank.deposit("w1", "10.00")

    async with proving(bank, 1) as logs:
        await until(lambda: bank.value("SELECT count(*) >= 1 FROM proofs"), 30)
        await bank.execute("UPDATE wallets SET balance_minor = balance_minor + 1")
        await until(lambda: has_violated(logs, 2), 30)

    violated = [line for line in logs if line["event"] == "books.violated"]
    assert [line["mode"] for line in violated[:2]] == ["incremental", "whole"]
    assert violated[0]["log_level"] == "error"
    assert violated[0]["invariants"] == {"M1": 1, "M3": 1}
    assert [each["walletId"] for each in violated[0]["violations"]] == ["w1", "w1"]


async def test_the_file_outside_is_looked_at_too(
    bank: "Bank", until: Until, tmp_path: Path
) -> None:
    """A checkpoint file that was edited is a violation of the scheduled proof."""
    file = tmp_path / "checkpoints.jsonl"
    settings = CheckpointSettings(
        WALLET_CHECKPOINT_KEY=secrets.token_hex(32), WALLET_CHECKPOINT_FILE=str(file)
    )
    await bank.deposit("w1", "10.00")
    await Witness(bank.database, settings).checkpoint()

    async with proving(bank, 1, settings) as logs:
        await until(lambda: bank.value("SELECT count(*) >= 1 FROM proofs"), 30)
        file.write_text(file.read_text().replace('"wallets":1', '"wallets":2'))
        await until(lambda: has_violated(logs, 1), 30)

    assert logs[0]["event"] == "books.verified"
    violated = next(line for line in logs if line["event"] == "books.violated")
    assert violated["invariants"] == {"H5": 2}


def forged_proof(proof_id: str, snapshot_at: str) -> str:
    """Return what the API's role may write too: that all was well."""
    return (
        f"INSERT INTO proofs VALUES ({proof_id}, {snapshot_at}, 'whole', true, 1,"
        " (SELECT coalesce(max(position), 0) FROM feed), 'worker', '{}', '[]')"
    )


async def test_a_proof_of_the_future_does_not_end_all_proofs(bank: "Bank", until: Until) -> None:
    """It is none, and a violation itself; what else is wrong is found as before."""
    await bank.deposit("w1", "10.00")

    async with proving(bank, 1) as logs:
        await until(lambda: has_proved(logs, 1), 30)
        forged = forged_proof("'ffffffff-ffff-7fff-bfff-ffffffffffff'", "'2999-01-01Z'")
        await bank.execute(forged)
        await bank.execute("UPDATE wallets SET balance_minor = balance_minor + 1")
        await until(lambda: has_violated(logs, 2), 30)

    violated = next(line for line in logs if line["event"] == "books.violated")
    assert {"M1", "M3", "H6"} == set(violated["invariants"])
    newest = (await proving_of.last(bank.database.primary)).newest
    assert newest is not None
    assert not newest.ok


async def test_who_forges_proofs_all_the_time_does_not_keep_a_worker_from_its_own(
    bank: "Bank", until: Until
) -> None:
    """Each process proves the whole books itself, every day, whatever it is told of others."""
    await bank.deposit("w1", "10.00")
    await bank.execute("UPDATE wallets SET balance_minor = balance_minor + 1")

    async def forges(logs: list[Any]) -> bool:
        await bank.execute(forged_proof("gen_random_uuid()", "clock_timestamp()"))
        return await has_violated(logs, 2)

    await bank.execute(forged_proof("gen_random_uuid()", "clock_timestamp()"))
    async with proving(bank, 1, whole_every=timedelta(seconds=2)) as logs:
        await until(lambda: forges(logs), 30)

    assert {line["mode"] for line in logs if line["event"] == "books.violated"} == {"whole"}


async def test_never_is_zero(bank: "Bank") -> None:
    """Whoever wants no proofs gets none, and no task that waits for them."""
    await books.run(bank.database, 0, NO_FILE)

    assert await bank.value("SELECT count(*) FROM proofs") == 0

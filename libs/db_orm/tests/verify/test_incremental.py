"""This module is where a proof goes on from the last one: what it sees, and what it costs."""

from typing import TYPE_CHECKING

import pytest

from wallet_db_orm import proving
from wallet_db_orm.verify import Report

if TYPE_CHECKING:
    from libs.db_orm.tests.conftest import Books, Builders, Ledger


async def prove(ledger: "Ledger", *, incremental: bool = True) -> Report:
    proved = await proving.prove(ledger.database, incremental=incremental, asked_by="test")
    assert proved.is_kept
    return proved.report


def broken(report: Report) -> dict[str, set[str]]:
    """Return the wallets that contradict, by invariant."""
    return {
        each.id: {violation["walletId"] for violation in each.violations}
        for each in report.invariants
        if each.violations
    }


def checked(report: Report) -> dict[str, int]:
    return {each.id: each.checked for each in report.invariants}


async def test_only_what_is_new_is_looked_at(good: "Ledger", a: "Builders") -> None:
    """Whatever moved since the last proof, with all of its transfers, and nothing else."""
    still = await prove(good)
    await good.post(a.deposit("cid", "1.00"), audited=True)
    await good.post(a.deposit("new", "7.00"), audited=True)
    await good.transfer(a.transfer("cid", "ann", "2.00"), audited=True)
    await good.transfer(a.transfer("cid", "full", "2.00"), audited=True)
    await good.told()
    moved = await prove(good)
    again = await prove(good)

    assert [each.mode for each in (still, moved, again)] == ["incremental"] * 3
    assert [broken(each) for each in (still, moved, again)] == [{}, {}, {}]
    assert checked(still)["M3"] == checked(again)["M3"] == checked(again)["E1"] == 0
    looked = checked(moved)
    assert (looked["M3"], looked["E1"], looked["K8"]) == (3, 6, 6)
    assert (looked["S3"], looked["H1"]) == (2, 6)


async def test_a_transfer_that_spans_the_point_is_looked_at_whole(
    good: "Ledger", a: "Builders"
) -> None:
    """Debited before, ended after: its beginning is found along keys."""
    command = a.transfer("cid", "bob", "5.00")
    stored = await good.debit(command, audited=True)
    lost = await good.debit(a.transfer("cid", "full", "5.00"), audited=True)
    before = await prove(good)
    await good.finished(stored)
    await good.finished(lost)
    after = await prove(good)

    assert broken(before) == broken(after) == {}
    assert checked(after)["S3"] == 2


BEHIND: dict[str, tuple[str, str, set[str]]] = {
    "a changed amount": (
        "ledger_entries",
        "UPDATE ledger_entries SET amount_minor = amount_minor + 1 WHERE request_id = 'behind'",
        {"M1", "M3", "M5", "E1", "H1"},
    ),
    "a changed balance": (
        "wallets",
        "UPDATE wallets SET balance_minor = balance_minor + 1 WHERE id = 'cid'",
        {"M1", "M3"},
    ),
    "a deleted entry": (
        "ledger_entries",
        "DELETE FROM ledger_entries WHERE request_id = 'behind'",
        {"M1", "M3", "M5", "E1", "H1"},
    ),
    "a deleted event": (
        "events",
        "DELETE FROM events WHERE payload ->> 'requestId' = 'behind'",
        {"M6", "E1"},
    ),
    "a deleted operation": (
        "operations",
        "DELETE FROM operations WHERE request_id = 'behind'",
        {"K8"},
    ),
    "a deleted audit row": (
        "api_audit",
        "DELETE FROM api_audit WHERE request_id = 'behind'",
        {"A7"},
    ),
    "a place that is not there": ("outbox", "DELETE FROM outbox WHERE wallet_id = 'cid'", {"E9"}),
    "a transfer in another state": (
        "transfers",
        "UPDATE transfers SET state = 'failed', reason = 'x' WHERE from_wallet_id = 'cid'",
        {"S2", "S3", "S7"},
    ),
}


@pytest.mark.parametrize("name", BEHIND)
async def test_damage_behind_the_point_is_seen(
    good: "Ledger", a: "Builders", books: "Books", name: str
) -> None:
    """What was changed after the last proof saw the wallet stands out, and stays so."""
    await good.post(a.deposit("cid", "3.00", request_id="behind"), audited=True)
    await good.transfer(a.transfer("cid", "ann", "2.00"), audited=True)
    table, forgery, seen = BEHIND[name]
    await books.tamper(table, forgery)

    report = await prove(good)
    after = await prove(good)

    assert seen <= set(broken(report))
    assert all("cid" in broken(report)[each] for each in seen)
    assert (report.mode, after.mode, after.ok) == ("incremental", "whole", False)


async def test_damage_before_the_point_is_seen_by_the_whole_proof(
    good: "Ledger", a: "Builders", books: "Books"
) -> None:
    """An incremental proof does not look there; balances and lost wallets it sees everywhere."""
    await books.tamper(
        "ledger_entries",
        "UPDATE ledger_entries SET amount_minor = amount_minor + 1"
        " WHERE wallet_id = 'cid' AND wallet_version = 2",
    )
    await good.post(a.deposit("cid", "1.00"), audited=True)

    unseen = await prove(good)
    whole = await prove(good, incremental=False)

    assert (unseen.ok, unseen.mode) == (True, "incremental")
    assert {"M1", "M3", "M5", "E1", "H1"} <= set(broken(whole))


@pytest.mark.parametrize(
    ("change", "seen"),
    [
        ("UPDATE wallets SET balance_minor = balance_minor + 1 WHERE id = 'cid'", {"M1", "M3"}),
        ("DELETE FROM wallets WHERE id = 'cid'", {"M3", "M6", "H2"}),
        ("UPDATE wallets SET version = version - 1 WHERE id = 'cid'", {"M6"}),
    ],
)
async def test_a_wallet_that_did_not_move_is_held_against_the_point(
    good: "Ledger", books: "Books", change: str, seen: set[str]
) -> None:
    """Each balance is compared with what was proved of it; the whole proof does so too."""
    await books.tamper("wallets", change)

    report = await prove(good)
    whole = await prove(good, incremental=False)

    assert broken(report) == {each: {"cid"} for each in seen}
    assert broken(whole)["M12"] == {"cid"}


async def test_without_a_point_everything_is_proved(breakable: "Ledger", a: "Builders") -> None:
    """The first proof is a whole one, whatever was asked for."""
    await breakable.post(a.deposit("w", "1.00"), audited=True)

    assert [(await prove(breakable)).mode for _ in range(2)] == ["whole", "incremental"]


async def test_when_much_has_moved_everything_is_proved(
    good: "Ledger", a: "Builders", monkeypatch: pytest.MonkeyPatch
) -> None:
    """Looking wallets up one by one has its limit."""
    monkeypatch.setattr(proving, "BEHIND_MAX", 1)
    await good.post(a.deposit("cid", "1.00"), audited=True)
    one = await prove(good)
    for wallet_id in ("cid", "ann"):
        await good.post(a.deposit(wallet_id, "1.00"), audited=True)
    two = await prove(good)

    assert (one.mode, two.mode) == ("incremental", "whole")


async def test_each_proof_is_kept_with_what_it_found(good: "Ledger", books: "Books") -> None:
    """When, how, by whom, of how many rows; a violation with its invariant; for ever."""
    await books.tamper("wallets", "UPDATE wallets SET balance_minor = 1 WHERE id = 'cid'")
    await prove(good)

    last = await proving.last(good.database.primary)
    row = (await books.rows("SELECT * FROM proofs ORDER BY id DESC LIMIT 1"))[0]

    assert last.newest is not None
    assert (last.newest.ok, last.newest.mode) == (False, "incremental")
    assert last.whole_at == await books.value("SELECT min(snapshot_at) FROM proofs")
    assert (row["asked_by"], row["ok"], row["snapshot_at"]) == (
        "test",
        False,
        last.newest.snapshot_at,
    )
    assert '"invariant":"M3","walletId":"cid"' in row["violations"]
    assert '"M3":1' in row["checked"]


async def test_one_at_a_time(good: "Ledger") -> None:
    """Who proves on somebody's behalf keeps others from it, until he is done."""
    engine = good.database.primary
    async with proving.alone(engine):
        with pytest.raises(proving.ProofRunning):
            async with proving.alone(engine):
                pass
    async with proving.alone(engine):
        pass

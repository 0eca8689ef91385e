"""This module is where new entries are folded: what does not add up is told at the next look."""

import pytest

from wallet_tools.torture.quick import Quick


@pytest.fixture
def quick() -> Quick:
    """Return what has looked once, at two wallets of which one has sent the other money."""
    quick = Quick()
    entries = [("a", 2, 500, 500, False), ("a", 4, -200, 300, True), ("b", 2, 200, 200, True)]
    assert quick.fold([("a", 300, 5), ("b", 200, 2)], entries, 0) == []
    return quick


def _found(quick: Quick, *arguments: object) -> list[str]:
    return [each.id for each in quick.fold(*arguments)]  # type: ignore[arg-type]  # rows


def test_what_adds_up_is_believed(quick: Quick) -> None:
    """A deposit, and a transfer whose money is on its way."""
    entries = [("a", 6, 100, 400, False), ("b", 4, -50, 150, True)]

    assert _found(quick, [("a", 400, 6), ("b", 150, 4)], entries, 50) == []


def test_a_balance_without_its_entry_is_flagged(quick: Quick) -> None:
    """A balance changed and no entry says why."""
    assert _found(quick, [("a", 301, 5), ("b", 200, 2)], [], 0) == ["M3"]


def test_an_entry_that_does_not_continue_is_flagged(quick: Quick) -> None:
    """An entry's balance is not the one before it plus its amount."""
    assert _found(quick, [("a", 400, 6), ("b", 200, 2)], [("a", 6, 100, 401, False)], 0) == ["M5"]


def test_a_wallet_that_went_back_is_flagged(quick: Quick) -> None:
    """What the last look saw is not there any more: a commit was lost."""
    assert _found(quick, [("a", 500, 3), ("b", 200, 2)], [], 0) == ["D0", "M3"]
    assert "D0" in _found(quick, [("b", 200, 2)], [], 0)


def test_money_that_got_lost_on_its_way_is_flagged(quick: Quick) -> None:
    """A debit has no transfer that says where its money is."""
    entries = [("a", 6, -100, 200, True)]

    assert _found(quick, [("a", 200, 6), ("b", 200, 2)], entries, 0) == ["S5"]

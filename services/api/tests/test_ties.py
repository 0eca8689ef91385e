"""This module is where it is specified which commands of a batch wait for one another."""

from wallet_api.ties import tied
from wallet_common.commands import Ask, DebitTransfer, Deposit
from wallet_common.money import parse_amount


def commands(*wanted: str) -> list[Ask]:
    """Read "a" as a deposit to a, "a>b" as a transfer."""
    made: list[Ask] = []
    for place, each in enumerate(wanted):
        wallet_id, _, to = each.partition(">")
        key, done, one = f"k{place}", f"o{place}", parse_amount("1")
        if to:
            transfer = DebitTransfer(
                wallet_id=wallet_id, request_id=key, operation_id=done, amount=one, to_wallet_id=to
            )
            made.append(transfer)
        else:
            deposit = Deposit(wallet_id=wallet_id, request_id=key, operation_id=done, amount=one)
            made.append(deposit)
    return made


def test_without_a_transfer_nothing_is_tied() -> None:
    """A wallet's own commands keep their order in its lane."""
    assert tied(commands("a", "a", "b")) == []


def test_a_transfer_by_itself_is_not_tied() -> None:
    """Nobody else asks for its wallets."""
    assert tied(commands("a", "b>c", "d")) == []


def test_what_asks_for_a_transfers_wallets_is_tied_to_it() -> None:
    """Before it or behind it, at its sender's or its recipient's."""
    assert tied(commands("a>b", "a")) == [[0, 1]]
    assert tied(commands("a", "a>b")) == [[0, 1]]
    assert tied(commands("a>b", "c", "b")) == [[0, 2]]
    assert tied(commands("a>b", "c", "a>d")) == [[0, 2]]


def test_groups_are_found_at_whatever_remove() -> None:
    """A chain and a ring are a group each, and what is between them is none."""
    chain = ("a>b", "b>c", "c>d", "d")
    ring = ("p>q", "q>p")

    assert tied(commands(*chain, "x", *ring, "y>z")) == [[0, 1, 2, 3], [5, 6]]
    assert tied(commands("x>y", "a>b", "y>b")) == [[0, 1, 2]]

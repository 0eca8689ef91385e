"""This module is where clients' wishes are drawn: a seed's wishes are always the same."""

from collections import Counter

import msgspec

from wallet_tools.torture.history import Role, Verb
from wallet_tools.torture.workload import WALLETS, Client, rendered


def _wishes(seed: int, count: int) -> list[bytes]:
    client = Client(seed, 0)
    return [msgspec.json.encode(client.next({})) for _ in range(count)]


def test_a_seed_makes_one_workload() -> None:
    """The same seed and client ask the same, byte for byte; another seed asks otherwise."""
    assert _wishes(5, 300) == _wishes(5, 300)
    assert _wishes(5, 300) != _wishes(6, 300)


def test_what_is_known_changes_only_what_is_done_with_an_older_request() -> None:
    """Whether an older request may be provoked depends on its outcome; nothing later does."""
    ignorant, knowing = Client(5, 0), Client(5, 0)
    for _ in range(300):
        one = ignorant.next({})
        other = knowing.next(_Everything())
        assert (one.verb, one.wallet, one.key) == (other.verb, other.wallet, other.key)


def test_the_shares_are_those_of_the_protocol() -> None:
    """Deposits, withdrawals and transfers three each, reads two, repetitions one, and so on."""
    client = Client(1, 3)
    drawn = Counter(
        wish.verb.value if wish.role is Role.FIRST else wish.role.value
        for wish in (client.next(_Everything()) for _ in range(13_000))
    )

    thirds = dict.fromkeys(("deposit", "withdraw", "transfer"), 3.0)
    others = {"read": 2.0, "replay": 1.0, "conflict": 0.5, "invalid": 0.5}
    for name, weight in (thirds | others).items():
        assert abs(drawn[name] - weight * 1000) < 200, name


def test_the_opening_reaches_every_wallet_once() -> None:
    """All clients together open each wallet, each with a deposit that a key protects."""
    opened = [intent for number in range(12) for intent in Client(1, number).opening(WALLETS, 12)]

    assert sorted(intent.wallet for intent in opened) == sorted(f"t1-w{n}" for n in range(WALLETS))
    assert {intent.verb for intent in opened} == {Verb.DEPOSIT}
    assert len({intent.key for intent in opened}) == WALLETS


def test_amounts_are_spelled_exactly() -> None:
    """Minor units become a decimal with two places, without a binary float in between."""
    assert [rendered(minor) for minor in (1, 99, 100, 10**11 + 5)] == [
        "0.01",
        "0.99",
        "1.00",
        "1000000000.05",
    ]


class _Everything(dict):  # type: ignore[type-arg]  # any operation is known
    def __contains__(self, _: object) -> bool:
        return True

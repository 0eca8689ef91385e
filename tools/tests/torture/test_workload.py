"""This module is where clients' wishes are drawn: a seed's wishes are always the same."""

from collections import Counter

import msgspec

from wallet_tools.torture.history import Answer, Attempt, Intent, Outcome, Role, Verb
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
    """
    Deposits, withdrawals and transfers three each, reads two, repetitions one, and so on.

    As no hold is known, no part of one can be taken: another is placed.
    """
    client = Client(1, 3)
    drawn = Counter(
        wish.verb.value if wish.role is Role.FIRST else wish.role.value
        for wish in (client.next(_Everything()) for _ in range(15_500))
    )

    thirds = dict.fromkeys(("deposit", "withdraw", "transfer"), 3.0)
    others = {"holds": 2.5, "read": 2.0, "replay": 1.0, "conflict": 0.5, "invalid": 0.5}
    for name, weight in (thirds | others).items():
        assert abs(drawn[name] - weight * 1000) < 200, name


def test_parts_are_taken_of_holds_that_are_there() -> None:
    """Captures and releases name a hold that was answered, of its wallet; some ask too much."""
    client, known, held = Client(1, 0), dict[tuple[str, str], Attempt](), dict[str, Intent]()
    parts = []
    for _ in range(3_000):
        wish = client.next(known)
        if wish.role is not Role.FIRST:
            continue
        if wish.verb is Verb.HOLD:
            held[wish.key] = wish
            known[wish.name] = _answered(wish)
        elif wish.verb in {Verb.CAPTURE, Verb.RELEASE}:
            placed = held[wish.path.split("/")[3]]
            assert wish.wallet == placed.wallet != wish.to
            parts.append((wish.verb, bool(wish.to), wish.amount_minor > placed.amount_minor))

    assert Counter(parts).keys() == {
        *((Verb.CAPTURE, leaves, greedy) for leaves in (True, False) for greedy in (True, False)),
        *((Verb.RELEASE, False, greedy) for greedy in (True, False)),
    }


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


def _answered(placed: Intent) -> Attempt:
    body = msgspec.json.encode({"holdId": placed.key})
    return Attempt(
        placed,
        Answer(id=placed.id, outcome=Outcome.OK, began=0, ended=1, api=0, status=201, content=body),
    )


class _Everything(dict):  # type: ignore[type-arg]  # any operation is known
    def __contains__(self, _: object) -> bool:
        return True

"""This module is where the oracle is given histories that lie: it has to notice each lie."""

import json

import msgspec
import pytest

from tools.tests.torture.town import Town, an_intent
from wallet_tools.torture.books import Entry
from wallet_tools.torture.history import Attempt, Outcome, Role, Verb


@pytest.fixture
def town() -> Town:
    """Return a history in which everything was told as it is."""
    town = Town()
    town.repeat(town.deposit("a", "d1", 10_000))
    town.deposit("b", "d2", 5_000)
    town.transfer("t1", 2_500)
    town.repeat(town.refuse("w1", 10**9))
    town.hold("h1", 2_000)
    town.capture("c1", 500)
    town.repeat(town.capture("c2", 300, to="b"))
    town.release("r1", 200)
    return town


def test_an_honest_history_is_believed(town: Town) -> None:
    """What was told and what the books say agree: no violation."""
    assert town.judge() == set()


def test_a_lost_deposit_is_flagged(town: Town) -> None:
    """A deposit was acknowledged, and neither its entry nor its money is there."""
    del town.books.entries["a", "d1"]
    town.books.balances["a"] -= 10_000

    assert town.judge() == {"M8", "M9"}


def test_a_doubled_deposit_is_flagged(town: Town) -> None:
    """A deposit under one key was posted twice: the entries and the balance both show it."""
    entry = town.books.entries["a", "d1"][0]
    town.books.entries["a", "d1"].append(entry._replace(version=99))
    town.books.balances["a"] += 10_000

    assert town.judge() == {"M8", "M9"}


def test_a_refusal_with_an_effect_is_flagged(town: Town) -> None:
    """A withdrawal was refused, and the money has gone all the same."""
    town.books.add(Entry("a", 9, "withdraw", -100, 7_400, "op-w1", None, "w1"))
    town.books.balances["a"] -= 100

    assert town.judge() == {"M8", "M10"}


def test_a_forgotten_refusal_is_flagged(town: Town) -> None:
    """A refusal that depends on the books has to be remembered under its key."""
    del town.books.operations["a", "w1"]

    assert town.judge() == {"M10"}


def test_a_repetition_with_other_bytes_is_flagged(town: Town) -> None:
    """One byte differs between the first answer and its repetition."""
    first = town.history[0]
    town.repeat(first, first.answer.content.replace(b" ", b""))

    assert town.judge() == {"K2"}


def test_two_first_answers_are_flagged(town: Town) -> None:
    """Two answers to one key, neither marked as a repetition: one of them lies."""
    town.history[1] = Attempt(
        town.history[1].intent, msgspec.structs.replace(town.history[1].answer, is_replay=False)
    )

    assert town.judge() == {"K1"}


def test_an_untrue_balance_is_flagged(town: Town) -> None:
    """The answer's balance is that of a later read, not of its own entry."""
    first = town.history[2]
    body = msgspec.json.decode(first.answer.content) | {"balance": "75.00"}
    content = msgspec.json.encode(body)
    town.history[2] = Attempt(first.intent, msgspec.structs.replace(first.answer, content=content))

    assert town.judge() == {"M11"}


def test_a_transfer_that_did_not_arrive_is_flagged(town: Town) -> None:
    """The sender was told `completed`, and the recipient has nothing."""
    town.books.credits.clear()
    town.books.balances["b"] -= 2_500

    assert town.judge() == {"M8", "M11"}


def test_a_lost_hold_is_flagged(town: Town) -> None:
    """It was acknowledged, and nothing is bound."""
    town.books.held["a"] -= 2_000

    assert town.judge() == {"M8"}


@pytest.mark.parametrize("key", ["c1", "c2"])
def test_a_capture_under_another_name_is_flagged(town: Town, key: str) -> None:
    """Its money left the wallet, but the entry says that it was something else."""
    entry = town.books.entries["a", key][0]
    town.books.entries["a", key] = [entry._replace(type="withdraw")]

    assert town.judge() == {"M9"}


def test_a_hold_that_moves_money_is_flagged(town: Town) -> None:
    """Binding and freeing leave the balance as it is."""
    town.books.add(Entry("a", 9, "hold_release", 200, 6_900, "op-r1", None, "r1"))
    town.books.balances["a"] += 200

    assert town.judge() == {"M8", "M9"}


def test_a_capture_that_did_not_arrive_is_flagged(town: Town) -> None:
    """The money is no longer held, and whom it was to pay has nothing."""
    del town.books.credits["tr-c2"]
    town.books.balances["b"] -= 300

    assert town.judge() == {"M8", "M11"}


def test_money_that_nobody_asked_for_is_flagged(town: Town) -> None:
    """An entry is there whose key no client ever sent."""
    town.books.add(Entry("a", 9, "deposit", 1, 7_501, "op-x", None, "x"))
    town.books.balances["a"] += 1

    assert town.judge() == {"M8", "M9"}


def test_an_unresolved_operation_is_flagged(town: Town) -> None:
    """After everything was asked again nothing may be unknown."""
    town.tell(an_intent(Verb.DEPOSIT, "a", "d9", 1), Outcome.UNKNOWN, 0, {})

    assert town.judge() == {"R1"}


def test_a_read_of_the_past_is_flagged(town: Town) -> None:
    """Whoever reads after an answer came does not see the wallet as it was before."""
    town.read("a", 4)
    assert town.judge() == set()
    town.deposit("a", "d3", 100)
    town.read("a", 4)

    assert town.judge() == {"M12"}


def test_a_write_behind_a_later_one_is_flagged(town: Town) -> None:
    """Whoever writes after an answer came gets a later version than that answer's."""
    town.read("a", 7)
    town.deposit("a", "d3", 100)

    assert town.judge() == {"M13"}


@pytest.mark.parametrize("wallet", ["a", "b"])
def test_a_read_of_the_time_before_a_transfer_is_flagged(town: Town, wallet: str) -> None:
    """A transfer's answer shows no version, but both its entries are there when it comes."""
    town.read(wallet, 1)

    assert town.judge() == {"M12"}


@pytest.mark.parametrize("wallet", ["a", "b"])
def test_a_transfer_behind_a_later_version_is_flagged(town: Town, wallet: str) -> None:
    """Its debit and its credit come after whatever was known when it was asked for."""
    town.read(wallet, 7)
    town.transfer("t2", 100)

    assert town.judge() == {"M13"}


def test_a_transfer_that_another_request_began_may_be_older(town: Town) -> None:
    """The first request made the debit, and the second, asked after other answers, the rest."""
    town.transfer("t2", 100)
    began = town.history.pop()
    town.tell(began.intent, Outcome.UNKNOWN, 0, {})
    town.deposit("a", "d3", 100)
    again = msgspec.structs.replace(began.intent, id="again", role=Role.RESOLVE)
    town.tell(again, Outcome.OK, 201, json.loads(began.answer.content))

    assert town.judge() == set()


def test_reads_at_once_may_see_either(town: Town) -> None:
    """Of two requests under way at the same time neither is before the other."""
    town.deposit("a", "d3", 100)
    slow = town.read("a", 4)
    town.history[-1] = Attempt(
        slow.intent, msgspec.structs.replace(slow.answer, began=slow.answer.began - 1.5)
    )

    assert town.judge() == set()


def test_an_invalid_request_leaves_nothing(town: Town) -> None:
    """A request that was refused for its form did not even take its key."""
    intent = an_intent(Verb.DEPOSIT, "a", "bad", 0, Role.INVALID)
    town.tell(intent, Outcome.FAIL, 400, {})
    assert town.judge() == set()
    town.books.operations["a", "bad"] = "rejected"

    assert town.judge() == {"M10"}


def test_a_finding_is_a_violation(town: Town) -> None:
    """An answer that no promise allows is enough by itself."""
    town.tell(an_intent(Verb.READ, "a", "", 0, Role.READ), Outcome.FINDING, 500, {})

    assert town.judge() == {"A0"}

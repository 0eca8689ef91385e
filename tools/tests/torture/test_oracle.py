"""This module is where the oracle is given histories that lie: it has to notice each lie."""

import json

import msgspec
import pytest

from wallet_tools.torture.books import Books, Entry
from wallet_tools.torture.history import Answer, Attempt, Intent, Outcome, Role, Verb
from wallet_tools.torture.oracle import judge


class Town:
    """An honest little history of two wallets, with the books that belong to it."""

    def __init__(self) -> None:
        self.books = Books()
        self.history: list[Attempt] = []
        self.at = 0.0
        self.versions = {"a": 0, "b": 0}
        self.balances = {"a": 0, "b": 0}

    def deposit(self, wallet: str, key: str, minor: int) -> Attempt:
        """Post a deposit and answer it truly."""
        self._post(wallet, key, "deposit", minor, None)
        body = {
            "walletId": wallet,
            "balance": _spelled(self.balances[wallet]),
            "version": self.versions[wallet],
            "operationId": f"op-{key}",
        }
        return self.tell(_intent(Verb.DEPOSIT, wallet, key, minor), Outcome.OK, 201, body)

    def transfer(self, key: str, minor: int) -> Attempt:
        """Move money from a to b and answer it truly."""
        self._post("a", key, "transfer_debit", -minor, f"tr-{key}")
        self._post("b", f"credit tr-{key}", "transfer_credit", minor, f"tr-{key}")
        self.books.transfers[f"tr-{key}"] = "completed"
        body = {
            "transferId": f"tr-{key}",
            "fromBalance": _spelled(self.balances["a"]),
            "toBalance": _spelled(self.balances["b"]),
        }
        intent = msgspec.structs.replace(_intent(Verb.TRANSFER, "a", key, minor), to="b")
        return self.tell(intent, Outcome.OK, 201, body)

    def refuse(self, key: str, minor: int) -> Attempt:
        """Refuse a withdrawal and remember it."""
        self.books.operations["a", key] = "rejected"
        body = {"code": "insufficient_funds"}
        return self.tell(_intent(Verb.WITHDRAW, "a", key, minor), Outcome.FAIL, 422, body)

    def read(self, wallet: str, version: int) -> Attempt:
        """Answer a read with that version."""
        intent = _intent(Verb.READ, wallet, "", 0, Role.READ)
        return self.tell(intent, Outcome.OK, 200, {"version": version})

    def repeat(self, first: Attempt, content: bytes | None = None) -> Attempt:
        """Answer the same request once more, by default with the same bytes."""
        intent = msgspec.structs.replace(first.intent, id=f"{first.intent.id}'", role=Role.REPLAY)
        answer = msgspec.structs.replace(
            first.answer,
            id=intent.id,
            is_replay=True,
            content=first.answer.content if content is None else content,
        )
        return self._add(Attempt(intent, answer))

    def tell(self, intent: Intent, outcome: Outcome, status: int, body: object) -> Attempt:
        answer = Answer(
            id=intent.id,
            outcome=outcome,
            began=self.at,
            ended=self.at + 1,
            api=0,
            status=status,
            content=json.dumps(body).encode(),
        )
        return self._add(Attempt(intent, answer))

    def judge(self) -> set[str]:
        """Return the promises that the oracle finds broken."""
        return {each.id for each in judge(self.history, self.books)}

    def _add(self, attempt: Attempt) -> Attempt:
        self.history.append(attempt)
        self.at += 2
        return attempt

    def _post(self, wallet: str, key: str, type_: str, minor: int, transfer: str | None) -> None:
        self.versions[wallet] += 1
        self.balances[wallet] += minor
        self.books.balances[wallet] = self.balances[wallet]
        self.books.operations[wallet, key] = "posted"
        self.books.add(
            Entry(
                wallet,
                self.versions[wallet],
                type_,
                minor,
                self.balances[wallet],
                f"op-{key}",
                transfer,
                key,
            )
        )


def _intent(verb: Verb, wallet: str, key: str, minor: int, role: Role = Role.FIRST) -> Intent:
    return Intent(
        id=f"id-{wallet}-{key}",
        client=0,
        verb=verb,
        role=role,
        wallet=wallet,
        key=key,
        amount_minor=minor,
        path="/",
    )


def _spelled(minor: int) -> str:
    return f"{minor // 100}.{minor % 100:02}"


@pytest.fixture
def town() -> Town:
    """Return a history in which everything was told as it is."""
    town = Town()
    town.repeat(town.deposit("a", "d1", 10_000))
    town.deposit("b", "d2", 5_000)
    town.transfer("t1", 2_500)
    town.repeat(town.refuse("w1", 10**9))
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


def test_money_that_nobody_asked_for_is_flagged(town: Town) -> None:
    """An entry is there whose key no client ever sent."""
    town.books.add(Entry("a", 9, "deposit", 1, 7_501, "op-x", None, "x"))
    town.books.balances["a"] += 1

    assert town.judge() == {"M8", "M9"}


def test_an_unresolved_operation_is_flagged(town: Town) -> None:
    """After everything was asked again nothing may be unknown."""
    town.tell(_intent(Verb.DEPOSIT, "a", "d9", 1), Outcome.UNKNOWN, 0, {})

    assert town.judge() == {"R1"}


def test_a_read_of_the_past_is_flagged(town: Town) -> None:
    """Whoever reads after an answer came does not see the wallet as it was before."""
    town.read("a", 2)
    assert town.judge() == set()
    town.deposit("a", "d3", 100)
    town.read("a", 2)

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
    slow = town.read("a", 2)
    town.history[-1] = Attempt(
        slow.intent, msgspec.structs.replace(slow.answer, began=slow.answer.began - 1.5)
    )

    assert town.judge() == set()


def test_an_invalid_request_leaves_nothing(town: Town) -> None:
    """A request that was refused for its form did not even take its key."""
    intent = _intent(Verb.DEPOSIT, "a", "bad", 0, Role.INVALID)
    town.tell(intent, Outcome.FAIL, 400, {})
    assert town.judge() == set()
    town.books.operations["a", "bad"] = "rejected"

    assert town.judge() == {"M10"}


def test_a_finding_is_a_violation(town: Town) -> None:
    """An answer that no promise allows is enough by itself."""
    town.tell(_intent(Verb.READ, "a", "", 0, Role.READ), Outcome.FINDING, 500, {})

    assert town.judge() == {"A0"}

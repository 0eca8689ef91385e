"""
This module is where the API is held against a model of it: a page of plain arithmetic.

Hypothesis makes up what callers do; after each step the books are what the model says, and proved.
"""

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import httpx
from hypothesis import HealthCheck, assume, settings, strategies as st
from hypothesis.stateful import (
    Bundle,
    MultipleResults,
    RuleBasedStateMachine,
    initialize,
    invariant,
    multiple,
    rule,
    run_state_machine_as_test,
)

from wallet_db_orm.ids import new_id

if TYPE_CHECKING:
    from services.api.tests.model.conftest import Books, Twins

# The last one is kept in another currency.
NAMES = ("ann", "bob", "cat", "dan", "eve")
VERBS = ("deposit", "withdraw", "transfer")
# When the process dies that is asked, by turns: never (it takes longer to come up than an example
# lasts), or once.
FATES = (None, None, "at once", None, None, "answered")
amounts = st.integers(1, 30_000)
names = st.sampled_from(NAMES)
SETTINGS = settings(
    max_examples=30,
    stateful_step_count=30,
    deadline=None,
    derandomize=True,
    database=None,
    suppress_health_check=list(HealthCheck),
)


@dataclass(frozen=True)
class Wallet:
    currency: str
    balance: int = 0
    status: str = "active"
    version: int = 1
    frozen: str = ""

    def is_shut(self, way: str) -> bool:
        return self.status == "closed" or self.frozen in {way, "both"}

    def moved(self, amount: int, steps: int = 1) -> "Wallet":
        return replace(self, balance=self.balance + amount, version=self.version + steps)


@dataclass(frozen=True)
class Call:
    """What a caller wants, under a key of its own."""

    verb: str
    name: str
    to: str
    amount: int
    key: str


@dataclass(frozen=True)
class Told:
    """A call and its answer, to be had again for ever."""

    call: Call
    status: int
    content: bytes


class Model:
    """What the service promises, for one caller at a time."""

    def __init__(self) -> None:
        self.wallets: dict[str, Wallet] = {}

    def expect(self, call: Call) -> tuple[int, dict[str, Any]]:
        """Return status and some members of the answer, and do what was asked."""
        wallet = self.wallets.get(call.name)
        if wallet is None and call.verb != "deposit":
            return 404, {"code": "wallet_not_found"}
        if refused := self._refusal(call, wallet):
            return 422, refused
        amount = call.amount if call.verb == "deposit" else -call.amount
        if call.verb == "transfer":
            # Initiated, debited and completed on the one side, credited on the other.
            sender = self.wallets[call.name] = self.wallets[call.name].moved(amount, 3)
            receiver = self.wallets[call.to] = self.wallets[call.to].moved(call.amount)
            balances = (money(sender.balance), money(receiver.balance))
            answer = dict(zip(("fromBalance", "toBalance"), balances, strict=True))
            return 201, answer | {"amount": money(call.amount), "status": "completed"}
        after = self.wallets[call.name] = (wallet or Wallet("USD")).moved(amount)
        told = {"balance": money(after.balance), "version": after.version}
        return 201, told | {"created": wallet is None, "currency": after.currency}

    def stand(self, name: str, verb: str, direction: str) -> tuple[int, str]:
        """Return the status that is answered, with the code or the standing, and do it."""
        wallet = self.wallets[name]
        if wallet.status == "closed":
            return (201, "closed") if verb == "close" else (422, "wallet_closed")
        if verb == "close" and wallet.balance:
            return 422, "wallet_not_empty"
        status = {"freeze": "frozen", "unfreeze": "active", "close": "closed"}[verb]
        frozen = direction if verb == "freeze" else ""
        if (status, frozen) != (wallet.status, wallet.frozen):
            after = replace(wallet, status=status, frozen=frozen, version=wallet.version + 1)
            self.wallets[name] = after
        return 201, status

    def _refusal(self, call: Call, wallet: Wallet | None) -> dict[str, Any] | None:
        sides = [(wallet, "in" if call.verb == "deposit" else "out")]
        if call.verb == "transfer":
            other = self.wallets.get(call.to)
            assert wallet is not None
            if call.to == call.name:
                return {"code": "same_wallet"}
            if other is None:
                return {"code": "recipient_not_found"}
            if other.currency != wallet.currency:
                return {"code": "currency_mismatch"}
            sides = [(other, "in"), (wallet, "out")]
        for side, way in sides:
            if side is not None and side.is_shut(way):
                return {"code": f"wallet_{side.status}"}
        if call.verb != "deposit" and wallet is not None and wallet.balance < call.amount:
            needed = {"required": money(call.amount), "available": money(wallet.balance)}
            return {"code": "insufficient_funds", **needed}
        return None


def money(minor: int) -> str:
    return f"{minor // 100}.{minor % 100:02}"


class Town(RuleBasedStateMachine):
    """What may happen; every example has wallets of its own in the one database."""

    told = Bundle("told")
    twins: "Twins"
    books: "Books"

    @initialize()
    def open(self) -> None:
        self.fate = FATES[self.twins.examples % len(FATES)]
        self.twins.examples += 1
        self.model = Model()
        self.prefix = f"{new_id()}."
        self.keys = 0
        body = {"id": f"{self.prefix}eve", "currency": "EUR"}
        assert self.twins.ask("/v1/wallets", body).status_code == 201
        self.model.wallets["eve"] = Wallet("EUR")

    @rule(target=told, verb=st.sampled_from(VERBS), name=names, to=names, amount=amounts)
    def call(self, verb: str, name: str, to: str, amount: int) -> MultipleResults[Told] | Told:
        call = self._new(verb, name, to, amount)
        if self.fate and self.keys > 5:
            # Whatever the dying process did, the next one answers as if it had been asked once.
            self.twins.die_amid(self._path(call), self._body(call), waits=self.fate == "answered")
            self.fate = None
        return self._check(call, self._ask(call))

    @rule(target=told, name=st.sampled_from(NAMES[:3]), amount=amounts)
    def deposit(self, name: str, amount: int) -> MultipleResults[Told] | Told:
        call = self._new("deposit", name, "", amount)
        return self._check(call, self._ask(call))

    @rule(told=told)
    def replay(self, told: Told) -> None:
        again = self._ask(told.call)
        assert (again.status_code, again.content) == (told.status, told.content)
        assert again.headers["Idempotent-Replay"] == "true"

    @rule(told=told, amount=amounts)
    def another_amount(self, told: Told, amount: int) -> None:
        assume(amount != told.call.amount)
        self._check_reused(self._ask(replace(told.call, amount=amount)), "amount")

    @rule(told=told, verb=st.sampled_from(VERBS[:2]))
    def another_verb(self, told: Told, verb: str) -> None:
        assume(verb != told.call.verb)
        self._check_reused(self._ask(replace(told.call, verb=verb)), "type")

    @rule(
        name=names,
        verb=st.sampled_from(("unfreeze", "unfreeze", "freeze", "close")),
        direction=st.sampled_from(("in", "out", "both")),
    )
    def stand(self, name: str, verb: str, direction: str) -> None:
        assume(name in self.model.wallets)
        body = {"direction": direction, "reason": "asked"} if verb == "freeze" else {}
        answer = self.twins.ask(f"/v1/wallets/{self.prefix}{name}/{verb}", body)
        status, told = self.model.stand(name, verb, direction)
        assert (answer.status_code, answer.json()["status" if status == 201 else "code"]) == (
            *(status, told),
        )

    @rule(name=names)
    def read(self, name: str) -> None:
        assume(name in self.model.wallets)
        seen = self.twins.read(f"/v1/wallets/{self.prefix}{name}")
        wallet = self.model.wallets[name]
        expected = (money(wallet.balance), wallet.status, wallet.version, wallet.currency)
        assert (
            tuple(seen[each] for each in ("balance", "status", "version", "currency")) == expected
        )

    @invariant()
    def the_books_are_the_model_s(self) -> None:
        found = self.books.wallets(self.prefix)
        expected = {
            self.prefix + name: (wallet.balance, wallet.status, wallet.version)
            for name, wallet in self.model.wallets.items()
        }
        assert found == expected

    def teardown(self) -> None:
        assert self.books.violations() == []

    def _new(self, verb: str, name: str, to: str, amount: int) -> Call:
        self.keys += 1
        return Call(verb, name, to, amount, f"k{self.keys}")

    def _path(self, call: Call) -> str:
        return f"/v1/wallets/{self.prefix}{call.name}/{call.verb}"

    def _body(self, call: Call) -> dict[str, Any]:
        body = {"amount": money(call.amount), "requestId": call.key}
        to = {"toWalletId": self.prefix + call.to} if call.verb == "transfer" else {}
        return body | to

    def _ask(self, call: Call) -> httpx.Response:
        return self.twins.ask(self._path(call), self._body(call))

    def _check(self, call: Call, answer: httpx.Response) -> MultipleResults[Told] | Told:
        status, members = self.model.expect(call)
        body = answer.json()
        assert answer.status_code == status, body
        assert {name: body[name] for name in members} == members
        # What was not found is not remembered: the key stays free.
        return multiple() if status == 404 else Told(call, status, answer.content)

    def _check_reused(self, answer: httpx.Response, field: str) -> None:
        body = answer.json()
        assert (answer.status_code, body["code"]) == (422, "idempotency_key_reused")
        assert field in {each["field"] for each in body["errors"]}


def test_the_api_does_what_the_model_says(twins: "Twins", ledger: "Books") -> None:
    """Deposits, withdrawals, transfers, repetitions, conflicts, frozen wallets, dead processes."""
    town: type[Town] = type("Here", (Town,), {"twins": twins, "books": ledger})

    run_state_machine_as_test(town, settings=SETTINGS)

    assert twins.deaths > 3

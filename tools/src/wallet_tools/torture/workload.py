"""This module is where it is drawn what each client asks; pure, from a seed of its own."""

import random
from collections.abc import Iterator
from typing import Final

import msgspec

from wallet_tools.torture.history import Attempt, Intent, Outcome, Role, Verb

WALLETS: Final = 20
HOT: Final = 5
OPENING_MINOR: Final = 100_000
_WEIGHTS: Final = {
    "deposit": 3.0,
    "withdraw": 3.0,
    "transfer": 3.0,
    "read": 2.0,
    "replay": 1.0,
    "conflict": 0.5,
    "invalid": 0.5,
}
_HOT_SHARE: Final = 0.6
# So many withdrawals and transfers ask for more than there is.
_GREEDY_SHARE: Final = 0.05
_GREEDY_MINOR: Final = 10**11
# What is refused whatever the books say: (verb, wallet or none for a drawn one, body, answer).
_INVALID: Final = (
    (Verb.DEPOSIT, None, '{"amount": "-1.00"}', (400, "invalid_amount")),
    (Verb.DEPOSIT, None, '{"amount": "1.001"}', (400, "invalid_amount")),
    (Verb.DEPOSIT, None, '{"amount": "1.00"', (400, "malformed_json")),
    (Verb.WITHDRAW, None, '{"amount": "1.00", "balance": "9.00"}', (400, "invalid_request")),
    (Verb.WITHDRAW, "nobody", '{"amount": "1.00"}', (404, "wallet_not_found")),
)


class Client:
    """
    One client's wishes, in an order that its seed alone decides.

    Which wallet, which amount and which older request of its own come from the seed; whether that
    older one is repeated or provoked also depends on what is known of it.
    """

    def __init__(self, seed: int, number: int) -> None:
        self._random = random.Random(f"workload {seed} {number}")
        self._prefix = f"t{seed}"
        self._number = number
        self._count = 0
        self.first: list[Intent] = []

    def opening(self, wallets: int, clients: int) -> Iterator[Intent]:
        """Yield the deposits that open this client's share of the wallets."""
        for index in range(self._number, wallets, clients):
            yield self._movement(Verb.DEPOSIT, f"{self._prefix}-w{index}", OPENING_MINOR)

    def pause_s(self, pace_s: float) -> float:
        return self._random.uniform(0.2, 1.8) * pace_s

    def next(self, known: dict[tuple[str, str], Attempt]) -> Intent:
        """Return the next request; `known` has the definitive answer of each settled operation."""
        wish = self._random.choices(list(_WEIGHTS), list(_WEIGHTS.values()))[0]
        wallet, other = self._wallet(), self._wallet()
        while other == wallet:
            other = self._wallet()
        amount = self._amount()
        older = self._random.choice(self.first) if self.first else None
        form = self._random.choice(_INVALID)
        match wish:
            case "read":
                return self._read(wallet)
            case "invalid":
                return self._invalid(wallet, form)
            case "conflict" if older and older.name in known:
                return self._conflict(older)
            case "replay" | "conflict" if older:
                return self._again(older, Role.REPLAY)
            case "withdraw":
                return self._movement(Verb.WITHDRAW, wallet, amount)
            case "transfer":
                return self._movement(Verb.TRANSFER, wallet, amount, other)
            case _:
                return self._movement(Verb.DEPOSIT, wallet, min(amount, OPENING_MINOR))

    def resolve(self, intent: Intent) -> Intent:
        """Return the same request once more, to learn what became of it."""
        return self._again(intent, Role.RESOLVE)

    def _movement(self, verb: Verb, wallet: str, amount_minor: int, to: str = "") -> Intent:
        name = self._name()
        body = {"amount": rendered(amount_minor), "requestId": name}
        if to:
            body["toWalletId"] = to
        intent = Intent(
            id=name,
            client=self._number,
            verb=verb,
            role=Role.FIRST,
            wallet=wallet,
            key=name,
            to=to,
            amount_minor=amount_minor,
            path=f"/v1/wallets/{wallet}/{verb}",
            body=msgspec.json.encode(body).decode(),
        )
        self.first.append(intent)
        return intent

    def _again(self, older: Intent, role: Role) -> Intent:
        return msgspec.structs.replace(older, id=self._name(), role=role)

    def _conflict(self, older: Intent) -> Intent:
        body = msgspec.json.decode(older.body)
        body["amount"] = rendered(older.amount_minor + 1)
        return msgspec.structs.replace(
            older,
            id=self._name(),
            role=Role.CONFLICT,
            amount_minor=older.amount_minor + 1,
            body=msgspec.json.encode(body).decode(),
            expects=(422, "idempotency_key_reused"),
        )

    def _read(self, wallet: str) -> Intent:
        return Intent(
            id=self._name(),
            client=self._number,
            verb=Verb.READ,
            role=Role.READ,
            wallet=wallet,
            path=f"/v1/wallets/{wallet}",
        )

    def _invalid(self, wallet: str, form: tuple[Verb, str | None, str, tuple[int, str]]) -> Intent:
        verb, stranger, body, expects = form
        wallet = f"{self._prefix}-{stranger}" if stranger else wallet
        name = self._name()
        return Intent(
            id=name,
            client=self._number,
            verb=verb,
            role=Role.INVALID,
            wallet=wallet,
            key=name,
            path=f"/v1/wallets/{wallet}/{verb}",
            body=body,
            expects=expects,
        )

    def _name(self) -> str:
        self._count += 1
        return f"{self._prefix}-c{self._number}-{self._count}"

    def _wallet(self) -> str:
        is_hot = self._random.random() < _HOT_SHARE
        index = self._random.randrange(HOT) if is_hot else self._random.randrange(HOT, WALLETS)
        return f"{self._prefix}-w{index}"

    def _amount(self) -> int:
        is_greedy = self._random.random() < _GREEDY_SHARE
        amount = self._random.randint(1, 5_000)
        return _GREEDY_MINOR + amount if is_greedy else amount


def wallets_of(seed: int) -> list[str]:
    """Return the wallets of a seed's workload, the hot ones first."""
    return [f"t{seed}-w{number}" for number in range(WALLETS)]


def rendered(amount_minor: int) -> str:
    """Return the amount as the API takes it; every wallet here keeps a currency of two decimals."""
    return f"{amount_minor // 100}.{amount_minor % 100:02}"


def is_definitive(attempt: Attempt) -> bool:
    return attempt.answer.outcome in {Outcome.OK, Outcome.FAIL}

"""This module is where it is drawn what each client asks; pure, from a seed of its own."""

import random
from collections import deque
from collections.abc import Iterator, Mapping
from typing import Final, NamedTuple, Self

import msgspec

from wallet_tools.torture.history import Attempt, Intent, Outcome, Role, Verb

WALLETS: Final = 20
HOT: Final = 5
OPENING_MINOR: Final = 100_000
_WEIGHTS: Final = {
    "deposit": 3.0,
    "withdraw": 3.0,
    "transfer": 3.0,
    "hold": 1.0,
    "capture": 1.0,
    "release": 0.5,
    "read": 2.0,
    "replay": 1.0,
    "conflict": 0.5,
    "invalid": 0.5,
}
_HOT_SHARE: Final = 0.6
# So many withdrawals and transfers ask for more than there is.
_GREEDY_SHARE: Final = 0.05
_GREEDY_MINOR: Final = 10**11
# Of its last so many holds a client takes parts, at most so much of what one was at first.
_HOLDS: Final = 4
_PART_MAX_PERCENT: Final = 110
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
    older one is repeated or provoked, and whether a part of a hold is taken or another hold placed,
    also depends on what is known of it.
    """

    def __init__(self, seed: int, number: int) -> None:
        self._random = random.Random(f"workload {seed} {number}")
        self._prefix = f"t{seed}"
        self._number = number
        self._count = 0
        self.first: list[Intent] = []
        self._holds: deque[Intent] = deque(maxlen=_HOLDS)

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
        hold = self._random.choice(self._holds) if self._holds else None
        percent, leaves = self._random.randint(1, _PART_MAX_PERCENT), self._random.random() < 0.5
        match wish:
            case "read":
                return self._read(wallet)
            case "invalid":
                return self._invalid(wallet, form)
            case "conflict" if older and older.name in known:
                return self._conflict(older)
            case "replay" | "conflict" if older:
                return self._again(older, Role.REPLAY)
            case "capture" if hold and (part := _Part.of(hold, percent, known)):
                return self._part(Verb.CAPTURE, part, "" if leaves else other)
            case "release" if hold and (part := _Part.of(hold, percent, known)):
                return self._part(Verb.RELEASE, part)
            case "hold" | "capture" | "release":
                return self._hold(wallet, amount)
            case "withdraw":
                return self._movement(Verb.WITHDRAW, wallet, amount)
            case "transfer":
                return self._movement(Verb.TRANSFER, wallet, amount, other)
            case _:
                return self._movement(Verb.DEPOSIT, wallet, min(amount, OPENING_MINOR))

    def resolve(self, intent: Intent) -> Intent:
        """Return the same request once more, to learn what became of it."""
        return self._again(intent, Role.RESOLVE)

    def _hold(self, wallet: str, amount_minor: int) -> Intent:
        placed = self._movement(Verb.HOLD, wallet, amount_minor)
        self._holds.append(placed)
        return placed

    def _part(self, verb: Verb, part: "_Part", to: str = "") -> Intent:
        path = f"/v1/holds/{part.hold_id}/{verb}"
        # Whoever pays itself is refused for that; this is about holds.
        to = "" if to == part.wallet else to
        return self._movement(verb, part.wallet, part.amount_minor, to, path)

    def _movement(
        self, verb: Verb, wallet: str, amount_minor: int, to: str = "", path: str = ""
    ) -> Intent:
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
            path=path or f"/v1/wallets/{wallet}/{verb}",
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


class _Part(NamedTuple):
    """A part of a hold that may be taken."""

    hold_id: str
    wallet: str
    amount_minor: int

    @classmethod
    def of(
        cls, placed: Intent, percent: int, known: Mapping[tuple[str, str], Attempt]
    ) -> Self | None:
        """Return so much of a hold, if it is known to be there."""
        told = known.get(placed.name)
        if told is None or told.answer.outcome is not Outcome.OK:
            return None
        hold_id = msgspec.json.decode(told.answer.content)["holdId"]
        return cls(hold_id, placed.wallet, max(1, placed.amount_minor * percent // 100))


def wallets_of(seed: int) -> list[str]:
    """Return the wallets of a seed's workload, the hot ones first."""
    return [f"t{seed}-w{number}" for number in range(WALLETS)]


def rendered(amount_minor: int) -> str:
    """Return the amount as the API takes it; every wallet here keeps a currency of two decimals."""
    return f"{amount_minor // 100}.{amount_minor % 100:02}"


def is_definitive(attempt: Attempt) -> bool:
    return attempt.answer.outcome in {Outcome.OK, Outcome.FAIL}

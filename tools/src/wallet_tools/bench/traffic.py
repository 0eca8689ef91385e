"""This module is where the requests of each load are spelled, for the generator of our own."""

import random
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from typing import Final

import msgspec

from wallet_tools.bench.plan import BULK_COMMANDS, Load

FUNDS: Final = "1000000.00"
REPLAY_EVERY: Final = 10
# Wallets of their own: what is held on a wallet is looked at by whatever comes to it later.
HOLD_WALLETS: Final = 500
_BATCHES: Final = {"bulk", "events", "funds"}


class Traffic(msgspec.Struct, frozen=True):
    """
    What is sent: the kind of request, over how many wallets, under which request ids.

    `prefix` makes the ids unique across runs; `distance` is how many requests ago a replayed one
    was sent first, so that it has been answered by then. `authorization` is the header's value.
    Wallets are called `stem`-n. An entry is one of the ledger, or a hold.
    """

    kind: str
    prefix: str
    pool: int
    distance: int = 256
    batch: int = BULK_COMMANDS
    seed: int = 1
    authorization: str = ""
    stem: str = "bench"

    @property
    def is_write(self) -> bool:
        return self.kind != "read"

    @property
    def entries_per_request(self) -> int:
        """Return the most ledger entries that one request makes."""
        return self.batch if self.kind in _BATCHES else {"read": 0, "mixed": 2}.get(self.kind, 1)

    @property
    def operations_per_request(self) -> int:
        return self.batch if self.kind in _BATCHES else 1


def traffic_of(load: Load, prefix: str, wallets: int, connections: int, seed: int) -> Traffic:
    kind = {Load.MIXED: "mixed", Load.REPLAYS: "replays", Load.READS: "read", Load.BULK: "bulk"}
    if load is Load.HOLDS:
        return Traffic("hold", prefix, HOLD_WALLETS, 2 * connections, seed=seed, stem="hold")
    pool = 1 if load is Load.HOT else wallets
    return Traffic(kind.get(load, "deposit"), prefix, pool, 2 * connections, seed=seed)


class Requests:
    """Makes one request after the other, as bytes, and counts what they ask for."""

    def __init__(self, traffic: Traffic, host: str, number: int = 0) -> None:
        self._traffic = traffic
        self._prefix = f"{traffic.prefix}-{number}-"
        self._head = f" HTTP/1.1\r\nHost: {host}\r\n"
        if traffic.authorization:
            self._head += f"Authorization: {traffic.authorization}\r\n"
        self._random = random.Random(traffic.seed + number)
        self._old: deque[bytes] = deque(maxlen=traffic.distance)
        self._fresh = 0
        makers: dict[str, Callable[[], bytes]] = {
            "deposit": self._deposit,
            "hold": self._hold,
            "read": self._read,
            "mixed": self._mixed,
            "replays": self._replays,
            "bulk": self._bulk,
            "events": self._events,
            "funds": self._funds,
            "fund": self._fund,
        }
        self._make = makers[traffic.kind]
        self.sent = 0
        self.repeated = 0
        self.entries = 0

    def next(self) -> bytes:
        self.sent += 1
        return self._make()

    def _wallet(self) -> str:
        return f"{self._traffic.stem}-{self._random.randrange(self._traffic.pool)}"

    def _read(self) -> bytes:
        return f"GET /v1/wallets/{self._wallet()}{self._head}\r\n".encode()

    def _fund(self) -> bytes:
        self.entries += 1
        return self._order(f"{self._traffic.stem}-{self.sent - 1}", "deposit", FUNDS)

    def _hold(self) -> bytes:
        self.entries += 1
        return self._order(self._wallet(), "holds")

    def _deposit(self) -> bytes:
        self.entries += 1
        return self._order(self._wallet(), "deposit")

    def _mixed(self) -> bytes:
        match self.sent % 3:
            case 0:
                return self._deposit()
            case 1:
                self.entries += 1
                return self._order(self._wallet(), "withdraw")
            case _:
                self.entries += 2
                pool = self._traffic.pool
                sender = self._random.randrange(pool)
                recipient = (sender + self._random.randrange(1, pool)) % pool
                rest = f',"toWalletId":"bench-{recipient}"'
                return self._order(f"bench-{sender}", "transfer", rest=rest)

    def _replays(self) -> bytes:
        if self.sent % REPLAY_EVERY == 0 and len(self._old) == self._traffic.distance:
            self.repeated += 1
            return self._old[0]
        request = self._deposit()
        self._old.append(request)
        return request

    def _bulk(self) -> bytes:
        return self._batch("deposit" for _ in range(self._traffic.batch))

    def _events(self) -> bytes:
        every_third = ("deposit", "deposit", "withdraw")
        return self._batch(every_third[at % 3] for at in range(self._traffic.batch))

    def _funds(self) -> bytes:
        first = self._fresh
        wallets = (f"bench-{first + at}" for at in range(self._traffic.batch))
        return self._batch(("deposit" for _ in range(self._traffic.batch)), wallets, FUNDS)

    def _batch(
        self, verbs: Iterable[str], wallets: Iterator[str] | None = None, amount: str = "1.00"
    ) -> bytes:
        commands = []
        for verb in verbs:
            self._fresh += 1
            wallet = next(wallets) if wallets else self._wallet()
            commands.append(
                f'{{"type":"{verb}","walletId":"{wallet}","amount":"{amount}",'
                f'"requestId":"{self._prefix}{self._fresh}"}}'
            )
        self.entries += self._traffic.batch
        return self._post("/v1/batches", f'{{"atomic":false,"commands":[{",".join(commands)}]}}')

    def _order(self, wallet: str, verb: str, amount: str = "1.00", rest: str = "") -> bytes:
        self._fresh += 1
        body = f'{{"amount":"{amount}","requestId":"{self._prefix}{self._fresh}"{rest}}}'
        return self._post(f"/v1/wallets/{wallet}/{verb}", body)

    def _post(self, path: str, body: str) -> bytes:
        headers = f"Content-Type: application/json\r\nContent-Length: {len(body)}\r\n"
        return f"POST {path}{self._head}{headers}\r\n{body}".encode()

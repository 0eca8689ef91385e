"""This module is where an honest little history is made, for tests to put lies into."""

import json

import msgspec

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
        self.books.held = {"a": 0, "b": 0}

    def deposit(self, wallet: str, key: str, minor: int) -> Attempt:
        """Post a deposit and answer it truly."""
        self._post(wallet, key, "deposit", minor, None)
        body = {
            "walletId": wallet,
            "balance": _spelled(self.balances[wallet]),
            "version": self.versions[wallet],
            "operationId": f"op-{key}",
        }
        return self.tell(an_intent(Verb.DEPOSIT, wallet, key, minor), Outcome.OK, 201, body)

    def transfer(self, key: str, minor: int) -> Attempt:
        """Move money from a to b and answer it truly."""
        self._post("a", key, "transfer_debit", -minor, f"tr-{key}")
        self._post("b", f"credit tr-{key}", "transfer_credit", minor, f"tr-{key}")
        self.books.transfers[f"tr-{key}"] = "completed"
        body = {
            "transferId": f"tr-{key}",
            "operationId": f"op-{key}",
            "fromBalance": _spelled(self.balances["a"]),
            "toBalance": _spelled(self.balances["b"]),
        }
        intent = msgspec.structs.replace(an_intent(Verb.TRANSFER, "a", key, minor), to="b")
        return self.tell(intent, Outcome.OK, 201, body)

    def hold(self, key: str, minor: int) -> Attempt:
        """Bind money of a and answer it truly."""
        return self._step(Verb.HOLD, key, minor, bound_minor=minor)

    def capture(self, key: str, minor: int, to: str = "") -> Attempt:
        """Take bound money of a, out or to b, and answer it truly."""
        transfer = f"tr-{key}" if to else None
        self._post("a", key, "transfer_debit" if to else "hold_capture", -minor, transfer)
        if to:
            self._post("b", f"credit tr-{key}", "transfer_credit", minor, transfer)
            self.books.transfers[f"tr-{key}"] = "completed"
        return self._step(Verb.CAPTURE, key, minor, bound_minor=-minor, to=to)

    def release(self, key: str, minor: int) -> Attempt:
        """Free bound money of a and answer it truly."""
        return self._step(Verb.RELEASE, key, minor, bound_minor=-minor)

    def _step(self, verb: Verb, key: str, minor: int, *, bound_minor: int, to: str = "") -> Attempt:
        self.books.held["a"] += bound_minor
        self.books.operations["a", key] = "held"
        body = {
            "operationId": f"op-{key}",
            "transferId": f"tr-{key}",
            "balance": _spelled(self.balances["a"]),
        }
        intent = msgspec.structs.replace(an_intent(verb, "a", key, minor), to=to)
        return self.tell(intent, Outcome.OK, 201, body)

    def refuse(self, key: str, minor: int) -> Attempt:
        """Refuse a withdrawal and remember it."""
        self.books.operations["a", key] = "rejected"
        body = {"code": "insufficient_funds"}
        return self.tell(an_intent(Verb.WITHDRAW, "a", key, minor), Outcome.FAIL, 422, body)

    def read(self, wallet: str, version: int) -> Attempt:
        """Answer a read with that version."""
        intent = an_intent(Verb.READ, wallet, "", 0, Role.READ)
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


def an_intent(verb: Verb, wallet: str, key: str, minor: int, role: Role = Role.FIRST) -> Intent:
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

"""This module is where it is kept what clients asked and were told: the oracle's only source."""

from enum import StrEnum

import msgspec


class Verb(StrEnum):
    DEPOSIT = "deposit"
    WITHDRAW = "withdraw"
    TRANSFER = "transfer"
    HOLD = "holds"
    CAPTURE = "capture"
    RELEASE = "release"
    READ = "read"


class Role(StrEnum):
    """Why something is asked: for the first time, again, to provoke, or to learn what became."""

    FIRST = "first"
    REPLAY = "replay"
    CONFLICT = "conflict"
    INVALID = "invalid"
    READ = "read"
    RESOLVE = "resolve"


class Outcome(StrEnum):
    """
    What the client knows: it happened, it did not and will not, or nothing.

    A finding is an answer that no promise allows: it is a violation by itself.
    """

    OK = "ok"
    FAIL = "fail"
    UNKNOWN = "unknown"
    FINDING = "finding"


class Intent(msgspec.Struct, frozen=True, kw_only=True):
    """A request as it is about to be sent; `id` is its trace id, unique among all."""

    id: str
    client: int
    verb: Verb
    role: Role
    wallet: str
    key: str = ""
    to: str = ""
    amount_minor: int = 0
    path: str
    body: str = ""
    expects: tuple[int, str] = (0, "")

    @property
    def name(self) -> tuple[str, str]:
        """What identifies the operation: the wallet and the key."""
        return self.wallet, self.key


class Answer(msgspec.Struct, frozen=True, kw_only=True):
    """What came of a request; `status` is 0 if nothing came back. Times are monotonic seconds."""

    id: str
    outcome: Outcome
    began: float
    ended: float
    api: int
    status: int = 0
    content: bytes = b""
    content_type: str = ""
    is_replay: bool = False
    why: str = ""


class Attempt(msgspec.Struct, frozen=True):
    """One request and what came of it."""

    intent: Intent
    answer: Answer

    def line(self) -> str:
        """Return it as one line for a person to read."""
        intent, answer = self.intent, self.answer
        what = f"{intent.role}/{intent.verb} {intent.wallet}"
        if intent.to:
            what += f" -> {intent.to}"
        told = answer.content[:160].decode(errors="replace")
        took = answer.ended - answer.began
        return (
            f"{answer.began:.3f} +{took:.3f}s api{answer.api} {intent.id} {what}"
            f" key={intent.key} {intent.amount_minor} -> {answer.outcome} {answer.status}"
            f"{' replay' if answer.is_replay else ''} {answer.why} {told}"
        )


class Violation(msgspec.Struct, frozen=True, kw_only=True):
    """A promise that was broken: which one, how, in whose wallet, and the rows that show it."""

    id: str
    what: str
    wallet: str = ""
    rows: tuple[str, ...] = ()

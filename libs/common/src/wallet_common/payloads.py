"""This module is where it is declared what each kind of event tells: the payloads."""

from datetime import datetime

import msgspec


class Opening(msgspec.Struct, frozen=True, rename="camel"):
    """The payload of a new wallet."""

    currency: str
    owner_id: str | None
    new_balance: str


class Movement(msgspec.Struct, frozen=True, rename="camel", omit_defaults=True, kw_only=True):
    """The payload of a deposit or withdrawal; amounts are decimal strings of `currency`."""

    amount: str
    currency: str
    new_balance: str | None = None
    request_id: str | None = None
    operation_id: str | None = None


class Reversal(Movement, frozen=True, rename="camel", omit_defaults=True, kw_only=True):
    """The payload of what was taken back; `reversed_operation_id` is the first operation's."""

    reversed_operation_id: str
    reason: str | None = None


class FeeTold(Movement, frozen=True, rename="camel", omit_defaults=True, kw_only=True):
    """The payload of a fee; `schedule_id` is by which schedule it was charged."""

    schedule_id: str | None = None


class Exchanged(msgspec.Struct, frozen=True, rename="camel", kw_only=True):
    """
    The terms on which a transfer changes currency, as decimal strings.

    `rate` is units of `to_currency` for one of `from_currency`, `residue` what rounding `to_amount`
    to its currency's decimals left over: exact minus rounded.
    """

    quote_id: str
    rate: str
    from_amount: str
    from_currency: str
    to_amount: str
    to_currency: str
    residue: str


class Step(msgspec.Struct, frozen=True, rename="camel", omit_defaults=True, kw_only=True):
    """
    The payload of a transfer's step; `new_balance` is there when this wallet's money moved.

    `exchange` is there where the recipient's wallet is kept in another currency.
    """

    amount: str
    currency: str
    from_wallet_id: str
    to_wallet_id: str
    request_id: str | None = None
    operation_id: str | None = None
    new_balance: str | None = None
    reason: str | None = None
    exchange: Exchanged | None = None


class HoldStep(Movement, frozen=True, rename="camel", omit_defaults=True, kw_only=True):
    """
    The payload of a hold's step: `amount` is what it bound, took or freed.

    `held` is what all holds of the wallet bind after it, `remaining` what this one still does;
    `new_balance` is there when money left the wallet with it.
    """

    hold_id: str
    held: str
    remaining: str
    expires_at: datetime | None = None
    to_wallet_id: str | None = None


class Standing(msgspec.Struct, frozen=True, rename="camel", omit_defaults=True, kw_only=True):
    """
    The payload of a wallet that was frozen, unfrozen or closed: its status from then on.

    `direction` is which way the money of a frozen one may not move: `in`, `out` or `both`.
    """

    currency: str
    status: str
    direction: str | None = None
    reason: str | None = None


class Rate(msgspec.Struct, frozen=True, rename="camel", omit_defaults=True, kw_only=True):
    """How much, and how many times, may leave in a `day`, `week` or `month`."""

    period: str
    amount: str | None = None
    count: int | None = None


class LimitsTold(msgspec.Struct, frozen=True, rename="camel", omit_defaults=True, kw_only=True):
    """The payload of a wallet's new limits: amounts as decimal strings, absent is no limit."""

    currency: str
    overdraft: str
    time_zone: str
    max_balance: str | None = None
    max_transaction: str | None = None
    velocity: tuple[Rate, ...] = ()


class Verdict(msgspec.Struct, frozen=True, rename="camel", omit_defaults=True, kw_only=True):
    """
    The payload of a fraud flag: what was compared with what, and the events that show it.

    A count is a JSON number, an amount a decimal string of `currency`.
    """

    rule_id: str
    rule_version: int
    threshold: int | str
    observed: int | str
    evidence: tuple[str, ...]
    currency: str
    flagged_at: datetime
    window_seconds: int | None = None


Payload = (
    Opening | Movement | Reversal | FeeTold | HoldStep | Step | Standing | LimitsTold | Verdict
)

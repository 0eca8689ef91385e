"""This module is where every refusal becomes a problem document, and every outcome a status."""

from collections.abc import Mapping
from typing import Any, Final, Self

import msgspec
import structlog

from wallet_api.exchange import Exchange
from wallet_api.redaction import kept_address
from wallet_common.errors import Busy, IdempotencyKeyReused
from wallet_common.limits import Excess
from wallet_common.money import render
from wallet_common.operations import Operation
from wallet_common.transfer import Transfer, TransferState
from wallet_common.wallet import Rejected, RejectionReason
from wallet_db_orm.database import Trouble, trouble
from wallet_db_orm.orders import Applied, Recorded

MEDIA_TYPE: Final = "application/problem+json"

# The one table from reasons to statuses; what is not listed is understood but refused.
_STATUS: Final = {
    RejectionReason.INVALID_AMOUNT: 400,
    RejectionReason.INVALID_EXPIRY: 400,
    RejectionReason.INVALID_LIMIT: 400,
    RejectionReason.HOLD_NOT_FOUND: 404,
    RejectionReason.QUOTE_NOT_FOUND: 404,
    RejectionReason.WALLET_NOT_FOUND: 404,
    RejectionReason.WALLET_EXISTS: 409,
}
# What was wrong with the request, where that is one field.
_FIELDS: Final = {
    RejectionReason.INVALID_AMOUNT: "amount",
    RejectionReason.INVALID_EXPIRY: "expiresAt",
    RejectionReason.INVALID_LIMIT: "limits",
}
_REFUSED: Final = 422

# Longer than nearly every address of ours: what a stranger made up is not sent back whole.
_INSTANCE_CHARACTERS_MAX: Final = 200

_DETAILS: Final = {
    RejectionReason.BALANCE_LIMIT_EXCEEDED: "The balance would leave the range that can be kept.",
    RejectionReason.SAME_WALLET: "A transfer needs two different wallets.",
    RejectionReason.CURRENCY_MISMATCH: (
        "The wallets are kept in different currencies; a transfer between them takes a quoteId."
    ),
    RejectionReason.WALLET_FROZEN: "The wallet is frozen.",
    RejectionReason.WALLET_CLOSED: "The wallet is closed.",
    RejectionReason.RECIPIENT_NOT_FOUND: "There is no wallet to transfer to.",
    RejectionReason.WALLET_NOT_EMPTY: "The wallet is not empty.",
    RejectionReason.ALREADY_REVERSED: "Nothing is left of the operation: it was taken back.",
    RejectionReason.HOLD_CLOSED: "Nothing of the hold is left: it was captured or released.",
    RejectionReason.HOLD_EXPIRED: "The hold's time is over.",
    RejectionReason.HOLD_NOT_FOUND: "There is no such hold.",
    RejectionReason.QUOTE_NOT_FOUND: "There is no such quote for this wallet.",
    RejectionReason.QUOTE_USED: "The quote was used already: each is good once.",
    RejectionReason.QUOTE_EXPIRED: "The quote's time is over; ask for a new one.",
    RejectionReason.OTHER_OWNER: "A conversion stays with one owner; this would be a transfer.",
    RejectionReason.LIMIT_EXCEEDED: "A limit of the wallet would be exceeded.",
    RejectionReason.CANCELLED: "The key was cancelled before anything happened under it.",
    RejectionReason.WALLET_NOT_FOUND: "There is no such wallet.",
    RejectionReason.WALLET_EXISTS: "The id, or the owner's wallet in that currency, is taken.",
}

NO_CURRENCY: Final = "must be an ISO 4217 code with a minor unit, or an asset such as BTC.8"

log = structlog.get_logger("wallet_api")


class Problem(Exception):
    """A refusal on its way to the caller; `extras` become members of the document."""

    def __init__(  # the members of the document
        self,
        status: int,
        code: str,
        detail: str,
        *,
        extras: Mapping[str, Any] | None = None,
        headers: Mapping[str, str] | None = None,
        trace_id: str | None = None,
        instance: str | None = None,
    ) -> None:
        super().__init__(code)
        self.status = status
        self.code = code
        self.detail = detail
        self.extras = dict(extras or {})
        self.headers = dict(headers or {})
        self.trace_id = trace_id
        self.instance = instance

    def within(self, place: str) -> Self:
        """Tell where in a larger body the fault is, and return this problem."""
        self.detail = f"{place}.{self.detail}"
        for error in self.extras.get("errors", ()):
            error["field"] = f"{place}.{error['field']}"
        return self

    def document(self, instance: str, trace_id: str) -> bytes:
        """Return the body; a remembered refusal keeps its first request's place and trace."""
        return msgspec.json.encode(
            {
                "type": f"urn:wallet:problem:{self.code}",
                "title": self.code.replace("_", " ").capitalize(),
                "status": self.status,
                "detail": self.detail,
                "instance": self.instance or instance[:_INSTANCE_CHARACTERS_MAX],
                "code": self.code,
                "traceId": self.trace_id or trace_id,
                "retryable": self.status in {429, 503},
                **self.extras,
            }
        )


def status_of(applied: Applied, done: int = 201) -> int:
    """Return the status that answers what came of an order: what the audit row records."""
    match applied:
        case Recorded(operation=Operation(outcome=Rejected() as rejected)) | (
            Rejected() as rejected
        ):
            return _STATUS.get(rejected.reason, _REFUSED)
        case Transfer(state=state):
            return _REFUSED if state is TransferState.FAILED else done
        case IdempotencyKeyReused():
            return _REFUSED
        case _:
            return done


def rejected(outcome: Rejected) -> Problem:
    """Return the problem of a refusal that nobody has to remember."""
    return Problem(
        _STATUS.get(outcome.reason, _REFUSED),
        outcome.reason.value,
        _detail(outcome),
        extras=_extras(outcome),
    )


def remembered(operation: Operation, outcome: Rejected) -> Problem:
    """Return the problem of a remembered refusal: the same bytes however often it is asked."""
    problem = rejected(outcome)
    problem.instance = _address(operation)
    problem.trace_id = operation.trace_id
    problem.extras["requestId"] = operation.request_id
    return problem


def transfer_failed(transfer: Transfer, operation: Operation) -> Problem:
    """Return the problem of a transfer whose money came back; `operation` has started it."""
    assert transfer.reason is not None
    problem = rejected(Rejected(RejectionReason(transfer.reason), transfer.currency))
    problem.instance = _address(operation)
    problem.trace_id = operation.trace_id
    problem.extras |= {
        "requestId": transfer.request_id,
        "transferId": transfer.id,
        "transferStatus": transfer.state.value,
    }
    return problem


def key_reused(reused: IdempotencyKeyReused) -> Problem:
    """Return the problem of a key that already names another intent."""
    errors = [
        {"field": field, "message": "differs from the first request with this key"}
        for field in reused.fields
    ]
    told = str(reused)
    # The first letter only: the names of fields have capitals of their own.
    detail = f"{told[:1].upper()}{told[1:]}."
    return Problem(_REFUSED, "idempotency_key_reused", detail, extras={"errors": errors})


def busy(
    detail: str = "The wallet or the database is busy; send the same request again.",
) -> Problem:
    """Return the problem of a request of which nothing is known to have happened."""
    return Problem(503, "busy", detail, headers={"Retry-After": "1"})


def fault(error: Exception, exchange: Exchange) -> Problem:
    """Return the problem of what went wrong inside; a fault of ours is logged."""
    exchange.is_replay = False
    if isinstance(error, Busy):
        return busy()
    kind = trouble(error)
    if kind is Trouble.CONTENTION:
        return busy()
    if kind is not Trouble.OTHER:
        log.warning("database.unavailable", trace_id=exchange.trace_id, error=type(error).__name__)
        return busy("The database is not available; send the same request again.")
    log.error(
        "request.failed",
        trace_id=exchange.trace_id,
        path=kept_address(exchange.path)[:200],
        exc_info=error,
    )
    return Problem(500, "internal_error", "A fault of the service; it is logged.")


def invalid(field: str, message: str) -> Problem:
    """Return the problem of one bad field, parameter or header."""
    errors = [{"field": field, "message": message}]
    return Problem(400, "invalid_request", f"{field}: {message}", extras={"errors": errors})


def _address(operation: Operation) -> str:
    """Return where the operation was asked for."""
    match operation.type:
        case "hold":
            return f"/v1/wallets/{operation.wallet_id}/holds"
        case "hold_capture" | "hold_release":
            verb = operation.type.removeprefix("hold_")
            return f"/v1/holds/{operation.meaning['holdId']}/{verb}"
        case "deposit_reversal" | "withdraw_reversal" | "transfer_reversal":
            return f"/v1/operations/{operation.meaning['operationId']}/reverse"
        case "conversion":
            return f"/v1/wallets/{operation.wallet_id}/convert"
        case verb:
            return f"/v1/wallets/{operation.wallet_id}/{verb}"


def _detail(outcome: Rejected) -> str:
    if outcome.reason is RejectionReason.INSUFFICIENT_FUNDS:
        money = _extras(outcome)
        return (
            f"The wallet has {money['available']} {outcome.currency} available,"
            f" {money['required']} are required."
        )
    if outcome.reason in {
        RejectionReason.HOLD_EXCEEDED,
        RejectionReason.REVERSAL_EXCEEDS_ORIGINAL,
    }:
        return f"Only {_extras(outcome)['remaining']} {outcome.currency} are left of it."
    if outcome.excess is not None:
        told = _extras(outcome)
        return f"The limit {told['limit']} of the wallet is {told['value']}."
    return outcome.detail or _DETAILS[outcome.reason]


def _extras(outcome: Rejected) -> dict[str, Any]:
    extras: dict[str, Any] = {}
    if outcome.currency is not None:
        extras["currency"] = outcome.currency
        if outcome.required_minor is not None and outcome.available_minor is not None:
            extras["required"] = render(outcome.required_minor, outcome.currency)
            extras["available"] = render(outcome.available_minor, outcome.currency)
        if outcome.required_minor is not None and outcome.remaining_minor is not None:
            extras["required"] = render(outcome.required_minor, outcome.currency)
            extras["remaining"] = render(outcome.remaining_minor, outcome.currency)
    if outcome.excess is not None:
        extras |= _told(outcome.excess, outcome.currency or "")
    if field := _FIELDS.get(outcome.reason):
        extras["errors"] = [{"field": field, "message": outcome.detail}]
    return extras


def _told(excess: Excess, currency: str) -> dict[str, Any]:
    """Return which limit it is, its value, what is used of it, and when that ends."""
    told: dict[str, Any] = {"limit": excess.limit, "value": excess.value, "used": excess.used}
    if excess.value_minor is not None:
        told["value"] = render(excess.value_minor, currency)
    if excess.used_minor is not None:
        told["used"] = render(excess.used_minor, currency)
    told["freesAt"] = excess.frees_at
    return {name: value for name, value in told.items() if value is not None}

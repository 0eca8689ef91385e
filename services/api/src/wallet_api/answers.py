"""This module is where stored values become answers: the same value, the same bytes, for ever."""

from datetime import datetime
from typing import Any

import msgspec
from msgspec.structs import asdict

from wallet_api.fx_schemas import ConversionAnswer, QuoteAnswer
from wallet_api.hold_schemas import HoldAnswer
from wallet_api.problems import remembered, transfer_failed
from wallet_api.reversal_schemas import ReversalAnswer
from wallet_api.schemas import (
    MoneyAnswer,
    OperationAnswer,
    StepAnswer,
    TransferAnswer,
    TransferView,
    WalletAnswer,
)
from wallet_api.standing_schemas import StandingAnswer
from wallet_common.fx import Exchange, Quote
from wallet_common.holds import Hold
from wallet_common.money import render
from wallet_common.operations import (
    HoldReceipt,
    Operation,
    Receipt,
    ReversalReceipt,
    StandingReceipt,
)
from wallet_common.transfer import Transfer, TransferState
from wallet_common.wallet import Rejected


def raw(text: str | None) -> msgspec.Raw:
    """Return stored JSON text as it is; null for none."""
    return msgspec.Raw((text or "null").encode())


def wallet_answer(
    wallet: Any,  # noqa: ANN401  # a row of queries.wallet, or a Wallet
    metadata: str | None,
    *,
    created_at: datetime,
    updated_at: datetime,
) -> WalletAnswer:
    """Render a wallet; its metadata may have to be opened first: see `personal`."""
    return WalletAnswer(
        wallet_id=wallet.id,
        owner_id=wallet.owner_id,
        currency=wallet.currency,
        balance=render(wallet.balance_minor, wallet.currency),
        held=render(wallet.held_minor, wallet.currency),
        available=render(wallet.balance_minor - wallet.held_minor, wallet.currency),
        status=wallet.status,
        version=wallet.version,
        created_at=created_at,
        updated_at=updated_at,
        metadata=raw(metadata),
    )


def money_answer(operation: Operation, receipt: Receipt) -> MoneyAnswer:
    return MoneyAnswer(
        wallet_id=operation.wallet_id,
        balance=render(receipt.balance_minor, receipt.currency),
        currency=receipt.currency,
        request_id=operation.request_id,
        created=receipt.created,
        operation_id=operation.operation_id,
        version=receipt.version,
        fee=_fee(receipt.fee_minor, receipt.currency),
    )


def _fee(fee_minor: int, currency: str) -> str | msgspec.UnsetType:
    return render(fee_minor, currency) if fee_minor else msgspec.UNSET


def hold_answer(  # what there is of a hold
    hold: Hold,
    request_id: str,
    operation_id: str,
    balance_minor: int,
    held_minor: int,
    transfer_id: str | None = None,
) -> HoldAnswer:
    def shown(amount_minor: int) -> str:
        return render(amount_minor, hold.currency)

    return HoldAnswer(
        hold_id=hold.id,
        wallet_id=hold.wallet_id,
        amount=shown(hold.amount_minor),
        captured=shown(hold.captured_minor),
        released=shown(hold.released_minor + hold.expired_minor),
        remaining=shown(hold.remaining_minor),
        currency=hold.currency,
        status=hold.status.value,
        expires_at=hold.expires_at,
        request_id=request_id,
        operation_id=operation_id,
        balance=shown(balance_minor),
        held=shown(held_minor),
        available=shown(balance_minor - held_minor),
        transfer_id=transfer_id,
    )


def hold_step_answer(operation: Operation, receipt: HoldReceipt) -> HoldAnswer:
    """Render what an operation on a hold left; one with a recipient has the id of its transfer."""
    return hold_answer(
        receipt.hold,
        operation.request_id,
        operation.operation_id,
        receipt.balance_minor,
        receipt.held_minor,
        operation.operation_id if "toWalletId" in operation.meaning else None,
    )


def reversal_answer(operation: Operation, receipt: ReversalReceipt) -> ReversalAnswer:
    return ReversalAnswer(
        operation_id=operation.operation_id,
        reversed_operation_id=receipt.reverses,
        wallet_id=operation.wallet_id,
        amount=render(receipt.amount_minor, receipt.currency),
        currency=receipt.currency,
        balance=render(receipt.balance_minor, receipt.currency),
        request_id=operation.request_id,
        transfer_id=operation.operation_id if "toWalletId" in operation.meaning else None,
    )


def standing_answer(
    wallet: WalletAnswer, operation: Operation, receipt: StandingReceipt, updated_at: datetime
) -> StandingAnswer:
    """Return a wallet, as it is now, as the operation left it."""
    balance_minor, held_minor = receipt.balance_minor, receipt.held_minor
    left = {
        "balance": render(balance_minor, receipt.currency),
        "held": render(held_minor, receipt.currency),
        "available": render(balance_minor - held_minor, receipt.currency),
        "status": receipt.status.value,
        "version": receipt.version,
        "updated_at": updated_at,
        "request_id": operation.request_id,
        "operation_id": operation.operation_id,
    }
    return StandingAnswer(**asdict(wallet) | left)


def transfer_answer(transfer: Transfer) -> TransferAnswer:
    return TransferAnswer(**_transfer_members(transfer))


def transfer_view(transfer: Transfer, row: Any) -> TransferView:  # noqa: ANN401  # of queries.transfer
    taken: list[tuple[str, datetime]] = [
        (TransferState.INITIATED, row.initiated_at),
        (TransferState.DEBITED, row.initiated_at),
    ]
    if transfer.state is TransferState.FAILED:
        taken.append((TransferState.COMPENSATED, row.finished_at))
    elif row.credited_at is not None:
        taken.append(("credited", row.credited_at))
    if transfer.is_final:
        taken.append((transfer.state, row.finished_at))
    return TransferView(
        **_transfer_members(transfer),
        reason=transfer.reason,
        reference=transfer.reference,
        steps=[StepAnswer(str(state), at) for state, at in taken],
    )


def _transfer_members(transfer: Transfer) -> dict[str, Any]:
    to_balance_minor, terms = transfer.to_balance_minor, transfer.exchange
    changed = {} if terms is None else _changed(terms)
    return {
        "transfer_id": transfer.id,
        "operation_id": transfer.id,
        "from_wallet_id": transfer.from_wallet_id,
        "to_wallet_id": transfer.to_wallet_id,
        "amount": render(transfer.amount_minor, transfer.currency),
        "currency": transfer.currency,
        "status": transfer.state.value,
        "request_id": transfer.request_id,
        "from_balance": render(transfer.from_balance_minor, transfer.currency),
        "to_balance": None
        if to_balance_minor is None
        else render(to_balance_minor, transfer.arrives[1]),
        "fee": _fee(transfer.fee_minor, transfer.currency),
        **changed,
    }


def _changed(terms: Exchange) -> dict[str, Any]:
    return {
        "to_amount": render(terms.to_minor, terms.to_currency),
        "to_currency": terms.to_currency,
        "rate": terms.rate,
        "quote_id": terms.quote_id,
    }


def conversion_answer(transfer: Transfer) -> ConversionAnswer:
    told = _transfer_members(transfer)
    renamed = {"from_amount": told.pop("amount"), "from_currency": told.pop("currency")}
    del told["transfer_id"], told["status"]
    return ConversionAnswer(**told, **renamed)


def quote_answer(quote: Quote) -> QuoteAnswer:
    terms = quote.terms
    return QuoteAnswer(
        quote_id=terms.quote_id,
        from_currency=terms.from_currency,
        to_currency=terms.to_currency,
        rate=terms.rate,
        from_amount=render(terms.from_minor, terms.from_currency),
        to_amount=render(terms.to_minor, terms.to_currency),
        residue=terms.residue,
        expires_at=quote.expires_at,
    )


def operation_answer(
    operation: Operation, transfer: Transfer | None, wallet: StandingAnswer | None
) -> OperationAnswer:
    """
    Render an outcome; `response` is the body that every repetition of the request gets.

    `transfer` is the operation's, `wallet` as it left it where that is what it tells.
    """
    status, response = _response(operation, transfer, wallet)
    return OperationAnswer(
        wallet_id=operation.wallet_id,
        request_id=operation.request_id,
        operation_id=operation.operation_id,
        type=operation.type,
        status=status,
        transfer_id=transfer.id if transfer else None,
        occurred_at=operation.occurred_at,
        response=msgspec.Raw(response),
    )


def _response(
    operation: Operation, transfer: Transfer | None, wallet: StandingAnswer | None
) -> tuple[str, bytes]:
    outcome = operation.outcome
    if isinstance(outcome, Rejected):
        problem = remembered(operation, outcome)
        return "rejected", problem.document("", "")
    if transfer is not None and transfer.state is TransferState.FAILED:
        return "failed", transfer_failed(transfer, operation).document("", "")
    if transfer is not None and not transfer.is_final:
        return "pending", b"null"
    if isinstance(outcome, HoldReceipt):
        return "posted", msgspec.json.encode(hold_step_answer(operation, outcome))
    if isinstance(outcome, ReversalReceipt):
        return "posted", msgspec.json.encode(reversal_answer(operation, outcome))
    if isinstance(outcome, StandingReceipt):
        assert wallet is not None, "it is read for such an operation"
        return "posted", msgspec.json.encode(wallet)
    if transfer is None:
        return "posted", msgspec.json.encode(money_answer(operation, outcome))
    if operation.type == "conversion":
        return "posted", msgspec.json.encode(conversion_answer(transfer))
    return "posted", msgspec.json.encode(transfer_answer(transfer))

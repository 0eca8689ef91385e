"""This module is where it is decided whether a transfer may change its money's currency."""

from wallet_common.commands import DebitTransfer
from wallet_common.fx import Exchange, Quote
from wallet_common.money import render
from wallet_common.payloads import Exchanged
from wallet_common.postings import wrong_currency
from wallet_common.wallet import Rejected, RejectionReason, Surroundings, Wallet


def misquoted(wallet: Wallet, command: DebitTransfer, quote: Quote | None) -> Rejected | None:
    """Refuse a quote that is not there for the wallet: of another owner's nothing is told."""
    if command.quote_id is None:
        return None
    if quote is None or quote.owner_id not in {None, wallet.owner_id}:
        return Rejected(RejectionReason.QUOTE_NOT_FOUND)
    return None if quote.terms.from_currency == wallet.currency else _mismatch(quote.terms)


def unfit(
    wallet: Wallet,
    recipient: Wallet,
    command: DebitTransfer,
    amount_minor: int,
    around: Surroundings,
) -> Rejected | None:
    """Refuse a recipient of another currency without a quote, or with one that is not for this."""
    quote = around.quote
    if quote is None:
        return wrong_currency(recipient, wallet.currency)
    terms = quote.terms
    if (terms.from_minor, terms.to_currency) != (amount_minor, recipient.currency):
        return _mismatch(terms)
    if command.is_conversion and wallet.owner_id != recipient.owner_id:
        return Rejected(RejectionReason.OTHER_OWNER)
    if quote.transfer_id is not None:
        return Rejected(RejectionReason.QUOTE_USED)
    assert around.now is not None, "what expires needs the time"
    if quote.expires_at <= around.now:
        return Rejected(RejectionReason.QUOTE_EXPIRED)
    return None


def _mismatch(terms: Exchange) -> Rejected:
    offered = f"{render(terms.from_minor, terms.from_currency)} {terms.from_currency}"
    detail = f"The quote is for {offered} into {terms.to_currency}."
    return Rejected(RejectionReason.QUOTE_MISMATCH, detail=detail)


def told(exchange: Exchange | None) -> Exchanged | None:
    """Return the terms as events tell them."""
    if exchange is None:
        return None
    return Exchanged(
        quote_id=exchange.quote_id,
        rate=exchange.rate,
        from_amount=render(exchange.from_minor, exchange.from_currency),
        from_currency=exchange.from_currency,
        to_amount=render(exchange.to_minor, exchange.to_currency),
        to_currency=exchange.to_currency,
        residue=exchange.residue,
    )

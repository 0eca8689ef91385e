"""This module is where it stands which parts of a request the audit and the log may keep."""

from collections.abc import Collection
from typing import Final

import msgspec

from wallet_api.batch_schemas import BatchBody, BatchCommand
from wallet_api.fee_schemas import FeesBody
from wallet_api.fx_schemas import ConvertBody, QuoteBody, RateBody
from wallet_api.hold_schemas import CaptureBody, HoldBody
from wallet_api.letter_schemas import DiscardBody, ReplayBody
from wallet_api.reversal_schemas import ReverseBody
from wallet_api.schemas import OpenWalletBody, TransferBody
from wallet_api.standing_schemas import FreezeBody, StandingBody
from wallet_api.wallet_limit_schemas import LimitsBody, VelocityBody
from wallet_common import redaction
from wallet_common.redaction import Part, Places, Shape

_METADATA: Final = "metadata"


def _members(*bodies: type[msgspec.Struct]) -> dict[str, Part]:
    names = (name for each in bodies for name in each.__struct_encode_fields__)
    return {name: Part.METADATA if name == _METADATA else Part.VALUE for name in names}


# Whatever the address: a body that was sent to the wrong one is kept no further.
SHAPE: Final[Shape] = {
    **_members(OpenWalletBody, TransferBody, BatchBody, DiscardBody, ReplayBody),
    **_members(HoldBody, CaptureBody, FreezeBody, StandingBody, ReverseBody, LimitsBody),
    **_members(RateBody, QuoteBody, ConvertBody, FeesBody),
    "commands": _members(BatchCommand),
    "velocity": _members(VelocityBody),
}
PLACES: Final = Places(
    words=frozenset(
        {
            *("v1", "wallets", "wallet", "transfers", "operations", "batches", "events", "admin"),
            *("deposit", "withdraw", "transfer", "history", "ledger", "stats", "stream"),
            *("holds", "capture", "release", "freeze", "unfreeze", "close", "reverse", "limits"),
            *("statement", "accounts", "fx", "rates", "quotes", "convert", "fees", "explain"),
            *("dead-letters", "replay", "discard", "audit", "owners", "erase", "verify"),
            *("me", "api", "user"),
            *("healthz", "readyz", "metrics", "docs", "openapi.json", "assets"),
        }
    ),
    named=frozenset(
        {
            *("wallets", "wallet", "transfers", "operations", "holds", "accounts"),
            *("dead-letters", "owners"),
        }
    ),
    pairs=frozenset({"rates", "fees"}),
    parameters=frozenset(
        {
            *("after", "at", "before", "currency", "cursor", "from", "limit", "ownerId", "status"),
            *("format", "dryRun"),
            *("to", "type", "walletId"),
        }
    ),
)


def kept_body(sent: bytes, private: Collection[str], *, is_understood: bool) -> bytes:
    """
    Return what is kept of a body; `private` are the keys of metadata that are personal data.

    One that was understood holds nothing but what our schemas name, so it is kept as it came.
    """
    if is_understood and not redaction.has_private(sent, private):
        return sent
    return redaction.body(sent, SHAPE, private)


def kept_address(path: str, query: bytes = b"", *, is_understood: bool = False) -> str:
    """Return what is kept of the address that a request was sent to; all of one of our own."""
    if is_understood and not query:
        return path
    return redaction.address(path, query.decode("latin-1"), PLACES)

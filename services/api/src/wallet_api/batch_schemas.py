"""This module is where the shapes of requests and answers about batches are declared."""

from typing import Annotated, Literal

import msgspec

from wallet_api.schemas import BatchResult, Key, MoneyBody, WalletId


class BatchCommand(MoneyBody, forbid_unknown_fields=True, rename="camel", kw_only=True):
    """One command of a batch; `toWalletId` is a transfer's."""

    type: Literal["deposit", "withdraw", "transfer"]
    wallet_id: WalletId
    to_wallet_id: WalletId | None = None


class BatchBody(
    msgspec.Struct, forbid_unknown_fields=True, omit_defaults=True, rename="camel", kw_only=True
):
    """Many commands; `atomic` is false: each has its own outcome."""

    commands: Annotated[list[BatchCommand], msgspec.Meta(min_length=1, max_length=1_000)]
    # Not false by default: what was said is told from what was not (see `strict`).
    atomic: bool | msgspec.UnsetType = msgspec.UNSET
    request_id: Key | None = None


class BatchAnswer(msgspec.Struct, rename="camel", kw_only=True):
    batch_id: str
    atomic: bool
    results: list[BatchResult]

"""This module is where an answer of the description says which requests its values lead to."""

from dataclasses import dataclass
from typing import Final

from litestar.openapi.spec import Link, OpenAPIMediaType, OpenAPIResponse, Operation, Schema
from litestar.openapi.spec.enums import OpenAPIType

_READ_WALLET: Final = "V1WalletsWalletIdReadWallet"
_WALLET: Final = "$response.body#/walletId"
_OPERATION: Final = Link(
    operation_id="V1WalletsWalletIdOperationsRequestIdReadOperation",
    parameters={"wallet_id": "$request.path.wallet_id", "request_id": "$response.body#/requestId"},
)


@dataclass
class OpensWallet(Operation):
    """Leads to the wallet, and to the first money that it gets."""

    def __post_init__(self) -> None:
        _link(
            self,
            readWallet=Link(operation_id=_READ_WALLET, parameters={"wallet_id": _WALLET}),
            deposit=Link(
                operation_id="V1WalletsWalletIdDepositDeposit", parameters={"wallet_id": _WALLET}
            ),
        )


@dataclass
class MovesMoney(Operation):
    """Leads to the wallet as it is now, and to the recorded outcome."""

    def __post_init__(self) -> None:
        wallet = Link(operation_id=_READ_WALLET, parameters={"wallet_id": _WALLET})
        _link(self, readWallet=wallet, readOperation=_OPERATION)


@dataclass
class Transfers(Operation):
    """Leads to the transfer with its steps, and to the recorded outcome."""

    def __post_init__(self) -> None:
        transfer = Link(
            operation_id="V1TransfersTransferIdReadTransfer",
            parameters={"transfer_id": "$response.body#/transferId"},
        )
        _link(self, readTransfer=transfer, readOperation=_OPERATION)


@dataclass
class OfHold(Operation):
    """Leads to the hold as it is now."""

    def __post_init__(self) -> None:
        hold = Link(
            operation_id="V1HoldsHoldIdReadHold",
            parameters={"hold_id": "$response.body#/holdId"},
        )
        _link(self, readHold=hold)


@dataclass
class AlsoOnPaper(Operation):
    """Tells the other formats of a statement."""

    def __post_init__(self) -> None:
        assert self.responses is not None
        told = self.responses["200"]
        assert isinstance(told, OpenAPIResponse)
        assert told.content is not None
        for media_type in ("text/csv", "application/pdf"):
            told.content[media_type] = OpenAPIMediaType(schema=Schema(type=OpenAPIType.STRING))


def _link(operation: Operation, **links: Link) -> None:
    assert operation.responses is not None
    done = operation.responses["201"]
    assert isinstance(done, OpenAPIResponse)
    done.links = dict(links)

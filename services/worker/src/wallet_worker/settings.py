"""This module is where the worker's settings are; a bad one keeps the process from starting."""

import re
from typing import Annotated, Final, Literal, Self

from pydantic import BeforeValidator, Field, model_validator

from wallet_common.errors import InvalidAmount
from wallet_common.money import Amount
from wallet_common.topology import Topology
from wallet_runtime.checkpoints import CheckpointSettings
from wallet_runtime.fraud import FraudSettings, amount
from wallet_runtime.settings import BrokerUrl, Currency, DatabaseUrl
from wallet_worker.settlement import Terms

_ZERO: Final = re.compile(r"\A0(\.0+)?\Z")


def _amount_or_none(text: str | Amount | None) -> Amount | None:
    is_nothing = text is None or (isinstance(text, str) and _ZERO.match(text) is not None)
    return None if text is None or is_nothing else amount(text)


class WorkerSettings(FraudSettings, CheckpointSettings):
    database_url: DatabaseUrl = Field(validation_alias="WALLET_DATABASE_URL")
    # Where the books are proved, if there is one.
    read_database_url: DatabaseUrl | None = Field(None, validation_alias="WALLET_READ_DATABASE_URL")
    verify_seconds: float = Field(
        900, ge=0, allow_inf_nan=False, validation_alias="WALLET_VERIFY_SECONDS"
    )
    rabbitmq_url: BrokerUrl | None = Field(None, validation_alias="RABBITMQ_URL")
    exchange: str = Field("wallet.events", validation_alias="RABBITMQ_EXCHANGE")
    dead_letter_exchange: str = Field("wallet.events.dlx", validation_alias="RABBITMQ_DLX")
    auth_exchange: str = Field("auth.events", validation_alias="AUTH_EXCHANGE")
    transaction_exchange: str = Field("transaction.events", validation_alias="TRANSACTION_EXCHANGE")
    user_queue: str = Field("wallet.user.q", validation_alias="WALLET_USER_QUEUE")
    update_queue: str = Field("wallet.update.q", validation_alias="WALLET_UPDATE_QUEUE")
    revert_queue: str = Field("wallet.revert.q", validation_alias="WALLET_REVERT_QUEUE")
    default_currency: Currency = Field("USD", validation_alias="WALLET_DEFAULT_CURRENCY")
    opening_balance: Annotated[Amount | None, BeforeValidator(_amount_or_none)] = Field(
        None, validation_alias="WALLET_OPENING_BALANCE"
    )
    auto_create: bool = Field(default=True, validation_alias="WALLET_AUTO_CREATE")
    heartbeat_file: str = Field("", validation_alias="WALLET_HEARTBEAT_FILE")
    log_level: Literal["DEBUG", "INFO", "WARNING", "ERROR"] = Field(
        "INFO", validation_alias="LOG_LEVEL"
    )
    log_dir: str = Field("", validation_alias="LOG_DIR")

    @property
    def topology(self) -> Topology:
        return Topology(
            self.exchange,
            self.dead_letter_exchange,
            auth_exchange=self.auth_exchange,
            transaction_exchange=self.transaction_exchange,
            user_queue=self.user_queue,
            update_queue=self.update_queue,
            revert_queue=self.revert_queue,
        )

    @property
    def terms(self) -> Terms:
        return Terms(self.default_currency, self.opening_balance, self.auto_create)

    @model_validator(mode="after")
    def _opening_balance_fits(self) -> Self:
        try:
            if self.opening_balance is not None:
                self.opening_balance.to_minor(self.default_currency)
        except InvalidAmount as wrong:
            raise ValueError(f"WALLET_OPENING_BALANCE: {wrong}") from wrong
        return self

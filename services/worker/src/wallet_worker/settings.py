"""This module is where the worker's settings are; a bad one keeps the process from starting."""

from typing import Annotated, Literal

from pydantic import BeforeValidator, Field

from wallet_common.errors import InvalidAmount
from wallet_common.fraud import FraudRules
from wallet_common.money import Amount, parse_amount
from wallet_common.topology import Topology
from wallet_runtime.settings import BrokerUrl, DatabaseUrl, ServiceSettings


def _amount(text: str | Amount) -> Amount:
    try:
        return text if isinstance(text, Amount) else parse_amount(text)
    except InvalidAmount as wrong:
        raise ValueError(str(wrong)) from wrong


class WorkerSettings(ServiceSettings, arbitrary_types_allowed=True):
    database_url: DatabaseUrl = Field(validation_alias="WALLET_DATABASE_URL")
    rabbitmq_url: BrokerUrl | None = Field(None, validation_alias="RABBITMQ_URL")
    exchange: str = Field("wallet.events", validation_alias="RABBITMQ_EXCHANGE")
    dead_letter_exchange: str = Field("wallet.events.dlx", validation_alias="RABBITMQ_DLX")
    rapid_count: int = Field(3, ge=2, le=100, validation_alias="FRAUD_RAPID_WITHDRAWALS_COUNT")
    rapid_window_seconds: int = Field(
        60, ge=1, le=86_400, validation_alias="FRAUD_RAPID_WITHDRAWALS_WINDOW_SECONDS"
    )
    large_threshold: Annotated[Amount, BeforeValidator(_amount)] = Field(
        Amount(10_000, 0), validation_alias="FRAUD_LARGE_TRANSACTION_THRESHOLD"
    )
    heartbeat_file: str = Field("", validation_alias="WALLET_HEARTBEAT_FILE")
    log_level: Literal["DEBUG", "INFO", "WARNING", "ERROR"] = Field(
        "INFO", validation_alias="LOG_LEVEL"
    )
    log_dir: str = Field("", validation_alias="LOG_DIR")

    @property
    def topology(self) -> Topology:
        return Topology(self.exchange, self.dead_letter_exchange)

    @property
    def fraud_rules(self) -> FraudRules:
        return FraudRules(self.rapid_count, self.rapid_window_seconds, self.large_threshold)

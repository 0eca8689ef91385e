"""This module is where the API's settings are; a bad one keeps the process from starting."""

from typing import Literal

from pydantic import Field

from wallet_api.access_settings import AccessSettings
from wallet_common.topology import Topology
from wallet_db_orm.database import LANES
from wallet_runtime.pii import PiiSettings
from wallet_runtime.settings import BrokerUrl, Currency, DatabaseUrl


class ApiSettings(AccessSettings, PiiSettings):
    database_url: DatabaseUrl = Field(validation_alias="WALLET_DATABASE_URL")
    read_database_url: DatabaseUrl | None = Field(None, validation_alias="WALLET_READ_DATABASE_URL")
    rabbitmq_url: BrokerUrl | None = Field(None, validation_alias="RABBITMQ_URL")
    # Where an administrator's letters are; whoever moves money never waits for the broker.
    exchange: str = Field("wallet.events", validation_alias="RABBITMQ_EXCHANGE")
    lane_count: int = Field(LANES, ge=1, le=16, validation_alias="WALLET_LANES")
    port: int = Field(3000, ge=0, le=65535, validation_alias="WALLET_PORT")
    listen_fd: int | None = Field(None, ge=3, validation_alias="WALLET_LISTEN_FD")
    default_currency: Currency = Field("USD", validation_alias="WALLET_DEFAULT_CURRENCY")
    auto_create: bool = Field(default=True, validation_alias="WALLET_AUTO_CREATE")
    # How long the terms of a quote are good.
    fx_quote_ttl_seconds: int = Field(
        60, ge=1, le=86_400, validation_alias="WALLET_FX_QUOTE_TTL_SECONDS"
    )
    enable_swagger: bool = Field(default=True, validation_alias="ENABLE_SWAGGER")
    # Who may read the figures.
    metrics: Literal["loopback", "admin", "open"] = Field(
        "loopback", validation_alias="WALLET_METRICS"
    )
    log_level: Literal["DEBUG", "INFO", "WARNING", "ERROR"] = Field(
        "INFO", validation_alias="LOG_LEVEL"
    )
    log_dir: str = Field("", validation_alias="LOG_DIR")

    @property
    def topology(self) -> Topology:
        return Topology(self.exchange)

    @property
    def opens_in(self) -> str | None:
        """The currency of the wallet that a deposit to an unknown one opens; None opens none."""
        return self.default_currency if self.auto_create else None

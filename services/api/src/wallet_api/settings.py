"""This module is where the API's settings are; a bad one keeps the process from starting."""

import ipaddress
from typing import Annotated, Literal, Self

from pydantic import AfterValidator, Field, SecretStr, model_validator

from wallet_common.money import is_currency
from wallet_runtime.settings import BrokerUrl, DatabaseUrl, ServiceSettings

_JWT_SECRET_BYTES_MIN = 32


def _currency(code: str) -> str:
    if not is_currency(code):
        message = "is no ISO 4217 currency with a minor unit"
        raise ValueError(message)
    return code


class ApiSettings(ServiceSettings):
    database_url: DatabaseUrl = Field(validation_alias="WALLET_DATABASE_URL")
    read_database_url: DatabaseUrl | None = Field(None, validation_alias="WALLET_READ_DATABASE_URL")
    rabbitmq_url: BrokerUrl | None = Field(None, validation_alias="RABBITMQ_URL")
    host: str = Field("127.0.0.1", validation_alias="WALLET_HOST")
    port: int = Field(3000, ge=0, le=65535, validation_alias="WALLET_PORT")
    listen_fd: int | None = Field(None, ge=3, validation_alias="WALLET_LISTEN_FD")
    auth: Literal["jwt", "off"] = Field("jwt", validation_alias="WALLET_AUTH")
    jwt_secret: SecretStr | None = Field(None, validation_alias="WALLET_JWT_SECRET")
    jwt_issuer: str = Field("wallet", validation_alias="WALLET_JWT_ISSUER")
    jwt_audience: str = Field("wallet", validation_alias="WALLET_JWT_AUDIENCE")
    jwt_leeway_seconds: int = Field(30, ge=0, le=60, validation_alias="WALLET_JWT_LEEWAY_SECONDS")
    default_currency: Annotated[str, AfterValidator(_currency)] = Field(
        "USD", validation_alias="WALLET_DEFAULT_CURRENCY"
    )
    auto_create: bool = Field(default=True, validation_alias="WALLET_AUTO_CREATE")
    enable_swagger: bool = Field(default=True, validation_alias="ENABLE_SWAGGER")
    log_level: Literal["DEBUG", "INFO", "WARNING", "ERROR"] = Field(
        "INFO", validation_alias="LOG_LEVEL"
    )
    log_dir: str = Field("", validation_alias="LOG_DIR")

    @property
    def opens_in(self) -> str | None:
        """The currency of the wallet that a deposit to an unknown one opens; None opens none."""
        return self.default_currency if self.auto_create else None

    @model_validator(mode="after")
    def _is_guarded(self) -> Self:
        if self.auth == "off" and not _is_loopback(self.host):
            message = "WALLET_AUTH: off listens on loopback only, WALLET_HOST is another address"
            raise ValueError(message)
        secret = self.jwt_secret.get_secret_value() if self.jwt_secret else ""
        if self.auth == "jwt" and len(secret.encode()) < _JWT_SECRET_BYTES_MIN:
            message = f"WALLET_JWT_SECRET: has to be {_JWT_SECRET_BYTES_MIN} bytes or more"
            raise ValueError(message)
        return self


def _is_loopback(host: str) -> bool:
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False

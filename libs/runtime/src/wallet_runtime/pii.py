"""This module is where it is set what personal data is, and with which master keys it is kept."""

from collections.abc import Mapping
from typing import Annotated, Self

from pydantic import AfterValidator, BeforeValidator, Field, SecretStr, model_validator
from pydantic_settings import NoDecode

from wallet_common import pii
from wallet_runtime.settings import ServiceSettings


def _keys(given: str | frozenset[str]) -> frozenset[str]:
    return pii.declared_keys(given) if isinstance(given, str) else given


def _masters(secret: SecretStr) -> SecretStr:
    pii.master_keys(secret.get_secret_value())
    return secret


class PiiSettings(ServiceSettings):
    pii_keys: Annotated[frozenset[str], NoDecode, BeforeValidator(_keys)] = Field(
        frozenset(), validation_alias="WALLET_PII_METADATA_KEYS"
    )
    master_key: Annotated[SecretStr, AfterValidator(_masters)] | None = Field(
        None, validation_alias="WALLET_MASTER_KEY"
    )

    @property
    def master_keys(self) -> Mapping[str, bytes]:
        """The master keys by their ids, the current one first; empty if none is set."""
        return pii.master_keys(self.master_key.get_secret_value()) if self.master_key else {}

    @model_validator(mode="after")
    def _can_seal(self) -> Self:
        if self.pii_keys and self.master_key is None:
            message = (
                "WALLET_MASTER_KEY: is needed to encrypt what WALLET_PII_METADATA_KEYS declares"
                " (make one: openssl rand -hex 32)"
            )
            raise ValueError(message)
        return self

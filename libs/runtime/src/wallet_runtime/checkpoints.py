"""This module is where the settings of checkpoints are, for whoever makes or checks them."""

from pathlib import Path
from typing import Annotated

from pydantic import AfterValidator, Field, SecretStr

from wallet_runtime.settings import ServiceSettings
from wallet_runtime.signing import Key, key_of


def _key(secret: SecretStr) -> SecretStr:
    if secret.get_secret_value():
        key_of(secret.get_secret_value())
    return secret


def _address(text: str) -> str:
    if text and not text.startswith(("http://", "https://")):
        message = "an http:// or https:// address"
        raise ValueError(message)
    return text


class CheckpointSettings(ServiceSettings):
    checkpoint_key: Annotated[SecretStr, AfterValidator(_key)] = Field(
        SecretStr(""), validation_alias="WALLET_CHECKPOINT_KEY"
    )
    checkpoint_file: str = Field("", validation_alias="WALLET_CHECKPOINT_FILE")
    checkpoint_webhook: Annotated[str, AfterValidator(_address)] = Field(
        "", validation_alias="WALLET_CHECKPOINT_WEBHOOK"
    )
    checkpoint_seconds: float = Field(
        600, gt=0, allow_inf_nan=False, validation_alias="WALLET_CHECKPOINT_SECONDS"
    )

    @property
    def signing_key(self) -> Key | None:
        text = self.checkpoint_key.get_secret_value()
        return key_of(text) if text else None

    @property
    def outside(self) -> Path | None:
        """The file that tells of the checkpoints, outside the database."""
        return Path(self.checkpoint_file) if self.checkpoint_file else None

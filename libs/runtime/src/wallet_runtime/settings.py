"""This module is where the environment becomes settings, and secrets may come from files."""

import os
from pathlib import Path
from typing import Annotated, Any, ClassVar, Self
from urllib.parse import urlsplit

from pydantic import AfterValidator, SecretStr, ValidationError
from pydantic.fields import FieldInfo
from pydantic_settings import BaseSettings, PydanticBaseSettingsSource, SettingsConfigDict

from wallet_common.currencies import is_currency


def _url(*schemes: str) -> AfterValidator:
    """Return the check that a secret is a URL of one of `schemes`; shows none of it."""

    def check(secret: SecretStr) -> SecretStr:
        try:
            url = urlsplit(secret.get_secret_value())
            is_good = url.scheme in schemes and bool(url.hostname) and url.port != 0
            # Another @ belongs percent-encoded; others read such an address otherwise.
            is_good = is_good and url.netloc.count("@") <= 1
        except ValueError:
            is_good = False
        if not is_good:
            raise ValueError(f"has to be a URL such as {schemes[0]}://user:password@host:port/name")
        return secret

    return AfterValidator(check)


def _currency(code: str) -> str:
    if not is_currency(code):
        message = "is no ISO 4217 currency with a minor unit, and no asset such as BTC.8"
        raise ValueError(message)
    return code


Currency = Annotated[str, AfterValidator(_currency)]
DatabaseUrl = Annotated[SecretStr, _url("postgresql+asyncpg", "postgresql", "postgres")]
BrokerUrl = Annotated[SecretStr, _url("amqp", "amqps")]


class SettingsRefused(SystemExit):
    """The process cannot start; the message names each setting and shows no value."""


class ServiceSettings(BaseSettings):
    """
    The base of a service's settings: one field per environment variable, its alias.

    A value may also come from the file that `<NAME>_FILE` names; the variable itself goes first.
    An empty variable counts as absent.
    """

    model_config: ClassVar[SettingsConfigDict] = SettingsConfigDict(
        frozen=True, extra="forbid", hide_input_in_errors=True, env_ignore_empty=True
    )

    @classmethod
    def settings_customise_sources(
        cls,
        settings_cls: type[BaseSettings],
        init_settings: PydanticBaseSettingsSource,
        env_settings: PydanticBaseSettingsSource,
        dotenv_settings: PydanticBaseSettingsSource,
        file_secret_settings: PydanticBaseSettingsSource,
    ) -> tuple[PydanticBaseSettingsSource, ...]:
        # Neither .env files nor a folder of secrets: one way for each thing.
        del dotenv_settings, file_secret_settings
        return init_settings, env_settings, _SecretFiles(settings_cls)

    @classmethod
    def load(cls) -> Self:
        """Read the environment; raises SettingsRefused, which ends the process with a message."""
        try:
            return cls()
        except ValidationError as invalid:
            # A validator across fields names its setting itself; it has no location.
            complaints = [
                f"  {'.'.join(str(part) for part in error['loc'])}: {error['msg']}".replace(
                    "  : Value error, ", "  "
                )
                for error in invalid.errors(include_input=False, include_url=False)
            ]
            raise SettingsRefused("Bad settings:\n" + "\n".join(complaints)) from None


def secret(name: str) -> str | None:
    """Return the variable's value, else that of the file that `<NAME>_FILE` names; else None."""
    return os.environ.get(name) or _from_file(name)


def _from_file(name: str) -> str | None:
    path = os.environ.get(f"{name}_FILE")
    if not path:
        return None
    try:
        # Like an empty variable, an empty file counts as absent.
        return Path(path).read_text(encoding="utf-8").strip() or None
    except (OSError, UnicodeDecodeError) as unreadable:
        reason = getattr(unreadable, "strerror", "it is not UTF-8 text")
        message = f"Bad settings:\n  {name}_FILE: cannot be read ({reason})"
        raise SettingsRefused(message) from None


class _SecretFiles(PydanticBaseSettingsSource):
    """Reads NAME from the file that NAME_FILE names."""

    def get_field_value(self, field: FieldInfo, field_name: str) -> tuple[Any, str, bool]:
        name = str(field.validation_alias or field_name)
        return _from_file(name), name, False

    def __call__(self) -> dict[str, Any]:
        found = (
            self.get_field_value(field, name)
            for name, field in self.settings_cls.model_fields.items()
        )
        return {name: value for value, name, _ in found if value is not None}

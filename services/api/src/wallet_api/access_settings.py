"""This module is where the settings are of who is let in: tokens, keys, limits, proxies."""

import ipaddress
from pathlib import Path
from typing import Annotated, Final, Literal, Self
from urllib.parse import urlsplit

from pydantic import AfterValidator, Field, SecretStr, model_validator

from wallet_api import keys
from wallet_api.addresses import networks
from wallet_runtime.fraud import FraudSettings

_JWT_SECRET_BYTES_MIN: Final = 32
# What stands in examples, here and elsewhere, for a secret that was never chosen; compared without
# marks and spaces.
_PLACEHOLDERS: Final = (
    *("changeme", "changethis", "placeholder", "yoursecret", "your256bitsecret", "yourjwtsecret"),
    *("yoursuper", "supersecret", "defaultsecret", "insertsecret", "replaceme", "donotuse"),
    *("password",),
)
_MARKS: Final = str.maketrans("", "", "-_ ")
# A random secret in hexadecimal has nearly all of its sixteen digits.
_DISTINCT_BYTES_MIN: Final = 10
_RATE_MAX: Final = 1_000_000


def _chosen(secret: SecretStr) -> SecretStr:
    """Refuse a secret that can be guessed; shows none of it."""
    text = secret.get_secret_value()
    if len(text.encode()) < _JWT_SECRET_BYTES_MIN:
        raise ValueError(f"has to be {_JWT_SECRET_BYTES_MIN} bytes or more")
    if text != text.strip():
        raise ValueError("must not begin or end with a space")
    plain = text.lower().translate(_MARKS)
    # What repeats a unit is itself again, moved by one unit.
    units = range(1, len(text) // 2 + 1)
    is_repeated = any(text.startswith(text[unit:]) for unit in units)
    if (
        is_repeated
        or len(set(text.encode())) < _DISTINCT_BYTES_MIN
        or any(each in plain for each in _PLACEHOLDERS)
    ):
        raise ValueError("can be guessed; make one of your own: openssl rand -hex 32")
    return secret


def _proxies(text: str) -> str:
    try:
        networks(text)
    except ValueError:
        raise ValueError("has to be networks such as 10.0.0.0/8, separated by commas") from None
    return text


def _keys_url(url: str) -> str:
    try:
        parts = urlsplit(url)
        is_safe = parts.scheme == "https" or (
            parts.scheme == "http" and is_loopback(parts.hostname or "")
        )
        is_good = is_safe and bool(parts.hostname) and "@" not in parts.netloc and parts.port != 0
    except ValueError:
        is_good = False
    if not is_good:
        raise ValueError("has to be an https URL; http is for this machine only")
    return url


def _keys_file(path: str) -> str:
    try:
        keys.parse(keys.read_file(Path(path)))
    except (OSError, ValueError) as wrong:
        raise ValueError(f"no keys can be read from it: {wrong}") from None
    return path


JwtSecret = Annotated[SecretStr, AfterValidator(_chosen)]
Rate = Annotated[float, Field(ge=0, le=_RATE_MAX, allow_inf_nan=False)]
Burst = Annotated[float, Field(ge=1, le=_RATE_MAX, allow_inf_nan=False)]


class AccessSettings(FraudSettings):
    host: str = Field("127.0.0.1", validation_alias="WALLET_HOST")
    auth: Literal["jwt", "off"] = Field("jwt", validation_alias="WALLET_AUTH")
    jwt_secret: JwtSecret | None = Field(None, validation_alias="WALLET_JWT_SECRET")
    jwks_url: Annotated[str, AfterValidator(_keys_url)] | None = Field(
        None, validation_alias="WALLET_JWKS_URL"
    )
    jwks_file: Annotated[str, AfterValidator(_keys_file)] | None = Field(
        None, validation_alias="WALLET_JWKS_FILE"
    )
    jwt_issuer: str = Field("wallet", validation_alias="WALLET_JWT_ISSUER")
    jwt_audience: str = Field("wallet", validation_alias="WALLET_JWT_AUDIENCE")
    jwt_leeway_seconds: int = Field(30, ge=0, le=60, validation_alias="WALLET_JWT_LEEWAY_SECONDS")
    # Zero: no limit. A burst that is not set is what the rate gives in a second.
    rate_limit_per_second: Rate = Field(0, validation_alias="WALLET_RATE_LIMIT_PER_SECOND")
    rate_limit_burst: Burst | None = Field(None, validation_alias="WALLET_RATE_LIMIT_BURST")
    client_rate_limit_per_second: Rate = Field(
        0, validation_alias="WALLET_CLIENT_RATE_LIMIT_PER_SECOND"
    )
    client_rate_limit_burst: Burst | None = Field(
        None, validation_alias="WALLET_CLIENT_RATE_LIMIT_BURST"
    )
    concurrency_max: int = Field(4_096, ge=1, validation_alias="WALLET_CONCURRENCY_MAX")
    trusted_proxies: Annotated[str, AfterValidator(_proxies)] = Field(
        "", validation_alias="TRUSTED_PROXIES"
    )

    @model_validator(mode="after")
    def _is_guarded(self) -> Self:
        if self.auth == "off" and not is_loopback(self.host):
            message = "WALLET_AUTH: off listens on loopback only, WALLET_HOST is another address"
            raise ValueError(message)
        sources = (self.jwt_secret, self.jwks_url, self.jwks_file)
        if self.auth == "jwt" and sum(each is not None for each in sources) != 1:
            message = (
                "WALLET_JWT_SECRET: jwt needs the keys that prove tokens from one place, this"
                f" secret ({_JWT_SECRET_BYTES_MIN} bytes or more: openssl rand -hex 32),"
                " or WALLET_JWKS_URL, or WALLET_JWKS_FILE"
            )
            raise ValueError(message)
        return self


def is_loopback(host: str) -> bool:
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False

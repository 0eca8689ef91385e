"""This module is where `python -m wallet_api.token` mints a bearer token for trying things out."""

import argparse
import sys
import time
from collections.abc import Sequence
from typing import Final

import jwt
from pydantic import Field

from wallet_api.access import Role
from wallet_api.access_settings import JwtSecret
from wallet_runtime.settings import ServiceSettings

_TTL_SECONDS: Final = 3_600
_TTL_SECONDS_MAX: Final = 366 * 86_400
_SUBJECT_MAX: Final = 256


class TokenSettings(ServiceSettings):
    secret: JwtSecret = Field(validation_alias="WALLET_JWT_SECRET")
    issuer: str = Field("wallet", validation_alias="WALLET_JWT_ISSUER")
    audience: str = Field("wallet", validation_alias="WALLET_JWT_AUDIENCE")


def mint(subject: str, roles: Sequence[str], ttl_seconds: int) -> str:
    """Return a token that an API with the same environment accepts."""
    settings = TokenSettings.load()
    secret = settings.secret.get_secret_value()
    return sign(secret, settings.issuer, settings.audience, subject, roles, ttl_seconds)


def sign(
    secret: str, issuer: str, audience: str, subject: str, roles: Sequence[str], ttl_seconds: int
) -> str:
    """Return a token signed with the secret, good from now on for so long."""
    now = int(time.time())
    named = {"iss": issuer, "aud": audience, "sub": subject, "roles": list(roles)}
    claims = {**named, "iat": now, "exp": now + ttl_seconds}
    return jwt.encode(claims, secret, algorithm="HS256")


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare what a token is made from; both doors, this module and `wallet token`, ask alike."""
    parser.add_argument(
        "--sub", required=True, type=_subject, help="who the token is for: the ownerId of a user"
    )
    parser.add_argument(
        "--role",
        action="append",
        required=True,
        choices=[role.value for role in Role],
        help="what it allows; may be given more than once",
    )
    parser.add_argument(
        "--ttl", type=_ttl, default=_TTL_SECONDS, metavar="SECONDS", help="default 3600"
    )


def _subject(text: str) -> str:
    if not (text.isprintable() and 0 < len(text) <= _SUBJECT_MAX):
        raise argparse.ArgumentTypeError(f"1 to {_SUBJECT_MAX} printable characters")
    return text


def _ttl(text: str) -> int:
    if not text.isdecimal() or not 1 <= int(text) <= _TTL_SECONDS_MAX:
        raise argparse.ArgumentTypeError(f"a number of seconds from 1 to {_TTL_SECONDS_MAX}")
    return int(text)


def main() -> None:
    """Print the bare token on one line."""
    parser = argparse.ArgumentParser(prog="wallet_api.token", description=__doc__)
    add_arguments(parser)
    given = parser.parse_args()
    sys.stdout.write(mint(given.sub, given.role, given.ttl) + "\n")


if __name__ == "__main__":
    main()

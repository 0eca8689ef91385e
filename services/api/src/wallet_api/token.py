"""This module is where `python -m wallet_api.token` mints a bearer token for trying things out."""

import argparse
import sys
import time
from collections.abc import Sequence

import jwt
from pydantic import Field, SecretStr

from wallet_runtime.settings import ServiceSettings

_TTL_SECONDS = 3_600


class TokenSettings(ServiceSettings):
    secret: SecretStr = Field(validation_alias="WALLET_JWT_SECRET")
    issuer: str = Field("wallet", validation_alias="WALLET_JWT_ISSUER")
    audience: str = Field("wallet", validation_alias="WALLET_JWT_AUDIENCE")


def mint(subject: str, roles: Sequence[str], ttl_seconds: int) -> str:
    """Return a token that an API with the same environment accepts."""
    settings = TokenSettings.load()
    now = int(time.time())
    claims = {
        "iss": settings.issuer,
        "aud": settings.audience,
        "sub": subject,
        "roles": list(roles),
        "iat": now,
        "exp": now + ttl_seconds,
    }
    return jwt.encode(claims, settings.secret.get_secret_value(), algorithm="HS256")


def main() -> None:
    """Print the bare token on one line."""
    parser = argparse.ArgumentParser(prog="wallet_api.token", description=__doc__)
    parser.add_argument("--sub", required=True, help="who the token is for")
    parser.add_argument("--role", action="append", required=True, help="payments, auditor or admin")
    parser.add_argument("--ttl", type=int, default=_TTL_SECONDS, help="seconds (default 3600)")
    given = parser.parse_args()
    sys.stdout.write(mint(given.sub, given.role, given.ttl) + "\n")


if __name__ == "__main__":
    main()

"""This module is where `python -m wallet_api.token` mints a bearer token for trying things out."""

import argparse
import time
from collections.abc import Sequence

import jwt

from wallet_api.settings import ApiSettings

_TTL_SECONDS = 3_600


def mint(settings: ApiSettings, *, subject: str, roles: Sequence[str], ttl_seconds: int) -> str:
    """Return a token that this API accepts; raises ValueError without a secret to sign it."""
    if settings.jwt_secret is None:
        message = "WALLET_JWT_SECRET is not set"
        raise ValueError(message)
    now = int(time.time())
    claims = {
        "iss": settings.jwt_issuer,
        "aud": settings.jwt_audience,
        "sub": subject,
        "roles": list(roles),
        "iat": now,
        "exp": now + ttl_seconds,
    }
    return jwt.encode(claims, settings.jwt_secret.get_secret_value(), algorithm="HS256")


def main() -> None:
    """Print the bare token on one line."""
    parser = argparse.ArgumentParser(prog="wallet_api.token", description=__doc__)
    parser.add_argument("--sub", required=True, help="who the token is for")
    parser.add_argument("--role", action="append", required=True, help="payments, auditor or admin")
    parser.add_argument("--ttl", type=int, default=_TTL_SECONDS, help="seconds (default 3600)")
    given = parser.parse_args()
    token = mint(ApiSettings.load(), subject=given.sub, roles=given.role, ttl_seconds=given.ttl)
    print(token)  # noqa: T201  # printing is what the command does


if __name__ == "__main__":
    main()

"""This module is where a bearer token is proved: whose it is, its roles, and until when."""

from collections import OrderedDict
from hashlib import sha256
from math import isfinite
from time import time
from typing import Any, Final

import jwt
import msgspec

from wallet_api.access import Role, roles_of
from wallet_api.keys import Keys

ALGORITHMS: Final = frozenset({"HS256", "RS256", "ES256", "EdDSA"})
_REQUIRED_CLAIMS: Final = ("iss", "aud", "exp", "sub")
_TIMES: Final = ("exp", "nbf", "iat")
# The end of the year 9999; what lies behind it is no time but a mistake.
_TIME_MAX: Final = 253_402_300_799
# A subject is stored and shown.
_SUBJECT_MAX: Final = 256
_BYTES_MAX: Final = 8_192
_PROVED_MAX: Final = 4_096
# How issuers mark what is no access token: a refresh or an identity token, meant for others.
_TYPES: Final = frozenset({"jwt", "at+jwt", "application/at+jwt"})
_USES: Final = frozenset({"access", "access_token", "bearer", "jwt", "at+jwt"})
_MARKS: Final = ("typ", "token_use", "token_type")
_OF_IDENTITY: Final = frozenset({"at_hash", "c_hash", "nonce"})


class Proven(msgspec.Struct, frozen=True):
    """What a token says that is true; times in seconds since 1970."""

    subject: str
    roles: frozenset[Role]
    expires_at: float


class NotProven(Exception):
    """The token proves nothing; why is not told to whoever sent it."""


class Verifier:
    """
    Proves tokens, and remembers for a while which it has proved, by their digest.

    A signature costs more than all the rest of a request's way; what was proved stays true until
    the token expires or the keys change.
    """

    def __init__(self, keys: Keys, *, issuer: str, audience: str, leeway_s: int) -> None:
        self._keys = keys
        self._issuer = issuer
        self._audience = audience
        self._leeway_s = leeway_s
        self._proved: OrderedDict[bytes, Proven] = OrderedDict()
        self._generation = keys.generation

    async def prove(self, token: bytes) -> Proven:
        """Return what the token proves; raises NotProven, or KeysUnknown if nobody can tell."""
        self._keys.look_after()
        if self._generation != self._keys.generation:
            self._generation = self._keys.generation
            self._proved.clear()
        digest = sha256(token).digest()
        proven = self._proved.get(digest)
        if proven is None:
            proven = await self._verify(token)
            self._proved[digest] = proven
            if len(self._proved) > _PROVED_MAX:
                self._proved.popitem(last=False)
        if proven.expires_at + self._leeway_s <= time():
            self._proved.pop(digest, None)
            raise NotProven
        return proven

    async def close(self) -> None:
        await self._keys.close()

    async def _verify(self, token: bytes) -> Proven:
        if len(token) > _BYTES_MAX:
            raise NotProven
        try:
            text = token.decode("ascii")
            head = jwt.get_unverified_header(text)
            key_id, algorithm = head.get("kid"), head.get("alg")
            if not _is_access(head) or not isinstance(algorithm, str):
                raise NotProven
            if algorithm not in ALGORITHMS:
                raise NotProven
            key = await self._keys.find(key_id, algorithm)
            if key is None:
                raise NotProven
            claims: dict[str, Any] = jwt.decode(
                text,
                key,
                algorithms=[algorithm],
                issuer=self._issuer,
                audience=self._audience,
                leeway=self._leeway_s,
                options={"require": list(_REQUIRED_CLAIMS)},
            )
        except (jwt.PyJWTError, ValueError, RecursionError):
            raise NotProven from None
        return _read(claims)


def _is_access(head: dict[str, Any]) -> bool:
    """Say whether the header can be an access token's: none of what asks for more than we know."""
    kind = head.get("typ", "JWT")
    is_named = isinstance(kind, str) and kind.lower() in _TYPES
    return is_named and "crit" not in head and isinstance(head.get("kid"), str | None)


def _read(claims: dict[str, Any]) -> Proven:
    """Take over what the library has proved; it is lax about the types of times."""
    for name in _TIMES:
        at = claims.get(name, 1)
        if isinstance(at, bool) or not isinstance(at, int | float):
            raise NotProven
        if not isfinite(at) or not 0 <= at <= _TIME_MAX:
            raise NotProven
    if not _OF_IDENTITY.isdisjoint(claims):
        raise NotProven
    if any(str(claims[name]).lower() not in _USES for name in _MARKS if name in claims):
        raise NotProven
    subject = claims["sub"]
    if not (subject.isprintable() and 0 < len(subject) <= _SUBJECT_MAX):
        raise NotProven
    return Proven(subject, roles_of(claims.get("roles")), claims["exp"])

"""
This module is where the keys are that prove tokens: one shared secret, or a published set (JWKS).

A published set is read again in the background while tokens are proved with what is there. Only a
token whose key is not known waits for it, and that is not asked more often than every few seconds.
"""

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from math import inf
from pathlib import Path
from time import monotonic
from typing import Any, Final, Protocol

import httpx
import msgspec
import structlog
from jwt import PyJWK
from jwt.exceptions import PyJWTError

# A set is read again after so long, and for an unknown key or after a failure not sooner than this.
REFRESH_S: Final = 300.0
AGAIN_S: Final = 10.0
_FETCH_TIMEOUT_S: Final = 5.0
_BYTES_MAX: Final = 262_144
_KEYS_MAX: Final = 64
_RSA_BITS_MIN: Final = 2_048
# The one algorithm of each kind of key, by its type and curve.
_ALGORITHMS: Final = {
    ("RSA", None): "RS256",
    ("EC", "P-256"): "ES256",
    ("OKP", "Ed25519"): "EdDSA",
}
# What is taken from a published key; a private part that somebody left in it is not.
_PUBLIC: Final = ("kty", "crv", "n", "e", "x", "y")

log = structlog.get_logger("wallet_api")

# By key id and algorithm: a token that names another algorithm than its key's finds nothing.
KeySet = Mapping[tuple[str | None, str], Any]


class KeysUnknown(Exception):
    """No key was ever at hand, so nothing can be said about any token."""


class Keys(Protocol):
    """Where a verifier finds the key of a token; `generation` tells when all may have changed."""

    generation: int

    def look_after(self) -> None:
        """Renew what is old, without making anybody wait."""

    async def find(self, key_id: str | None, algorithm: str) -> Any | None:  # noqa: ANN401  # a key of the library's
        """Return the key; None if there is none. Raises KeysUnknown."""

    async def close(self) -> None:
        """Stop what runs in the background."""


class SecretKey:
    """One secret that both sides know, for HS256."""

    generation = 0

    def __init__(self, secret: str) -> None:
        self._secret = secret

    def look_after(self) -> None:
        return

    async def find(self, key_id: str | None, algorithm: str) -> str | None:
        del key_id
        return self._secret if algorithm == "HS256" else None

    async def close(self) -> None:
        return


class PublishedKeys:
    """The public keys of whoever makes the tokens; the last good set is kept."""

    def __init__(self, read: Callable[[], Awaitable[bytes]]) -> None:
        self.generation = 0
        self._read = read
        self._keys: KeySet | None = None
        self._asked_s = self._due_s = -inf
        self._renewing: asyncio.Task[None] | None = None

    def look_after(self) -> None:
        if self._due_s <= monotonic():
            self._renew()

    async def find(self, key_id: str | None, algorithm: str) -> Any | None:  # noqa: ANN401
        if self._lacks(key_id, algorithm):
            if self._asked_s + AGAIN_S <= monotonic():
                self._renew()
            if self._renewing is not None:
                # Others may wait for it too: one who leaves does not take it along.
                await asyncio.shield(self._renewing)
        if self._keys is None:
            raise KeysUnknown
        return self._keys.get((key_id, algorithm))

    async def close(self) -> None:
        if self._renewing is not None:
            self._renewing.cancel()
            await asyncio.wait([self._renewing])

    def _lacks(self, key_id: str | None, algorithm: str) -> bool:
        return self._keys is None or (key_id, algorithm) not in self._keys

    def _renew(self) -> None:
        if self._renewing is None:
            self._asked_s = monotonic()
            self._due_s = self._asked_s + REFRESH_S
            self._renewing = asyncio.create_task(self._renewed())

    async def _renewed(self) -> None:
        try:
            async with asyncio.timeout(_FETCH_TIMEOUT_S):
                found = parse(await self._read())
        except (httpx.HTTPError, OSError, TimeoutError, ValueError) as error:
            # Asked again soon; the last good set proves on.
            self._due_s = monotonic() + AGAIN_S
            log.warning("keys.not_renewed", error_class=type(error).__name__, detail=str(error))
        else:
            if found != self._keys:
                self.generation += 1
            self._keys = found
        finally:
            self._renewing = None


def from_file(path: Path) -> PublishedKeys:
    """Return the keys that a file holds, read again when it may have changed."""
    return PublishedKeys(lambda: asyncio.to_thread(read_file, path))


def from_url(url: str) -> PublishedKeys:
    """Return the keys that an address publishes."""
    return PublishedKeys(lambda: _fetch(url))


def read_file(path: Path) -> bytes:
    with path.open("rb") as file:
        return file.read(_BYTES_MAX + 1)


async def _fetch(url: str) -> bytes:
    # Neither proxies of the environment nor redirects: the keys come from where the operator said.
    async with (
        httpx.AsyncClient(timeout=_FETCH_TIMEOUT_S, trust_env=False) as client,
        client.stream("GET", url, headers={"Accept": "application/json"}) as answer,
    ):
        if answer.status_code != httpx.codes.OK:
            raise ValueError(f"it answered {answer.status_code}")
        body = bytearray()
        async for part in answer.aiter_bytes():
            body += part
            if len(body) > _BYTES_MAX:
                break
        return bytes(body)


def parse(document: bytes) -> KeySet:
    """
    Read a JSON Web Key Set; raises ValueError if no key in it can be used.

    What is no public key of ours is passed over: another type, use or algorithm, a weak one.
    """
    if len(document) > _BYTES_MAX:
        raise ValueError(f"a key set may have {_BYTES_MAX} bytes")
    try:
        entries = msgspec.json.decode(document)["keys"][:_KEYS_MAX]
    except (msgspec.DecodeError, UnicodeDecodeError, KeyError, TypeError):
        raise ValueError("it is no JSON Web Key Set") from None
    found: dict[tuple[str | None, str], Any] = {}
    for entry in entries:
        usable = _usable(entry) if isinstance(entry, dict) else None
        if usable is not None:
            found.setdefault(usable[0], usable[1])
    if not found:
        raise ValueError("it has no usable key: RSA of 2048 bits, EC P-256 or Ed25519")
    if len(found) == 1:
        # Then a token need not say which.
        ((_, algorithm), key) = next(iter(found.items()))
        found[None, algorithm] = key
    return found


def _usable(told: dict[str, Any]) -> tuple[tuple[str | None, str], Any] | None:
    # Some publishers write null, or an empty list, for what they do not say.
    entry = {name: value for name, value in told.items() if value not in (None, [])}
    kind, key_id = entry.get("kty"), entry.get("kid")
    curve = None if kind == "RSA" else entry.get("crv")
    if not isinstance(kind, str) or not isinstance(curve, str | None):
        return None
    algorithm = _ALGORITHMS.get((kind, curve))
    if algorithm is None or entry.get("alg", algorithm) != algorithm:
        return None
    if entry.get("use", "sig") != "sig" or not isinstance(key_id, str | None):
        return None
    uses = entry.get("key_ops", ["verify"])
    if not isinstance(uses, list) or "verify" not in uses:
        return None
    try:
        public: dict[str, Any] = {name: entry[name] for name in _PUBLIC if name in entry}
        key = PyJWK(public, algorithm).key
    except (PyJWTError, ValueError, TypeError, KeyError):
        return None
    if kind == "RSA" and key.key_size < _RSA_BITS_MIN:
        return None
    return (key_id, algorithm), key

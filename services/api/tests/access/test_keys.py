"""Promises about published keys: fetched aside, renewed when a token names a new one, kept."""

import asyncio
import base64
import hmac
import json
import time
import warnings
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path
from typing import Any

import httpx
import jwt
import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa
from jwt.algorithms import ECAlgorithm, OKPAlgorithm, RSAAlgorithm

from wallet_api import keys
from wallet_api.settings import ApiSettings

Eventually = Callable[[Callable[[], Awaitable[object]]], Awaitable[object]]
Configured = Callable[..., ApiSettings]

RSA = rsa.generate_private_key(public_exponent=65537, key_size=2048)
WEAK = rsa.generate_private_key(public_exponent=65537, key_size=1024)  # noqa: S505  # to be refused
EC = ec.generate_private_key(ec.SECP256R1())
EC384 = ec.generate_private_key(ec.SECP384R1())
ED = ed25519.Ed25519PrivateKey.generate()
OTHER = ed25519.Ed25519PrivateKey.generate()


def published(key: Any, key_id: str | None, **more: object) -> dict[str, Any]:  # noqa: ANN401
    """Return a private key's public half as a key set holds it."""
    kinds = {rsa.RSAPrivateKey: RSAAlgorithm, ec.EllipticCurvePrivateKey: ECAlgorithm}
    kind = next((kinds[each] for each in kinds if isinstance(key, each)), OKPAlgorithm)
    found = kind.to_jwk(key.public_key(), as_dict=True)  # type: ignore[attr-defined]  # all have it
    return {**found, **({} if key_id is None else {"kid": key_id}), **more}


def signed(key: Any, algorithm: str, key_id: str | None = None, **head: object) -> dict[str, str]:  # noqa: ANN401
    """Return headers with a token of the key."""
    claims = {"iss": "wallet", "aud": "wallet", "sub": "alice", "roles": ["auditor"]}
    claims["exp"] = int(time.time()) + 600  # type: ignore[assignment]  # a number among words
    named = {**head, **({} if key_id is None else {"kid": key_id})}
    with warnings.catch_warnings():
        # A weak key is what some of them are about.
        warnings.simplefilter("ignore")
        token = jwt.encode(claims, key, algorithm, headers=named)
    return {"Authorization": f"Bearer {token}"}


def forged(secret: bytes, key_id: str) -> dict[str, str]:
    """Return headers with a token that takes what is public for a shared secret."""
    token = signed(OTHER, "EdDSA")["Authorization"].split(".")[1]
    head = json.dumps({"alg": "HS256", "typ": "JWT", "kid": key_id}).encode()
    told = base64.urlsafe_b64encode(head).rstrip(b"=") + b"." + token.encode()
    proof = base64.urlsafe_b64encode(hmac.digest(secret, told, "sha256")).rstrip(b"=")
    return {"Authorization": f"Bearer {(told + b'.' + proof).decode()}"}


class Issuer:
    """Somebody who publishes keys on a real socket, and counts who asked."""

    def __init__(self) -> None:
        self.asked = 0
        self.status = b"200 OK"
        self.body = b"{}"
        self.is_silent = False
        self.url = ""

    def publish(self, *entries: dict[str, Any]) -> None:
        self.body = json.dumps({"keys": entries}).encode()

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        self.asked += 1
        if not self.is_silent:
            head = b"HTTP/1.1 %s\r\nContent-Length: %d\r\nConnection: close\r\n\r\n"
            writer.write(head % (self.status, len(self.body)) + self.body)
            await writer.drain()
        else:
            await reader.read()
        writer.close()


@pytest.fixture
async def issuer() -> AsyncIterator[Issuer]:
    """Yield an issuer that has published one key, `first`."""
    issuer = Issuer()
    issuer.publish(published(ED, "first"))
    server = await asyncio.start_server(issuer.serve, "127.0.0.1", 0)
    issuer.url = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}/jwks"
    yield issuer
    server.close()


@pytest.fixture
async def trusting(
    configured: Configured, client_of: Callable[[ApiSettings], Any], issuer: Issuer
) -> AsyncIterator[httpx.AsyncClient]:
    """Yield a client of an application that trusts the issuer."""
    async with client_of(configured(WALLET_AUTH="jwt", WALLET_JWKS_URL=issuer.url)) as client:
        yield client


async def status(client: httpx.AsyncClient, headers: dict[str, str]) -> int:
    return (await client.get("/v1/wallets", headers=headers)).status_code


async def test_each_key_proves_with_its_own_algorithm_only(
    trusting: httpx.AsyncClient, issuer: Issuer
) -> None:
    """RS256, ES256 and EdDSA pass; another's key id, a public key as secret, a named key do not."""
    issuer.publish(
        *(published(RSA, "r"), published(EC, "e"), published(ED, "d")),
        *(published(EC384, "wide"), published(WEAK, "weak"), published(OTHER, "enc", use="enc")),
        {"kty": "oct", "k": "c2VjcmV0", "kid": "shared"},
        {"kty": "RSA", "n": "?", "e": [], "kid": "broken"},
    )
    public = RSA.public_key().public_bytes(
        serialization.Encoding.DER, serialization.PublicFormat.PKCS1
    )
    good = [signed(RSA, "RS256", "r"), signed(EC, "ES256", "e"), signed(ED, "EdDSA", "d")]
    bad = [
        *(signed(RSA, "RS256", "e"), signed(RSA, "RS512", "r"), signed(ED, "EdDSA", "r")),
        *(forged(public, "r"), forged(b"secret", "shared")),
        *(signed(EC384, "ES384", "wide"), signed(WEAK, "RS256", "weak"), signed(OTHER, "EdDSA")),
        *(signed(OTHER, "EdDSA", "enc"), signed(ED, "EdDSA", "../../first"), signed(ED, "EdDSA")),
        signed(OTHER, "EdDSA", "d", jwk=published(OTHER, "d")),
        signed(OTHER, "EdDSA", "d", jku="http://127.0.0.1:1/", x5u="http://127.0.0.1:1/"),
        signed(ED, "EdDSA", "d", crit=["exp"]),
        signed(ED, "EdDSA", "' OR 1=1 --"),
    ]

    assert [await status(trusting, each) for each in good] == [200] * len(good)
    assert [await status(trusting, each) for each in bad] == [401] * len(bad)
    assert issuer.asked == 1


async def test_a_new_key_is_fetched_when_a_token_names_it(
    trusting: httpx.AsyncClient, issuer: Issuer, monkeypatch: pytest.MonkeyPatch
) -> None:
    """An unknown key id asks the issuer, once for all who wait, and not again for a while."""
    assert await status(trusting, signed(ED, "EdDSA", "first")) == 200
    assert await status(trusting, signed(OTHER, "EdDSA", "second")) == 401
    assert issuer.asked == 1
    issuer.publish(published(OTHER, "second"))
    monkeypatch.setattr(keys, "AGAIN_S", 0.0)
    told = await asyncio.gather(
        *(status(trusting, signed(OTHER, "EdDSA", "second")) for _ in range(20))
    )
    monkeypatch.setattr(keys, "AGAIN_S", 60.0)
    strange = [await status(trusting, signed(OTHER, "EdDSA", f"k{n}")) for n in range(20)]

    assert told == [200] * 20
    assert strange == [401] * 20
    assert issuer.asked == 2
    # What was proved with a key that is gone is proved no more.
    assert await status(trusting, signed(ED, "EdDSA", "first")) == 401


async def test_old_keys_are_renewed_aside_and_good_ones_kept(
    trusting: httpx.AsyncClient,
    issuer: Issuer,
    eventually: Eventually,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """While the issuer fails, or says nothing at all, tokens are proved at once as before."""
    good = signed(ED, "EdDSA", "first")
    assert await status(trusting, good) == 200
    monkeypatch.setattr(keys, "REFRESH_S", 0.0)
    monkeypatch.setattr(keys, "AGAIN_S", 0.0)
    door = [b"500 Oops", b"302 Found", b"200 OK"]
    issuer.body = b'{"keys": []}'
    for number, issuer.status in enumerate(door):
        issuer.is_silent = number == len(door) - 1

        async def was_asked(before: int = issuer.asked) -> bool:
            assert await status(trusting, good) == 200
            return issuer.asked > before

        # The time of the last renewal still counts until the next one has begun.
        monkeypatch.setattr(keys, "monotonic", lambda: time.monotonic() + 1_000_000)
        await eventually(was_asked)
    began = time.monotonic()
    assert await status(trusting, good) == 200
    assert time.monotonic() - began < 1


async def test_without_any_key_nobody_is_judged(
    configured: Configured, client_of: Callable[[ApiSettings], Any], issuer: Issuer
) -> None:
    """Before the issuer has ever answered it is a 503 that asks to come back, no 401."""
    issuer.status = b"503 Away"
    async with client_of(configured(WALLET_AUTH="jwt", WALLET_JWKS_URL=issuer.url)) as client:
        answer = await client.get("/v1/wallets", headers=signed(ED, "EdDSA", "first"))
        assert (answer.status_code, answer.json()["code"]) == (503, "keys_unavailable")
        assert answer.headers["Retry-After"]
        assert (await client.get("/v1/wallets")).status_code == 401


async def test_keys_may_come_from_a_file(
    configured: Configured,
    client_of: Callable[[ApiSettings], Any],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """A single key needs no id in the token; a file that changes is read again."""
    file = tmp_path / "jwks.json"
    file.write_text(json.dumps({"keys": [published(ED, None)]}))
    async with client_of(configured(WALLET_AUTH="jwt", WALLET_JWKS_FILE=str(file))) as client:
        assert await status(client, signed(ED, "EdDSA")) == 200
        file.write_text(json.dumps({"keys": [published(OTHER, "new")]}))
        monkeypatch.setattr(keys, "AGAIN_S", 0.0)
        assert await status(client, signed(OTHER, "EdDSA", "new")) == 200
        assert await status(client, signed(ED, "EdDSA")) == 401


@pytest.mark.parametrize(
    "document",
    [
        b"",
        b"[]",
        b"{}",
        b'{"keys": 1}',
        b'{"keys": [1, {}]}',
        b"\xff",
        b'{"keys": []}' + b" " * 300_000,
    ],
)
def test_what_is_no_key_set_is_refused(document: bytes) -> None:
    """Anything else than a set with a usable key is a ValueError, which keeps the last good one."""
    with pytest.raises(ValueError, match=r"it (is|has) no|bytes"):
        keys.parse(document)


@pytest.mark.parametrize("absent", [{"key_ops": None}, {"key_ops": []}, {"alg": None, "use": None}])
def test_null_says_nothing_of_a_key(absent: dict[str, object]) -> None:
    """A member that is null or an empty list is as good as none, and the key can be used."""
    document = json.dumps({"keys": [published(ED, "k", **absent)]}).encode()

    assert ("k", "EdDSA") in keys.parse(document)


@pytest.mark.parametrize(
    "odd", [{"key_ops": 7}, {"key_ops": "verify"}, {"key_ops": ["sign"]}, {"use": {}}, {"alg": [1]}]
)
def test_an_odd_key_is_passed_over(odd: dict[str, object]) -> None:
    """A member of another kind, or for another use, takes its own key along and no other."""
    entries = [published(ED, "odd", **odd), published(OTHER, "good")]
    found = keys.parse(json.dumps({"keys": entries}).encode())

    assert {key_id for key_id, _ in found} == {"good", None}


def test_a_private_part_is_not_taken_over() -> None:
    """If an issuer publishes its private key by mistake, no process of ours holds it."""
    leaked = {**OKPAlgorithm.to_jwk(ED, as_dict=True), "kid": "k"}
    assert "d" in leaked

    (key,) = {
        id(each): each for each in keys.parse(json.dumps({"keys": [leaked]}).encode()).values()
    }.values()

    assert isinstance(key, ed25519.Ed25519PublicKey)
    assert base64.urlsafe_b64decode(leaked["x"] + "=") == key.public_bytes_raw()

"""This module is where tokens are made: those that let somebody in, and those that must not."""

import base64
import hmac
import json
import time
from hashlib import sha256
from typing import Any, Final

import jwt
from cryptography.hazmat.primitives.asymmetric import rsa
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

SECRET: Final = "a secret that is longer than the sixty-four bytes which HS512 wants"
_FAR: Final = 10**18


def mint(secret: str = SECRET, algorithm: str = "HS256", head: Any = None, **claims: object) -> str:  # noqa: ANN401  # a token's header
    """Return a teller's token with these claims; one given as None is left out."""
    usual = {"iss": "wallet", "aud": "wallet", "sub": "teller", "roles": ["payments"]}
    told = usual | {"exp": int(time.time()) + 3_600} | claims
    kept = {name: value for name, value in told.items() if value is not None}
    return jwt.encode(kept, secret, algorithm=algorithm, headers=head)


def forge(head: dict[str, object], signed_with: bytes | None = None, **claims: object) -> str:
    """Return a token that no library would make: any header, signed by HMAC or not at all."""
    told = {"iss": "wallet", "aud": "wallet", "sub": "teller", "roles": ["payments"]}
    body = told | {"exp": int(time.time()) + 3_600} | claims
    text = f"{_part(head)}.{_part(body)}"
    if signed_with is None:
        return f"{text}."
    return f"{text}.{_base64(hmac.digest(signed_with, text.encode(), sha256))}"


def tokens() -> dict[str, str]:
    """Return all tokens by the names that rows call them."""
    now = int(time.time())
    good = mint()
    head, body, signature = good.split(".")
    key = rsa.generate_private_key(public_exponent=65_537, key_size=2_048)
    public = key.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)
    own_key = {"kty": "oct", "k": _base64(b"mallory's own key, also long enough")}
    hs256: dict[str, object] = {"alg": "HS256", "typ": "JWT"}
    claims = json.loads(base64.urlsafe_b64decode(body + "=="))
    return {
        "teller": good,
        "admin": mint(sub="root", roles=["admin"]),
        "auditor": mint(sub="ada", roles=["auditor"]),
        "alice": mint(sub="alice", roles=["user"]),
        "mallory": mint(sub="mallory", roles=["user"]),
        "support": mint(sub="sam", roles=["support"]),
        "alg-none": forge({"alg": "none", "typ": "JWT"}),
        "alg-none-odd": forge({"alg": "nOnE", "typ": "JWT"}),
        "alg-list": forge(hs256 | {"alg": ["HS256"]}),
        "alg-object": forge(hs256 | {"alg": {}}),
        "hs512": mint(algorithm="HS512"),
        "public-key": forge(hs256, public),
        "jwk": forge(hs256 | {"jwk": own_key}, b"mallory's own key, also long enough"),
        "jku": forge(hs256 | {"jku": "http://127.0.0.1:1/keys"}, b"mallory's own key"),
        "x5u": forge(hs256 | {"x5u": "http://127.0.0.1:1/chain"}, b"mallory's own key"),
        "kid-path": forge(hs256 | {"kid": "../../../../dev/null"}, b"\0"),
        "kid-sql": forge(hs256 | {"kid": "x' UNION SELECT 'k"}, b"k"),
        "no-signature": f"{head}.{body}.",
        "edited": f"{head}.{_part(claims | {'sub': 'root'})}.{signature}",
        "promoted": f"{head}.{_part(claims | {'roles': ['admin']})}.{signature}",
        "expired": mint(exp=now - 61),
        "not-before": mint(nbf=now + 600),
        "issued-later": mint(iat=now + 600),
        "no-expiry": mint(exp=None),
        "expiry-text": forge(hs256, SECRET.encode(), exp=f"{now + 600}x"),
        "expiry-far": forge(hs256, SECRET.encode(), exp=_FAR),
        "expiry-negative": forge(hs256, SECRET.encode(), exp=-1),
        "no-subject": mint(sub=None),
        "empty-subject": mint(sub=""),
        "other-audience": mint(aud="shop"),
        "no-audience": mint(aud=None),
        "other-issuer": mint(iss="shop"),
        "id-token": mint(aud="a-browser", nonce="n", azp="a-browser"),
        "refresh-token": mint(aud=None, scope="offline_access", typ="Refresh"),
    }


def _part(value: object) -> str:
    return _base64(json.dumps(value).encode())


def _base64(value: bytes) -> str:
    return base64.urlsafe_b64encode(value).decode().rstrip("=")

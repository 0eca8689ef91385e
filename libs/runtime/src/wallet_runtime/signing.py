"""This module is where the key that signs checkpoints is read, and where it signs and checks."""

import hmac
import re
from hashlib import sha256
from typing import Final

from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    PublicFormat,
    load_pem_private_key,
    load_pem_public_key,
)

_SHARED: Final = re.compile(r"\A[0-9a-fA-F]{64}\Z")
_FORM: Final = "64 hexadecimal digits, or an Ed25519 key as PEM (private to sign, public to check)"


class SharedKey:
    """A secret that signs and checks: HMAC-SHA256."""

    algorithm: Final = "HMAC-SHA256"

    def __init__(self, secret: bytes) -> None:
        self._secret = secret
        self.name = sha256(b"checkpoint key" + secret).hexdigest()[:16]

    def sign(self, content: bytes) -> bytes:
        return hmac.digest(self._secret, content, "sha256")

    def has_signed(self, content: bytes, signature: bytes) -> bool:
        return hmac.compare_digest(self.sign(content), signature)


class KeyPair:
    """An Ed25519 key; the public half alone checks and cannot sign."""

    algorithm: Final = "Ed25519"

    def __init__(self, public: Ed25519PublicKey, private: Ed25519PrivateKey | None = None) -> None:
        self._public = public
        self._private = private
        raw = public.public_bytes(Encoding.Raw, PublicFormat.Raw)
        self.name = sha256(b"checkpoint key" + raw).hexdigest()[:16]

    def sign(self, content: bytes) -> bytes:
        if self._private is None:
            message = "a public key checks signatures; to sign, the private one is needed"
            raise ValueError(message)
        return self._private.sign(content)

    def has_signed(self, content: bytes, signature: bytes) -> bool:
        try:
            self._public.verify(signature, content)
        except InvalidSignature:
            return False
        return True


Key = SharedKey | KeyPair


def key_of(text: str) -> Key:
    """Return the key that `text` spells; raises ValueError, without repeating the text."""
    text = text.strip()
    if _SHARED.match(text):
        return SharedKey(bytes.fromhex(text))
    try:
        if "PRIVATE" in text:
            private = load_pem_private_key(text.encode(), password=None)
            if isinstance(private, Ed25519PrivateKey):
                return KeyPair(private.public_key(), private)
        else:
            public = load_pem_public_key(text.encode())
            if isinstance(public, Ed25519PublicKey):
                return KeyPair(public)
    except (ValueError, TypeError, UnsupportedAlgorithm):
        pass
    message = f"no key: {_FORM}"
    raise ValueError(message)

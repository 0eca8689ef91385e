"""
This module is where personal data is encrypted and opened: AES-256-GCM in two layers.

Each owner has a data key, which only a wrapped copy of is stored; a master key, which is never
stored here, unwraps it. Every ciphertext is bound to its place. See docs/adr/0026.
"""

import os
from collections.abc import Mapping
from hmac import digest as keyed_digest
from typing import Final

import msgspec
from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF

from wallet_common import pii
from wallet_common.errors import Unreadable
from wallet_common.pii import Indexed, Sealed

_KEY_BYTES: Final = 32


class OwnerKey(msgspec.Struct, frozen=True):
    """An owner's data key as it is stored; `wrapped` is None once the owner was erased."""

    owner_id: str
    key_id: str
    master_id: str
    wrapped: bytes | None


class Revealed(msgspec.Struct, frozen=True):
    """Metadata for its reader, with marks for what is erased, or `unreadable`: named here."""

    metadata: str
    unreadable: tuple[str, ...] = ()


class Vault:
    """
    Seals and opens with the master keys it is given, of which the first wraps and indexes.

    It keeps no data key longer than one call: who is erased is erased at once, in every process.
    """

    def __init__(self, masters: Mapping[str, bytes]) -> None:
        self._masters = {key_id: _Master(secret) for key_id, secret in masters.items()}
        self.current = next(iter(masters), "")

    @property
    def master_ids(self) -> tuple[str, ...]:
        return tuple(self._masters)

    def new_key(self, owner_id: str, key_id: str) -> OwnerKey:
        """Return a fresh data key, wrapped."""
        return self._wrapped(owner_id, key_id, os.urandom(_KEY_BYTES))

    def rewrapped(self, key: OwnerKey) -> OwnerKey:
        """Return the same data key, wrapped by the current master key; raises Unreadable."""
        return self._wrapped(key.owner_id, key.key_id, self._unwrapped(key))

    def seal(
        self, key: OwnerKey, wallet_id: str, metadata: str, private: frozenset[str]
    ) -> tuple[str, tuple[Indexed, ...]]:
        """Return the metadata with its `private` members sealed, and what finds them."""
        cipher, values = AESGCM(self._unwrapped(key)), pii.members(metadata)
        plain = {name: text for name, text in values.items() if name in private}
        for name, text in plain.items():
            nonce = os.urandom(pii.NONCE_BYTES)
            ciphertext = cipher.encrypt(nonce, text, _place(wallet_id, name, key.key_id))
            values[name] = msgspec.json.encode(Sealed(key.key_id, nonce, ciphertext).text)
        return pii.joined(values), self._index(plain)

    def reveal(self, key: OwnerKey | None, wallet_id: str, metadata: str) -> Revealed:
        """Return the metadata with what is sealed opened; whatever does not open is marked."""
        shown, unreadable = pii.members(metadata), []
        for name, text in shown.items():
            if not pii.is_sealed(text):
                continue
            if key is not None and key.wrapped is None:
                shown[name] = msgspec.json.encode(pii.ERASED)
                continue
            try:
                shown[name] = self._opened(key, wallet_id, name, text)
            except Unreadable:
                shown[name] = msgspec.json.encode(pii.UNREADABLE)
                unreadable.append(name)
        return Revealed(pii.joined(shown), tuple(unreadable))

    def index(self, key: OwnerKey, wallet_id: str, metadata: str) -> tuple[Indexed, ...]:
        """Return what finds the metadata's sealed members from now on; raises Unreadable."""
        sealed = {n: text for n, text in pii.members(metadata).items() if pii.is_sealed(text)}
        return self._index({n: self._opened(key, wallet_id, n, t) for n, t in sealed.items()})

    def digests(self, name: str, searched: str) -> list[bytes]:
        """Return the digests under which a value may be found, the current master key's first."""
        return [master.digest(name, searched) for master in self._masters.values()]

    def _index(self, plain: Mapping[str, bytes]) -> tuple[Indexed, ...]:
        master = self._masters[self.current]
        return tuple(
            Indexed(name, master.digest(name, searched), self.current)
            for name, text in plain.items()
            if (searched := pii.searched(text)) is not None
        )

    def _opened(self, key: OwnerKey | None, wallet_id: str, name: str, text: bytes) -> bytes:
        try:
            sealed = Sealed.parse(msgspec.json.decode(text, type=str))
        except (ValueError, msgspec.DecodeError) as damaged:
            raise Unreadable(name) from damaged
        if key is None or sealed.key_id != key.key_id:
            raise Unreadable(name)
        cipher, place = AESGCM(self._unwrapped(key)), _place(wallet_id, name, key.key_id)
        return _decrypted(cipher, sealed.nonce, sealed.ciphertext, place)

    def _wrapped(self, owner_id: str, key_id: str, secret: bytes) -> OwnerKey:
        nonce, place = os.urandom(pii.NONCE_BYTES), _owner(owner_id, key_id, self.current)
        wrapped = nonce + self._masters[self.current].cipher.encrypt(nonce, secret, place)
        return OwnerKey(owner_id, key_id, self.current, wrapped)

    def _unwrapped(self, key: OwnerKey) -> bytes:
        master = self._masters.get(key.master_id)
        if master is None or key.wrapped is None:
            raise Unreadable(key.master_id)
        place = _owner(key.owner_id, key.key_id, key.master_id)
        nonce, ciphertext = key.wrapped[: pii.NONCE_BYTES], key.wrapped[pii.NONCE_BYTES :]
        return _decrypted(master.cipher, nonce, ciphertext, place)


class _Master:
    """One master key, as the two keys that follow from it: to wrap with, and to index with."""

    def __init__(self, secret: bytes) -> None:
        self.cipher = AESGCM(_derived(secret, b"wallet data keys 1"))
        self._index = _derived(secret, b"wallet blind index 1")

    def digest(self, name: str, searched: str) -> bytes:
        return keyed_digest(self._index, pii.bound_to(name, searched), "sha256")


def _derived(secret: bytes, purpose: bytes) -> bytes:
    return HKDF(SHA256(), _KEY_BYTES, salt=None, info=purpose).derive(secret)


def _decrypted(cipher: AESGCM, nonce: bytes, ciphertext: bytes, place: bytes) -> bytes:
    try:
        return cipher.decrypt(nonce, ciphertext, place)
    except (InvalidTag, ValueError) as damaged:
        raise Unreadable("not what was sealed here") from damaged


def _place(wallet_id: str, name: str, key_id: str) -> bytes:
    return pii.bound_to("wallets", "metadata", wallet_id, name, key_id)


def _owner(owner_id: str, key_id: str, master_id: str) -> bytes:
    return pii.bound_to("owner_keys", "wrapped", owner_id, key_id, master_id)

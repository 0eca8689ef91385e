"""Promises about the vault: what it seals opens in its place, with its key, and nowhere else."""

import json
from collections.abc import Callable
from dataclasses import dataclass

import pytest
from msgspec.structs import replace

from wallet_common import pii
from wallet_common.errors import Unreadable
from wallet_db_orm.ids import new_id
from wallet_db_orm.vault import OwnerKey, Vault

OLD, NEW = bytes(range(32)), bytes(range(100, 132))
PRIVATE = frozenset({"email", "phone", "address"})
METADATA = '{"tier": 1.50, "email": "ada@example.org", "phone": 123, "address": {"city": "Rome"}}'


@dataclass
class Given:
    """A vault with one owner's key, and a wallet of hers."""

    vault: Vault
    key: OwnerKey
    sealed: str


@pytest.fixture
def ada() -> Given:
    """Return what is there once Ada's wallet `w1` is sealed."""
    vault = Vault({"old": OLD})
    key = vault.new_key("ada", new_id())
    return Given(vault, key, vault.seal(key, "w1", METADATA, PRIVATE)[0])


def test_what_is_sealed_can_be_read_again_and_not_seen(ada: Given) -> None:
    """Only declared members are hidden; opened, each is the text that came."""
    shown = ada.vault.reveal(ada.key, "w1", ada.sealed)

    assert "ada@example" not in ada.sealed
    assert "Rome" not in ada.sealed
    assert json.loads(ada.sealed)["tier"] == 1.5
    assert pii.members(shown.metadata) == pii.members(METADATA)
    assert shown.unreadable == ()


def swapped(sealed: str) -> str:
    values = pii.members(sealed)
    return pii.joined(values | {"email": values["phone"], "phone": values["email"]})


def changed(sealed: str) -> str:
    values = pii.members(sealed)
    email = values["email"]
    return pii.joined(values | {"email": email[:-20] + bytes([email[-20] ^ 1]) + email[-19:]})


def cut(sealed: str) -> str:
    values = pii.members(sealed)
    return pii.joined(values | {"email": values["email"][:70] + b'"'})


@pytest.mark.parametrize("damage", [swapped, changed, cut])
def test_what_was_changed_or_moved_to_another_key_stays_shut(
    ada: Given, damage: Callable[[str], str]
) -> None:
    """A member under another name, or with one bit changed, is marked and not read."""
    shown = ada.vault.reveal(ada.key, "w1", damage(ada.sealed))

    assert "email" in shown.unreadable
    assert json.loads(shown.metadata)["email"] == pii.UNREADABLE
    assert "ada@example" not in shown.metadata


def test_what_was_moved_to_another_wallet_stays_shut(ada: Given) -> None:
    """The same owner's other wallet, another owner's, and one without an owner show nothing."""
    bob = ada.vault.new_key("bob", new_id())
    posing = replace(bob, key_id=ada.key.key_id)

    for key, wallet_id in [(ada.key, "w2"), (bob, "w1"), (posing, "w1"), (None, "w1")]:
        shown = ada.vault.reveal(key, wallet_id, ada.sealed)
        assert set(shown.unreadable) == PRIVATE
        assert "ada@example" not in shown.metadata


def test_a_data_key_belongs_to_its_owner(ada: Given) -> None:
    """Ada's wrapped key in another owner's row, or with one byte changed, opens nothing."""
    assert ada.key.wrapped is not None
    for stolen in [
        replace(ada.key, owner_id="bob"),
        replace(ada.key, wrapped=ada.key.wrapped[:-1] + bytes([ada.key.wrapped[-1] ^ 1])),
        replace(ada.key, wrapped=b""),
        replace(ada.key, master_id="other"),
    ]:
        assert set(ada.vault.reveal(stolen, "w1", ada.sealed).unreadable) == PRIVATE
        with pytest.raises(Unreadable):
            ada.vault.rewrapped(stolen)


def test_an_erased_owners_values_are_marked(ada: Given) -> None:
    """Without a data key the sealed members are told to be erased, the others stay."""
    shown = ada.vault.reveal(replace(ada.key, wrapped=None), "w1", ada.sealed)

    erased = dict.fromkeys(PRIVATE, pii.ERASED)
    assert json.loads(shown.metadata) == {"tier": 1.5} | erased
    assert shown.unreadable == ()


def test_a_rewrapped_key_opens_what_was_sealed_before(ada: Given) -> None:
    """After a rotation the new master key alone opens the old ciphertexts, the old one none."""
    both, only_new = Vault({"new": NEW, "old": OLD}), Vault({"new": NEW})
    moved = both.rewrapped(ada.key)

    assert only_new.reveal(moved, "w1", ada.sealed) == ada.vault.reveal(ada.key, "w1", ada.sealed)
    assert set(only_new.reveal(ada.key, "w1", ada.sealed).unreadable) == PRIVATE
    assert set(ada.vault.reveal(moved, "w1", ada.sealed).unreadable) == PRIVATE


def test_scalars_are_found_by_digests_that_tell_nothing(ada: Given) -> None:
    """Equal values of a key have one digest per master key; other keys and values have others."""
    both = Vault({"new": NEW, "old": OLD})
    index = both.index(both.rewrapped(ada.key), "w1", ada.sealed)

    assert {each.key: each.digest for each in index} == {
        "email": both.digests("email", "ada@example.org")[0],
        "phone": both.digests("phone", "123")[0],
    }
    digests = [
        *both.digests("email", "ada@example.org"),
        *both.digests("phone", "ada@example.org"),
        *both.digests("email", "ada@example.com"),
    ]
    assert len(set(digests)) == 6
    assert ada.vault.digests("email", "ada@example.org") == [digests[1]]


def test_no_nonce_is_used_twice(ada: Given) -> None:
    """Ten thousand times the same value of the same wallet: as many nonces and ciphertexts."""
    sealed = [ada.vault.seal(ada.key, "w1", METADATA, PRIVATE)[0] for _ in range(3_400)]
    values = [
        pii.Sealed.parse(json.loads(text)[name]) for text in sealed for name in sorted(PRIVATE)
    ]

    assert len({each.nonce for each in values}) == len(values) > 10_000
    assert len({each.ciphertext for each in values}) == len(values)

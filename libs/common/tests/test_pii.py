"""Promises about the forms of personal data: what is told apart, and that nothing is read twice."""

from hashlib import sha256

import msgspec
import pytest
from hypothesis import given, strategies as st

from wallet_common import pii
from wallet_common.pii import Sealed

ONE, OTHER = bytes(range(160, 192)).hex(), bytes(range(100, 132)).hex()
JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(),
    lambda v: st.lists(v) | st.dictionaries(st.text(), v),
)


@given(st.dictionaries(st.text(), JSON))
def test_members_put_together_again_are_the_same(metadata: dict[str, object]) -> None:
    """Taking metadata apart and joining it changes neither names nor values nor their order."""
    text = msgspec.json.encode(metadata).decode()

    assert pii.joined(pii.members(text)) == text


def test_a_members_text_stays_as_it_was_spelled() -> None:
    """Numbers and escapes are not read, so they come back in the spelling that was sent."""
    values = pii.members('{"a": 1.50, "b": "\\u00e9", "c": {"d" : [ 1 ]}}')

    assert values == {"a": b"1.50", "b": b'"\\u00e9"', "c": b'{"d" : [ 1 ]}'}
    assert pii.joined(values) == '{"a":1.50,"b":"\\u00e9","c":{"d" : [ 1 ]}}'


@given(st.uuids(), st.binary(min_size=12, max_size=12), st.binary(min_size=16))
def test_a_sealed_value_is_read_as_it_was_written(
    key_id: object, nonce: bytes, text: bytes
) -> None:
    """What stands in the metadata is read back to the same parts, and is known by its mark."""
    sealed = Sealed(str(key_id), nonce, text)

    assert Sealed.parse(sealed.text) == sealed
    assert pii.is_sealed(msgspec.json.encode(sealed.text))
    assert pii.has_sealed(pii.joined({"a": msgspec.json.encode(sealed.text)}))


@pytest.mark.parametrize(
    "text", ["", "wallet-pii:", "wallet-pii:2:k:AAAA", "wallet-pii:1:k", "wallet-pii:1:k:A:A", "x"]
)
def test_what_was_never_sealed_is_refused(text: str) -> None:
    """A text of another form or a later version is a ValueError, not a wrong reading."""
    with pytest.raises(ValueError, match=r"."):
        Sealed.parse(text)


def test_a_later_version_is_told_as_one() -> None:
    """Whoever reads the log knows that it is this service that is too old."""
    with pytest.raises(ValueError, match=r"^a form that this version does not know$"):
        Sealed.parse("wallet-pii:2:k:AAAA")


@pytest.mark.parametrize("metadata", [None, "{}", '{"a":"b"}', '{"a":"my wallet-pii:"}'])
def test_what_has_no_mark_has_nothing_sealed(metadata: str | None) -> None:
    """No metadata at all, none that is marked, the mark within a text: the vault is not asked."""
    assert not pii.has_sealed(metadata)


def test_every_name_at_any_depth_is_found() -> None:
    """Names are found in objects within lists within objects."""
    value = {"a": [{"b": 1}, [{"c": {"d": None}}]], "e": "f"}

    assert sorted(pii.names(value)) == ["a", "b", "c", "d", "e"]


@pytest.mark.parametrize(
    ("member", "text"),
    [
        (b'"ada"', "ada"),
        (b'"\\u0061da"', "ada"),
        (b"12.50", "12.50"),
        (b"true", "true"),
        (b"null", None),
        (b"{}", None),
        (b"[1]", None),
    ],
)
def test_equality_is_that_of_texts(member: bytes, text: str | None) -> None:
    """A string is found by its characters, another scalar as spelled, the rest not at all."""
    assert pii.searched(member) == text


@given(st.lists(st.text()), st.lists(st.text()))
def test_two_places_are_never_the_same_bytes(one: list[str], other: list[str]) -> None:
    """However names are cut, another place is other bytes."""
    assert (pii.bound_to(*one) == pii.bound_to(*other)) == (one == other)


def test_a_place_is_what_every_version_writes() -> None:
    """Each part behind its length in four bytes: otherwise nothing that is sealed would open."""
    assert pii.bound_to("a", "", "\u00e4") == b"\0\0\0\x01a\0\0\0\0\0\0\0\x02\xc3\xa4"


def test_master_keys_are_read_in_their_order() -> None:
    """The first line is the current key; one without an id keeps its fingerprint as its id."""
    [alone] = pii.master_keys(ONE)

    assert alone == sha256(b"wallet master key" + bytes.fromhex(ONE)).hexdigest()[:8]
    assert list(pii.master_keys(f"new:{OTHER}\n{ONE}\n")) == ["new", alone]
    assert pii.master_keys(f"a:{ONE.upper()}") == {"a": bytes.fromhex(ONE)}


NO_KEYS = "has to be lines of 64 hexadecimal digits, or of id:digits"
GUESSABLE = "has to be random: openssl rand -hex 32"
TWICE = "names the same id or key twice"


@pytest.mark.parametrize(
    ("text", "why"),
    [
        *(("", NO_KEYS), ("short", NO_KEYS), (ONE[:-1], NO_KEYS), (f"{ONE}0", NO_KEYS)),
        *((f":{ONE}", NO_KEYS), (f"a b:{ONE}", NO_KEYS), (f"{'a' * 33}:{ONE}", NO_KEYS)),
        *(("00" * 32, GUESSABLE), ("deadbeef" * 8, GUESSABLE), ("0001020304050607" * 4, GUESSABLE)),
        *((f"a:{ONE}\na:{OTHER}", TWICE), (f"a:{ONE}\nb:{ONE}", TWICE)),
    ],
)
def test_a_bad_master_key_is_refused_and_not_shown(text: str, why: str) -> None:
    """A key that is short, guessable or there twice is refused without being repeated."""
    with pytest.raises(ValueError, match=f"^{why}$") as refused:
        pii.master_keys(text)

    assert ONE[:8] not in str(refused.value)


def test_nine_different_bytes_are_enough_for_a_master_key() -> None:
    """No key that `openssl rand` makes has fewer; those that people type mostly do."""
    typed = "000102030405060708" + "00" * 23

    assert pii.master_keys(f"a:{typed}") == {"a": bytes.fromhex(typed)}


def test_declared_keys_are_a_set_of_names() -> None:
    """Names are separated by commas; a colon would make a search ambiguous."""
    assert pii.declared_keys(" email, phone,,") == {"email", "phone"}
    why = "^has to be names of metadata keys, without colons, separated by commas$"
    for bad in ("e:mail", "phone,e:mail", "e\tmail"):
        with pytest.raises(ValueError, match=why):
            pii.declared_keys(bad)

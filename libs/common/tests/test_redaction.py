"""This module is where it is shown what the audit keeps of what callers send, and what it drops."""

import json
from hashlib import sha256

import msgspec
import pytest
from hypothesis import given, strategies as st

from wallet_common.redaction import REDACTED, Part, Places, Shape, address, body, has_private

SHAPE: Shape = {
    "amount": Part.VALUE,
    "metadata": Part.METADATA,
    "commands": {"amount": Part.VALUE, "metadata": Part.METADATA},
}
PLACES = Places(
    words=frozenset({"v1", "wallets", "deposit"}),
    named=frozenset({"wallets"}),
    parameters=frozenset({"limit"}),
)


def kept(sent: bytes, *private: str) -> bytes:
    return body(sent, SHAPE, private)


@pytest.mark.parametrize(
    ("sent", "left"),
    [
        (b"", b""),
        (b'{"amount": 1.50, "pin": 1234}', b'{"amount":1.50,"pin":"[redacted]"}'),
        (b'{"amount":{"pin":1}}', b'{"amount":"[redacted]"}'),
        (b'{"amount":["a"]}', b'{"amount":"[redacted]"}'),
        (b'{"metadata":"text"}', b'{"metadata":"[redacted]"}'),
        (b'{"metadata":{"a":{"b":[1]}}}', b'{"metadata":{"a":{"b":[1]}}}'),
        (b'{"commands":[{"amount":1e2,"x":1}]}', b'{"commands":[{"amount":1e2,"x":"[redacted]"}]}'),
        (b'{"commands":"all"}', b'{"commands":"[redacted]"}'),
        (b'{"pin":{"amount":1}}', b'{"pin":"[redacted]"}'),
        (b'"secret"', b'"[redacted]"'),
        (b"12", b'"[redacted]"'),
        (b' \t\r\n{"amount": \t\r\n1}', b'{"amount":1}'),
        (b'\t[{"amount":1}]', b'[{"amount":1}]'),
        (b'\r{"commands":\n[{"amount":\t1}]}', b'{"commands":[{"amount":1}]}'),
        (b'\n{"amount": {"pin":1}}', b'{"amount":"[redacted]"}'),
        (b'{"%b":1}' % (b"x" * 65), b'{"%b":"[redacted]"}' % (b"x" * 64)),
        (b'["secret"]', b'["[redacted]"]'),
    ],
)
def test_what_our_schemas_name_is_kept(sent: bytes, left: bytes) -> None:
    """Values of known members stay, with their exact text; of all others the name does."""
    assert kept(sent) == left


@pytest.mark.parametrize(
    "sent", [b"{", b"secret", b'{"amount":1}x', b"\xff", b'{"a":NaN}', b"[" * 50_000]
)
def test_of_what_is_no_json_no_byte_is_kept(sent: bytes) -> None:
    """Only how long it was, and its digest: enough to recognise it, nothing to read."""
    assert json.loads(kept(sent)) == {
        "redacted": "no JSON",
        "bytes": len(sent),
        "sha256": sha256(sent).hexdigest(),
    }


@pytest.mark.parametrize(
    "sent",
    [
        b'{"metadata":{"email":"CANARY","a":1}}',
        b'{"metadata":{"em\\u0061il":"CANARY","a":1}}',
        b'{"m\\u0065tadata":{"email":["CANARY"],"a":1}}',
        b'{"metadata":{"a":1,"deep":[{"email":{"x":"CANARY"}}]}}',
        b'{"commands":[{"metadata":{"email":"CANARY","a":1}}]}',
    ],
)
def test_private_metadata_is_left_out_wherever_it_is(sent: bytes) -> None:
    """The values of declared keys go, at any depth and in any spelling; the others stay."""
    assert has_private(sent, {"email"})

    left = kept(sent, "email")

    assert b"CANARY" not in left
    assert b'"email":"[redacted]"' in left
    assert b'"a":1' in left


def test_without_private_keys_a_body_that_was_read_needs_no_look() -> None:
    """The common request pays nothing."""
    assert not has_private(b'{"metadata":{"a":1}}', frozenset())
    assert not has_private(b'{"amount":"1"}', {"email"})


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.just("CANARY"),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(max_size=5), inner),
)


@given(st.dictionaries(st.text(max_size=5).filter(lambda name: name not in SHAPE), JSON))
def test_no_unknown_member_leaves_its_value(sent: dict[str, object]) -> None:
    """Whatever is sent under whatever name, its value is nowhere in what is kept."""
    left = json.loads(kept(msgspec.json.encode(sent)))

    assert left == dict.fromkeys(sent, REDACTED)


@pytest.mark.parametrize(
    ("path", "query", "left"),
    [
        ("/v1/wallets/ada/deposit", "", "/v1/wallets/ada/deposit"),
        ("/v1/wallets/ada/CANARY", "", "/v1/wallets/ada/[redacted]"),
        ("/v1/CANARY/ada/deposit", "", "/v1/[redacted]/[redacted]/deposit"),
        ("/v1/wallets/ada;jwt=CANARY/deposit", "", "/v1/wallets/[redacted]/deposit"),
        ("/v1//deposit/", "", "/v1//deposit/"),
        ("/v1/wallets", "limit=5&token=CANARY", "/v1/wallets?limit=5&token=[redacted]"),
        ("/v1/wallets", "token=CANARY=5&limit=5=6", "/v1/wallets?token=[redacted]&limit=5=6"),
        ("/v1/wallets", f"{'x' * 65}=1", f"/v1/wallets?{'x' * 64}=[redacted]"),
        ("/v1/wallets", "CANARY", "/v1/wallets?[redacted]"),
        ("/v1/wallets", "&=CANARY", "/v1/wallets?[redacted]&=[redacted]"),
    ],
)
def test_an_address_keeps_words_ids_and_known_parameters(path: str, query: str, left: str) -> None:
    """What stands where nothing of ours belongs, and what unknown parameters say, is left out."""
    assert address(path, query, PLACES) == left

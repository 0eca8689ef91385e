"""This module is where a checkpoint's line is spelled out, and every other spelling refused."""

import hmac
from collections.abc import Callable
from datetime import UTC, datetime
from hashlib import sha256

import msgspec
import pytest
from hypothesis import given, strategies as st

from wallet_common.checkpoints import Checkpoint, Statement, Unreadable, line_hash, read, signed

FIRST = Statement(
    checkpoint=1,
    at=datetime(2026, 11, 26, 5, 30, tzinfo=UTC),
    root="ab" * 32,
    wallets=3,
    seal=None,
    seal_hash=None,
    previous=None,
    algorithm="HMAC-SHA256",
    key="a-name",
)
SPELLED = (
    f'{{"checkpoint":1,"at":"2026-11-26T05:30:00Z","root":"{"ab" * 32}","wallets":3,"seal":null,'
    '"sealHash":null,"previous":null,"algorithm":"HMAC-SHA256","key":"a-name"'
)


class Key:
    """A secret that signs."""

    algorithm = "HMAC-SHA256"
    name = "a-name"

    def sign(self, content: bytes) -> bytes:
        return hmac.digest(b"secret", content, "sha256")


LINE = signed(FIRST, Key())


def test_what_is_signed_is_what_a_stranger_would_write_down() -> None:
    """The signature is of the byte 0x20 and the line up to the signature; the line adds it."""
    assert FIRST.content() == b"\x20" + f"{SPELLED}}}".encode()
    signature = hmac.digest(b"secret", b"\x20" + f"{SPELLED}}}".encode(), "sha256").hex()
    assert f'{SPELLED},"signature":"{signature}"}}' == LINE


STATEMENTS = st.builds(
    Statement,
    at=st.datetimes(timezones=st.just(UTC)),
    seal=st.none() | st.integers(1, 2**63 - 1),
    seal_hash=st.none() | st.text(),
)


@given(STATEMENTS)
def test_a_line_is_read_back_to_its_statement(statement: Statement) -> None:
    """All that was stated comes back, and the signature is of the bytes that were signed."""
    checkpoint = read(signed(statement, Key()))

    assert type(checkpoint) is Checkpoint
    stated = msgspec.structs.asdict(checkpoint)
    assert stated.pop("signature") == Key().sign(statement.content()).hex()
    assert stated == msgspec.structs.asdict(statement)
    assert checkpoint.content() == statement.content()


@pytest.mark.parametrize(
    "change",
    [
        lambda line: line.replace(",", ", ", 1),
        lambda line: line + "\n",
        lambda line: line.replace("Z", "+00:00"),
        lambda line: line.replace('"key"', '"more":1,"key"'),
        lambda line: line.replace("ab", "\\u0061b", 1),
    ],
)
def test_a_line_that_says_the_same_otherwise_is_not_read(change: Callable[[str], str]) -> None:
    """The hash of the line counts, so there is one way to write a checkpoint."""
    with pytest.raises(Unreadable, match=r"^it is not written as it was signed$"):
        read(change(LINE))


@pytest.mark.parametrize(
    ("line", "why"),
    [
        ("", "truncated"),
        ("[]", "Expected `object`"),
        (LINE[:-1], "truncated"),
        (LINE.replace('"wallets":3,', ""), "required field `wallets`"),
        (LINE.replace('"wallets":3', '"wallets":"3"'), "Expected `int`"),
        ("\ud800", "surrogates not allowed"),
        ('{"x":' + "[" * 100_000, "recursion"),
    ],
)
def test_what_is_no_checkpoint_is_not_read_and_it_is_said_why(line: str, why: str) -> None:
    """Whatever the line is, there is one exception for it, and it tells the fault."""
    with pytest.raises(Unreadable, match=why):
        read(line)


def test_a_lines_hash_is_of_its_bytes() -> None:
    """It is the SHA-256 of the byte 0x21 and the line without its end."""
    assert line_hash("ä") == sha256(b"\x21\xc3\xa4").hexdigest()

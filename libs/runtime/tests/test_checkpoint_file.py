"""This module is where the file outside gets what it lacks, and nothing that contradicts it."""

import fcntl
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric import ed25519, x25519
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    NoEncryption,
    PrivateFormat,
    PublicFormat,
)

from wallet_common.checkpoints import (
    Contradiction,
    Statement,
    Unreadable,
    line_hash,
    read,
    signed,
)
from wallet_runtime.checkpoint_file import complete, lines_of
from wallet_runtime.signing import SharedKey, key_of

KEY = SharedKey(bytes(32))


def chain_of(count: int, wallets: int = 1) -> list[str]:
    lines: list[str] = []
    for number in range(1, count + 1):
        previous = line_hash(lines[-1]) if lines else None
        statement = Statement(
            checkpoint=number,
            at=datetime(2026, 11, 25, tzinfo=UTC),
            root="00" * 32,
            wallets=wallets,
            seal=None,
            seal_hash=None,
            previous=previous,
            algorithm=KEY.algorithm,
            key=KEY.name,
        )
        lines.append(signed(statement, KEY))
    return lines


class Database:
    """What the database has, from a number on."""

    def __init__(self, lines: Sequence[str]) -> None:
        self.lines = lines

    async def __call__(self, number: int) -> Sequence[str]:
        return self.lines[number - 1 :]


async def test_a_file_gets_what_it_lacks(tmp_path: Path) -> None:
    """New, one behind, cut, torn in the middle of a line: afterwards it is whole, and private."""
    file, lines = tmp_path / "checkpoints.jsonl", chain_of(4)

    assert await complete(file, Database(lines[:2]), KEY) == 2
    assert await complete(file, Database(lines), KEY) == 2
    assert await complete(file, Database(lines), KEY) == 0
    whole = file.read_bytes()
    assert lines_of(file) == lines
    for kept in (whole[:-1], whole[:-30], whole[: whole.index(b"\n") + 1], b"", b"{"):
        file.write_bytes(kept)
        await complete(file, Database(lines), KEY)
        assert file.read_bytes() == whole
    assert file.stat().st_mode & 0o777 == 0o600


async def test_a_file_of_another_past_is_left_alone(tmp_path: Path) -> None:
    """One that knows more, one that knows otherwise, one of something else: none is written to."""
    file, lines = tmp_path / "checkpoints.jsonl", chain_of(3)
    for told in ("\n".join(lines), "\n".join(chain_of(2, wallets=7)), "a note", '{"a":1}'):
        for end in ("", "\n"):
            file.write_text(told + end)
            with pytest.raises(Contradiction):
                await complete(file, Database(lines[:2]), KEY)
            assert file.read_text() == told + end


async def test_two_do_not_write_at_once(tmp_path: Path) -> None:
    """A file that another process is writing to is not waited for."""
    file = tmp_path / "checkpoints.jsonl"
    with file.open("ab") as other:
        fcntl.flock(other, fcntl.LOCK_EX)
        with pytest.raises(BlockingIOError):
            await complete(file, Database(chain_of(1)), KEY)


def test_a_file_that_is_not_there_tells_nothing(tmp_path: Path) -> None:
    """Whoever compares decides what that means."""
    assert lines_of(tmp_path / "none") == []


@pytest.mark.parametrize(
    "change", [lambda t: t.replace(",", ", ", 1), lambda t: t[:-1], lambda _: "1"]
)
def test_a_line_is_read_only_as_it_was_written(change: object) -> None:
    """A blank more would be another line with the same signature."""
    assert callable(change)
    with pytest.raises(Unreadable):
        read(change(chain_of(1)[0]))


def test_keys_of_both_kinds_sign_and_check() -> None:
    """What one signs no other confirms; a public half confirms and cannot sign."""
    pair = ed25519.Ed25519PrivateKey.generate()
    private = pair.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()).decode()
    public = pair.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)
    signer, checker = key_of(private), key_of(public.decode())
    shared, other = key_of("ab" * 32), key_of("AC" * 32)

    for good, bad in ((signer, shared), (shared, other)):
        signature = good.sign(b"content")
        assert good.has_signed(b"content", signature)
        assert not good.has_signed(b"Content", signature)
        assert not bad.has_signed(b"content", signature)
        assert good.name != bad.name
    assert checker.has_signed(b"content", signer.sign(b"content"))
    assert checker.name == signer.name
    with pytest.raises(ValueError, match="private"):
        checker.sign(b"content")


def test_what_is_no_key_is_refused_without_being_repeated() -> None:
    """A secret that was mistyped must not stand in a log."""
    alien = x25519.X25519PrivateKey.generate()
    pem = alien.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()).decode()
    for text in ("ab" * 31, "zz" * 32, "secret", pem, pem.replace("M", "x")):
        with pytest.raises(ValueError, match="64 hexadecimal") as refused:
            key_of(text)
        assert text not in str(refused.value)


async def test_what_was_not_signed_is_not_written(tmp_path: Path) -> None:
    """Junk, another key's line, one that does not go on: the file stays as it was."""
    file, lines = tmp_path / "checkpoints.jsonl", chain_of(2)
    await complete(file, Database(lines[:1]), KEY)
    whole = file.read_bytes()
    stranger = SharedKey(bytes([1]) * 32)

    for junk in ('{"junk":1}', lines[0], chain_of(2, wallets=7)[1]):
        with pytest.raises(Contradiction, match="checkpoint 2"):
            await complete(file, Database([lines[0], junk]), KEY)
    with pytest.raises(Contradiction, match="not signed by this key"):
        await complete(file, Database(lines), stranger)
    assert file.read_bytes() == whole

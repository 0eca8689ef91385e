"""This module is where a proof holds, and no part of it can be changed without being noticed."""

import hmac
from collections.abc import Callable
from datetime import UTC, datetime

import msgspec
import pytest
from hypothesis import given, strategies as st

from wallet_common import chain
from wallet_common.checkpoints import Checkpoint, Statement, read, signed
from wallet_common.merkle import Head, Tree, leaf
from wallet_common.proofs import NotProven, Proof, ProvenEntry, check, decode, encode

AN_ID = "018f3a5c-0000-7000-8000-0000000000ff"
ENTRIES = 4
Change = Callable[[Proof], Proof]


class Key:
    """A secret that signs and checks."""

    algorithm = "HMAC-SHA256"

    def __init__(self, name: str) -> None:
        self.name = name

    def sign(self, content: bytes) -> bytes:
        return hmac.digest(self.name.encode(), content, "sha256")

    def has_signed(self, content: bytes, signature: bytes) -> bool:
        return self.sign(content) == signature


KEY = Key("ours")


def entry(version: int) -> ProvenEntry:
    return ProvenEntry(
        wallet_id="ann",
        wallet_version=version,
        type="deposit",
        amount_minor=100,
        balance_after_minor=version * 100,
        currency="USD",
        counter_account="@external",
        operation_id=AN_ID,
        transfer_id=None,
        request_id=f"key-{version}",
        reference=None,
        metadata='{"a":1}',
        audit_id=AN_ID,
        trace_id="trace-1",
        occurred_at=datetime(2026, 11, 25, 12, 30, 15, 123456, UTC),
    )


def proof_of(version: int) -> Proof:
    """Prove one of ann's entries by a checkpoint over three wallets."""
    entries = [entry(n) for n in range(1, ENTRIES + 1)]
    digests = [chain.entry_digest(msgspec.structs.astuple(each)) for each in entries]
    hashes = [chain.NO_HASH]
    for digest in digests:
        hashes.append(chain.link(hashes[-1], digest))
    head = Head("ann", ENTRIES, ENTRIES * 100, hashes[-1].hex())
    tree = Tree()
    for each in (Head("abe", 1, 0, "00" * 32), head, Head("bob", 1, 0, "00" * 32)):
        tree.add(leaf(each), is_proven=each is head)
    root, at = tree.root().hex(), datetime(2026, 11, 26, tzinfo=UTC)
    statement = Statement(
        checkpoint=7,
        at=at,
        root=root,
        wallets=3,
        seal=None,
        seal_hash=None,
        previous=None,
        algorithm=KEY.algorithm,
        key=KEY.name,
    )
    line = signed(statement, KEY)
    following = [digest.hex() for digest in digests[version:]]
    before = hashes[version - 1].hex()
    return Proof(entry(version), before, following, head, tree.path, line)


PROOF = proof_of(2)


def replaced(**changes: object) -> Change:
    return lambda proof: msgspec.structs.replace(proof, **changes)


def of_entry(**changes: object) -> Change:
    return lambda proof: replaced(entry=msgspec.structs.replace(proof.entry, **changes))(proof)


def of_head(**changes: object) -> Change:
    return lambda proof: replaced(head=msgspec.structs.replace(proof.head, **changes))(proof)


def of_checkpoint(was: str, becomes: str) -> Change:
    return lambda proof: replaced(checkpoint=proof.checkpoint.replace(was, becomes))(proof)


@pytest.mark.parametrize("version", range(1, ENTRIES + 1))
def test_a_proof_that_was_not_changed_holds(version: int) -> None:
    """The first, the newest and those between: each leads to the checkpoint that covers it."""
    proof = proof_of(version)

    assert check(proof, KEY) == read(proof.checkpoint)
    assert check(decode(encode(proof)), KEY).checkpoint == 7


def test_a_proof_is_written_for_people_too() -> None:
    """One member a line, indented by one blank, and the file ends with a line's end."""
    lines = encode(PROOF).decode().split("\n")

    assert lines[:3] == ["{", ' "entry": {', '  "wallet_id": "ann",']
    assert lines[-2:] == ["}", ""]


TO_ANOTHER_HEAD = r"^the entry does not lead to the wallet's head: something was changed$"
TO_ANOTHER_ROOT = r"^its way does not lead to the checkpoint's root: something was changed$"
BY_ANOTHER_KEY = r"^its checkpoint was not signed by this key, but by ours$"


@pytest.mark.parametrize(
    ("change", "why"),
    [
        (of_entry(amount_minor=101), TO_ANOTHER_HEAD),
        (of_entry(metadata='{"a": 1}'), TO_ANOTHER_HEAD),
        (of_entry(audit_id=None), TO_ANOTHER_HEAD),
        (replaced(before="00" * 32), TO_ANOTHER_HEAD),
        (replaced(following=PROOF.following[:-1]), TO_ANOTHER_HEAD),
        (replaced(following=PROOF.following[::-1]), TO_ANOTHER_HEAD),
        (of_head(head="00" * 32), TO_ANOTHER_HEAD),
        (of_head(balance_minor=401), TO_ANOTHER_ROOT),
        (of_head(version=5), TO_ANOTHER_ROOT),
        (replaced(path=PROOF.path[:-1]), TO_ANOTHER_ROOT),
        (replaced(path=PROOF.path[::-1]), TO_ANOTHER_ROOT),
        (of_checkpoint('"root":"', '"root":"00'), TO_ANOTHER_ROOT),
        (of_checkpoint('"wallets":3', '"wallets":4'), BY_ANOTHER_KEY),
        (of_checkpoint('"signature":"', '"signature":"00'), BY_ANOTHER_KEY),
        (of_entry(wallet_id="bob"), r"^entry and head are of two wallets$"),
        (of_head(wallet_id="bob"), r"^entry and head are of two wallets$"),
        (of_checkpoint(",", ", "), r"^its checkpoint is unreadable: it is not written as"),
    ],
)
def test_a_changed_proof_proves_nothing_and_it_is_said_where(change: Change, why: str) -> None:
    """Entry, hashes, head, path, checkpoint: a change of any ends the way at its place."""
    with pytest.raises(NotProven, match=why):
        check(change(PROOF), KEY)


@pytest.mark.parametrize(
    "change",
    [
        of_entry(operation_id="an id"),
        of_entry(wallet_version=2**63),
        of_entry(amount_minor=2**64),
        of_entry(occurred_at=datetime(2026, 11, 25)),  # noqa: DTZ001  # that it has no zone is the point
        replaced(before="a hash"),
        replaced(following=["a hash"]),
        of_head(version=2**64),
        of_head(version=-1),
        replaced(path=[msgspec.structs.replace(PROOF.path[0], hash="a hash")]),
        of_checkpoint('"signature":"', '"signature":"x'),
    ],
)
def test_what_no_books_can_hold_proves_nothing(change: Change) -> None:
    """No number that is too large, instant without a zone or hash of other letters goes further."""
    with pytest.raises(NotProven):
        check(decode(encode(change(PROOF))), KEY)


def test_an_unreadable_part_is_told_with_its_fault() -> None:
    """Whoever was given the file can find the place."""
    with pytest.raises(NotProven, match=r"^it is not written as it was made: non-hexadecimal"):
        check(replaced(before="a hash")(PROOF))


def test_the_key_is_that_which_was_given() -> None:
    """Another key has not signed it; without one nothing is said about the signature."""
    unsigned = of_checkpoint('"signature":"', '"signature":"00')(PROOF)

    assert type(check(unsigned)) is Checkpoint
    with pytest.raises(NotProven, match=BY_ANOTHER_KEY):
        check(PROOF, Key("theirs"))


@pytest.mark.parametrize(
    ("content", "why"),
    [
        (b"", "truncated"),
        (b"[]", "Expected `object`"),
        (b'{"entry":1}', "Expected `object`"),
        (encode(PROOF).replace(b'"entry"', b'"more":1,"entry"'), "unknown field `more`"),
        (encode(PROOF).replace(b'"type"', b'"more":1,"type"'), "unknown field `more`"),
        (encode(PROOF).replace(b"ann", b"\xff"), "decode byte 0xff"),
        (encode(PROOF).replace(b'"isLeft"', b'"more":1,"isLeft"', 1), "unknown field `more`"),
        (encode(PROOF).replace(b'"balanceMinor"', b'"more":1,"balanceMinor"'), "unknown field"),
    ],
)
def test_a_file_that_is_no_proof_is_said_to_be_none(content: bytes, why: str) -> None:
    """Members that nobody looks at would be believed, so there are none."""
    with pytest.raises(NotProven, match=f"^it is no proof: .*{why}"):
        decode(content)


@given(st.data())
def test_no_byte_of_a_file_can_change(data: st.DataObject) -> None:
    """A digit or letter in place of another: the file is no proof, or proves nothing."""
    content = bytearray(encode(PROOF))
    places = [n for n, byte in enumerate(content) if chr(byte).isalnum()]
    place = data.draw(st.sampled_from(places))
    others = set(b"0123456789abcdefxyz") - {content[place]}
    content[place] = data.draw(st.sampled_from(sorted(others)))

    with pytest.raises(NotProven):
        check(decode(bytes(content)), KEY)

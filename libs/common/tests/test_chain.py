"""This module is where it is shown that no column of a chained row can change unnoticed."""

from datetime import UTC, datetime, timedelta
from hashlib import sha256
from importlib.util import find_spec, module_from_spec
from types import ModuleType

import pytest
from hypothesis import given, strategies as st

from wallet_common import chain

AN_ID = "018f3a5c-0000-7000-8000-0000000000ff"
ENTRY = {
    "wallet_id": "ann",
    "wallet_version": 2,
    "type": "deposit",
    "amount_minor": 1250,
    "balance_after_minor": 1250,
    "currency": "USD",
    "counter_account": "@external",
    "operation_id": AN_ID,
    "transfer_id": None,
    "request_id": "key-1",
    "reference": None,
    "metadata": '{"a":1}',
    "audit_id": AN_ID,
    "trace_id": "trace-1",
    "occurred_at": datetime(2026, 11, 25, 12, 30, 15, 123456, UTC),
}


AUDIT = {
    "id": AN_ID,
    "recorded_at": datetime(1999, 12, 31, 23, 59, 59, 999999, UTC),
    "method": "POST",
    "url": "/v1/wallets/ann/deposit",
    "body": b"\xff\x00",
    "headers": '{"a":"\u00e4"}',
    "client_ip": None,
    "status": 404,
    "principal": "",
    "wallet_id": "ann",
    "request_id": None,
    "trace_id": "trace-1",
    "duration_us": 2**40,
}
SPELLED_ID = bytes.fromhex("018f3a5c0000700080000000000000ff")


def digest(**changes: object) -> bytes:
    return chain.entry_digest(list((ENTRY | changes).values()))


@pytest.fixture
def made_anew() -> ModuleType:
    """Return the module once more: what it makes of a table, it makes when it is imported."""
    spec = find_spec("wallet_common.chain")
    assert spec is not None
    assert spec.loader is not None
    module = module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def spelled(columns: list[tuple[int, bytes | None]]) -> bytes:
    """Write a row's bytes down once more, by hand: number, type, length, content."""
    written = b"\x01" + len(columns).to_bytes(4, "big")
    for number, content in columns:
        written += number.to_bytes(4, "big")
        if content is None:
            written += b"\xff\xff\xff\xff"
        else:
            written += len(content).to_bytes(4, "big") + content
    return sha256(written).digest()


def test_an_entrys_form_is_what_a_stranger_would_write_down(made_anew: ModuleType) -> None:
    """Fifteen columns, in their order; nothing of the entry is left out but its hash."""
    since_2000 = ENTRY["occurred_at"] - datetime(2000, 1, 1, tzinfo=UTC)  # type: ignore[operator]
    columns = [
        (25, b"ann"),
        (20, (2).to_bytes(8, "big")),
        (25, b"deposit"),
        (20, (1250).to_bytes(8, "big")),
        (20, (1250).to_bytes(8, "big")),
        (25, b"USD"),
        (25, b"@external"),
        (2950, SPELLED_ID),
        (2950, None),
        (25, b"key-1"),
        (25, None),
        (114, b'{"a":1}'),
        (2950, SPELLED_ID),
        (25, b"trace-1"),
        (1184, (since_2000 // timedelta(microseconds=1)).to_bytes(8, "big")),
    ]

    assert list(ENTRY) == list(chain.ENTRY)
    assert made_anew.entry_digest(list(ENTRY.values())) == digest() == spelled(columns)


def test_an_audit_rows_form_is_what_a_stranger_would_write_down(made_anew: ModuleType) -> None:
    """Any bytes of a body, a text's UTF-8, an instant before 2000, a status in two bytes."""
    columns = [
        (2950, SPELLED_ID),
        (1184, (-1).to_bytes(8, "big", signed=True)),
        (25, b"POST"),
        (25, b"/v1/wallets/ann/deposit"),
        (17, b"\xff\x00"),
        (114, b'{"a":"\xc3\xa4"}'),
        (25, None),
        (21, b"\x01\x94"),
        (25, b""),
        (25, b"ann"),
        (25, None),
        (25, b"trace-1"),
        (20, (2**40).to_bytes(8, "big")),
    ]
    row = list(AUDIT.values())

    assert list(AUDIT) == list(chain.AUDIT)
    assert made_anew.audit_digest(row) == chain.audit_digest(row) == spelled(columns)


@pytest.mark.parametrize("status", [-(2**15), -1, 0, 2**15 - 1])
def test_a_small_number_has_its_sign(status: int) -> None:
    """PostgreSQL's int2 is two bytes with a sign, and nothing larger fits."""
    two_bytes = status.to_bytes(2, "big", signed=True)
    columns = [*((kind, None) for kind in (2950, 1184, 25, 25, 17, 114, 25)), (21, two_bytes)]
    columns += [(25, None), (25, None), (25, None), (25, None), (20, None)]
    row = [status if name == "status" else None for name in chain.AUDIT]

    assert chain.audit_digest(row) == spelled(columns)
    with pytest.raises(OverflowError):
        chain.audit_digest([2**15 if name == "status" else None for name in chain.AUDIT])


CHANGED: dict[str, object] = {
    "wallet_id": "anna",
    "wallet_version": 3,
    "type": "withdraw",
    "amount_minor": -1250,
    "balance_after_minor": 1251,
    "currency": "EUR",
    "counter_account": "@transit",
    "operation_id": AN_ID.replace("f", "e"),
    "transfer_id": AN_ID,
    "request_id": "key-2",
    "reference": "",
    "metadata": '{"a": 1}',
    "audit_id": None,
    "trace_id": "trace-2",
    "occurred_at": datetime(2026, 11, 25, 12, 30, 15, 123457, UTC),
}


@pytest.mark.parametrize("column", chain.ENTRY)
def test_a_change_of_any_column_shows(column: str) -> None:
    """One blank in the metadata, one microsecond, nothing instead of an empty text: all count."""
    assert digest(**{column: CHANGED[column]}) != digest()


@given(st.lists(st.one_of(st.none(), st.text(max_size=5)), min_size=4, max_size=4, unique=True))
def test_what_moves_to_another_column_shows(texts: list[str | None]) -> None:
    """Lengths are part of the bytes: the same characters cut elsewhere are something else."""
    one, two, three, four = texts
    first = digest(reference=one, request_id=two, metadata=three, trace_id=four)

    assert digest(reference=two, request_id=one, metadata=three, trace_id=four) != first
    assert digest(reference=one, request_id=three, metadata=two, trace_id=four) != first
    joined = (two or "") + (three or "")
    assert digest(reference=one, request_id=joined, metadata="x", trace_id=four) != first


def test_a_link_depends_on_all_before_it() -> None:
    """Two entries in the other order, or one left out, end in another hash."""
    one, two = digest(), digest(wallet_version=3)

    forwards = chain.link(chain.link(chain.NO_HASH, one), two)

    assert forwards != chain.link(chain.link(chain.NO_HASH, two), one)
    assert forwards != chain.link(chain.NO_HASH, two)
    assert chain.link(one, two) == sha256(b"\x02" + one + two).digest()


def test_a_seal_is_of_all_that_it_states() -> None:
    """The seal before, its number, its instant, each row's id and digest, in this order."""
    before, digests = bytes(range(32)), bytes(range(64))
    other = "00000000-0000-0000-0000-000000000001"
    at = datetime(2000, 1, 1, 0, 0, 1, 1, UTC)
    stated = (258).to_bytes(8, "big") + (1_000_001).to_bytes(8, "big")
    whole = b"\x03" + before + stated + SPELLED_ID + bytes(15) + b"\x01" + digests

    assert chain.seal(before, 258, at, [AN_ID, other], digests) == sha256(whole).digest()


def test_a_row_that_lacks_a_column_is_no_row(made_anew: ModuleType) -> None:
    """A digest that silently skips a column would protect nothing."""
    for digester in (chain.entry_digest, made_anew.entry_digest):
        with pytest.raises(ValueError, match="shorter"):
            digester(list(ENTRY.values())[:-1])
        with pytest.raises(ValueError, match="longer"):
            digester([*ENTRY.values(), None])

"""This module is where wires are cut: exactly the one reply is swallowed, and no other."""

import asyncio
import struct
from collections.abc import AsyncIterator, Callable

import asyncpg
import pytest

from wallet_tools.ports import LOOPBACK
from wallet_tools.postgres import PostgresServer
from wallet_tools.torture.proxy import Then, Wire
from wallet_tools.torture.streams import COMMIT_REPLY, CommitSieve, ConfirmSieve

READY = b"Z\x00\x00\x00\x05I"


@pytest.fixture
async def wire_to(postgres_server: PostgresServer) -> AsyncIterator[Wire]:
    """Yield a wire to this session's PostgreSQL."""
    wire = Wire("test", postgres_server.port, CommitSieve)
    await wire.open()
    yield wire
    await wire.close()


@pytest.fixture
def connect_through(wire_to: Wire, database_url: str) -> Callable[[], object]:
    """Return what connects to this test's database through the wire."""
    direct = database_url.replace("+asyncpg", "")
    head, _, tail = direct.rpartition("@")
    through = f"{head}@{LOOPBACK}:{wire_to.port}/{tail.partition('/')[2]}"
    return lambda: asyncpg.connect(through, timeout=5)


async def test_one_commit_loses_its_reply_and_keeps_its_effect(
    wire_to: Wire, connect_through: Callable[[], object], database_url: str
) -> None:
    """The armed wire cuts after the next COMMIT: the client knows nothing, the row is there."""
    first = await connect_through()  # type: ignore[misc]  # the driver is untyped
    await first.execute("CREATE TABLE kept (n int)")
    wire_to.arm(Then.CUT)
    waiting = asyncio.create_task(wire_to.taken(5))

    with pytest.raises((asyncpg.PostgresError, asyncpg.InterfaceError, OSError)):
        async with first.transaction():
            await first.execute("INSERT INTO kept VALUES (1)")

    assert await waiting
    assert wire_to.swallowed == 1
    again = await connect_through()  # type: ignore[misc]
    async with again.transaction():
        await again.execute("INSERT INTO kept VALUES (2)")
    assert await again.fetchval("SELECT array_agg(n ORDER BY n) FROM kept") == [1, 2]
    assert wire_to.swallowed == 1
    await again.close()


async def test_what_is_read_passes_an_armed_wire(
    wire_to: Wire, connect_through: Callable[[], object]
) -> None:
    """A wire that waits for a COMMIT lets everything else through, and can be disarmed."""
    connection = await connect_through()  # type: ignore[misc]
    wire_to.arm(Then.CUT)

    assert await connection.fetchval("SELECT 'COMMIT'") == "COMMIT"
    assert not wire_to.disarm()
    async with connection.transaction():
        await connection.execute("SELECT 1")
    await connection.close()


async def test_a_held_reply_leaves_the_client_waiting(
    wire_to: Wire, connect_through: Callable[[], object]
) -> None:
    """HOLD neither answers nor hangs up: the client waits until it, or the wire, lets go."""
    connection = await connect_through()  # type: ignore[misc]
    wire_to.arm(Then.HOLD)
    committing = asyncio.create_task(connection.execute("BEGIN; COMMIT"))

    assert await wire_to.taken(5)
    assert not committing.done()
    assert wire_to.cut() == 1
    with pytest.raises((asyncpg.PostgresError, asyncpg.InterfaceError, OSError)):
        await committing


async def test_a_dark_wire_connects_and_says_nothing(
    wire_to: Wire, connect_through: Callable[[], object]
) -> None:
    """In the dark nothing passes; once it is light, what was dark is cut and new ones work."""
    connection = await connect_through()  # type: ignore[misc]
    wire_to.darken()
    asking = asyncio.create_task(connection.fetchval("SELECT 1"))
    done, _ = await asyncio.wait([asking], timeout=0.3)
    assert not done

    wire_to.lighten()
    with pytest.raises((asyncpg.PostgresError, asyncpg.InterfaceError, OSError)):
        await asking
    again = await connect_through()  # type: ignore[misc]
    assert await again.fetchval("SELECT 1") == 1
    await again.close()


async def test_a_server_that_is_away_is_a_cut_wire() -> None:
    """Behind a wire to nowhere a client is reset at once: it does not wait for an answer."""
    wire = Wire("nowhere", 1, CommitSieve)
    await wire.open()
    reader, writer = await asyncio.open_connection(LOOPBACK, wire.port)
    with pytest.raises(ConnectionResetError):
        await asyncio.wait_for(reader.read(), 5)
    writer.close()
    await wire.close()


@pytest.mark.parametrize("cut_at", range(1, len(COMMIT_REPLY)))
def test_a_reply_in_two_chunks_is_found(cut_at: int) -> None:
    """Wherever TCP cuts the reply in two, it is found, and what came before it passes."""
    sieve = CommitSieve()
    stream = b"D123" + COMMIT_REPLY + READY
    at = 4 + cut_at

    first, is_found = sieve.pass_on(stream[:at], is_armed=True)
    second, is_found_later = sieve.pass_on(stream[at:], is_armed=True)

    assert (is_found, is_found_later) == (False, True)
    assert first + second == b"D123"


def test_what_only_begins_like_a_reply_passes_whole() -> None:
    """Bytes that were held back because they might have become the reply are not lost."""
    sieve = CommitSieve()
    passed = b"".join(
        sieve.pass_on(part, is_armed=True)[0] for part in (b"aC\0\0", b"\0\x0bX", b"y")
    )

    assert passed == b"aC\0\0\0\x0bXy"


def _frame(kind: int, channel: int, payload: bytes) -> bytes:
    return struct.pack(">BHI", kind, channel, len(payload)) + payload + b"\xce"


def test_exactly_one_confirm_is_swallowed() -> None:
    """Of two confirms between other frames the first is taken out, whatever the chunks are."""
    deliver = _frame(1, 1, struct.pack(">HH", 60, 60) + b"basic.ack in a name")
    body = _frame(3, 1, struct.pack(">HH", 60, 80) + b"a body that looks like one")
    confirms = [_frame(1, 2, struct.pack(">HHQB", 60, 80, tag, 0)) for tag in (1, 2)]
    stream = deliver + body + confirms[0] + body + confirms[1] + deliver
    expected = deliver + body + body + confirms[1] + deliver

    for size in (1, 7, len(stream)):
        sieve, is_armed, passed = ConfirmSieve(), True, b""
        for at in range(0, len(stream), size):
            out, is_found = sieve.pass_on(stream[at : at + size], is_armed=is_armed)
            passed += out
            is_armed = is_armed and not is_found
        assert passed == expected, size

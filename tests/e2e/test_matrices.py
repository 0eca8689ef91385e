"""
Promises about tokens and owners on a real stack: each of its two API processes keeps them.

The rows are those of the catalogue (`services/api/tests/inputs`), with exact statuses.
"""

import asyncio
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import suppress
from pathlib import Path
from statistics import median
from typing import TYPE_CHECKING, Final, NamedTuple

import pytest

from services.api.tests.inputs import owners, strangers
from services.api.tests.inputs.forms import check_form
from services.api.tests.inputs.owners import SAMPLES, TIMED, TOLERANCE
from services.api.tests.inputs.place import Answer, Scene, answers, new_trace
from services.api.tests.inputs.rows import Row, get
from wallet_tools import stack
from wallet_tools.state import StateFolder

if TYPE_CHECKING:
    from tests.e2e.conftest import Town

pytestmark = pytest.mark.slow

ROWS: Final = tuple(
    row for row in (*strangers.ROWS, *owners.ROWS) if row.number == 145 or 171 <= row.number <= 210
)
_WARM: Final = 16
_ROUNDS: Final = 3
_LOOK: Final = """
SELECT json_build_array(
    (SELECT count(*) FROM operations), (SELECT count(*) FROM ledger_entries),
    (SELECT count(*) FROM events WHERE wallet_version IS NOT NULL), sum(balance_minor)
) FROM wallets
"""


class Connection(NamedTuple):
    """A connection to one process."""

    reader: asyncio.StreamReader
    writer: asyncio.StreamWriter

    async def ask(self, request: bytes) -> Answer:
        """Send a request as it is and return its answer, with the time that took."""
        began = time.perf_counter()
        self.writer.write(request)
        received = await self.reader.readuntil(b"\r\n\r\n")
        length = received.lower().split(b"content-length: ")[1].split(b"\r\n")[0]
        received += await self.reader.readexactly(int(length))
        (answer,) = answers(received, time.perf_counter() - began)
        return answer

    async def ask_last(self, request: bytes) -> Answer:
        """Send a request that asks to hang up behind its answer; there is no second one."""
        answer = await self.ask(request)
        assert await self.reader.read() == b""
        self.writer.close()
        return answer


class Doors:
    """The processes of the API behind their one address."""

    def __init__(self, scene: Scene, pids: list[int]) -> None:
        self._scene = scene
        self._spare: dict[int, list[Connection]] = {pid: [] for pid in pids}

    async def each(self) -> dict[int, Connection]:
        """Return a connection to each process on which nothing but a probe was asked yet."""
        while not all(self._spare.values()):
            connection = Connection(*await asyncio.open_connection("127.0.0.1", self._scene.port))
            # Whoever answers on it is who has it.
            probe = get(0, "/healthz", 200, token="")
            assert (await connection.ask(self.lasting(probe))).status == 200
            self._spare[self._owner(connection)].append(connection)
        return {pid: spare.pop() for pid, spare in self._spare.items()}

    async def ask(self, row: Row) -> dict[int, Answer]:
        """Return what each process answers to a row, each on a connection of its own."""
        request = self._scene.request(row, new_trace())
        doors = await self.each()
        told = [await each.ask_last(request) for each in doors.values()]
        for each in told:
            check_form(each, request)
        return dict(zip(doors, told, strict=True))

    def lasting(self, row: Row) -> bytes:
        """Return the row's bytes, for a connection that is to stay."""
        return self._scene.request(row, "lasting").replace(b"Connection: close\r\n", b"")

    def fill(self, name: str) -> bytes:
        """Return what a name in a row stands for."""
        return self._scene.fill(name.encode())

    def close(self) -> None:
        for spare in self._spare.values():
            for each in spare:
                each.writer.close()

    def _owner(self, connection: Connection) -> int:
        """Return the process that holds the other end, as the kernel knows it."""
        ours, theirs = (
            f"0100007F:{connection.writer.get_extra_info(name)[1]:04X}"
            for name in ("sockname", "peername")
        )
        inodes: set[str] = set()
        # The table is read piece by piece while others change it: a line may be there twice, or
        # be missed.
        while not inodes:
            lines = (line.split() for line in Path("/proc/net/tcp").read_text().splitlines())
            inodes = {line[9] for line in lines if line[1:3] == [theirs, ours]}
        (inode,) = inodes
        (pid,) = (pid for pid in self._spare if f"socket:[{inode}]" in _sockets(pid))
        return pid


def _sockets(pid: int) -> Iterator[str]:
    for file in Path(f"/proc/{pid}/fd").iterdir():
        with suppress(FileNotFoundError):
            yield str(file.readlink())


@pytest.fixture(scope="module")
def scene(state_without_broker: StateFolder) -> Iterator[Scene]:
    """Yield the wallets that rows refer to, on the stack that asks for tokens."""
    run = stack.read_run(state_without_broker)
    assert run is not None
    scene = Scene(int(run.api.rpartition(":")[2]))
    scene.furnish()
    yield scene
    scene.client.close()


@pytest.fixture
async def doors(scene: Scene, quiet_town: "Town") -> AsyncIterator[Doors]:
    """Yield the stack's two processes."""
    doors = Doors(scene, quiet_town.run().pids.api)
    yield doors
    doors.close()


@pytest.mark.parametrize("row", ROWS, ids=lambda row: row.name)
async def test_both_processes_answer_a_row_alike(
    doors: Doors, quiet_town: "Town", row: Row
) -> None:
    """Each answers with the one status there is; what is another's is to both as what is not."""
    (status,) = row.allowed
    before = await quiet_town.value(_LOOK)

    told = await doors.ask(row)

    assert len(told) == 2
    assert [each.status for each in told.values()] == [status] * 2
    if row.moves is None:
        assert await quiet_town.value(_LOOK) == before
    if row.twin is not None:
        absent = await doors.ask(row._replace(path=row.path.replace(*row.twin)))
        theirs, nobodys = (doors.fill(name) for name in row.twin)
        forms = {
            (each.status, _untraced(each).replace(theirs, nobodys), *sorted(each.headers.keys()))
            for each in (*told.values(), *absent.values())
        }
        assert len(forms) == 1


async def test_a_key_of_two_owners_is_two_keys_on_both_processes(
    doors: Doors, quiet_town: "Town"
) -> None:
    """Each owner's transfer under one key is carried out once, whichever process hears it (145)."""
    rows = [
        Row(
            *(145, "the same key", (201,)),
            body=b'{"amount":"1","toWalletId":"w2","requestId":"of-both"}',
            path=f"/v1/wallets/{wallet_id}/transfer",
            token=f"<{owner}>",
        )
        for wallet_id, owner in (("w1", "alice"), ("w9", "mallory"))
    ]
    told = [answer for row in rows for answer in (await doors.ask(row)).values()]

    assert [each.status for each in told] == [201] * 4
    assert [each.headers["Idempotent-Replay"] for each in told] == [None, "true"] * 2
    assert told[0].content == told[1].content != told[2].content == told[3].content


@pytest.mark.parametrize(("method", "rest"), TIMED)
async def test_anothers_wallet_takes_as_long_as_none_on_both_processes(
    doors: Doors, method: str, rest: str
) -> None:
    """Of 200 samples each, asked in turn of both, the medians are within 20 % of each other."""
    body = b'{"amount":"1","toWalletId":"w1"}' if method == "POST" else b""
    rows = [
        Row(0, "", (404,), body, f"/v1/wallets/{name}{rest}", method, token="<alice>")
        for name in ("w9", "w0")
    ]

    # A difference would be there each time; somebody else who has the machine is not.
    told = []
    for _ in range(_ROUNDS):
        told.append(await medians(doors, *rows))
        if max(told[-1]) / min(told[-1]) < TOLERANCE:
            return
    pytest.fail(f"the medians, each time: {told}")


async def medians(doors: Doors, *rows: Row) -> list[float]:
    """Ask both processes two rows in turn; return the median time of each row."""
    both = list((await doors.each()).values())
    requests = [doors.lasting(row) for row in rows]
    taken: list[list[float]] = [[], []]
    for number in range(2 * SAMPLES + _WARM):
        # Four by one process, then by the other, which has rested: each row has each place alike.
        which, door = (0, 1, 1, 0)[number % 4] ^ (number // 8 % 2), both[number // 4 % 2]
        answer = await door.ask(requests[which])
        assert answer.status == 404
        taken[which].append(answer.seconds)
    for each in both:
        each.writer.close()
    return [median(each[_WARM // 2 :]) for each in taken]


def _untraced(answer: Answer) -> bytes:
    """Return an answer's bytes without its own trace id, which nothing else has."""
    return answer.content.replace(answer.headers["X-Trace-Id"].encode(), b"")

"""This module is where the short story is told that shows the whole service at work."""

import argparse
import asyncio
import itertools
import sys
from collections.abc import Awaitable, Callable
from datetime import UTC, datetime
from time import monotonic
from typing import Any, Final

import aio_pika
import asyncpg
import httpx

from wallet_common.topology import Topology
from wallet_db_orm.database import Database
from wallet_db_orm.ids import new_id
from wallet_db_orm.verify import Finding, verify
from wallet_tools import stack
from wallet_tools.letters import BrokerBox, Letter, LetterBox, TableBox
from wallet_tools.options import Options
from wallet_tools.postgres import ServerFailed
from wallet_tools.state import StateFolder

_PATIENCE_S: Final = 30.0
_POLL_S: Final = 0.1
_numbers = itertools.count(1)


Body = dict[str, str]


class Unexpected(Exception):
    """The story went another way than it should; the message says where."""


class Story:
    """Asks the API one thing after the other, tells it, and stops at the first wrong answer."""

    def __init__(self, run: stack.Run, client: httpx.AsyncClient) -> None:
        self.run = run
        self.client = client
        self.topology = Topology()
        suffix = new_id()[-6:]
        self.ada, self.bob = f"ada-{suffix}", f"bob-{suffix}"

    async def post(self, title: str, path: str, expected: int, body: Body) -> httpx.Response:
        answer = await self.client.post(f"/v1/wallets{path}", json=body)
        return self._told(title, "POST", path, answer, expected)

    async def get(self, title: str, path: str, **query: str) -> Any:  # noqa: ANN401  # JSON
        answer = await self.client.get(f"/v1/wallets{path}", params=query)
        return self._told(title, "GET ", path, answer, 200).json()

    def _told(
        self, title: str, method: str, path: str, answer: httpx.Response, expected: int
    ) -> httpx.Response:
        replay = ", a replay" if "idempotent-replay" in answer.headers else ""
        tell(f"{title}\n     {method} /v1/wallets{path} -> {answer.status_code}{replay}")
        print(f"     {answer.text[:300]}")
        check(answer.status_code == expected, f"{title}: {answer.status_code} {answer.text}")
        return answer


async def tell_story(story: Story, database: Database) -> None:
    """Tell all of it, in order."""
    before = await _money(story)
    await _past(story, before)
    await _fraud(story)
    await _poison(story, database)
    await _proof(database)


async def _money(story: Story) -> datetime:
    deposit, withdraw = f"/{story.ada}/deposit", f"/{story.ada}/withdraw"
    opening = {"id": story.ada, "ownerId": f"owner-of-{story.ada}"}
    await story.post("A wallet is opened", "", 201, opening)

    asked = {"amount": "20100.00", "requestId": "demo-1"}
    first = await story.post("A deposit", deposit, 201, asked)
    again = await story.post("The same request again: the same bytes", deposit, 201, asked)
    check(first.content == again.content, "the replay differs from the first answer")
    other = asked | {"amount": "20100.01"}
    await story.post("The same key, another amount: refused, the field named", deposit, 422, other)
    before = datetime.now(UTC)

    asked = {"amount": "40.50", "requestId": "demo-2"}
    await story.post("A withdrawal", withdraw, 201, asked)
    asked = {"amount": "99999.00", "requestId": "demo-3"}
    refused = await story.post("More than there is: refused, with numbers", withdraw, 422, asked)
    repeated = await story.post("And again: refusals are remembered too", withdraw, 422, asked)
    check(refused.content == repeated.content, "the repeated refusal differs from the first")

    first_deposit = {"amount": "1.00"}
    title = "Another wallet, opened by its first deposit"
    await story.post(title, f"/{story.bob}/deposit", 201, first_deposit)
    asked = {"toWalletId": story.bob, "amount": "9.50", "requestId": "demo-4"}
    title = "A transfer: debited, credited, completed"
    await story.post(title, f"/{story.ada}/transfer", 201, asked)
    return before


async def _past(story: Story, before: datetime) -> None:
    title = "The history: every event, versions without a gap"
    history = await story.get(title, f"/{story.ada}/history")
    versions = [event["walletVersion"] for event in history["items"]]
    print(f"     versions: {versions}")
    check(versions == list(range(len(versions), 0, -1)), f"the history has a gap: {versions}")
    title = "The balance as it was before the withdrawal"
    then = await story.get(title, f"/{story.ada}", at=before.isoformat())
    check(then["balance"] == "20100.00", f"the past balance is {then['balance']}")


async def _fraud(story: Story) -> None:
    withdraw = f"/{story.ada}/withdraw"
    for nth in ("second", "third"):
        title = f"The {nth} withdrawal within a minute"
        await story.post(title, withdraw, 201, {"amount": "5.00"})
    await _flagged(story, "rapid_withdrawals", "Three within a minute are flagged")
    await story.post("A withdrawal of 10 000", withdraw, 201, {"amount": "10000.00"})
    await _flagged(story, "large_transaction", "The large one is flagged")


async def _flagged(story: Story, rule_id: str, title: str) -> None:
    async def has_flag() -> bool:
        stats = (await story.client.get(f"/v1/wallets/{story.ada}/stats")).json()
        return any(flag["ruleId"] == rule_id for flag in stats["flags"])

    await until(has_flag, f"the flag {rule_id}")
    stats = await story.get(f"{title}, with evidence", f"/{story.ada}/stats")
    flag = next(each for each in stats["flags"] if each["ruleId"] == rule_id)
    print(f"     evidence: {flag['evidence']}")


async def _poison(story: Story, database: Database) -> None:
    body = f"not an event, says the demo {new_id()}".encode()
    box: LetterBox
    if story.run.rabbitmq:
        box = BrokerBox(story.run.rabbitmq, story.topology)
        resting = story.topology.dead_letter_queue
        await _publish(story.run.rabbitmq, story.topology, body)
    else:
        box, resting = TableBox(database), "dead_letters, the table"
        body = await _point_at_nothing(story)
    letter = await _letter(box, body)
    tell(f"A message that nobody can read rests in {resting}")
    print(f"     {letter.error_class}: {letter.error}")
    print(f"     {letter.size} bytes: {letter.body[:120].decode(errors='replace')}")
    if story.run.rabbitmq:
        await box.replay(letter.id)
        letter = await _letter(box, body, replays=1)
        tell(f"It is replayed, dies again, and is seen to have been replayed {letter.replays} time")


async def _publish(url: str, topology: Topology, body: bytes) -> None:
    connection = await aio_pika.connect(url, timeout=10)
    async with connection:
        channel = await connection.channel(publisher_confirms=True, on_return_raises=True)
        exchange = await channel.get_exchange(topology.exchange)
        await exchange.publish(aio_pika.Message(body), "Demo", mandatory=True, timeout=10)


async def _point_at_nothing(story: Story) -> bytes:
    """Queue an event that does not exist; return what its letter's body has to contain."""
    event_id = new_id()
    connection = await asyncpg.connect(story.run.database)
    try:
        await connection.execute(
            "INSERT INTO outbox (wallet_id, event_id) VALUES ($1, $2)", story.ada, event_id
        )
    finally:
        await connection.close()
    return event_id.encode()


async def _letter(box: LetterBox, body: bytes, replays: int = 0) -> Letter:
    found: list[Letter] = []

    async def is_there() -> bool:
        letters = await box.letters()
        found[:] = [each for each in letters if body in each.body and each.replays == replays]
        return bool(found)

    await until(is_there, "the dead letter")
    return found[0]


async def _proof(database: Database) -> None:
    def show(finding: Finding) -> None:
        mark = "BROKEN" if finding.violations else "holds"
        print(f"     {mark:<6} {finding.id:<3} {finding.name} ({finding.checked} rows)")

    tell("wallet verify: the whole ledger, proved in one snapshot")
    report = await verify(database.primary, progress=show)
    check(report.ok, "the books contradict themselves")


async def until(holds: Callable[[], Awaitable[bool]], what: str) -> None:
    """Wait for a condition of another process; raises Unexpected when patience ends."""
    deadline_s = monotonic() + _PATIENCE_S
    while not await holds():
        if monotonic() > deadline_s:
            raise Unexpected(f"{what} did not come within {_PATIENCE_S:.0f} s")
        await asyncio.sleep(_POLL_S)


def tell(text: str) -> None:
    print(f"\n{next(_numbers):>3}. {text}", flush=True)


def check(holds: bool, complaint: str) -> None:  # noqa: FBT001  # reads like assert
    """Raise Unexpected unless the story goes as it should."""
    if not holds:
        raise Unexpected(complaint)


async def _tell(run: stack.Run) -> None:
    database = Database(run.database, application_name="wallet-demo", pool_size=2)
    try:
        async with httpx.AsyncClient(base_url=run.api, timeout=15) as client:
            await tell_story(Story(run, client), database)
    finally:
        await database.dispose()


def main(arguments: list[str] | None = None) -> int:
    """Bring a stack up, tell the story, leave the stack up."""
    parser = argparse.ArgumentParser(
        prog="tools/dev demo",
        description="Bring everything up and tell a short story over HTTP; the stack stays up.",
    )
    parser.add_argument("--state", metavar="DIR", help="the stack's folder (default: .local)")
    parser.add_argument("--port", type=int, help="the API's port (default: a free one, kept)")
    parser.add_argument("--no-broker", action="store_true", help="events go through PostgreSQL")
    given = parser.parse_args(arguments)
    state = StateFolder.at(given.state)
    has_broker = False if given.no_broker else None
    try:
        run = stack.up(state, Options(port=given.port, has_broker=has_broker))
        asyncio.run(_tell(run))
    except (stack.StackFailed, ServerFailed, Unexpected) as failed:
        print(f"\ndemo: {failed}", file=sys.stderr)
        return 1
    where = f" --state {given.state}" if given.state else ""
    print(f"""
The stack stays up.
  API        {run.api}
  Swagger    {run.docs}
  look       tools/dev status{where} · tools/dev logs -f{where} · tools/dev wallet verify{where}
  letters    tools/dev wallet dlq list{where}
  stop       tools/dev down{where}""")
    return 0


if __name__ == "__main__":
    sys.exit(main())

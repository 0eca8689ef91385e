"""This module is where the short story is told that shows the whole service at work."""

import argparse
import asyncio
import sys
from datetime import UTC, datetime

import httpx

from wallet_db_orm.database import Database
from wallet_db_orm.verify import Finding, verify
from wallet_tools import stack
from wallet_tools.demo import foreign, letters
from wallet_tools.demo.story import Story, Unexpected, check, tell, until
from wallet_tools.options import Options
from wallet_tools.postgres import ServerFailed
from wallet_tools.state import StateFolder


async def tell_story(story: Story, database: Database) -> None:
    """Tell all of it, in order."""
    before = await _money(story)
    await _past(story, before)
    await _fraud(story)
    await foreign.tell_of_others(story)
    await letters.tell_of_letters(story, database)
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


async def _proof(database: Database) -> None:
    def show(finding: Finding) -> None:
        mark = "BROKEN" if finding.violations else "holds"
        print(f"     {mark:<6} {finding.id:<3} {finding.name} ({finding.checked} rows)")

    tell("wallet verify: the whole ledger, proved in one snapshot")
    report = await verify(database.primary, progress=show)
    check(report.ok, "the books contradict themselves")


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

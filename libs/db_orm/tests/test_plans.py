"""This module is where no statement of the write path reads more than it was asked for."""

import re

import pytest

from wallet_db_orm import (
    explanation,
    feed,
    group_read,
    holds,
    instants,
    owner_keys,
    queries,
    reversals,
    settlements,
    statements as sql,
)
from wallet_tools.postgres import PostgresServer

# As long as what administrators have set, or as there are months in files.
SHORT = ("fee_schedules", "archived_partitions")


def numbered(named: str) -> str:
    """Return a statement with its `:names` as numbers, as the database gets it."""
    names = list(dict.fromkeys(re.findall(r"(?<!:):([a-z_]+)", named)))
    return re.sub(r"(?<!:):([a-z_]+)", lambda found: f"${names.index(found[1]) + 1}", named)


FEED = {
    "FEED": numbered(str(feed.FEED)),
    "WALLETS_FEED": numbered(str(feed.WALLETS_FEED)),
    "NEW_EVENTS": feed.NEW_EVENTS,
}
PAST = {
    "WALLET_AT": numbered(str(instants._WALLET_AT)),
    "STATEMENT": numbered(str(instants._STATEMENT)),
    "BEHIND": numbered(str(explanation._BEHIND)),
    "HOLD": numbered(str(holds._HOLD)),
    "HOLDS_OF_WALLET": numbered(str(holds._OF_WALLET)),
    "HOLDS_DUE": numbered(str(holds._DUE)),
    "ORIGINAL": numbered(str(reversals._ORIGINAL)),
}
PERSONAL = {
    "WALLETS_INDEXED": numbered(str(queries._WALLETS_INDEXED)),
    "FIND_KEYS": numbered(str(owner_keys._FIND)),
    "STALE_KEYS": owner_keys._STALE,
    "UNINDEX": owner_keys._UNINDEX,
}
STATEMENTS = (
    FEED
    | PAST
    | PERSONAL
    | {
        name: text
        for name, text in {
            **vars(sql),
            **vars(settlements),
            "BALANCES": group_read._WALLETS,
        }.items()
        if isinstance(text, str) and re.match(r"\s*(SELECT|INSERT|UPDATE|WITH)\b", text)
    }
)


@pytest.mark.parametrize("name", STATEMENTS)
def test_a_plan_made_for_empty_tables_goes_by_keys(
    database_url: str, postgres_server: PostgresServer, name: str
) -> None:
    """Whatever the planner thinks of a table's size, rows are found by index conditions only."""
    explain = f"SET enable_seqscan = off; EXPLAIN (GENERIC_PLAN) {STATEMENTS[name]}"
    plan = postgres_server.execute(explain, database_url.rpartition("/")[2]).splitlines()

    plan = [line for line in plan if not any(f"on {name}" in line for name in SHORT)]
    assert not [line for line in plan if "Seq Scan on" in line], plan
    for number, line in enumerate(plan):
        if re.search(r"Index (Only )?Scan (using|on)", line):
            assert "Index Cond" in plan[number + 1], plan


def test_a_wallets_feed_goes_along_its_own_index(
    database_url: str, postgres_server: PostgresServer
) -> None:
    """A wallet's events are not looked for among all the others'."""
    explain = f"SET enable_seqscan = off; EXPLAIN (GENERIC_PLAN) {FEED['WALLETS_FEED']}"
    plan = postgres_server.execute(explain, database_url.rpartition("/")[2])

    assert plan.count("using ix_feed_wallet_id_position") == 2, plan
    assert "feed_pkey" not in plan
    assert "pk_feed" not in plan


def test_every_statement_is_looked_at() -> None:
    """The statements of the write path are among those above."""
    assert {"LOCK_WALLETS", "LOOK_UP", "READ_SIBLINGS", "RECORD", "FINISH_TRANSFERS"} <= set(
        STATEMENTS
    )

"""This module is where no statement of the write path reads more than it was asked for."""

import re

import pytest

from wallet_db_orm import group_read, statements as sql
from wallet_tools.postgres import PostgresServer

STATEMENTS = {
    name: text
    for name, text in {**vars(sql), "BALANCES": group_read._WALLETS}.items()
    if isinstance(text, str) and re.match(r"\s*(SELECT|INSERT|UPDATE|WITH)\b", text)
}


@pytest.mark.parametrize("name", STATEMENTS)
def test_a_plan_made_for_empty_tables_goes_by_keys(
    database_url: str, postgres_server: PostgresServer, name: str
) -> None:
    """Whatever the planner thinks of a table's size, rows are found by index conditions only."""
    explain = f"SET enable_seqscan = off; EXPLAIN (GENERIC_PLAN) {STATEMENTS[name]}"
    plan = postgres_server.execute(explain, database_url.rpartition("/")[2]).splitlines()

    assert not [line for line in plan if "Seq Scan on" in line], plan
    for number, line in enumerate(plan):
        if re.search(r"Index (Only )?Scan (using|on)", line):
            assert "Index Cond" in plan[number + 1], plan


def test_every_statement_is_looked_at() -> None:
    """The statements of the write path are among those above."""
    assert {"LOCK_WALLETS", "LOOK_UP", "READ_SIBLINGS", "RECORD", "FINISH_TRANSFERS"} <= set(
        STATEMENTS
    )

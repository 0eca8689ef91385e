"""This module is where one query answers for several invariants, each with what contradicts it."""

from typing import Any, Final

import msgspec

from wallet_common.currencies import EXPONENTS, PATTERN
from wallet_db_orm.database import Driver
from wallet_db_orm.examination import Scope, Tally
from wallet_db_orm.sources import over

# The driver's own limit is that of a request; a proof takes as long as the books are big.
PATIENCE_S: Final = 24 * 3600
_ROWS_AT_ONCE: Final = 500


def decimals(column: str) -> str:
    """Return the expression for the decimals that the currency in `column` has; -1 for none."""
    cases = " ".join(
        "WHEN {} IN ({}) THEN {}".format(
            column,
            ", ".join(f"'{code}'" for code, each in EXPONENTS.items() if each == exponent),
            exponent,
        )
        for exponent in (2, *sorted(set(EXPONENTS.values()) - {2}))
    )
    asset = f"WHEN {column} ~ '^{PATTERN}$' THEN nullif(split_part({column}, '.', 2), '')::int"
    return f"CASE {cases} {asset} ELSE -1 END"


class Invariant(msgspec.Struct, frozen=True):
    """A promise about the books; `counted` names the rows that it is about (see `sources`)."""

    id: str
    name: str
    counted: str


class Reading(msgspec.Struct, frozen=True):
    """
    One query that looks at several invariants at once, over the names in `sources`.

    Each row is about a wallet, "walletId", and has a column per invariant, called by its id: the
    keys of what contradicts it there, as JSON, or NULL. Rows in which nothing contradicts are left
    out.
    """

    invariants: tuple[Invariant, ...]
    query: str

    async def read(self, driver: Driver, scope: Scope, tallies: dict[str, Tally]) -> None:
        """Tell each invariant's tally what contradicts it; stops when all are full."""
        query, parameters = over(scope, self.query)
        rows = driver.cursor(query, *parameters, prefetch=_ROWS_AT_ONCE, timeout=PATIENCE_S)
        mine = [tallies[each.id] for each in self.invariants]
        async for row in rows:
            for each in self.invariants:
                if row[each.id] is not None:
                    keys: dict[str, Any] = msgspec.json.decode(row[each.id])
                    tallies[each.id].violated(row["walletId"], **keys)
            if all(tally.is_full for tally in mine):
                return


async def counted(driver: Driver, scope: Scope, names: set[str]) -> dict[str, int]:
    """Return how many rows each of `names` has in the scope."""
    found = {}
    for name in names:
        # Our own names.
        query, parameters = over(scope, f"SELECT count(*) FROM {name}")  # noqa: S608
        found[name] = await driver.fetchval(query, *parameters, timeout=PATIENCE_S)
    return found

"""This module is where requests are counted against the limits of principals and addresses."""

from math import ceil

from wallet_api.addresses import counted_as
from wallet_api.problems import Problem
from wallet_api.settings import ApiSettings
from wallet_db_orm.database import Database
from wallet_db_orm.rate_limits import Buckets, Limit


class Limits:
    """One per process; what is counted is shared by all processes, in the database."""

    def __init__(self, settings: ApiSettings, database: Database) -> None:
        self._principals = _buckets(
            database, "principal", settings.rate_limit_per_second, settings.rate_limit_burst
        )
        self._clients = _buckets(
            database,
            "client",
            settings.client_rate_limit_per_second,
            settings.client_rate_limit_burst,
        )

    async def count_client(self, address: str | None) -> None:
        """Count a request of an address; raises a 429."""
        if self._clients is not None:
            await _count(self._clients, counted_as(address))

    async def count_principal(self, principal: str) -> None:
        """Count a request of a principal; raises a 429."""
        if self._principals is not None:
            await _count(self._principals, principal)


def _buckets(
    database: Database, kind: str, per_second: float, burst: float | None
) -> Buckets | None:
    if not per_second:
        return None
    return Buckets(database.fresh, kind, Limit(per_second, burst or per_second))


async def _count(buckets: Buckets, name: str) -> None:
    wait_s = await buckets.take(name)
    if wait_s > 0:
        raise Problem(
            429,
            "rate_limited",
            "Too many requests; send the same request again later.",
            headers={"Retry-After": str(max(1, ceil(wait_s)))},
        )

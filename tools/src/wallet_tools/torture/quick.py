"""This module is where what is new in the books is proved in a moment, however long they are."""

from dataclasses import dataclass, field
from typing import Any, Final

import asyncpg

from wallet_tools.torture.history import Violation

_WALLETS: Final = "SELECT id, balance_minor, version FROM wallets"
_NEW: Final = """
    SELECT l.wallet_id, l.wallet_version, l.amount_minor, l.balance_after_minor,
        l.counter_account = '@transit'
    FROM unnest($1::text[], $2::bigint[]) AS seen (id, version)
    JOIN ledger_entries AS l ON l.wallet_id = seen.id AND l.wallet_version > seen.version
    ORDER BY l.wallet_id, l.wallet_version
"""
# What debited transfers have not brought yet: one credited just now waits for its end only.
_IN_TRANSIT: Final = """
    SELECT coalesce(sum(t.amount_minor), 0)::bigint FROM transfers AS t
    WHERE t.state = 'debited' AND NOT EXISTS (
        SELECT FROM operations AS o
        WHERE o.wallet_id = t.to_wallet_id AND o.request_id = 'credit ' || t.id::text
            AND o.outcome ->> 'type' = 'posted'
    )
"""


@dataclass(slots=True)
class Seen:
    """A wallet as the last look saw it."""

    version: int = 0
    balance_minor: int = 0


@dataclass(slots=True)
class Quick:
    """
    Folds the entries that came since the last look, and holds every wallet against the sum.

    So it proves M1, M3, M4, M5 and S5 of what is new, and one thing that no single snapshot can:
    that what was there at the last look, before whatever crashed meanwhile, is there still (D0).
    """

    seen: dict[str, Seen] = field(default_factory=dict)
    transit_minor: int = 0

    async def look(self, connection: Any) -> list[Violation]:  # noqa: ANN401  # the driver is untyped
        """Look at one snapshot; raises what the database raises, and then has learnt nothing."""
        async with connection.transaction(isolation="repeatable_read", readonly=True):
            await connection.execute("SET LOCAL enable_seqscan = off")
            wallets = await connection.fetch(_WALLETS)
            known = list(self.seen)
            known += [row[0] for row in wallets if row[0] not in self.seen]
            versions = [self.seen.get(each, Seen()).version for each in known]
            entries = await connection.fetch(_NEW, known, versions)
            in_transit: int = await connection.fetchval(_IN_TRANSIT)
        return self.fold(wallets, entries, in_transit)

    def fold(
        self,
        wallets: list[tuple[str, int, int]],
        entries: list[tuple[str, int, int, int, bool]],
        in_transit_minor: int,
    ) -> list[Violation]:
        """Return what contradicts; wallets as they stand, entries in their order."""
        violations = []
        balances = {wallet: each.balance_minor for wallet, each in self.seen.items()}
        for wallet, version, amount_minor, after_minor, is_transit in entries:
            balances[wallet] = balances.get(wallet, 0) + amount_minor
            if balances[wallet] != after_minor or after_minor < 0:
                what = f"version {version} left {after_minor} instead of {balances[wallet]}"
                violations.append(Violation(id="M5", what=what, wallet=wallet))
            self.transit_minor -= amount_minor if is_transit else 0
        versions = {row[0]: row[2] for row in wallets}
        for wallet, seen in self.seen.items():
            version = versions.get(wallet, 0)
            if version < seen.version:
                what = f"it was at version {seen.version} and is at {version}"
                violations.append(Violation(id="D0", what=what, wallet=wallet))
        for wallet, balance_minor, version in wallets:
            if balance_minor != balances.get(wallet, 0):
                what = f"the balance is {balance_minor}, its entries say {balances.get(wallet, 0)}"
                violations.append(Violation(id="M3", what=what, wallet=wallet))
            self.seen[wallet] = Seen(version, balance_minor)
        if self.transit_minor != in_transit_minor:
            what = f"@transit holds {self.transit_minor}, transfers miss {in_transit_minor}"
            violations.append(Violation(id="S5", what=what))
        return violations


# What a database that is away, or has just come back, may say.
AWAY: Final = (
    *(OSError, TimeoutError),
    *(asyncpg.PostgresError, asyncpg.InterfaceError, asyncpg.InternalClientError),
)

"""This module is where tests of checkpoints get books that were signed, and the file outside."""

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import pytest
from msgspec import UNSET

from wallet_common.checkpoints import Statement, line_hash, read, signed as as_signed
from wallet_db_orm import checkpoints
from wallet_db_orm.examine_checkpoints import outside
from wallet_db_orm.verify import verify
from wallet_runtime.signing import SharedKey

if TYPE_CHECKING:
    from libs.db_orm.tests.conftest import Books, Builders, Ledger

KEY = SharedKey(bytes(range(32)))


class Signed:
    """The books of a service whose checkpoints are signed, and the file outside."""

    def __init__(self, ledger: "Ledger") -> None:
        self.ledger = ledger
        self.engine = ledger.database.primary
        self.file: list[str] = []

    async def checkpoint(self) -> str:
        line = await checkpoints.take(self.engine, KEY)
        assert line is not None
        self.file.append(line)
        return line

    async def found(
        self, file: Sequence[str] | None = None, key: SharedKey = KEY
    ) -> dict[str, list[dict[str, Any]]]:
        """Return what the proof finds, by invariant, with the file outside."""
        told = outside(lambda: self.file if file is None else file, key)
        report = await verify(self.engine, outside=[told])
        return {each.id: list(each.violations) for each in report.invariants if each.violations}

    async def in_the_old_form(self, books: "Books") -> None:
        """Sign every line again as the first ones were, which did not state their own heads."""
        before, old = None, []
        for line in self.file:
            told = {name: getattr(read(line), name) for name in Statement.__struct_fields__}
            told |= dict.fromkeys(("heads", "archives", "archives_hash"), UNSET)
            told |= {"previous": before}
            old.append(as_signed(Statement(**told), KEY))
            before = line_hash(old[-1])
            sql = "UPDATE checkpoints SET line = $1 WHERE line = $2"
            await books.tamper("checkpoints", sql, old[-1], line)
        self.file = old


@pytest.fixture
async def signed(breakable: "Ledger", a: "Builders") -> Signed:
    """Return books with three wallets and two checkpoints, and something after them."""
    signed = Signed(breakable)
    for _ in range(3):
        await breakable.post(a.deposit("ann", "10.00", metadata='{"a":1}'), audited=True)
    await breakable.post(a.deposit("bob", "10.00"), audited=True)
    await breakable.ask(a.opening("cid"), audited=True)
    await signed.checkpoint()
    await breakable.transfer(a.transfer("ann", "bob", "5.00"), audited=True)
    await breakable.post(a.deposit("ann", "1.00"), audited=True)
    await signed.checkpoint()
    await breakable.post(a.deposit("bob", "1.00"), audited=True)
    return signed

"""This module is where all promises about the books are listed, in the order of a report."""

from typing import Final

from wallet_db_orm.examination import Examination
from wallet_db_orm.examine_checkpoints import INSIDE
from wallet_db_orm.invariants_at_rest import AT_REST
from wallet_db_orm.invariants_of_chains import CHAINS, HEADS_THEN, SEALED
from wallet_db_orm.invariants_of_exchanges import EXCHANGES
from wallet_db_orm.invariants_of_fees import FEES
from wallet_db_orm.invariants_of_holds import OF_HOLDS, STORIES
from wallet_db_orm.invariants_of_limits import OF_LIMITS
from wallet_db_orm.invariants_of_operations import DONE, OF_OPERATIONS
from wallet_db_orm.invariants_of_reversals import REVERSALS
from wallet_db_orm.invariants_of_settlements import OF_SETTLEMENTS
from wallet_db_orm.invariants_of_standing import STANDING, TOLD
from wallet_db_orm.invariants_of_the_server import OF_THE_SERVER
from wallet_db_orm.invariants_of_transfers import OF_TRANSFERS
from wallet_db_orm.invariants_of_wallets import NEVER_BACK, OF_WALLETS
from wallet_db_orm.reading import Reading

Check = Reading | Examination

# What a query cannot say, or what is no row.
EXAMINATIONS: Final = (INSIDE, *OF_THE_SERVER)
INVARIANTS: Final[tuple[Check, ...]] = (
    *OF_WALLETS,
    *CHAINS,
    *OF_OPERATIONS,
    *OF_TRANSFERS,
    *OF_HOLDS,
    STANDING,
    TOLD,
    *OF_LIMITS,
    REVERSALS,
    EXCHANGES,
    FEES,
    *OF_SETTLEMENTS,
    *EXAMINATIONS,
)
# Only whole: nothing tells what is new of what they look at, or it takes all there is.
_WHOLE: Final = (
    *OF_SETTLEMENTS,
    STORIES,
    TOLD,
    REVERSALS,
    EXCHANGES,
    FEES,
    DONE,
    SEALED,
    HEADS_THEN,
    NEVER_BACK,
    INSIDE,
)


def checks(*, at_rest: bool, is_whole: bool) -> tuple[Check, ...]:
    """Return what a proof has to look at."""
    if is_whole:
        return INVARIANTS + (AT_REST if at_rest else ())
    return tuple(check for check in INVARIANTS if check not in _WHOLE)


def promised(check: Check) -> tuple[tuple[str, str], ...]:
    """Return the id and the name of every invariant that `check` answers for."""
    if isinstance(check, Examination):
        return ((check.id, check.name),)
    return tuple((each.id, each.name) for each in check.invariants)

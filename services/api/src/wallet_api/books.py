"""This module is where a handler finds what it works with: the database, the lanes, the policy."""

import msgspec

from wallet_api.refusals import Refusals
from wallet_api.settings import ApiSettings
from wallet_db_orm.database import Database
from wallet_db_orm.group_commit import GroupCommit
from wallet_db_orm.group_read import GroupRead


class Books(msgspec.Struct, frozen=True):
    """One per process, made by `create_app`."""

    settings: ApiSettings
    database: Database
    lanes: GroupCommit
    wallets: GroupRead
    refusals: Refusals


def open_books(settings: ApiSettings, database: Database) -> Books:
    """Return the books kept in `database`; nothing connects yet."""
    lanes, wallets = GroupCommit(database), GroupRead(database.reads)
    return Books(settings, database, lanes, wallets, Refusals(database))

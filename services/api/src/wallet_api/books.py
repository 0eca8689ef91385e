"""This module is where a handler finds what it works with: the database, the lanes, the policy."""

import asyncio
from collections import Counter

import msgspec

from wallet_api.refusals import Refusals
from wallet_api.security import Door
from wallet_api.settings import ApiSettings
from wallet_api.streams import Streams
from wallet_db_orm.database import Database
from wallet_db_orm.group_commit import GroupCommit
from wallet_db_orm.group_read import GroupRead
from wallet_db_orm.vault import Vault


class Books(msgspec.Struct, frozen=True):
    """One per process, made by `create_app`."""

    settings: ApiSettings
    door: Door
    database: Database
    lanes: GroupCommit
    wallets: GroupRead
    refusals: Refusals
    streams: Streams
    vault: Vault
    # One statement at a time is put on paper: that keeps a core busy.
    press: asyncio.Semaphore
    # How many requests were answered, by method, route and status.
    answered: Counter[tuple[str, str, int]]


def open_books(settings: ApiSettings, database: Database) -> Books:
    """Return the books kept in `database`; nothing connects yet."""
    lanes, wallets = GroupCommit(database), GroupRead(database.reads)
    refusals, streams = Refusals(database), Streams(database)
    door, vault = Door(settings, database), Vault(settings.master_keys)
    return Books(
        *(settings, door, database, lanes, wallets, refusals, streams, vault),
        asyncio.Semaphore(),
        Counter(),
    )

"""This module is where a handler finds what it works with: the database, the lanes, the policy."""

import msgspec

from wallet_api.refusals import Refusals
from wallet_api.settings import ApiSettings
from wallet_db_orm.database import Database
from wallet_db_orm.group_commit import GroupCommit


class Books(msgspec.Struct, frozen=True):
    """One per process, made by `create_app`."""

    settings: ApiSettings
    database: Database
    lanes: GroupCommit
    refusals: Refusals

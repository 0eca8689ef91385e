"""The schema's history: `upgrade` takes a database to the present."""

import asyncio
import sys
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Final

import asyncpg
from alembic import command
from alembic.config import Config
from sqlalchemy.exc import ProgrammingError

from wallet_db_orm import roles
from wallet_db_orm.database import asyncpg_url

HEAD: Final = "head"
_REFUSED: Final = asyncpg.InsufficientPrivilegeError.sqlstate
_ADMINISTRATOR: Final = (
    "an administrator of the server runs `wallet roles`, or what `wallet roles --print-sql` prints"
)

Tell = Callable[[str], None]


class NotPermitted(Exception):
    """The database's role may not do that; the message says who may."""


def _say(line: str) -> None:
    sys.stdout.write(f"{line}\n")


def bring_up_to_date(database_url: str, tell: Tell = _say) -> None:
    """
    Bring schema and grants to the present, and the roles too if whoever asks may create them.

    `tell` hears what was done to the roles, or what has to be done by somebody else. Raises
    NotPermitted.
    """
    if asyncio.run(roles.may_prepare(database_url)):
        try:
            prepare(database_url, {}, tell)
        except NotPermitted as refused:
            tell(f"the roles stay as they are: {refused}")
    missing = upgrade(database_url)
    if missing:
        tell(f"no role {', '.join(missing)}: {_ADMINISTRATOR}, then migrate again")


def upgrade(database_url: str, revision: str = HEAD) -> tuple[str, ...]:
    """
    Bring the database to `revision`; a database that is there already is left alone.

    At the newest one every role is given what it may do; returned are the roles that do not exist.
    Raises NotPermitted.
    """
    try:
        command.upgrade(configuration(database_url), revision)
        return roles.grant(database_url) if revision == HEAD else ()
    except (ProgrammingError, asyncpg.InsufficientPrivilegeError) as error:
        if getattr(getattr(error, "orig", error), "sqlstate", None) != _REFUSED:
            raise
        reason = str(getattr(error, "orig", error)).rpartition(">: ")[2]
        raise NotPermitted(f"{reason}: migrate as {roles.OWNER}") from None


def prepare(database_url: str, passwords: Mapping[str, str], tell: Tell = _say) -> None:
    """
    Create the roles that lack, hand all there is to `wallet_owner`, set the passwords.

    Safe to repeat; `tell` hears what changed. Raises NotPermitted.
    """
    try:
        asyncio.run(roles.prepare(database_url, passwords, tell))
    except asyncpg.InsufficientPrivilegeError as error:
        raise NotPermitted(f"{error}: {_ADMINISTRATOR}") from None


def configuration(database_url: str) -> Config:
    """Return alembic's configuration for `database_url`."""
    config = Config()
    config.set_main_option("script_location", str(Path(__file__).parent))
    config.attributes["database_url"] = asyncpg_url(database_url)
    return config

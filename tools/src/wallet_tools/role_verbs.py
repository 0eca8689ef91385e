"""This module is where an administrator makes the database's roles: `wallet roles`."""

import argparse
from typing import Any, Final

from wallet_api import roles
from wallet_db_orm.migrations import NotPermitted
from wallet_tools.command import Refused, add_verb

_EPILOG: Final = """\
examples:
  wallet roles --print-sql | psql -v ON_ERROR_STOP=1 "$ADMINISTRATOR"   by hand
  WALLET_DATABASE_URL="$ADMINISTRATOR" WALLET_API_PASSWORD_FILE=api.txt wallet roles

WALLET_DATABASE_URL is an administrator's here. WALLET_OWNER_PASSWORD, WALLET_API_PASSWORD,
WALLET_WORKER_PASSWORD and WALLET_READONLY_PASSWORD (or <NAME>_FILE) are given to the roles; one
without keeps what it has. Afterwards `wallet migrate` as wallet_owner grants the rights."""


def add(verbs: Any) -> None:  # noqa: ANN401  # argparse's own
    """Add the verb."""
    parser = add_verb(verbs, "roles", "make the database's roles (as an administrator)", _roles)
    parser.epilog, parser.formatter_class = _EPILOG, argparse.RawDescriptionHelpFormatter
    parser.add_argument("--print-sql", action="store_true", help="print what would be run instead")


def _roles(options: argparse.Namespace) -> int:
    if options.print_sql:
        print(roles.SQL, end="")
        return 0
    try:
        roles.make()
    except NotPermitted as refused:
        raise Refused(str(refused)) from None
    return 0

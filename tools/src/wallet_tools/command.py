"""This module is where the `wallet` command's verbs get what they share: a database, a refusal."""

import argparse
import asyncio
import os
from collections.abc import Callable, Coroutine
from typing import Any, TypeVar

import msgspec

from wallet_db_orm.database import Database

_T = TypeVar("_T")
Verb = Callable[[argparse.Namespace], int]


class Refused(Exception):
    """The command cannot be carried out; the message says why and what to do."""


def add_verb(verbs: Any, name: str, help_: str, do: Verb) -> argparse.ArgumentParser:  # noqa: ANN401  # argparse's own
    parser: argparse.ArgumentParser = verbs.add_parser(name, help=help_, description=help_)
    parser.set_defaults(do=do)
    return parser


def add_group(verbs: Any, name: str, help_: str) -> Any:  # noqa: ANN401  # argparse's own
    return verbs.add_parser(name, help=help_, description=help_).add_subparsers(
        metavar="VERB", required=True
    )


def with_database(work: Callable[[Database], Coroutine[Any, Any, _T]]) -> _T:
    async def run() -> _T:
        database = Database(database_url(), application_name="wallet-cli", pool_size=2)
        try:
            return await work(database)
        finally:
            await database.dispose()

    return asyncio.run(run())


def database_url() -> str:
    url = os.environ.get("WALLET_DATABASE_URL")
    if not url:
        raise Refused(
            "WALLET_DATABASE_URL is not set; for the private stack use `tools/dev wallet`"
        )
    return url


def print_json(value: object) -> None:
    print(msgspec.json.format(msgspec.json.encode(value), indent=2).decode())

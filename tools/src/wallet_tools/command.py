"""This module is where the `wallet` command's verbs get what they share, refusals among it."""

import argparse
import asyncio
import getpass
import os
import socket
from collections.abc import Callable, Coroutine, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Any, Final, TypeVar

import msgspec

from wallet_db_orm.database import Database
from wallet_runtime.settings import secret

_T = TypeVar("_T")
AS_OWNER: Final = "run this as wallet_owner (`database_owner` in the private stack's run.json)"
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


def with_database(work: Callable[[Database], Coroutine[Any, Any, _T]], *, pool_size: int = 2) -> _T:
    async def run() -> _T:
        database = Database(database_url(), application_name="wallet-cli", pool_size=pool_size)
        try:
            return await work(database)
        finally:
            await database.dispose()

    return asyncio.run(run())


def database_url() -> str:
    url = secret("WALLET_DATABASE_URL")
    if not url:
        raise Refused(
            "WALLET_DATABASE_URL is not set; for the private stack use `tools/dev wallet`"
        )
    return url


@contextmanager
def new_file(path: Path) -> Iterator[IO[bytes]]:
    """Yield a file that nobody else may read; it gets its name once all of it is on the disk."""
    if path.exists():
        raise Refused(f"{path} exists already")
    partial = path.with_name(f"{path.name}.partial")
    descriptor = os.open(partial, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
    try:
        with os.fdopen(descriptor, "wb") as file:
            yield file
            file.flush()
            os.fsync(file.fileno())
        partial.rename(path)
    finally:
        partial.unlink(missing_ok=True)
    folder = os.open(path.parent, os.O_RDONLY | os.O_DIRECTORY)
    os.fsync(folder)
    os.close(folder)


def operator(given: str | None) -> str:
    """Return who acts, for the operator log: whom `--by` names, or this machine's user."""
    if given is not None:
        return given
    try:
        name = getpass.getuser()
    except (KeyError, OSError):
        name = f"uid {os.getuid()}"
    return f"{name}@{socket.gethostname()}"


def print_json(value: object) -> None:
    print(msgspec.json.format(msgspec.json.encode(value), indent=2).decode())

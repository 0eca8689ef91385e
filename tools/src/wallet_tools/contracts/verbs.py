"""This module is where the `wallet` command writes the contracts: schemas, AsyncAPI."""

import argparse
import sys
from pathlib import Path
from typing import Any

import msgspec

from wallet_common.topology import ANSWER_KEY
from wallet_tools.command import add_verb
from wallet_tools.contracts import asyncapi
from wallet_tools.contracts.foreign import answer_schema
from wallet_tools.contracts.schemas import event_schemas


def add(verbs: Any) -> None:  # noqa: ANN401  # argparse's own
    """Add the verbs `asyncapi` and `events-schemas`."""
    told = "print the AsyncAPI document, or write it to FILE"
    document = add_verb(verbs, "asyncapi", told, _asyncapi)
    document.add_argument("file", nargs="?", type=Path)
    schemas = add_verb(verbs, "events-schemas", "write each event's JSON Schema to DIR", _schemas)
    schemas.add_argument("directory", type=Path)


def _asyncapi(options: argparse.Namespace) -> int:
    document = asyncapi.written()
    if options.file is None:
        sys.stdout.buffer.write(document)
    else:
        options.file.write_bytes(document)
    return 0


def _schemas(options: argparse.Namespace) -> int:
    for name, schema in (event_schemas() | {ANSWER_KEY: answer_schema()}).items():
        plain = msgspec.json.encode(schema, order="deterministic")
        written = msgspec.json.format(plain, indent=2) + b"\n"
        (options.directory / f"{name}.json").write_bytes(written)
    return 0

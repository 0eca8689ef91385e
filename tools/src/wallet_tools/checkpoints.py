"""This module is where an operator takes checkpoints and proves entries: `checkpoint`, `proof`."""

import argparse
import os
from pathlib import Path
from typing import Any, Final
from uuid import UUID

import httpx
from asyncpg import InsufficientPrivilegeError

from wallet_common import proofs
from wallet_common.checkpoints import Checkpoint, Contradiction
from wallet_common.proofs import NotProven, Proof
from wallet_db_orm.database import Database
from wallet_db_orm.examination import Examination
from wallet_db_orm.proofs import NoSuchEntry, NotCovered, prove
from wallet_runtime.checkpoints import CheckpointSettings
from wallet_runtime.signing import Key, key_of
from wallet_tools.command import Refused, add_verb, print_json, with_database
from wallet_worker.witness import Off, Taken, Witness, comparison

_PROOF_HELP: Final = """\
examples:
  wallet proof ann 7                    prove that entry: ann-7.proof.json
  wallet proof ann 0193…                the same, by the operation that made it
  wallet proof check ann-7.proof.json --key-file public.pem
                                        check it, with no database at hand

The key is that of WALLET_CHECKPOINT_KEY: 64 hexadecimal digits, or PEM; of an Ed25519 key the
public half is enough to check."""


def add(verbs: Any) -> None:  # noqa: ANN401  # argparse's own
    """Add both verbs."""
    taking = add_verb(verbs, "checkpoint", "sign the state of the books now, outside too", _take)
    taking.add_argument("--json", action="store_true", help="for programs")
    proving = add_verb(verbs, "proof", "prove an entry without the books, or check a proof", _proof)
    proving.formatter_class = argparse.RawDescriptionHelpFormatter
    proving.epilog = _PROOF_HELP
    proving.add_argument("wallet", metavar="WALLET | check", help="the wallet's id, or: check")
    proving.add_argument("entry", metavar="ENTRY | FILE", help="a version, or an operation's id")
    proving.add_argument("--to", type=Path, help="the new file (default WALLET-VERSION.proof.json)")
    proving.add_argument("--key-file", type=Path, help="the key that has signed the checkpoint")
    proving.add_argument("--json", action="store_true", help="for programs")


def add_comparison(verify: argparse.ArgumentParser) -> None:
    verify.add_argument(
        "--checkpoints",
        type=Path,
        metavar="FILE",
        help="the checkpoints outside (default WALLET_CHECKPOINT_FILE, if it is there)",
    )


def compared(named: Path | None) -> list[Examination]:
    """Return the check against the file outside: the one `named`, or ours if there is one."""
    settings = CheckpointSettings.load()
    if named is not None and not named.exists():
        raise Refused(f"{named} is not there")
    return comparison(named or settings.outside, settings.signing_key)


def _take(options: argparse.Namespace) -> int:
    settings = CheckpointSettings.load()

    async def work(database: Database) -> Taken:
        return await Witness(database, settings).checkpoint()

    try:
        taken = with_database(work)
    except Off as off:
        raise Refused(f"no checkpoint: {off}") from None
    except ValueError as useless:
        raise Refused(f"no checkpoint: WALLET_CHECKPOINT_KEY: {useless}") from None
    except Contradiction as contradiction:
        raise Refused(f"{contradiction}; `wallet verify` tells more") from None
    except InsufficientPrivilegeError:
        who = "wallet_worker (`database_worker` in the private stack's run.json)"
        raise Refused(f"no checkpoint: run this as {who}") from None
    except BlockingIOError:
        raise Refused(f"another process is writing to {settings.outside}; try again") from None
    except httpx.HTTPError as away:
        told = f"{settings.checkpoint_webhook} was not told: {type(away).__name__}"
        raise Refused(f"the checkpoint stands, but {told}") from None
    if options.json:
        print_json({"checkpoint": taken.checkpoint, "linesWritten": taken.lines_written})
    elif taken.checkpoint is None:
        print("nothing has changed since the last checkpoint")
    else:
        covers = f"{taken.checkpoint.wallets} wallets, audit seal {taken.checkpoint.seal}"
        print(f"checkpoint {taken.checkpoint.checkpoint}: {covers}, in {settings.outside}")
    return 0


def _proof(options: argparse.Namespace) -> int:
    if options.wallet == "check" and _entry(options.entry) is None:
        return _check(options)
    entry = _entry(options.entry)
    if entry is None:
        raise Refused(f"{options.entry} is neither a version nor an operation's id")

    async def work(database: Database) -> Proof:
        return await prove(database.reads, options.wallet, entry)

    try:
        proof = with_database(work)
        checkpoint = proofs.check(proof)
    except NoSuchEntry:
        raise Refused(f"{options.wallet} has no entry {options.entry}") from None
    except NotCovered:
        message = "no checkpoint covers it yet: take one with `wallet checkpoint`"
        raise Refused(message) from None
    except NotProven as broken:
        raise Refused(f"the books contradict it, see `wallet verify`: {broken}") from None
    file = options.to or Path(f"{options.wallet}-{proof.entry.wallet_version}.proof.json")
    try:
        with file.open("xb") as new:
            new.write(proofs.encode(proof))
    except FileExistsError:
        raise Refused(f"{file} exists already; name another with --to") from None
    if options.json:
        print_json({"file": str(file), "checkpoint": checkpoint.checkpoint})
    else:
        print(f"{file}: covered by checkpoint {checkpoint.checkpoint} of {checkpoint.at}")
    return 0


def _check(options: argparse.Namespace) -> int:
    try:
        proof = proofs.decode(Path(options.entry).read_bytes())
        checkpoint = proofs.check(proof, _key(options.key_file))
    except FileNotFoundError:
        raise Refused(f"{options.entry} is not there") from None
    except NotProven as broken:
        raise Refused(f"{options.entry} proves nothing: {broken}") from None
    if options.json:
        print_json({"ok": True, "entry": proof.entry, "checkpoint": checkpoint.checkpoint})
    else:
        _tell(proof, checkpoint)
    return 0


def _tell(proof: Proof, checkpoint: Checkpoint) -> None:
    entry = proof.entry
    print(
        f"proved: {entry.type} of {entry.amount_minor} minor units ({entry.currency}) on"
        f" {entry.wallet_id}, version {entry.wallet_version}, at {entry.occurred_at};"
        f" balance {entry.balance_after_minor}"
    )
    print(f"signed: checkpoint {checkpoint.checkpoint} of {checkpoint.at}, key {checkpoint.key}")


def _key(file: Path | None) -> Key:
    try:
        if file is not None:
            return key_of(file.read_text(encoding="utf-8", errors="replace"))
        key = CheckpointSettings.load().signing_key
    except (OSError, ValueError) as unusable:
        raise Refused(f"the key cannot be used: {unusable}") from None
    if key is None:
        message = "name the key with --key-file, or set WALLET_CHECKPOINT_KEY"
        raise Refused(message)
    return key


def _entry(text: str) -> int | UUID | None:
    """Read a version or an operation's id; None if it is neither."""
    if text.isascii() and text.isdecimal() and len(text) < 19:
        return int(text)
    try:
        return UUID(text) if os.sep not in text else None
    except ValueError:
        return None

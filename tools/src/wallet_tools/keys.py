"""This module is where an operator keeps the keys of personal data: `wallet keys`."""

import argparse
import sys
from typing import Any, Final

from wallet_db_orm import late_seals, owner_keys
from wallet_db_orm.database import Database
from wallet_db_orm.operator_log import Act, note
from wallet_db_orm.owner_keys import Erased
from wallet_db_orm.vault import Vault
from wallet_runtime.pii import PiiSettings
from wallet_tools.command import (
    AS_OWNER,
    Refused,
    add_group,
    add_verb,
    operator,
    print_json,
    with_database,
)

_TOLD_MAX: Final = 20
_HELP: Final = """\
Personal data in wallets' metadata (WALLET_PII_METADATA_KEYS) is encrypted with a data key per
owner; the data keys are stored wrapped by a master key, which is in no database.

To change the master key: put a line with the new one before the old one into the file that
WALLET_MASTER_KEY_FILE names, start every API process anew, then `wallet keys rotate`; when
`wallet keys list` shows nothing under the old one, take its line out and start the API anew.

After a key was added to WALLET_PII_METADATA_KEYS and every API process knows it, `wallet keys seal`
encrypts what wallets already had under it. Until then an erasure does not reach these values. It
does not change audit rows of before, nor the metadata of movements: they are append-only."""


def add(verbs: Any) -> None:  # noqa: ANN401  # argparse's own
    """Add the group and its verbs."""
    own = add_group(verbs, "keys", "the keys of personal data: list, rotate, erase, seal")
    listing = add_verb(own, "list", "what each master key is used for", _list)
    rotating = add_verb(own, "rotate", "wrap and index anew with the current master key", _rotate)
    rotating.add_argument(
        "--batch", type=_count, default=200, help="owners a transaction (default 200)"
    )
    erasing = add_verb(own, "erase", "destroy an owner's key: what it sealed is gone", _erase)
    erasing.add_argument("owner", metavar="OWNER", help="the ownerId of the wallets")
    erasing.add_argument("--reason", required=True, help="why; the operator log keeps it")
    sealing = add_verb(own, "seal", "encrypt what was stored before its key was declared", _seal)
    sealing.add_argument(
        "--batch", type=_count, default=500, help="wallets a transaction (default 500)"
    )
    for acting in (rotating, erasing, sealing):
        acting.add_argument("--by", help="who acts (default: you@machine)")
    for each in (listing, rotating, erasing, sealing):
        each.add_argument("--json", action="store_true", help="for programs")
        each.epilog, each.formatter_class = _HELP, argparse.RawDescriptionHelpFormatter


def _count(text: str) -> int:
    number = int(text)
    if not 1 <= number <= 10_000:
        raise argparse.ArgumentTypeError("a number from 1 to 10000")
    return number


def _list(options: argparse.Namespace) -> int:
    vault = Vault(PiiSettings.load().master_keys)
    used, erased = with_database(lambda database: owner_keys.masters(database.primary))
    counts = dict.fromkeys(vault.master_ids, (0, 0)) | {u.id: (u.owners, u.indexed) for u in used}
    rows = [
        {
            "id": master_id,
            "current": master_id == vault.current,
            "configured": master_id in vault.master_ids,
            "owners": owners,
            "indexed": indexed,
        }
        for master_id, (owners, indexed) in counts.items()
    ]
    if options.json:
        print_json({"masters": rows, "erasedOwners": erased})
        return 0
    for row in rows:
        state = "current" if row["current"] else "kept" if row["configured"] else "NOT CONFIGURED"
        counted = f"{row['owners']:>9} owners {row['indexed']:>9} values indexed"
        print(f"{row['id']:<32} {state:<14} {counted}")
    print(f"{erased} owners are erased")
    return 0


def _rotate(options: argparse.Namespace) -> int:
    vault = Vault(PiiSettings.load().master_keys)
    if not vault.current:
        raise Refused("no master key: set WALLET_MASTER_KEY or WALLET_MASTER_KEY_FILE")

    async def work(database: Database) -> tuple[int, list[str]]:
        who = operator(options.by)
        acts = [Act(operator=who, act="keys.rotate", subject=vault.current, details={})]
        await note(database.primary, acts)
        moved, unreadable, after = 0, list[str](), ""
        while done := await owner_keys.rotate(
            database.primary, vault, after=after, limit=options.batch
        ):
            moved, after = moved + done.moved, done.after
            unreadable += done.unreadable
            print(f"{moved} owners, up to {after}", file=sys.stderr, flush=True)
        return moved, unreadable

    moved, unreadable = with_database(work)
    if options.json:
        print_json({"master": vault.current, "moved": moved, "unreadable": unreadable})
    else:
        print(f"{moved} owners are now under the master key {vault.current}")
    if unreadable:
        raise Refused(
            f"{len(unreadable)} owners could not be moved: their master key is not configured, or"
            f" what is stored was changed ({_named(unreadable)})"
        )
    return 0


def _seal(options: argparse.Namespace) -> int:
    settings = PiiSettings.load()
    if not settings.pii_keys:
        raise Refused("no key is declared: set WALLET_PII_METADATA_KEYS as the API has it")
    vault = Vault(settings.master_keys)

    async def work(database: Database) -> tuple[int, int, list[str]]:
        if not await late_seals.may_seal(database.primary):
            raise Refused(f"only the tables' owner changes what was stored: {AS_OWNER}")
        who, keys = operator(options.by), sorted(settings.pii_keys)
        act = Act(operator=who, act="keys.seal", subject=vault.current, details={"keys": keys})
        await note(database.primary, [act])
        sealed, erased, left, after = 0, 0, list[str](), ""
        while done := await late_seals.seal(
            database.primary, vault, settings.pii_keys, after=after, limit=options.batch
        ):
            sealed, erased, after = sealed + len(done.sealed), erased + len(done.erased), done.after
            left += done.left
            print(f"{sealed + erased} wallets, up to {after}", file=sys.stderr, flush=True)
        return sealed, erased, left

    sealed, erased, left = with_database(work)
    if options.json:
        print_json({"sealed": sealed, "erased": erased, "left": left})
    else:
        print(f"{sealed} wallets had personal data in plain text, which is sealed now")
        if erased:
            print(f"{erased} more were of erased owners: what they had is unreadable for good")
    if left:
        raise Refused(
            f"{len(left)} wallets still have some: they have no owner, or it is not at the top of"
            f" the metadata, or the owner's key cannot be used ({_named(left)})"
        )
    return 0


def _named(found: list[str]) -> str:
    return ", ".join(found[:_TOLD_MAX]) + " …" * (len(found) > _TOLD_MAX)


def _erase(options: argparse.Namespace) -> int:
    if not (options.reason.strip() and options.reason.isprintable()):
        raise Refused("--reason: a few words on one line")

    async def work(database: Database) -> Erased | None:
        details = {"reason": options.reason}
        who = operator(options.by)
        acts = [Act(operator=who, act="owner.erase", subject=options.owner, details=details)]
        await note(database.primary, acts)
        return await owner_keys.erase(database.primary, options.owner)

    erased = with_database(work)
    if erased is None:
        raise Refused(f"no personal data of an owner {options.owner!r} was ever kept")
    if options.json:
        print_json({"ownerId": erased.owner_id, "erasedAt": erased.erased_at})
    else:
        when = "is erased" if erased.is_new else f"was erased before, at {erased.erased_at}"
        print(f"{erased.owner_id} {when}")
    return 0

"""This module is where `wallet verify` proves the books, and tells it to people or programs."""

import argparse
import sys
from typing import Any, Final

from wallet_db_orm import proving
from wallet_db_orm.database import Database
from wallet_db_orm.invariants import checks, promised
from wallet_db_orm.verify import Finding, Report, verify
from wallet_tools import checkpoints
from wallet_tools.command import add_verb, operator, print_json, with_database

DESCRIPTION: Final = """\
Prove the books: every invariant in one snapshot, under load too.

Everything is read, by two sessions at a time. With --incremental only what moved since the newest
proof, if that one was clean; a change of older rows is found by the whole proof. Both keep what
came of them in the table `proofs`, if the role may write there. With --at-rest also what holds
only when no event is under way; such a proof is not kept."""
EPILOG: Final = """\
exit code: 0 the books are right, 1 something contradicts, 2 they could not be proved"""
_SHOWN_MAX: Final = 10
COULD_NOT: Final = 2


def add(verbs: Any) -> None:  # noqa: ANN401  # argparse's own
    """Add the verb."""
    proof = add_verb(verbs, "verify", "prove the books: every invariant in one snapshot", _verify)
    proof.description, proof.epilog = DESCRIPTION, EPILOG
    proof.formatter_class = argparse.RawDescriptionHelpFormatter
    proof.set_defaults(failed=COULD_NOT)
    how = proof.add_mutually_exclusive_group()
    how.add_argument("--at-rest", action="store_true", help="also what holds when all is quiet")
    how.add_argument(
        "--incremental", action="store_true", help="only what moved since the newest clean proof"
    )
    proof.add_argument("--json", action="store_true", help="for programs")
    checkpoints.add_comparison(proof)


def _verify(options: argparse.Namespace) -> int:
    told = _Table(silent=options.json)
    against = checkpoints.compared(options.checkpoints)

    async def prove(database: Database) -> Report:
        if options.at_rest:
            return await verify(database.reads, at_rest=True, outside=against, progress=told.tell)
        proved = await proving.prove(
            database,
            incremental=options.incremental,
            asked_by=f"command: {operator(None)}",
            outside=against,
            progress=told.tell,
        )
        if not proved.is_kept:
            print("wallet: the proof is not kept: no right to write here", file=sys.stderr)
        return proved.report

    report = with_database(prove, pool_size=4)
    if options.json:
        print_json(report)
    else:
        told.end(report)
    return 0 if report.ok else 1


class _Table:
    """A row for each invariant as its answer comes."""

    def __init__(self, *, silent: bool) -> None:
        self._silent = silent
        self._rows = 0

    def tell(self, finding: Finding) -> None:
        if self._silent:
            return
        if not self._rows:
            print(f"  {'':<6} {'id':<4} {'rows':>12} {'seconds':>8}  promise")
        self._rows += 1
        mark = "BROKEN" if finding.violations else "holds"
        cost = f"{finding.checked:>12,} {finding.seconds:>8.2f}"
        print(f"  {mark:<6} {finding.id:<4} {cost}  {finding.name}", flush=True)
        for violation in finding.violations[:_SHOWN_MAX]:
            print(f"           {violation}")
        if len(finding.violations) > _SHOWN_MAX:
            print(f"           … and {len(finding.violations) - _SHOWN_MAX} more: see --json")
        if sys.stderr.isatty():
            asked = sum(len(promised(each)) for each in checks(at_rest=False, is_whole=True))
            print(f"  {self._rows} of about {asked}", end="\r", file=sys.stderr, flush=True)

    def end(self, report: Report) -> None:
        word = "the books are right" if report.ok else "THE BOOKS CONTRADICT THEMSELVES"
        print(f"{word}: {report.mode} proof of {report.snapshot_at:%Y-%m-%dT%H:%M:%S.%fZ}", end="")
        print(f" in {report.seconds:.1f} s")

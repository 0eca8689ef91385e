"""This module is where `tools/dev bench` runs from its arguments to its exit code."""

import contextlib
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import msgspec

from wallet_tools.bench import arguments, chart, machine, report, session, wrk
from wallet_tools.bench.baseline import bare_handler
from wallet_tools.bench.bed import Bed
from wallet_tools.bench.books import Books
from wallet_tools.bench.checkout import worktree
from wallet_tools.bench.figures import BenchFailed
from wallet_tools.bench.generator import OWN, find_wrk
from wallet_tools.bench.plan import BULK_COMMANDS, PGBENCH_CLIENTS, Load, Settings
from wallet_tools.bench.reference import THREADS, TRANSACTION, Pgbench
from wallet_tools.bench.results import Proof, Results, compare, summarize
from wallet_tools.bench.session import Progress
from wallet_tools.bench.subject import Subject
from wallet_tools.bench.targets import judge
from wallet_tools.bench.workplace import STACKS, interruptible, workplace
from wallet_tools.state import ROOT, StateFolder


def run(argv: Sequence[str]) -> int:
    """Measure, print the page, write the files; 0 if the figures count, 1 if they do not."""
    settings = arguments.parse(argv)
    interruptible()
    results = Results(machine={}, method=_method(settings))
    try:
        with workplace(settings.folder) as folder:
            _measure(settings, folder, results)
    except BenchFailed as failed:
        if not results.alternations:
            print(f"tools/dev bench: {failed}", file=sys.stderr)
            return 1
        results.failure = str(failed)
    _publish(settings, results)
    return 1 if results.problems else 0


def _measure(settings: Settings, folder: Path, results: Results) -> None:
    wrk_path = find_wrk(settings.generator)
    with contextlib.ExitStack() as everything:
        subjects = _subjects(settings, folder, everything)
        progress = Progress.over(_sessions(settings), settings)
        progress.say(f"about {session.duration(progress.seconds_left)}, and the draining after it")
        for number, count in enumerate(settings.api_processes):
            for subject in subjects:
                subject.down()
                subject.up(count)
            with contextlib.ExitStack() as standing:
                books = [
                    standing.enter_context(Books(subject.run().database_admin))
                    for subject in subjects
                ]
                pgbench = Pgbench(subjects[0].run().database_admin, folder, settings.scale)
                if number == 0:
                    progress.say("laying in log files, as a server has them after a while")
                    for each in books:
                        each.lay_in_log()
                    progress.say(f"preparing pgbench (scale {settings.scale})")
                    pgbench.prepare(books[0])
                    generators = [wrk.version(wrk_path)] if wrk_path else []
                    results.machine = machine.describe(subjects, books, [*generators, OWN])
                bare = standing.enter_context(bare_handler(count, folder / "bare.log"))
                bed = Bed(
                    "", settings.seconds, settings.wallets, subjects, books, pgbench, bare, wrk_path
                )
                if number == 0:
                    progress.say(f"putting money into {settings.wallets:,} wallets")
                    for index in range(len(subjects)):
                        bed.fund(index)
                try:
                    _sessions_of(bed, settings, count, progress, results)
                finally:
                    if pgbench.repeated:
                        results.remarks.append(f"{pgbench.repeated} empty runs of pgbench repeated")
                session.drain(bed, progress)
                if count == settings.api_processes[-1]:
                    _prove(bed, progress, results)


def _sessions_of(
    bed: Bed, settings: Settings, count: int, progress: Progress, results: Results
) -> None:
    processes = f"{count} API process{'es' * (count > 1)}"
    bed.session = f"{processes}{', before growth' * bool(settings.grow_entries)}"
    session.run_session(bed, settings, progress, results)
    if settings.grow_entries:
        session.grow(bed, settings.grow_entries, progress)
        bed.session = f"{processes}, after growth by {settings.grow_entries:,} entries"
        session.run_session(bed, settings, progress, results)


def _subjects(settings: Settings, folder: Path, everything: contextlib.ExitStack) -> list[Subject]:
    """Return this checkout and the other revision's, each to be taken down in the end."""
    found = [Subject("this checkout", ROOT, StateFolder.at(folder / STACKS[0]))]
    if settings.compared_revision is not None:
        name = settings.compared_revision
        print(f"preparing a worktree of {name}", flush=True)
        theirs = everything.enter_context(worktree(name, folder / "worktree"))
        found.append(Subject(name, theirs, StateFolder.at(folder / STACKS[1])))
    for subject in found:
        everything.callback(subject.down)
    return found


def _prove(bed: Bed, progress: Progress, results: Results) -> None:
    for subject in bed.subjects:
        progress.say(f"wallet verify of {subject.name}")
        is_proved, said = subject.verify()
        results.proofs.append(Proof(subject=subject.name, is_proved=is_proved, said=said))


def _publish(settings: Settings, results: Results) -> None:
    results.summaries = summarize(results.alternations)
    results.targets = judge(results.summaries)
    if len(results.machine["subjects"]) == 2:
        names = [each["name"] for each in results.machine["subjects"]]
        results.comparisons = compare(results.alternations, names[0], names[1])
    print(f"\n{report.render(results)}", flush=True)
    if settings.json_file is not None:
        text = msgspec.json.format(msgspec.json.encode(results), indent=2)
        settings.json_file.write_bytes(text + b"\n")
    if settings.svg_file is not None:
        settings.svg_file.write_text(chart.draw(results), encoding="utf-8")


def _sessions(settings: Settings) -> int:
    return len(settings.api_processes) + bool(settings.grow_entries)


def _method(settings: Settings) -> dict[str, Any]:
    return {
        "alternations": settings.alternations,
        "seconds": settings.seconds,
        "connections": settings.connections,
        "loads": settings.loads,
        "apiProcesses": settings.api_processes,
        "wallets": settings.wallets,
        "reference": f"pgbench ({TRANSACTION}, scale {settings.scale})",
        "ratio": "operations per second over the mean of the reference runs next to it",
        "pgbench": f"-c {PGBENCH_CLIENTS} -j {THREADS} -M prepared; one connection: -c 1",
        "pausedExceptFor": Load.PIPELINE,
        "bulkCommands": BULK_COMMANDS,
        "grownBy": settings.grow_entries,
        "comparedRevision": settings.compared_revision,
    }

"""This module is where the events' benchmark is shown: its figures, its page, and a small run."""

import json
import os
import subprocess
from pathlib import Path

import pytest

from wallet_tools.bench import events_report
from wallet_tools.bench.events_results import (
    EventResults,
    Part,
    PartRun,
    hold_against,
    judge,
    summarize,
)
from wallet_tools.bench.results import Proof
from wallet_tools.bench.traffic import Requests, Traffic

MACHINE = {
    "cores": 2,
    "cpu": "abacus",
    "memoryGiB": 4.0,
    "kernel": "Linux 7",
    "database": {"server_version": "18.4", "fsync": "on"},
    "rabbitmq": "3.10.8",
    "subjects": [{"revision": "abc", "libraries": {"python": "3.11.7", "uvloop": "0.23.0"}}],
}


def a_run(part: Part, seconds: float, number: int = 0, other_share: float = 0.0) -> PartRun:
    return PartRun(
        part=part,
        number=number,
        events=1000,
        seconds=seconds,
        part_us=100.0,
        broker_us=50.0,
        postgres_us=20.0,
        idle_share=0.1,
        steal_share=0.0,
        other_share=other_share,
    )


def the_page(*runs: PartRun, proofs: tuple[Proof, ...] = ()) -> str:
    hold_against(runs)
    summaries = summarize(runs)
    return events_report.render(
        EventResults(
            machine=MACHINE,
            method={"alternations": 1, "events": 1000, "wallets": 10},
            runs=list(runs),
            summaries=summaries,
            targets=judge(summaries),
            proofs=list(proofs),
        )
    )


def test_ours_is_held_against_the_bare_runs_of_its_alternation() -> None:
    """The mean of those before and after it; those of another alternation do not count."""
    relay = a_run(Part.RELAY, 1.0)
    before, after = a_run(Part.BARE_PUBLISHER, 0.25), a_run(Part.BARE_PUBLISHER, 0.5)

    hold_against([before, relay, after, a_run(Part.BARE_PUBLISHER, 9.0, number=1)])

    assert relay.ratio == pytest.approx(1000 / 3000)
    assert before.ratio is None


def test_fast_enough_or_near_enough_to_the_bare_one() -> None:
    """Each part is judged by both claims, so that one sees which of the two is met."""
    runs = [a_run(Part.BARE_CONSUMER, 1.0), a_run(Part.CONSUMER, 1.25)]
    hold_against(runs)

    verdicts = {each.claim: each.verdict for each in judge(summarize(runs))}

    assert verdicts == {"consumer, events/s": "missed", "consumer, x bare consumer": "met"}


def test_the_page_tells_of_noise() -> None:
    """A share of the machine that nobody who takes part accounts for is told beside the part."""
    proved = Proof(subject="this checkout", is_proved=True, said="")
    quiet = the_page(a_run(Part.WORKER, 0.5), proofs=(proved,))
    noisy = the_page(a_run(Part.WORKER, 0.5, other_share=0.3), proofs=(proved,))

    assert "2,000 - 2,000 - 2,000" in quiet
    assert "noisy" not in quiet
    assert "noisy: 30% of the machine was somebody else's" in noisy


def test_figures_without_a_proof_do_not_count() -> None:
    """Neither when the books were not asked, nor when they are not proved."""
    wrong = Proof(subject="this checkout", is_proved=False, said="M1 is violated")

    assert "wallet verify did not run" in the_page(a_run(Part.WORKER, 0.5))
    assert "INVALID" in the_page(a_run(Part.WORKER, 0.5), proofs=(wrong,))


def test_the_events_are_deposits_and_withdrawals() -> None:
    """A batch has one withdrawal for two deposits, each under a key of its own."""
    traffic = Traffic("events", "p", pool=3, batch=6)

    body = Requests(traffic, "host").next().partition(b"\r\n\r\n")[2]

    commands = json.loads(body)["commands"]
    assert [each["type"] for each in commands] == ["deposit", "deposit", "withdraw"] * 2
    assert len({each["requestId"] for each in commands}) == 6


def test_help_teaches(python: str) -> None:
    """`tools/dev bench events --help` explains the parts and shows examples."""
    done = subprocess.run(
        [python, "-m", "wallet_tools.dev", "bench", "events", "--help"],
        capture_output=True,
        text=True,
        check=False,
    )

    assert done.returncode == 0
    assert "examples:" in done.stdout
    assert all(f"  {part} " in done.stdout for part in Part)


@pytest.mark.slow
@pytest.mark.broker
def test_a_small_run(python: str, server_folder: Path, tmp_path: Path) -> None:
    """One command measures relay, consumer and worker, proves the books, and leaves nothing."""
    folder, told = server_folder / "events", tmp_path / "events.json"
    size = ("--alternations", "1", "--events", "1000")

    done = subprocess.run(
        [python, "-m", "wallet_tools.dev", "bench", "events", *size]
        + ["--json", str(told), "--state", str(folder)],
        capture_output=True,
        text=True,
        check=False,
        env=os.environ,
    )

    assert done.returncode == 0, done.stdout + done.stderr
    results = json.loads(told.read_text())
    runs = {each["part"]: each for each in results["runs"]}
    assert set(runs) == set(Part)
    assert runs["relay"]["ratio"] > 0
    assert runs["consumer"]["ratio"] > 0
    assert [each["isProved"] for each in results["proofs"]] == [True]
    assert "x bare publisher" in done.stdout
    assert not folder.exists()

"""This module is where it is listed what may go wrong, what then holds, and what shows it."""

from typing import Final

import msgspec

_API: Final = "services/api/tests/"
_WORKER: Final = "services/worker/tests/"
_BROKER: Final = "services/worker/tests/broker/"
_ORM: Final = "libs/db_orm/tests/"
_E2E: Final = "tests/e2e/"


class Cell(msgspec.Struct, frozen=True):
    """
    One fault. `tests` are pytest's node ids, `torture` arguments of `wallet torture`.

    `gap` says what of it nothing shows; a cell with neither test nor run is not covered.
    """

    id: str
    fault: str
    expected: str
    tests: tuple[str, ...] = ()
    torture: str = ""
    gap: str = ""
    is_smoke: bool = False

    @property
    def is_covered(self) -> bool:
        return bool(self.tests or self.torture)


PROCESSES: Final = (
    Cell(
        "F-K1",
        "SIGKILL of API processes at random, under load",
        "connections break, nothing else: every answer was true, every unknown has one outcome",
        (_E2E + "test_crashes.py::test_what_was_acknowledged_survives",),
        "--minutes 1 --faults kill",
        is_smoke=True,
    ),
    Cell(
        "F-K2",
        "SIGKILL of the relay amid work",
        "a standby goes on; duplicates, in order, and no loss",
        (_WORKER + "process/test_standby.py::test_another_worker_takes_over",),
        "--minutes 1 --faults kill",
        is_smoke=True,
    ),
    Cell(
        "F-K3",
        "SIGKILL of the consumer with messages in hand",
        "each event takes effect once; a kill makes no dead letter",
        (_BROKER + "test_consumer.py::test_what_a_lost_consumer_had_in_hand_goes_to_another",),
        "--minutes 1 --faults kill",
        is_smoke=True,
    ),
    Cell(
        "F-K4",
        "SIGKILL of API, workers, PostgreSQL and RabbitMQ, in random order",
        "everything comes back and agrees",
        (_E2E + "test_crashes.py::test_what_was_acknowledged_survives",),
        "--minutes 2 --faults kill,pg,broker",
        gap="one after the other within seconds, not in one instant",
    ),
    Cell(
        "F-K5",
        "a death at an exact step",
        "see the kill points",
        (
            _API + "killed/test_kill_points.py",
            _ORM + "test_transfers_recovery.py::test_recovery_ends_a_transfer_from_every_stage",
        ),
    ),
    Cell(
        "F-K6",
        "SIGSTOP, later SIGCONT: a process that slept through it all",
        "another takes over; the woken one changes nothing",
        (
            _WORKER + "process/test_standby.py::test_another_worker_takes_over",
            _ORM + "test_outbox.py::test_a_relay_that_falls_silent_loses_its_place",
            _ORM + "test_transfers_recovery.py"
            "::test_a_driver_that_slept_through_the_refund_changes_nothing",
        ),
        "--minutes 1 --faults stop",
    ),
    Cell(
        "F-K7",
        "SIGTERM with sixty requests that wait for a locked table",
        "all sixty are answered 201 and exist; exit code 0, no traceback",
        (
            _API + "test_processes.py::test_a_stopping_process_answers_what_it_has_begun",
            _WORKER + "process/test_process.py::test_stopping_amid_work_loses_nothing",
        ),
    ),
    Cell(
        "F-K8",
        "a rolling restart with two versions at work",
        "old events stay readable; writers go on while a migration waits",
        (
            "tools/tests/contracts/test_schemas.py::test_what_was_sent_once_is_readable_for_ever",
            _ORM + "test_growth_migration.py"
            "::test_writers_go_on_while_the_migration_waits_for_a_reader",
        ),
        gap="there is one version yet: no old and new process have run side by side",
    ),
)

DATABASE: Final = (
    Cell(
        "F-P1",
        "PostgreSQL killed, ended at once or quickly, and back",
        "503 with Retry-After in time; API and worker go on with the same pids",
        (
            _E2E + "test_database_restart.py::test_api_and_worker_outlive_their_database",
            _API + "test_health.py::test_a_dead_database_is_told_and_survived",
        ),
        "--minutes 1 --faults pg",
        is_smoke=True,
    ),
    Cell(
        "F-P2",
        "no PostgreSQL when a process starts",
        "it keeps trying, tells it once, and can be stopped",
        (_WORKER + "process/test_process.py::test_an_absent_database_is_told_once",),
        gap="of the API only that it serves again, see F-P1",
    ),
    Cell(
        "F-P3",
        "sessions ended at random under load",
        "every caller gets an outcome, every order happens once",
        (
            _ORM + "test_lost_connections.py"
            "::test_ended_sessions_under_load_lose_nothing_and_double_nothing",
            _ORM + "test_lost_connections.py"
            "::test_transfers_whose_sessions_are_ended_reach_their_end",
            _API + "test_health.py::test_a_lost_connection_is_not_noticed",
        ),
        "--minutes 1 --faults pg",
    ),
    Cell(
        "F-P4",
        "a stranger holds one wallet for 15 s",
        "its callers are busy within 6 s; the others' p99 stays below three times the usual",
        (
            _API + "test_strain.py::test_a_held_wallet_costs_the_others_nothing",
            _ORM + "test_group_commit.py"
            "::test_a_strangers_lock_holds_up_only_the_wallet_that_it_is_on",
        ),
        "--minutes 1 --faults lock",
    ),
    Cell(
        "F-P5",
        "a stranger holds a whole table",
        "bounded waiting, then 503; /healthz answers",
        (_ORM + "test_set_apart.py::test_a_reader_does_not_wait_for_ever",),
        "--minutes 1 --faults lock",
    ),
    Cell(
        "F-P6",
        "200 at once on one wallet, free and held",
        "connections within the pool's bounds, none left open; a full queue is 503 at once",
        (
            _API + "test_strain.py::test_a_crowd_takes_no_more_connections",
            _ORM + "test_group_commit.py::test_a_full_queue_is_busy_at_once",
        ),
        gap="that strangers take every connection of the server",
    ),
    Cell(
        "F-P7",
        "a slow way to PostgreSQL",
        "latency grows; what was cancelled is never told as failed",
        torture="--minutes 1 --faults proxy",
    ),
    Cell(
        "F-P8",
        "PostgreSQL, or the way to it, falls silent",
        "noticed in time, and over without a restart",
        (_API + "test_health.py::test_a_hanging_database_is_told_in_time",),
        "--minutes 1 --faults proxy",
    ),
    Cell(
        "F-P9",
        "opposite transfers, races for new wallets",
        "no deadlock, no caller hears of one",
        (
            _ORM + "test_ledger_races.py::test_opposite_transfers_leave_both_balances_as_they_were",
            _E2E + "test_two_processes.py::test_opposite_transfers_leave_the_balances",
        ),
        gap="that a stranger locks the same rows in the other order",
    ),
    Cell(
        "F-P10",
        "the disk under PostgreSQL is full",
        "503; goes on by itself when there is room",
        gap="a run fills the folder of the logs (F-X6), not that of the data, which would need a"
        " disk of its own",
    ),
    Cell(
        "F-P11",
        "COMMIT is carried out and its answer lost",
        "never told as failed; the same key tells the outcome, once",
        (
            _ORM + "test_lost_connections.py"
            "::test_an_order_met_again_after_an_unanswered_commit_is_no_replay",
            _ORM + "test_lost_connections.py"
            "::test_every_step_of_a_transfer_survives_an_unanswered_commit",
        ),
        "--minutes 1 --faults proxy",
    ),
    Cell(
        "F-P12",
        "a transaction that commits late, behind younger ones",
        "the relay does not pass it over",
        (_ORM + "test_outbox.py::test_a_late_commit_is_not_passed_over",),
        gap="ten minutes of it, and vacuum held up meanwhile",
    ),
)

CLOCK: Final = (
    Cell(
        "F-C1",
        "the clock of API or worker jumps",
        "order and versions are the database's; tokens keep their leeway",
        (_API + "test_security.py::test_the_leeway_is_what_is_set",),
        "--minutes 1 --faults clock",
    ),
    Cell(
        "F-C2",
        "PostgreSQL's clock jumps back",
        "lists go by version and id, never by time",
        (
            _API + "test_paging.py::test_a_walk_is_not_disturbed_by_what_is_new",
            _ORM + "test_growth_migration.py"
            "::test_rows_stay_where_they_are_and_a_wrong_clock_s_go_to_the_rest",
        ),
        gap="the server's own clock is never turned back here",
    ),
)

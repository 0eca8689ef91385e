"""This module is where the rest of the list stands: the broker, the callers, and the operator."""

from typing import Final

from wallet_tools.torture.cells import Cell

_API: Final = "services/api/tests/"
_WORKER: Final = "services/worker/tests/"
_BROKER: Final = "services/worker/tests/broker/"
_ORM: Final = "libs/db_orm/tests/"
_E2E: Final = "tests/e2e/"

BROKER: Final = (
    Cell(
        "F-R1",
        "RabbitMQ stops and comes back",
        "the API goes on; all events arrive, each wallet's in order",
        (_BROKER + "test_relay_trouble.py::test_a_stopped_broker_costs_no_event",),
        "--minutes 1 --faults broker",
        is_smoke=True,
    ),
    Cell(
        "F-R2",
        "SIGKILL of RabbitMQ with a backlog",
        "the backlog is still there",
        (_BROKER + "test_relay_trouble.py::test_a_killed_broker_keeps_its_backlog",),
        "--minutes 1 --faults broker",
        is_smoke=True,
    ),
    Cell(
        "F-R3",
        "no RabbitMQ when the worker starts",
        "few lines; once it is there nothing is missing",
        (
            _BROKER + "test_faults.py::test_a_broker_that_comes_late_misses_nothing",
            _WORKER + "process/test_process.py::test_an_absent_broker_is_told_once",
        ),
    ),
    Cell(
        "F-R4",
        "RabbitMQ is connected and silent",
        "neither relay nor consumer waits for ever",
        (
            _BROKER + "test_relay_trouble.py::test_a_silent_broker_is_not_waited_for",
            _BROKER + "test_consumer.py::test_a_silent_broker_does_not_hold_a_consumer",
        ),
        "--minutes 1 --faults proxy",
    ),
    Cell(
        "F-R5",
        "RabbitMQ's memory or disk alarm",
        "the relay waits for so long; the events stay in the outbox",
        (_BROKER + "test_relay_trouble.py::test_an_alarmed_broker_is_not_waited_for",),
        "--minutes 1 --faults broker",
    ),
    Cell(
        "F-R6",
        "a queue is full and refuses",
        "what was refused stays, and goes out later",
        (_BROKER + "test_relay.py::test_a_refused_event_stays",),
    ),
    Cell(
        "F-R7",
        "an event that no queue takes",
        "it counts as not sent; bound again it goes out",
        (
            _BROKER + "test_relay.py::test_an_unroutable_event_is_an_error_not_a_confirm",
            _BROKER + "test_relay.py::test_events_survive_the_loss_of_the_binding",
        ),
    ),
    Cell(
        "F-R8",
        "a queue or exchange is deleted, or is there with other arguments",
        "declared again, or named in the log and waited for",
        (_BROKER + "test_topology_lost.py",),
    ),
    Cell(
        "F-R9",
        "every message again and again",
        "no second effect",
        (
            _BROKER + "test_consumer.py::test_redelivery_in_any_order_changes_nothing",
            _ORM
            + "test_inbox.py::test_duplicates_and_shuffles_through_two_consumers_change_nothing",
        ),
    ),
    Cell(
        "F-R10",
        "messages in any order",
        "the same statistics, the same verdicts",
        (
            _BROKER + "test_poison.py::test_no_disorder_changes_a_conclusion",
            _ORM
            + "test_inbox_flags.py::test_the_verdict_is_the_same_whatever_the_order_of_arrival",
        ),
    ),
    Cell(
        "F-R11",
        "poison in every form",
        "a letter each, unchanged and with a reason; what comes behind is processed",
        (
            _BROKER + "test_poison.py::test_poison_rests_unchanged_and_harms_no_other",
            _BROKER + "inbound/test_inbound_letters.py"
            "::test_poison_rests_with_its_origin_and_harms_no_other",
        ),
    ),
    Cell(
        "F-R12",
        "a message that kills its worker",
        "it becomes a letter and takes no neighbour along",
        (_WORKER + "process/test_killer.py::test_a_killer_goes_alone",),
    ),
    Cell(
        "F-R13",
        "PostgreSQL is away for half a minute while messages come",
        "they wait; no letter, no heat",
        (_WORKER + "process/test_away.py::test_a_worker_whose_database_is_away_is_calm",),
    ),
    Cell(
        "F-R14",
        "a consumer slower than RabbitMQ's consumer_timeout",
        "the channel closes, the message comes again",
        (_BROKER + "test_publishing.py::test_a_channel_that_closes_is_not_waited_for",),
        gap="the time-out itself: RabbitMQ looks once a minute, and no transaction here may take"
        " more than eight seconds",
    ),
    Cell(
        "F-R15",
        "letters are replayed, twice, while the worker runs",
        "one effect, and it is written down who did it",
        (
            _BROKER + "test_letters.py::test_a_replayed_letter_takes_effect",
            "libs/letters/tests/test_boxes.py::test_one_of_many_acts_on_a_letter_wins",
        ),
    ),
)

CALLERS: Final = (
    Cell(
        "F-X1",
        "the same request many times at once, over two processes",
        "one effect, identical answers",
        (_E2E + "test_two_processes.py::test_identical_first_deposits_are_one",),
        is_smoke=True,
    ),
    Cell(
        "F-X2",
        "a caller leaves amid its request",
        "all of it or nothing; the key tells",
        (
            _API + "test_edge.py::test_half_a_request_leaves_nothing",
            _ORM + "test_group_commit.py::test_callers_who_leave_leave_nothing_behind",
            _E2E + "test_crashes.py::test_what_was_acknowledged_survives",
        ),
    ),
    Cell(
        "F-X3",
        "heads and bodies that do not arrive",
        "408 or closed within half a minute",
        (
            _API + "test_wire.py::test_a_head_that_does_not_arrive_is_answered_408",
            _API + "test_edge.py::test_a_body_that_does_not_arrive_is_answered_408",
        ),
        gap="five hundred of them at once",
    ),
    Cell(
        "F-X4",
        "huge bodies, endless headers, deep nesting",
        "413, 431 or 400, and no effect",
        (
            _API + "test_edge.py::test_a_body_far_over_the_limit_is_answered",
            _API + "test_wire.py::test_an_endless_header_is_refused_while_it_comes",
            _API + "inputs/test_inputs.py::test_a_row",
        ),
    ),
    Cell(
        "F-X5",
        "two relays, consumers, recoverers at once",
        "one works or both do; the effects are the same",
        (
            _ORM + "test_outbox.py::test_only_one_relay_is_active",
            _BROKER + "test_consumer.py::test_two_consumers_share_the_work",
            _WORKER + "test_recovery.py::test_two_recoverers_do_what_one_does",
        ),
    ),
    Cell(
        "F-X6",
        "the disk of the logs is full",
        "money moves on",
        torture="--minutes 1 --faults disk",
        gap="it needs the right to mount (root)",
    ),
    Cell(
        "F-X7",
        "API or worker runs out of memory",
        "ended by the kernel and started again, as F-K1 and F-K3",
        gap="a kill for memory is a SIGKILL, which F-K1 and F-K3 send; none was provoked by memory",
    ),
    Cell(
        "F-X8",
        "half an hour at half load with faults of which no API and no worker dies",
        "memory, files, connections and outbox do not grow",
        torture="--minutes 30 --faults stop,pg,broker,lock,proxy",
    ),
)

OPERATOR: Final = (
    Cell(
        "F-B1",
        "a base backup under load, restored elsewhere",
        "verify passes on it",
        (_ORM + "test_backup.py::test_a_backup_taken_under_load_is_proved_where_it_is_restored",),
    ),
    Cell(
        "F-U1",
        "migrations up and down, under load",
        "the schema is the models'; writers go on",
        (
            _ORM + "test_migrations.py::test_every_revision_goes_up_and_down_and_up_again",
            _ORM + "test_growth_migration.py"
            "::test_writers_go_on_while_the_migration_waits_for_a_reader",
        ),
        gap="there is no earlier release to come from",
    ),
)

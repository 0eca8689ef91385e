"""This module is where the steps are listed at which a process may die, and what is then true."""

from typing import Final

from wallet_tools.torture.cells import Cell

_KILLED: Final = "services/api/tests/killed/test_kill_points.py::"
_DEPOSIT: Final = _KILLED + "test_a_deposit_whose_process_dies"
_TRANSFER: Final = _KILLED + "test_a_transfer_whose_process_dies"
_LEFT: Final = _KILLED + "test_a_transfer_that_nobody_asks_for_again"
_COMPENSATION: Final = _KILLED + "test_a_compensation_whose_process_dies"
_WORKER: Final = "services/worker/tests/"
_ORM: Final = "libs/db_orm/tests/"

_NOTHING: Final = "nothing happened, the key is free; asked again: once"
_ALL: Final = "it happened once; asked again: the same bytes"
_SENT_AGAIN: Final = "sent again under the same id; one effect"

DEPOSIT: Final = (
    Cell("D0", "before BEGIN", _NOTHING, (_DEPOSIT + "[D0]",)),
    Cell("D1", "after the wallet is locked", _NOTHING, (_DEPOSIT + "[D1]",)),
    Cell("D2", "before the entry is written", _NOTHING, (_DEPOSIT + "[D2]",)),
    Cell("D3", "after the entry, before the event", _NOTHING, (_DEPOSIT + "[D3]",)),
    Cell("D4", "before the audit row, the last one", _NOTHING, (_DEPOSIT + "[D4]",)),
    Cell("D5", "before COMMIT", _NOTHING, (_DEPOSIT + "[D5]",)),
    Cell("D6", "after COMMIT, before it is known", _ALL, (_DEPOSIT + "[D6]",)),
    Cell("D7", "after the answer", _ALL, (_DEPOSIT + "_after_its_answer",)),
)

TRANSFER: Final = (
    Cell(
        "T1",
        "after a transfer is initiated, before its debit",
        "there is no such moment: both are one transaction",
        (_TRANSFER + "[T2]", _TRANSFER + "[T3]"),
    ),
    Cell("T2", "in the debit, before COMMIT", _NOTHING, (_TRANSFER + "[T2]",)),
    Cell(
        "T3",
        "after the debit's COMMIT",
        "the money is in transit; a repetition or recovery brings it there",
        (_TRANSFER + "[T3]", _LEFT + "[T3]"),
    ),
    Cell("T4", "in the credit, before COMMIT", "as T3", (_TRANSFER + "[T4]", _LEFT + "[T3]")),
    Cell(
        "T5",
        "after the credit's COMMIT",
        "no second credit; completed",
        (_TRANSFER + "[T5]", _LEFT + "[T5]"),
    ),
    Cell("T6", "before the end is written", "as T5", (_TRANSFER + "[T6]", _LEFT + "[T5]")),
    Cell("T7", "after the end, before the answer", "completed", (_TRANSFER + "[T7]",)),
    Cell(
        "TC1",
        "when the debit is made and the credit will be refused",
        "one refund, and never a credit",
        (_COMPENSATION + "[TC1]",),
    ),
    Cell("TC2", "in the refund, before COMMIT", "as TC1", (_COMPENSATION + "[TC2]",)),
    Cell("TC3", "after the refund's COMMIT", "as TC1", (_COMPENSATION + "[TC3]",)),
    Cell(
        "TS1",
        "recovery has found a transfer and not acted",
        "another recovers it, once",
        (
            _ORM + "test_transfers_recovery.py"
            "::test_two_recoverers_and_the_driver_itself_end_a_transfer_once",
        ),
    ),
    Cell(
        "TS2",
        "recovery has acted, its driver wakes",
        "the woken driver changes nothing",
        (
            _ORM + "test_transfers_recovery.py"
            "::test_a_driver_that_slept_through_the_refund_changes_nothing",
            _ORM + "test_transfers_recovery.py"
            "::test_a_driver_that_slept_through_the_completion_changes_nothing",
        ),
    ),
)

RELAY: Final = (
    Cell(
        "R0",
        "a batch is taken",
        "a standby takes it",
        (
            _ORM + "test_outbox.py::test_a_standby_takes_over_when_the_relays_session_ends",
            _ORM + "test_outbox.py::test_an_event_that_is_not_removed_is_taken_again",
        ),
    ),
    Cell(
        "R1",
        "published, before the confirm",
        _SENT_AGAIN,
        (_WORKER + "process/test_standby.py::test_another_worker_takes_over",),
        "--minutes 1 --faults proxy,kill",
        gap="by chance under load, and by a confirm that is swallowed; no kill at this very step",
    ),
    Cell(
        "R2",
        "confirmed, before the outbox is emptied",
        _SENT_AGAIN,
        (
            _ORM + "test_outbox.py::test_an_event_that_is_not_removed_is_taken_again",
            _WORKER + "process/test_standby.py::test_another_worker_takes_over",
        ),
        gap="by chance under load; no kill at this very step",
    ),
    Cell(
        "R3",
        "the outbox is emptied",
        "nothing left to do",
        (_WORKER + "process/test_standby.py::test_another_worker_takes_over",),
    ),
)

CONSUMER: Final = (
    Cell(
        "W0",
        "messages in hand, nothing begun",
        "they go to another",
        (
            _WORKER + "broker/test_consumer.py"
            "::test_what_a_lost_consumer_had_in_hand_goes_to_another",
        ),
    ),
    Cell(
        "W1",
        "the event is noted, its effect not yet",
        "rolled back, comes again, once",
        (_WORKER + "process/test_killer.py::test_a_killer_goes_alone",),
    ),
    Cell(
        "W2",
        "the projection is being written, before COMMIT",
        "as W1",
        (_WORKER + "process/test_killer.py::test_a_killer_goes_alone",),
    ),
    Cell(
        "W3",
        "after COMMIT, before the ack",
        "comes again and changes nothing",
        (_WORKER + "broker/test_consumer.py::test_redelivery_in_any_order_changes_nothing",),
        "--minutes 1 --faults kill",
    ),
    Cell(
        "W4",
        "after the ack",
        "nothing left to do",
        (_WORKER + "process/test_process.py::test_stopping_amid_work_loses_nothing",),
    ),
)

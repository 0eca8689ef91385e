"""Promises about `wallet events replay`: what has left can be sent once more, as it was."""

import json
import signal
import subprocess
import sys
from datetime import datetime, timedelta
from typing import TYPE_CHECKING

import pytest
from aio_pika.abc import DeliveryMode

from wallet_api import cursors

if TYPE_CHECKING:
    from tools.tests.event_replay.conftest import Log

pytestmark = pytest.mark.broker


def test_what_comes_again_is_what_went_out(log: "Log") -> None:
    """Bytes, id, type and order are those of the first time; headers tell that it is not."""
    assert log.replay(1, 1_000) == 0

    received = log.received()
    assert [each.body for each in received] == log.bodies(1, len(log.left))
    for message, first in zip(received, log.left, strict=True):
        assert message.message_id == first.event_id
        assert (message.type, message.routing_key) == (first.routing_key, log.queue)
        assert message.content_type == "application/json"
        assert message.delivery_mode == DeliveryMode.PERSISTENT
        told = {"x-republished": True, "x-original-routing-key": first.routing_key}
        assert message.headers == told
    assert f"{len(log.left)} events" in log.said


def test_a_range_of_positions_ends_before_its_end(log: "Log") -> None:
    """From is included, to is not; the feed's own string means the same as the number."""
    assert log.replay(3, 7) == 0
    assert log.replay(cursors.encode("events", "3"), cursors.encode("events", "7")) == 0

    assert [each.body for each in log.received()] == log.bodies(3, 6) * 2


def test_a_range_of_times_is_of_event_times(log: "Log") -> None:
    """An event counts by when it occurred, to the microsecond, however late it left."""
    start, end = log.occurred(5), log.occurred(12)
    expected = [
        each.body for place, each in enumerate(log.left, 1) if start <= log.occurred(place) < end
    ]

    assert log.replay(start.isoformat(), end.isoformat()) == 0

    assert [each.body for each in log.received()] == expected
    assert 0 < len(expected) < len(log.left)


def test_a_time_and_a_position_may_be_mixed(log: "Log") -> None:
    """Each end of the range is what it is: a time, or a place in the feed."""
    late = log.occurred(len(log.left)) + timedelta(days=1)

    assert log.replay(log.occurred(1).isoformat(), 4) == 0
    assert log.replay(4, late.isoformat()) == 0

    assert [each.body for each in log.received()] == log.bodies(1, len(log.left))


def test_one_wallet_or_one_type(log: "Log") -> None:
    """Of one wallet, of one type, or both; what is not asked for stays where it is."""
    assert log.replay(1, 1_000, "--wallet", "bob") == 0
    of_bob = log.received()
    assert log.replay(1, 1_000, "--type", "TransferDebited", "--wallet", "ada") == 0
    debited = log.received()

    told = [each.body for each in log.left if each.wallet_id == "bob"]
    assert [each.body for each in of_bob] == told
    assert [each.type for each in of_bob] == ["WalletCreated", "FundsDeposited", "TransferCredited"]
    assert [each.type for each in debited] == ["TransferDebited"]


def test_a_dry_run_sends_and_notes_nothing(log: "Log") -> None:
    """It counts, by type, and that is all."""
    assert log.replay(1, 1_000, "--dry-run", "--json") == 0

    told = json.loads(log.said)
    assert told["wouldSend"] == len(log.left)
    assert told["types"]["FundsDeposited"] == 22
    assert log.received() == []
    assert log.noted() == []


def test_who_replayed_what_is_written_down(log: "Log") -> None:
    """The operator log has who, what and where to; by default the user of this machine."""
    assert log.replay(2, 9, "--by", "ops") == 0
    assert log.replay(2, 9) == 0

    first, second = log.noted()
    assert (first["operator"], first["act"], first["subject"]) == (
        "ops",
        "events.replay",
        log.queue,
    )
    assert json.loads(first["details"])["after"] == 1
    assert json.loads(first["details"])["upto"] == 8
    assert "@" in second["operator"]


def test_it_is_written_down_before_it_is_done(log: "Log") -> None:
    """A replay that the queue refuses is in the operator log all the same."""
    log.make_queue({"x-max-length": 0, "x-overflow": "reject-publish"})

    assert log.replay(1, 1_000) == 1

    assert "did not take" in log.complained
    assert len(log.noted()) == 1


def test_a_replay_goes_on_where_it_was_stopped(log: "Log") -> None:
    """A queue that fills up stops it; it names the place, and the rest comes behind that."""
    log.make_queue({"x-max-length": 10, "x-overflow": "reject-publish"})
    assert log.replay(1, 1_000, "--rate", "10/s") == 1
    place = log.complained.partition("--after ")[2].split()[0]
    first = log.received()

    log.make_queue()
    assert log.replay(1, 1_000, "--after", place) == 0

    rest = log.received()
    assert [each.body for each in first + rest] == log.bodies(1, len(log.left))
    assert len(first) == int(place) == 10


def test_an_interrupted_replay_tells_how_to_go_on(log: "Log") -> None:
    """After Ctrl-C the place is told, and all up to it is in the queue."""
    command = ["events", "replay", "--from", "1", "--to", "99", "--queue", log.queue, "--rate", "1"]
    # Whoever runs tests in the background hands SIGINT on as ignored; what is handled is not.
    handled = signal.signal(signal.SIGINT, signal.default_int_handler)
    try:
        asked = subprocess.Popen(
            [sys.executable, "-m", "wallet_tools.cli", *command], stderr=subprocess.PIPE, text=True
        )
    finally:
        signal.signal(signal.SIGINT, handled)
    assert asked.stderr is not None
    assert "events, place" in asked.stderr.readline()
    asked.send_signal(signal.SIGINT)

    told = asked.communicate(timeout=20)[1]

    assert asked.returncode == 130
    place = int(told.partition("--after ")[2])
    assert [each.body for each in log.received()][:place] == log.bodies(1, place)


def test_a_rate_is_kept(log: "Log") -> None:
    """So many a second are sent, and no more."""
    before = datetime.now().astimezone()

    assert log.replay(1, 1_000, "--rate", "40") == 0

    assert datetime.now().astimezone() - before >= timedelta(seconds=(len(log.left) - 4) / 40)


def test_what_cannot_be_meant_is_refused(log: "Log", monkeypatch: pytest.MonkeyPatch) -> None:
    """Backwards, empty, beyond the feed, in the future: refused, and nothing was sent or noted."""
    noon, one = "2026-01-01T12:00:00Z", "2026-01-01T13:00:00Z"

    assert "--from is after --to" in log.refused(9, 3)
    assert "--from is after --to" in log.refused(one, noon)
    assert "is empty" in log.refused(9, 9)
    assert "is empty" in log.refused(noon, noon)
    assert "is empty" in log.refused(500, 600)
    assert "is empty" in log.refused("2990-01-01T00:00:00Z", "2991-01-01T00:00:00Z")
    assert "nothing was sent" in log.refused(noon, one)
    assert "nothing was sent" in log.refused(1, 1_000, "--wallet", "nobody")
    assert "has no zone" in log.refused("2026-01-01T12:00:00", one)
    assert "neither" in log.refused("yesterday", one)
    assert "neither" in log.refused(cursors.encode("wallets", "3"), 9)
    assert "no rate" in log.refused(1, 9, "--rate", "0")
    assert "invalid choice" in log.refused(1, 9, "--type", "FundsLaundered")
    monkeypatch.setenv("RABBITMQ_URL", "")
    assert "RABBITMQ_URL is not set" in log.refused(1, 9)


def test_a_queue_that_is_not_there_is_refused(log: "Log") -> None:
    """A queue is never made by a replay: a misspelled one would swallow it."""
    log.on_broker(lambda channel: channel.queue_delete(log.queue))

    assert log.replay(1, 1_000) == 1

    assert f"no queue is called {log.queue}" in log.complained
    assert log.noted() == []

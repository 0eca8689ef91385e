"""This module is where errors are told that nobody asked about: briefly, or in full."""

import asyncio

import pytest
from aio_pika.exceptions import AMQPConnectionError, ChannelInvalidStateError
from structlog.testing import capture_logs

from wallet_worker.main import tell_unasked


@pytest.mark.parametrize("kind", [AMQPConnectionError, ChannelInvalidStateError])
async def test_a_connection_that_a_library_left_is_one_line(kind: type[Exception]) -> None:
    """What was begun on it fails later, and nobody waits for it: a line, no stack."""
    loop = asyncio.get_running_loop()
    with capture_logs() as lines:
        tell_unasked(loop, {"message": "never retrieved", "exception": kind("gone")})

    assert lines == [
        {
            "event": "connection.lost",
            "log_level": "warning",
            "error_class": kind.__name__,
            "error": "gone",
        }
    ]


@pytest.mark.parametrize("error", [ValueError("ours"), FileNotFoundError("ours too")])
async def test_any_other_error_is_told_in_full(
    caplog: pytest.LogCaptureFixture, error: Exception
) -> None:
    """A fault of ours in a task that nobody awaits is not made small."""
    tell_unasked(asyncio.get_running_loop(), {"message": "never retrieved", "exception": error})

    assert [record.exc_info is not None for record in caplog.records] == [True]

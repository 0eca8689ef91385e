"""This module is where the private RabbitMQ is shown to be durable, and alone with us."""

from pathlib import Path

import aio_pika
import pytest

from wallet_tools.processes import wait_until
from wallet_tools.rabbitmq import RabbitServer, accepts_login

pytestmark = pytest.mark.broker


def test_only_our_user_gets_in(broker: RabbitServer) -> None:
    """The random password opens it; the well-known guest does not."""
    password = broker.url.split(":")[2].split("@")[0]

    assert accepts_login(broker.port, "wallet", password)
    assert not accepts_login(broker.port, "guest", "guest")


def test_the_pid_is_the_broker(broker: RabbitServer) -> None:
    """The process that is watched is the Erlang machine itself and no shell around it."""
    assert broker.process is not None
    assert Path(f"/proc/{broker.process.pid}/comm").read_text().strip() == "beam.smp"


def test_secrets_are_ours(broker: RabbitServer) -> None:
    """No password is in a command line, and only the owner may read the files that have it."""
    password = broker.url.split(":")[2].split("@")[0]

    command_lines = [path.read_bytes() for path in Path("/proc").glob("[0-9]*/cmdline")]

    assert not any(password.encode() in line for line in command_lines)
    for name in ("server.json", "rabbitmq.conf", ".erlang.cookie"):
        assert (broker.home / name).stat().st_mode & 0o077 == 0


async def test_a_persistent_message_survives_a_kill(broker: RabbitServer) -> None:
    """After kill -9 the broker comes back at the same URL with every confirmed message."""
    url = broker.url
    connection = await aio_pika.connect(url)
    channel = await connection.channel()
    queue = await channel.declare_queue(
        "survivors", durable=True, arguments={"x-queue-type": "quorum"}
    )
    message = aio_pika.Message(b"still here", delivery_mode=aio_pika.DeliveryMode.PERSISTENT)
    await channel.default_exchange.publish(message, queue.name)
    await connection.close()
    # Until its name is on disk a queue is lost with the broker (see ERLANG_ARGUMENTS).
    [names] = (broker.home / "mnesia").glob("*/quorum/*/names.dets")
    assert wait_until(lambda: b"survivors" in names.read_bytes(), 0.5)

    broker.kill()
    broker.start()

    assert broker.url == url
    connection = await aio_pika.connect(url)
    channel = await connection.channel()
    survivor = await (await channel.declare_queue("survivors", passive=True)).get(timeout=10)
    assert survivor is not None
    assert survivor.body == b"still here"
    await survivor.ack()
    await connection.close()

"""This module is where the names on the broker are shown to be those that operators rely on."""

from wallet_common.topology import Topology


def test_the_names_are_those_of_the_contract() -> None:
    """With the default settings, every object on the broker has its published name."""
    topology = Topology()

    assert topology.exchange == "wallet.events"
    assert topology.queue == "wallet.events.worker"
    assert topology.retry_queue(5_000) == "wallet.events.worker.retry.5000"
    assert topology.dead_letter_exchange == "wallet.events.dlx"
    assert topology.dead_letter_queue == "wallet.events.worker.dlq"
    assert topology.auth_exchange == "auth.events"
    assert topology.transaction_exchange == "transaction.events"
    assert topology.inbound_queues == ("wallet.user.q", "wallet.update.q", "wallet.revert.q")
    assert topology.retry_queue(5_000, "wallet.user.q") == "wallet.user.q.retry.5000"


def test_the_queues_follow_the_exchange() -> None:
    """Two stacks with different exchanges share no queue."""
    topology = Topology(exchange="blue", dead_letter_exchange="blue.dead")

    assert topology.queue == "blue.worker"
    assert topology.dead_letter_queue == "blue.worker.dlq"
    assert topology.retry_queue(1_000) == "blue.worker.retry.1000"


def test_back_off_grows() -> None:
    """Each retry tier waits longer than the one before."""
    delays = Topology().retry_delays_ms

    assert list(delays) == sorted(set(delays))
    assert delays[0] > 0

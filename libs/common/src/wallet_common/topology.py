"""This module is where the names of exchanges, queues and headers on the broker come from."""

from typing import Final

import msgspec

# Headers of a message that failed before; times are RFC 3339.
ATTEMPTS_HEADER: Final = "x-attempts"
ERROR_HEADER: Final = "x-error"
ERROR_CLASS_HEADER: Final = "x-error-class"
FIRST_FAILED_HEADER: Final = "x-first-failed-at"
LAST_FAILED_HEADER: Final = "x-last-failed-at"
ORIGIN_QUEUE_HEADER: Final = "x-origin-queue"
ROUTING_KEY_HEADER: Final = "x-original-routing-key"
REPLAYS_HEADER: Final = "x-replays"
# True on an event that an operator sent once more, from the log to one queue.
REPUBLISHED_HEADER: Final = "x-republished"
# The broker's own: how often a message came back from somebody who had it in hand.
RETURNS_HEADER: Final = "x-delivery-count"

# What other services tell us.
SIGN_UP_KEY: Final = "user.signup"
COMPLETION_KEY: Final = "transaction.completed"
FAILURE_KEY: Final = "transaction.failed"
# What we tell the service whose transaction has taken effect here, or has not.
ANSWER_KEY: Final = "wallet.transactionFinalized"


class Topology(msgspec.Struct, frozen=True):
    """Every name; what is no field is derived from those that are."""

    exchange: str = "wallet.events"
    dead_letter_exchange: str = "wallet.events.dlx"
    retry_delays_ms: tuple[int, ...] = (1_000, 5_000, 25_000)
    # Other services' exchanges, and our queues there: sign-ups, transactions done and failed.
    auth_exchange: str = "auth.events"
    transaction_exchange: str = "transaction.events"
    user_queue: str = "wallet.user.q"
    update_queue: str = "wallet.update.q"
    revert_queue: str = "wallet.revert.q"

    @property
    def queue(self) -> str:
        """The worker's own queue."""
        return f"{self.exchange}.worker"

    @property
    def dead_letter_queue(self) -> str:
        """Where letters rest until an operator acts."""
        return f"{self.queue}.dlq"

    @property
    def alone_queue(self) -> str:
        """Where an event waits whose worker ended too often."""
        return self.alone(self.queue)

    @property
    def inbound_queues(self) -> tuple[str, str, str]:
        """Our queues at other services' exchanges."""
        return self.user_queue, self.update_queue, self.revert_queue

    def alone(self, queue: str) -> str:
        """Where a message of `queue` waits whose worker ended too often: one of them is in hand."""
        return f"{queue}.alone"

    def retry_queue(self, delay_ms: int, queue: str | None = None) -> str:
        """Where a message waits `delay_ms` before it comes back to `queue`, the worker's own."""
        return f"{queue or self.queue}.retry.{delay_ms}"

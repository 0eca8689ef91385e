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


class Topology(msgspec.Struct, frozen=True):
    """Every name, derived from the two that are settings."""

    exchange: str = "wallet.events"
    dead_letter_exchange: str = "wallet.events.dlx"
    retry_delays_ms: tuple[int, ...] = (1_000, 5_000, 25_000)

    @property
    def queue(self) -> str:
        """The worker's own queue."""
        return f"{self.exchange}.worker"

    @property
    def dead_letter_queue(self) -> str:
        """Where letters rest until an operator acts."""
        return f"{self.queue}.dlq"

    def retry_queue(self, delay_ms: int) -> str:
        """Where a message waits `delay_ms` before it comes back to the queue."""
        return f"{self.queue}.retry.{delay_ms}"

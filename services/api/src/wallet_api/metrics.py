"""This module is where the process tells its figures, in the text that Prometheus reads."""

import asyncio
from collections import Counter
from collections.abc import Iterable, Mapping
from typing import Any, Final

from litestar import Response, get
from litestar.di import NamedDependency
from prometheus_client import generate_latest
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric

from wallet_api.access import ADMINS
from wallet_api.access_settings import is_loopback
from wallet_api.books import Books
from wallet_api.exchange import Exchange
from wallet_api.openapi import BEARER, OPEN, refusals
from wallet_api.problems import Problem
from wallet_db_orm import dead_letters, feed, outbox, proving

_READ_TIMEOUT_S: Final = 2.0
# The framework adds the character set.
_MEDIA_TYPE: Final = "text/plain; version=0.0.4"
_FORWARDED: Final = frozenset({b"forwarded", b"x-forwarded-for", b"x-real-ip"})
_REFUSALS: Final = {status: told for status, told in refusals().items() if status in {401, 403}}
_MEANINGS: Final = {
    "wallet_database_up": "Whether the database answered for this page.",
    "wallet_outbox_rows": "Events that nobody confirmed yet; beyond 100000 at most so many.",
    "wallet_outbox_lag_seconds": "The age of the first of them.",
    "wallet_relay_active": "Whether some relay holds the lock.",
    "wallet_feed_position": "The newest place in the event feed.",
    "wallet_books_ok": "Whether the newest proof of the books found nothing; absent without one.",
    "wallet_books_proved_timestamp_seconds": "The instant that it proved.",
    "wallet_dead_letters": "Letters at rest in the database; told only without a broker.",
    "wallet_requests_pending": "Orders that wait for their transaction in this process.",
    "wallet_streams_open": "Event streams that this process serves.",
}


class _Figures:
    """What `generate_latest` asks for its metrics."""

    def __init__(self, gauges: Mapping[str, float], books: Books) -> None:
        self._gauges = gauges
        self._answered = books.answered

    def collect(self) -> Iterable[Metric]:
        for name, value in self._gauges.items():
            yield GaugeMetricFamily(name, _MEANINGS[name], value)
        answered = CounterMetricFamily(
            "wallet_requests",
            "Requests that this process answered.",
            labels=("method", "route", "status"),
        )
        by_class = Counter[tuple[str, str, str]]()
        for (method, route, status), count in self._answered.items():
            by_class[method, route, f"{status // 100}xx"] += count
        for labels, count in sorted(by_class.items()):
            answered.add_metric(labels, count)
        yield answered


@get(
    "/metrics",
    tags=["operation"],
    media_type="text/plain",
    responses=_REFUSALS,
    security=[*OPEN, BEARER],
)
async def metrics(
    exchange: NamedDependency[Exchange], books: NamedDependency[Books]
) -> Response[bytes]:
    """
    Return this process' figures and the database's, as far as it answers in time.

    WALLET_METRICS says to whom: to this machine alone, to administrators, or to everybody.
    """
    await _let_in(exchange, books)
    try:
        async with asyncio.timeout(_READ_TIMEOUT_S):
            gauges = {"wallet_database_up": 1.0, **await _read(books)}
    except Exception:  # noqa: BLE001  # whatever it is, these figures are not known
        gauges = {"wallet_database_up": 0.0}
    gauges["wallet_requests_pending"] = books.lanes.pending
    gauges["wallet_streams_open"] = len(books.streams)
    page = generate_latest(_Figures(gauges, books))
    return Response(page, media_type=_MEDIA_TYPE)


async def _read(books: Books) -> dict[str, float]:
    engine = books.database.fresh
    lag = await outbox.lag(engine)
    gauges = {
        "wallet_outbox_rows": lag.rows,
        "wallet_outbox_lag_seconds": lag.seconds,
        "wallet_relay_active": await outbox.is_active(engine),
        "wallet_feed_position": await feed.last_position(engine),
    }
    if (proof := (await proving.last(engine)).newest) is not None:
        gauges["wallet_books_ok"] = proof.ok
        gauges["wallet_books_proved_timestamp_seconds"] = proof.snapshot_at.timestamp()
    if books.settings.rabbitmq_url is None:
        gauges["wallet_dead_letters"] = await dead_letters.count(engine)
    return gauges


async def _let_in(exchange: Exchange, books: Books) -> None:
    """Raise a 401 or a 403 for who may not read the figures."""
    match books.settings.metrics:
        case "open":
            return
        case "admin":
            await books.door.admit_by(exchange, ADMINS)
        case "loopback":
            # Behind a proxy of this machine everybody comes from here, and the proxy says so.
            is_forwarded = any(name in _FORWARDED for name, _ in exchange.headers)
            if is_forwarded or not is_loopback(exchange.client_ip or ""):
                raise Problem(403, "forbidden", "The figures are for this machine alone.")


HANDLERS: Final[tuple[Any, ...]] = (metrics,)

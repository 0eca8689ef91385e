"""
This module is where plain requests meet their handlers without the framework's machinery between.

The framework's typed routes say what there is, route every address and describe it. A request
that needs none of its powers, which nearly every one is, has its handler called right here: the
same function, with the same arguments. See docs/adr/0014.
"""

from collections.abc import Awaitable, Callable, Mapping
from typing import Any, Final

import msgspec
from msgspec.json import encode

from wallet_api.books import Books
from wallet_api.exchange import Exchange
from wallet_api.strict import decode

# What is served here, as the framework spells its routes.
_WALLET_ROUTE: Final = "/v1/wallets/{wallet_id}"
_ENCODING_HEADERS: Final = {b"content-type", b"content-encoding"}


class Plain(msgspec.Struct, frozen=True):
    """A handler's function, and the body that it takes; None for a read."""

    function: Callable[..., Awaitable[Any]]
    body: type[msgspec.Struct] | None = None


class Shortcut:
    """Finds the handler of a plain request: by (method, what follows the wallet in the path)."""

    def __init__(self, handlers: Mapping[tuple[str, str], Plain], books: Books) -> None:
        self._handlers = handlers
        self._books = books

    def find(self, exchange: Exchange) -> Plain | None:
        """Return the handler of a plain request; None if the framework has to look at it."""
        if exchange.verb is None or exchange.query:
            return None
        plain = self._handlers.get((exchange.method, exchange.verb))
        if plain is None or plain.body is None:
            return plain
        return plain if exchange.body and _is_json(exchange.headers) else None

    async def answer(self, exchange: Exchange, plain: Plain) -> tuple[int, bytes]:
        """Return the status and the body; raises what the door or the handler raises."""
        exchange.route = f"{_WALLET_ROUTE}{exchange.verb}"
        await self._books.door.admit(exchange, exchange.route)
        if plain.body is None:
            return 200, encode(await plain.function(exchange.wallet_id, exchange, self._books))
        asked = decode(exchange.body, plain.body)
        answered = await plain.function(exchange.wallet_id, asked, exchange, self._books)
        return 201, encode(answered)


def _is_json(headers: list[tuple[bytes, bytes]]) -> bool:
    told = [value for name, value in headers if name in _ENCODING_HEADERS]
    return told == [b"application/json"]

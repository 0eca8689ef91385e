"""
This module is where the least that can be served is served: one typed handler, and no books.

It has the framework, the server and the settings of the API, so what a read of ours costs beside
it is our own work. Run as `python -m wallet_tools.bench.bare FD` with a listening socket.
"""

import socket
import sys
from typing import Annotated

import msgspec
import uvicorn
from litestar import Litestar, get
from litestar.params import Parameter


class Wallet(msgspec.Struct, rename="camel"):
    """As many fields as the real one has, all of them constants."""

    wallet_id: str
    owner_id: str | None = None
    currency: str = "USD"
    balance: str = "1000000.00"
    held: str = "0.00"
    available: str = "1000000.00"
    status: str = "active"
    version: int = 1
    created_at: str = "2026-01-01T00:00:00.000000Z"
    updated_at: str = "2026-01-01T00:00:00.000000Z"
    metadata: dict[str, str] | None = None


@get("/v1/wallets/{wallet_id:str}")
async def wallet(wallet_id: Annotated[str, Parameter(max_length=128)]) -> Wallet:
    return Wallet(wallet_id)


def main() -> None:
    config = uvicorn.Config(
        Litestar([wallet], openapi_config=None),
        log_config=None,
        access_log=False,
        server_header=False,
        proxy_headers=False,
        lifespan="on",
    )
    uvicorn.Server(config).run(sockets=[socket.socket(fileno=int(sys.argv[1]))])


if __name__ == "__main__":
    main()

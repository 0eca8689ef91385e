"""This module is where the API process starts: settings, logs, a socket, and a graceful end."""

import socket

import structlog
import uvicorn

from wallet_api.app import create_app
from wallet_api.settings import ApiSettings
from wallet_runtime import logs, memory

_GRACE_S = 10


def main() -> None:
    """Serve until SIGTERM; requests in flight are answered first."""
    settings = ApiSettings.load()
    logs.configure("api", level=settings.log_level, directory=settings.log_dir)
    server = uvicorn.Server(
        uvicorn.Config(
            create_app(settings),
            host=settings.host,
            port=settings.port,
            log_config=None,
            access_log=False,
            server_header=False,
            proxy_headers=False,
            timeout_graceful_shutdown=_GRACE_S,
            lifespan="on",
            # Nobody is served a WebSocket here; a request for one is answered as any other.
            ws="none",
        )
    )
    log = structlog.get_logger("wallet_api")
    if settings.auth == "off":
        log.warning("auth.off", detail="anybody on this machine may move money")
    log.info("api.started", host=settings.host, port=settings.port)
    memory.settle()
    # A supervisor may hand the listening socket down, so that several processes share one port.
    sockets = None if settings.listen_fd is None else [socket.socket(fileno=settings.listen_fd)]
    server.run(sockets=sockets)


if __name__ == "__main__":
    main()

"""This module is where the API process starts: settings, logs, a socket, and a graceful end."""

import asyncio
import signal
import socket
import sys

import structlog
import uvicorn

from wallet_api.access_settings import is_loopback
from wallet_api.app import create_app
from wallet_api.edge import Edge
from wallet_api.settings import ApiSettings
from wallet_api.turns import Turns
from wallet_api.wire import Wire
from wallet_runtime import logs, memory
from wallet_runtime.settings import SettingsRefused

_GRACE_S = 10
# Longer than balancers and clients keep an idle connection (up to 60 s), so that none of them
# sends a request on one that has just been ended.
_KEEP_ALIVE_S = 75
_BANNER = """\
***************************************************************************
*  WALLET_AUTH=off: nobody is asked for a token. Anybody on this machine  *
*  may move any money. Only loopback addresses are listened on.           *
***************************************************************************
"""


class Server(uvicorn.Server):
    """
    Takes turns with others at sockets that it was handed.

    Waits for open answers before it stops, after ending those that would never end.
    """

    def __init__(self, config: uvicorn.Config, app: Edge) -> None:
        super().__init__(config)
        self._app = app

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        if sockets is None:
            return await super().startup()
        await super().startup([])
        for each in sockets:
            self.servers.append(Turns(each, self._protocol))  # type: ignore[arg-type]  # is closed
        return None

    def _protocol(self) -> asyncio.Protocol:
        return Wire(self.config, self.server_state, self.lifespan.state)

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        # No other task runs before the sockets are closed, so whoever comes back finds another
        # process.
        self._app.end_streams()
        await super().shutdown(sockets)


def _handed_down(settings: ApiSettings, descriptor: int) -> socket.socket:
    """Take the socket that a supervisor listens on; without tokens it has to be a local one."""
    listening = socket.socket(fileno=descriptor)
    at = listening.getsockname()
    # The address of a socket in the file system is a path.
    if settings.auth == "off" and isinstance(at, tuple) and not is_loopback(at[0]):
        raise SettingsRefused(
            "Bad settings:\n  WALLET_LISTEN_FD: WALLET_AUTH=off is served on loopback only,"
            f" and this socket listens on {at[0]}"
        )
    return listening


def main() -> None:
    """Serve until SIGTERM; requests in flight are answered first, then the exit code is 0."""
    # When all is answered the server raises the signal once more, and that is no failure.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))
    settings = ApiSettings.load()
    logs.configure("api", level=settings.log_level, directory=settings.log_dir)
    app = create_app(settings)
    server = Server(
        uvicorn.Config(
            app,
            host=settings.host,
            port=settings.port,
            log_config=None,
            access_log=False,
            server_header=False,
            proxy_headers=False,
            timeout_graceful_shutdown=_GRACE_S,
            timeout_keep_alive=_KEEP_ALIVE_S,
            lifespan="on",
            http=Wire,
            # Nobody is served a WebSocket here; a request for one is answered as any other.
            ws="none",
        ),
        app,
    )
    log = structlog.get_logger("wallet_api")
    if settings.auth == "off":
        sys.stderr.write(_BANNER)
        log.warning("auth.off", detail="anybody on this machine may move money")
    log.info("api.started", host=settings.host, port=settings.port)
    memory.settle()
    # A supervisor may hand the listening socket down, so that several processes share one port.
    sockets = None
    if settings.listen_fd is not None:
        sockets = [_handed_down(settings, settings.listen_fd)]
    server.run(sockets=sockets)


if __name__ == "__main__":
    main()

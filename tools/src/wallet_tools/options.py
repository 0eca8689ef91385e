"""This module is where it is said what `up` was asked to run."""

from typing import Final

import msgspec

# Each has a core's worth of Python; one alone leaves the second core of a laptop idle.
API_PROCESSES: Final = 2


class Options(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """
    What a stack consists of. None means: not asked for, take what is usual.

    The commands are arguments of the project's Python; tests put small stand-ins there.
    """

    port: int | None = None
    api_processes: int | None = None
    worker_processes: int | None = None
    has_broker: bool | None = None
    api_command: tuple[str, ...] = ("-m", "wallet_api.main")
    worker_command: tuple[str, ...] = ("-m", "wallet_worker.main")
    migrate_command: tuple[str, ...] = ("-m", "wallet_tools.cli", "migrate")

    def differences(self, running: "Options", port: int) -> list[str]:
        """Name what is asked for here and is not what runs."""
        facts = {
            "port": port,
            "api_processes": running.api_processes or API_PROCESSES,
            "worker_processes": 1 if running.worker_processes is None else running.worker_processes,
            "has_broker": running.has_broker is not False,
        }
        asked = {name: getattr(self, name) for name in facts}
        return [name for name in facts if asked[name] is not None and asked[name] != facts[name]]

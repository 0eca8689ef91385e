"""This module is where the caller's environment is read and every child's one is made."""

import os
from pathlib import Path
from typing import Final

PASSED_PREFIXES: Final = (
    *("WALLET_", "RABBITMQ_", "FRAUD_", "LOG_", "ENABLE_SWAGGER"),
    *("AUTH_EXCHANGE", "TRANSACTION_EXCHANGE", "TRUSTED_PROXIES"),
)
SYSTEM: Final = ("PATH", "HOME", "LANG", "LC_ALL", "TZ", "TMPDIR", "PYTHONDONTWRITEBYTECODE")
# The stack's own addresses go to its services, whatever the caller has for other stacks.
REPLACED: Final = ("WALLET_DATABASE_URL_FILE", "WALLET_READ_DATABASE_URL", "RABBITMQ_URL_FILE")


def system() -> dict[str, str]:
    """Return what any program needs, and nothing that would steer a database or a broker."""
    return {"LANG": "C.UTF-8"} | {name: os.environ[name] for name in SYSTEM if name in os.environ}


def caller() -> dict[str, str]:
    return dict(os.environ)


def refuses_broker() -> bool:
    """Whether the caller asked for no broker: RABBITMQ_URL is there, and empty."""
    return os.environ.get("RABBITMQ_URL") == ""


def is_ci() -> bool:
    return os.environ.get("CI", "").lower() in {"1", "true"}


def of_service(database: str, broker: str | None, log_folder: str) -> dict[str, str]:
    """Return the environment of API, worker and migrations."""
    passed = {
        name: value
        for name, value in os.environ.items()
        if name.startswith(PASSED_PREFIXES) and name not in REPLACED
    }
    return (
        system()
        | {"WALLET_AUTH": "off", "PYTHONUNBUFFERED": "1"}
        | passed
        | {"WALLET_HOST": "127.0.0.1", "LOG_DIR": log_folder}
        | addresses(database, broker)
    )


def master_key(file: Path) -> dict[str, str]:
    """Return the setting that leads to a stack's master key, unless the caller has another."""
    has_own = any(os.environ.get(f"WALLET_MASTER_KEY{end}") for end in ("", "_FILE"))
    return {} if has_own else {"WALLET_MASTER_KEY_FILE": str(file)}


def addresses(database: str, broker: str | None) -> dict[str, str]:
    """Return the two settings that lead to a stack; both hold passwords, so they stay here."""
    driver_url = database.replace("postgresql://", "postgresql+asyncpg://", 1)
    return {"WALLET_DATABASE_URL": driver_url, "RABBITMQ_URL": broker or ""}

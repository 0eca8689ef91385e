"""This module is where secrets are shown to come from files, and to show themselves never."""

import os
from hashlib import sha256
from pathlib import Path

import pytest
from pydantic import SecretStr
from pydantic.fields import FieldInfo

from wallet_api.migrate import MigrateSettings
from wallet_api.roles import RoleSettings
from wallet_api.settings import ApiSettings
from wallet_api.token import TokenSettings
from wallet_runtime.settings import ServiceSettings, SettingsRefused, secret
from wallet_tools.environment import PASSED_PREFIXES
from wallet_worker.settings import WorkerSettings

CANARY = "canary0123456789abcdef0123456789abcdef0123456789abcdef0123456789ab"
KEY = sha256(CANARY.encode()).hexdigest()
ALL: tuple[type[ServiceSettings], ...] = (
    *(ApiSettings, WorkerSettings, MigrateSettings, RoleSettings, TokenSettings),
)
WORDS = ("SECRET", "PASSWORD", "DATABASE_URL", "RABBITMQ_URL", "KEY")
# Lists of names, and an address of public keys.
NO_SECRETS = {"WALLET_PII_METADATA_KEYS"}


@pytest.fixture(autouse=True)
def bare(monkeypatch: pytest.MonkeyPatch) -> None:
    """Start without any setting of the caller's."""
    for name in os.environ:
        if name.startswith(PASSED_PREFIXES):
            monkeypatch.delenv(name)


def is_secret(field: FieldInfo) -> bool:
    return SecretStr.__name__ in str(field.annotation)


def secrets(settings: type[ServiceSettings]) -> list[str]:
    fields = settings.model_fields.values()
    return sorted(str(each.validation_alias) for each in fields if is_secret(each))


def value_of(name: str) -> str:
    """Return a value that the setting takes, with the canary in it."""
    if name.endswith("_URL"):
        scheme = "amqp" if name == "RABBITMQ_URL" else "postgresql"
        return f"{scheme}://wallet:{CANARY}@localhost:1/wallet"
    return KEY if name.endswith("_KEY") else CANARY


@pytest.mark.parametrize("settings", ALL)
def test_what_sounds_secret_is(settings: type[ServiceSettings]) -> None:
    """A setting whose name speaks of a secret has a type that shows none."""
    sounding = {
        str(each.validation_alias)
        for each in settings.model_fields.values()
        if any(word in str(each.validation_alias) for word in WORDS)
    }

    assert sounding - NO_SECRETS == set(secrets(settings))


@pytest.mark.parametrize("settings", ALL)
def test_secrets_come_from_files_and_are_masked(
    settings: type[ServiceSettings], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """Every one of them may stand in a file; no text of the settings has its value."""
    for name in secrets(settings):
        file = tmp_path / name
        file.write_text(f"{value_of(name)}\n")
        monkeypatch.setenv(f"{name}_FILE", str(file))

    loaded = settings.load()

    for field in settings.model_fields:
        value = getattr(loaded, field)
        if isinstance(value, SecretStr):
            name = str(settings.model_fields[field].validation_alias)
            assert value.get_secret_value() == value_of(name)
    for text in (repr(loaded), str(loaded), str(loaded.model_dump())):
        assert CANARY not in text
        assert KEY not in text


@pytest.mark.parametrize("settings", [each for each in ALL if each is not TokenSettings])
def test_a_bad_secret_is_named_and_not_shown(
    settings: type[ServiceSettings], monkeypatch: pytest.MonkeyPatch
) -> None:
    """The process refuses to start and tells which setting is wrong, without its value."""
    for name in secrets(settings):
        monkeypatch.setenv(name, value_of(name))
    monkeypatch.setenv("WALLET_DATABASE_URL", f"{CANARY}@nowhere")
    monkeypatch.setenv("WALLET_JWT_SECRET", CANARY[:20])

    with pytest.raises(SettingsRefused) as refused:
        settings.load()

    assert CANARY[:20] not in str(refused.value)
    assert "WALLET_" in str(refused.value)


def test_a_tools_secret_comes_from_a_file_too(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """What is set goes first, then the file; an unreadable file is named."""
    file = tmp_path / "secret"
    file.write_text(f"{CANARY}\n")
    monkeypatch.setenv("RABBITMQ_URL_FILE", str(file))
    assert secret("RABBITMQ_URL") == CANARY
    monkeypatch.setenv("RABBITMQ_URL", "amqp://set")
    assert secret("RABBITMQ_URL") == "amqp://set"
    monkeypatch.setenv("WALLET_DATABASE_URL_FILE", str(tmp_path / "nothing"))
    with pytest.raises(SettingsRefused, match="WALLET_DATABASE_URL_FILE: cannot be read"):
        secret("WALLET_DATABASE_URL")

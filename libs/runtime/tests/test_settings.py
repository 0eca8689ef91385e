"""This module is where the environment becomes settings, or keeps a process from starting."""

import subprocess
import sys
from pathlib import Path
from typing import Literal

import pytest
from pydantic import Field, SecretStr, ValidationError

from wallet_runtime.settings import ServiceSettings, SettingsRefused

SECRET = "postgresql://wallet:hunter2-hunter2@db/wallet"


class Settings(ServiceSettings):
    database_url: SecretStr = Field(validation_alias="WALLET_DATABASE_URL")
    jwt_secret: SecretStr | None = Field(None, min_length=32, validation_alias="WALLET_JWT_SECRET")
    port: int = Field(3000, ge=0, le=65535, validation_alias="WALLET_PORT")
    level: Literal["INFO", "DEBUG"] = Field("INFO", validation_alias="LOG_LEVEL")


@pytest.fixture(autouse=True)
def bare(monkeypatch: pytest.MonkeyPatch) -> None:
    """Start without any of the settings, whatever this process was started with."""
    for name in ("WALLET_DATABASE_URL", "WALLET_JWT_SECRET", "WALLET_PORT", "LOG_LEVEL"):
        monkeypatch.delenv(name, raising=False)
        monkeypatch.delenv(f"{name}_FILE", raising=False)


def in_file(folder: Path, text: str | bytes) -> str:
    path = folder / "secret"
    path.write_bytes(text if isinstance(text, bytes) else text.encode())
    return str(path)


def database(settings: Settings) -> str:
    return settings.database_url.get_secret_value()


def test_variables_become_settings(monkeypatch: pytest.MonkeyPatch) -> None:
    """Each setting comes from the variable of its name, the others keep their defaults."""
    monkeypatch.setenv("WALLET_DATABASE_URL", SECRET)
    monkeypatch.setenv("WALLET_PORT", "4000")

    settings = Settings.load()

    assert (database(settings), settings.port, settings.level) == (SECRET, 4000, "INFO")


@pytest.mark.parametrize("ending", ["", "\n", "\r\n"], ids=["none", "newline", "windows"])
def test_a_secret_may_stand_in_a_file(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, ending: str
) -> None:
    """`<NAME>_FILE` names a file that holds the value; its last line break is no part of it."""
    monkeypatch.setenv("WALLET_DATABASE_URL_FILE", in_file(tmp_path, SECRET + ending))

    assert database(Settings.load()) == SECRET


def test_the_variable_goes_before_the_file(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """When both are given the variable counts."""
    monkeypatch.setenv("WALLET_DATABASE_URL", SECRET)
    monkeypatch.setenv("WALLET_DATABASE_URL_FILE", in_file(tmp_path, "postgresql://other"))

    assert database(Settings.load()) == SECRET


def test_an_empty_variable_counts_as_absent(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """An empty variable gives way to the file, and to the default where there is none."""
    monkeypatch.setenv("WALLET_DATABASE_URL", "")
    monkeypatch.setenv("WALLET_PORT", "")
    monkeypatch.setenv("WALLET_JWT_SECRET", "")
    monkeypatch.setenv("WALLET_DATABASE_URL_FILE", in_file(tmp_path, SECRET))

    settings = Settings.load()

    assert (database(settings), settings.port, settings.jwt_secret) == (SECRET, 3000, None)


def test_a_missing_setting_is_named() -> None:
    """Without a setting that has no default nothing starts, and the message names it."""
    with pytest.raises(SettingsRefused, match="WALLET_DATABASE_URL"):
        Settings.load()


@pytest.mark.parametrize(
    "content", ["", " \n", b"\xff\xfe not text"], ids=["empty", "blank", "binary"]
)
def test_a_file_without_a_value_is_refused_by_its_name(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, content: str | bytes
) -> None:
    """A file that holds nothing readable is like no setting: the process refuses to start."""
    monkeypatch.setenv("WALLET_DATABASE_URL_FILE", in_file(tmp_path, content))

    with pytest.raises(SettingsRefused, match="WALLET_DATABASE_URL"):
        Settings.load()


@pytest.mark.parametrize("path", ["/nowhere/at/all", "/"], ids=["missing", "folder"])
def test_a_file_that_cannot_be_read_is_refused_by_its_name(
    monkeypatch: pytest.MonkeyPatch, path: str
) -> None:
    """The message names the variable that names the file."""
    monkeypatch.setenv("WALLET_DATABASE_URL_FILE", path)

    with pytest.raises(SettingsRefused, match="WALLET_DATABASE_URL_FILE"):
        Settings.load()


def test_every_bad_setting_is_named_and_no_value_is_shown(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """All complaints come at once, by variable; values stay secret, even wrong ones."""
    monkeypatch.setenv("WALLET_DATABASE_URL", SECRET)
    monkeypatch.setenv("WALLET_PORT", "hunter2-as-port")
    monkeypatch.setenv("LOG_LEVEL", "hunter2-as-level")
    monkeypatch.setenv("WALLET_JWT_SECRET_FILE", in_file(tmp_path, "hunter2-short"))

    with pytest.raises(SettingsRefused) as refused:
        Settings.load()

    message = str(refused.value)
    for name in ("WALLET_PORT", "LOG_LEVEL", "WALLET_JWT_SECRET"):
        assert name in message
    assert "WALLET_DATABASE_URL" not in message
    assert "hunter2" not in message


def test_settings_show_no_secret_when_printed(monkeypatch: pytest.MonkeyPatch) -> None:
    """A secret does not leak through str, repr or a dump."""
    monkeypatch.setenv("WALLET_DATABASE_URL", SECRET)

    settings = Settings.load()

    shown = f"{settings} {settings!r} {settings.model_dump()} {settings.model_dump_json()}"
    assert "hunter2" not in shown


def test_settings_never_change(monkeypatch: pytest.MonkeyPatch) -> None:
    """What a process started with is what it runs with."""
    monkeypatch.setenv("WALLET_DATABASE_URL", SECRET)
    settings = Settings.load()

    with pytest.raises(ValidationError):
        setattr(settings, "port", 1)  # noqa: B010  # the type checker would refuse the plain way


def test_a_dotenv_file_is_not_read(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """One way for each thing: a .env in the working folder changes nothing."""
    (tmp_path / ".env").write_text("WALLET_PORT=4000\nWALLET_DATABASE_URL=postgresql://other\n")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("WALLET_DATABASE_URL", SECRET)

    settings = Settings.load()

    assert (database(settings), settings.port) == (SECRET, 3000)


def test_a_process_that_refuses_to_start_says_why_and_nothing_more() -> None:
    """The process ends with status 1 and the message: no traceback, no value."""
    start = (
        "from pydantic import Field\n"
        "from wallet_runtime.settings import ServiceSettings\n"
        "class Settings(ServiceSettings):\n"
        "    port: int = Field(validation_alias='WALLET_PORT')\n"
        "Settings.load()\n"
    )

    process = subprocess.run(
        [sys.executable, "-c", start],
        env={"WALLET_PORT": "hunter2"},
        capture_output=True,
        text=True,
        check=False,
    )

    assert process.returncode == 1
    assert process.stdout == ""
    assert process.stderr.startswith("Bad settings:\n  WALLET_PORT: ")
    assert "Traceback" not in process.stderr
    assert "hunter2" not in process.stderr

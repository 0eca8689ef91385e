"""Promises about settings: a process with a bad one does not start, and says which."""

import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from wallet_api.settings import ApiSettings
from wallet_runtime.settings import SettingsRefused
from wallet_tools import environment

URL = "postgresql://wallet:hush@127.0.0.1:1/wallet"
SECRET = "a secret that is longer than the sixty-four bytes which HS512 wants"
Load = Callable[..., ApiSettings]


def test_little_is_needed(load: Load) -> None:
    """With a database and a secret the API listens on loopback, asks for tokens, and takes USD."""
    settings = load(WALLET_DATABASE_URL=URL, WALLET_JWT_SECRET=SECRET)

    assert (settings.host, settings.port, settings.auth) == ("127.0.0.1", 3000, "jwt")
    assert (settings.default_currency, settings.auto_create) == ("USD", True)


@pytest.mark.parametrize(
    ("given", "named"),
    [
        ({"WALLET_DATABASE_URL": ""}, "WALLET_DATABASE_URL"),
        ({"WALLET_JWT_SECRET": ""}, "WALLET_JWT_SECRET"),
        ({"WALLET_JWT_SECRET": "short-hush"}, "WALLET_JWT_SECRET"),
        ({"WALLET_JWT_LEEWAY_SECONDS": "61"}, "WALLET_JWT_LEEWAY_SECONDS"),
        ({"WALLET_AUTH": "none"}, "WALLET_AUTH"),
        ({"WALLET_AUTH": "off", "WALLET_HOST": "0.0.0.0"}, "WALLET_AUTH"),
        ({"WALLET_AUTH": "off", "WALLET_HOST": "192.168.0.1"}, "WALLET_HOST"),
        ({"WALLET_AUTH": "off", "WALLET_HOST": "::"}, "WALLET_HOST"),
        ({"WALLET_AUTH": "off", "WALLET_HOST": "wallet.example"}, "WALLET_HOST"),
        ({"WALLET_DEFAULT_CURRENCY": "usd"}, "WALLET_DEFAULT_CURRENCY"),
        ({"WALLET_DEFAULT_CURRENCY": "XAU"}, "WALLET_DEFAULT_CURRENCY"),
        ({"WALLET_PORT": "65536"}, "WALLET_PORT"),
        ({"WALLET_AUTO_CREATE": "perhaps"}, "WALLET_AUTO_CREATE"),
        ({"LOG_LEVEL": "LOUD"}, "LOG_LEVEL"),
        ({"WALLET_JWT_SECRET": "", "WALLET_JWT_SECRET_FILE": "/nowhere"}, "WALLET_JWT_SECRET_FILE"),
    ],
)
def test_a_bad_setting_is_named_and_not_shown(
    load: Load, given: dict[str, str], named: str
) -> None:
    """The refusal names the variable, and repeats no secret."""
    with pytest.raises(SettingsRefused) as refused:
        load(**{"WALLET_DATABASE_URL": URL, "WALLET_JWT_SECRET": SECRET} | given)

    assert named in str(refused.value)
    assert "hush" not in str(refused.value)


@pytest.mark.parametrize("host", ["127.0.0.1", "127.1.2.3", "::1", "localhost"])
def test_without_tokens_only_loopback(load: Load, host: str) -> None:
    """`off` is for this machine: a loopback address is accepted, no secret is needed."""
    assert load(WALLET_DATABASE_URL=URL, WALLET_AUTH="off", WALLET_HOST=host).auth == "off"


def test_a_secret_may_come_from_a_file(load: Load, tmp_path: Path) -> None:
    """The file that <NAME>_FILE names gives the value, without the line break at its end."""
    file = tmp_path / "secret"
    file.write_text(SECRET + "\n")

    settings = load(WALLET_DATABASE_URL=URL, WALLET_JWT_SECRET_FILE=str(file))

    assert settings.jwt_secret is not None
    assert settings.jwt_secret.get_secret_value() == SECRET
    assert SECRET not in repr(settings)
    assert "hush" not in repr(settings)


def test_the_process_ends_with_the_names() -> None:
    """Started without anything, the process exits at once and lists what is missing."""
    done = subprocess.run(
        [sys.executable, "-m", "wallet_api.main"],
        env=environment.system(),
        capture_output=True,
        text=True,
        check=False,
        timeout=30,
    )

    assert done.returncode == 1
    assert "WALLET_DATABASE_URL" in done.stderr
    assert "Traceback" not in done.stderr

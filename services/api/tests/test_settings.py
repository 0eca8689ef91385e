"""Promises about settings: a process with a bad one does not start, and says which."""

import subprocess
import sys
from collections.abc import Callable
from hashlib import sha256
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
        ({"WALLET_JWT_SECRET": "changeme-hush-" * 4}, "WALLET_JWT_SECRET"),
        ({"WALLET_JWT_SECRET": "hush-Your-256-bit-Secret-000000000000000"}, "WALLET_JWT_SECRET"),
        ({"WALLET_JWKS_URL": "https://issuer.example/jwks"}, "WALLET_JWKS_URL"),
        ({"WALLET_JWT_SECRET": "", "WALLET_JWKS_URL": "http://issuer.example"}, "WALLET_JWKS_URL"),
        ({"WALLET_JWT_SECRET": "", "WALLET_JWKS_FILE": "/nowhere"}, "WALLET_JWKS_FILE"),
        ({"WALLET_RATE_LIMIT_PER_SECOND": "-1"}, "WALLET_RATE_LIMIT_PER_SECOND"),
        ({"WALLET_RATE_LIMIT_PER_SECOND": "nan"}, "WALLET_RATE_LIMIT_PER_SECOND"),
        ({"WALLET_CLIENT_RATE_LIMIT_BURST": "0"}, "WALLET_CLIENT_RATE_LIMIT_BURST"),
        ({"WALLET_CONCURRENCY_MAX": "0"}, "WALLET_CONCURRENCY_MAX"),
        ({"TRUSTED_PROXIES": "10.0.0.1/8"}, "TRUSTED_PROXIES"),
        ({"TRUSTED_PROXIES": "everybody"}, "TRUSTED_PROXIES"),
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


@pytest.mark.parametrize(
    "secret",
    [
        *("secret" * 6, "password" * 4, "0" * 64, " " * 40, "0123456789abcdef" * 4),
        *("your_jwt_secret_key_here_32_bytes_min", "dev-secret-do-not-use-in-production!!"),
        *("My Super-Secret of 2026, nobody knows", "a1b2c3d4e5f6g7h8i9j0 Pass_Word k1l2m3"),
        *(f" {SECRET}", f"{SECRET}\n", ("0123456789abcdef" * 3)[:40]),
    ],
)
def test_a_secret_that_can_be_guessed_is_refused(load: Load, secret: str) -> None:
    """What repeats itself, has few characters or stands in an example signs no token."""
    with pytest.raises(SettingsRefused, match="WALLET_JWT_SECRET"):
        load(WALLET_DATABASE_URL=URL, WALLET_JWT_SECRET=secret)


@pytest.mark.parametrize("secret", [sha256(b"chance").hexdigest(), SECRET])
def test_a_secret_that_was_made_by_chance_is_taken(load: Load, secret: str) -> None:
    """What `openssl rand -hex` makes is good enough, and so is a long sentence."""
    taken = load(WALLET_DATABASE_URL=URL, WALLET_JWT_SECRET=secret).jwt_secret

    assert taken is not None
    assert taken.get_secret_value() == secret


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

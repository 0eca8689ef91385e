"""This module is where the worker is shown to refuse what it could not work with."""

from collections.abc import Mapping
from pathlib import Path

import pytest

from wallet_common.fraud import FraudRules
from wallet_common.money import Amount
from wallet_common.topology import Topology
from wallet_runtime.settings import SettingsRefused
from wallet_worker.settings import WorkerSettings
from wallet_worker.settlement import Terms

URL = "postgresql://wallet:s3cret@localhost/wallet"


def load(monkeypatch: pytest.MonkeyPatch, variables: Mapping[str, str]) -> WorkerSettings:
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    return WorkerSettings.load()


@pytest.fixture(autouse=True)
def _nothing_set(monkeypatch: pytest.MonkeyPatch) -> None:
    for field in WorkerSettings.model_fields.values():
        monkeypatch.delenv(str(field.validation_alias), raising=False)


def test_the_defaults_are_the_contract(monkeypatch: pytest.MonkeyPatch) -> None:
    """With nothing but a database the worker has the names and thresholds that were promised."""
    settings = load(monkeypatch, {"WALLET_DATABASE_URL": URL})

    assert settings.rabbitmq_url is None
    assert settings.read_database_url is None
    assert settings.verify_seconds == 900
    assert settings.topology == Topology("wallet.events", "wallet.events.dlx")
    assert settings.topology == Topology()
    assert settings.fraud_rules == FraudRules(3, 60, Amount(10_000, 0))
    assert settings.terms == Terms("USD", None, opens_late=True)


def test_every_setting_is_heard(monkeypatch: pytest.MonkeyPatch) -> None:
    """Names and thresholds come from the environment."""
    settings = load(
        monkeypatch,
        {
            "WALLET_DATABASE_URL": URL,
            "RABBITMQ_URL": "amqp://localhost",
            "RABBITMQ_EXCHANGE": "e",
            "RABBITMQ_DLX": "d",
            "AUTH_EXCHANGE": "a",
            "TRANSACTION_EXCHANGE": "t",
            "WALLET_USER_QUEUE": "users",
            "WALLET_UPDATE_QUEUE": "updates",
            "WALLET_REVERT_QUEUE": "reverts",
            "WALLET_DEFAULT_CURRENCY": "KWD",
            "WALLET_OPENING_BALANCE": "1.250",
            "WALLET_AUTO_CREATE": "false",
            "FRAUD_RAPID_WITHDRAWALS_COUNT": "5",
            "FRAUD_RAPID_WITHDRAWALS_WINDOW_SECONDS": "7",
            "FRAUD_LARGE_TRANSACTION_THRESHOLD": "99.50",
        },
    )

    assert settings.rabbitmq_url is not None
    assert settings.topology == Topology(
        "e",
        "d",
        auth_exchange="a",
        transaction_exchange="t",
        user_queue="users",
        update_queue="updates",
        revert_queue="reverts",
    )
    assert settings.fraud_rules == FraudRules(5, 7, Amount(9_950, 2))
    assert settings.terms == Terms("KWD", Amount(1_250, 3), opens_late=False)


@pytest.mark.parametrize("zero", ["0", "0.00", ""])
def test_no_opening_balance_is_a_balance_of_nothing(
    monkeypatch: pytest.MonkeyPatch, zero: str
) -> None:
    """Zero is how one says that there is none."""
    settings = load(monkeypatch, {"WALLET_DATABASE_URL": URL, "WALLET_OPENING_BALANCE": zero})

    assert settings.terms.opening_balance is None


def test_an_empty_broker_url_means_none(monkeypatch: pytest.MonkeyPatch) -> None:
    """RABBITMQ_URL that is there but empty asks for delivery through PostgreSQL."""
    settings = load(monkeypatch, {"WALLET_DATABASE_URL": URL, "RABBITMQ_URL": ""})

    assert settings.rabbitmq_url is None


def test_secrets_may_come_from_files(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """A setting named by <NAME>_FILE is read from that file."""
    (tmp_path / "url").write_text(f"{URL}\n")

    settings = load(monkeypatch, {"WALLET_DATABASE_URL_FILE": str(tmp_path / "url")})

    assert settings.database_url.get_secret_value() == URL


def test_without_a_database_nothing_starts(monkeypatch: pytest.MonkeyPatch) -> None:
    """The one setting that has no default is named."""
    with pytest.raises(SettingsRefused, match="WALLET_DATABASE_URL"):
        load(monkeypatch, {})


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("FRAUD_RAPID_WITHDRAWALS_COUNT", "1"),
        ("FRAUD_RAPID_WITHDRAWALS_COUNT", "many"),
        ("FRAUD_RAPID_WITHDRAWALS_WINDOW_SECONDS", "0"),
        ("FRAUD_LARGE_TRANSACTION_THRESHOLD", "-1"),
        ("FRAUD_LARGE_TRANSACTION_THRESHOLD", "0"),
        ("FRAUD_LARGE_TRANSACTION_THRESHOLD", "1e4"),
        ("FRAUD_LARGE_TRANSACTION_THRESHOLD", "NaN"),
        ("WALLET_DEFAULT_CURRENCY", "XXX"),
        ("WALLET_OPENING_BALANCE", "-1"),
        ("WALLET_OPENING_BALANCE", "1.001"),
        ("WALLET_OPENING_BALANCE", "a lot"),
        ("LOG_LEVEL", "LOUD"),
        ("WALLET_DATABASE_URL_FILE", "/does/not/exist"),
    ],
)
def test_a_bad_setting_is_refused_by_name(
    monkeypatch: pytest.MonkeyPatch, name: str, value: str
) -> None:
    """The refusal names the setting, and shows neither its value nor anybody's secret."""
    good = {} if name.startswith("WALLET_DATABASE") else {"WALLET_DATABASE_URL": URL}

    with pytest.raises(SettingsRefused, match=name) as refused:
        load(monkeypatch, good | {name: value})

    assert "s3cret" not in str(refused.value)

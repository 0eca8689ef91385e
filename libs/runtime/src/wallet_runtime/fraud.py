"""This module is where the fraud rules' thresholds are set: for who judges, and who foretells."""

from typing import Annotated

from pydantic import BeforeValidator, Field

from wallet_common.errors import InvalidAmount
from wallet_common.fraud import FraudRules
from wallet_common.money import Amount, parse_amount
from wallet_runtime.settings import ServiceSettings


def amount(text: str | Amount) -> Amount:
    """Read a setting that is an amount."""
    try:
        return text if isinstance(text, Amount) else parse_amount(text)
    except InvalidAmount as wrong:
        raise ValueError(str(wrong)) from wrong


class FraudSettings(ServiceSettings, arbitrary_types_allowed=True):
    rapid_count: int = Field(3, ge=2, le=100, validation_alias="FRAUD_RAPID_WITHDRAWALS_COUNT")
    rapid_window_seconds: int = Field(
        60, ge=1, le=86_400, validation_alias="FRAUD_RAPID_WITHDRAWALS_WINDOW_SECONDS"
    )
    large_threshold: Annotated[Amount, BeforeValidator(amount)] = Field(
        Amount(10_000, 0), validation_alias="FRAUD_LARGE_TRANSACTION_THRESHOLD"
    )

    @property
    def fraud_rules(self) -> FraudRules:
        return FraudRules(self.rapid_count, self.rapid_window_seconds, self.large_threshold)

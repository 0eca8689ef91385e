"""This module is where assets are shown to have the decimals that their codes say."""

import pytest

from wallet_common.currencies import is_currency
from wallet_common.money import MAX_MINOR, parse_amount, render


@pytest.mark.parametrize(
    ("asset", "text", "minor"),
    [
        ("BTC.8", "0.00000001", 1),
        ("ETH.18", "9.223372036854775807", MAX_MINOR),
        ("POINTS.0", "17", 17),
        ("A1.2", "0.10", 10),
    ],
)
def test_an_asset_has_the_decimals_that_its_code_says(asset: str, text: str, minor: int) -> None:
    """Up to eighteen of them; read and written exactly."""
    assert is_currency(asset)
    assert parse_amount(text).to_minor(asset) == minor
    assert render(minor, asset) == text


@pytest.mark.parametrize(
    "code",
    [
        *("", "usd", "US", "USDT", "BTC.", "BTC.19", "BTC.08", "BTC.-1", ".8", "1BTC.8", "btc.8"),
        *("B.8", "BTC.8 ", "BTC.8\n", "BTC.８", "ABCDEFGHIJKLM.8", "BTC.8.8", "XAU"),
    ],
)
def test_what_has_no_decimals_is_no_currency(code: str) -> None:
    """Neither an unknown code nor one that is spelled otherwise."""
    assert not is_currency(code)
    with pytest.raises(KeyError):
        render(1, code)

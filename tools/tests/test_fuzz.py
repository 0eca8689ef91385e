"""Promises about the description: whatever is asked by it is answered by it."""

import pytest

from wallet_tools import fuzz


@pytest.mark.slow
def test_the_routes_of_money_answer_as_they_are_described(monkeypatch: pytest.MonkeyPatch) -> None:
    """Good and bad requests made from the document, with tokens: every answer is as it says."""
    # The command sets them for its processes; what comes after this test must not have them.
    monkeypatch.setenv("WALLET_AUTH", "jwt")
    monkeypatch.setenv("WALLET_JWT_SECRET", "replaced by the command")
    assert fuzz.main(["--quick"]) == 0

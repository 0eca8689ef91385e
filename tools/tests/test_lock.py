"""This module is where the committed lock is shown to hold hashes and no address."""

from wallet_tools.state import ROOT

LOCK = (ROOT / "requirements.lock").read_text()


def test_the_lock_names_no_host() -> None:
    """Whoever installs chooses the index: the lock holds no URL."""
    assert "://" not in LOCK


def test_every_requirement_is_hashed_and_pinned() -> None:
    """Every line is a pinned package or one of its hashes."""
    lines = [line.strip().rstrip("\\ ") for line in LOCK.splitlines()]
    packages = [line for line in lines if not line.startswith("--hash=sha256:")]
    assert packages
    assert all("==" in package for package in packages)
    assert len(lines) >= 2 * len(packages)

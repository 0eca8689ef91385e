"""Promises about addresses: a header is believed only as far as a proxy of ours has written it."""

import pytest

from wallet_api.addresses import client_address, counted_as, networks

TRUSTED = networks("10.0.0.0/8, ::1/128, 2001:db8::/32")


@pytest.mark.parametrize(
    ("peer", "forwarded", "client"),
    [
        ("192.0.2.1", ["1.2.3.4"], "192.0.2.1"),
        ("10.0.0.1", [], "10.0.0.1"),
        ("10.0.0.1", ["1.2.3.4"], "1.2.3.4"),
        ("10.0.0.1", ["6.6.6.6, 1.2.3.4"], "1.2.3.4"),
        ("10.0.0.1", ["6.6.6.6, 1.2.3.4, 10.9.9.9"], "1.2.3.4"),
        ("10.0.0.1", ["6.6.6.6", "1.2.3.4", "10.9.9.9"], "1.2.3.4"),
        ("10.0.0.1", ["10.1.1.1, 10.2.2.2"], "10.1.1.1"),
        ("10.0.0.1", ["1.2.3.4, nonsense"], "10.0.0.1"),
        ("10.0.0.1", ["1.2.3.4, nonsense, 10.9.9.9"], "10.9.9.9"),
        ("10.0.0.1", [",".join(["6.6.6.6"] * 5_000)], "6.6.6.6"),
        ("10.0.0.1", ["\xff, \x00"], "10.0.0.1"),
        ("::1", ["2001:db8::5, 2a00::7, 2001:db8::9"], "2a00::7"),
        ("::ffff:10.0.0.1", ["::ffff:1.2.3.4"], "1.2.3.4"),
        ("socket", ["1.2.3.4"], "socket"),
        (None, ["1.2.3.4"], None),
    ],
)
def test_the_right_most_stranger_is_the_client(
    peer: str | None, forwarded: list[str], client: str | None
) -> None:
    """Only from a trusted peer is the header read, from the right, up to the first stranger."""
    headers = [(b"x-forwarded-for", each.encode("latin-1")) for each in forwarded]

    assert client_address(peer, headers, TRUSTED) == client
    assert client_address(peer, headers, ()) == peer


def test_a_customers_network_is_one_client() -> None:
    """Who has 2^64 addresses does not have 2^64 limits."""
    assert counted_as("2a00:1:2:3::1") == counted_as("2a00:1:2:3:ffff::2")
    assert counted_as("2a00:1:2:3::1") != counted_as("2a00:1:2:4::1")
    assert counted_as("192.0.2.1") == "192.0.2.1" == counted_as("::ffff:192.0.2.1")

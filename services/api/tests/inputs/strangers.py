"""This module is where rows 171 to 196 and 212 of the catalogue are: who shows no valid token."""

from typing import Final

from services.api.tests.inputs.rows import DEPOSIT, JSON, WITHDRAW, Headers, Row, get

_STATELESS: Final = "no list of revoked tokens is kept: a token ends when it expires, and soon"


def shows(number: int, what: str, *authorizations: str | bytes, path: str = DEPOSIT) -> Row:
    """Return a deposit with these Authorization headers, and no other token."""
    headers: Headers = (*JSON, *(("Authorization", value) for value in authorizations))
    return Row(number, what, (401,), path=path, headers=headers, token="")


def bearer(number: int, what: str, name: str, note: str = "") -> Row:
    return Row(number, what, (401,), token=f"<{name}>", note=note)


ROWS: Final = (
    shows(171, "no header"),
    get(171, "/v1/wallets/w1", 401, token=""),
    shows(172, "Basic and a token", "Basic <teller>"),
    shows(173, "a token without a scheme", "<teller>"),
    shows(174, "a token in the query", path=f"{WITHDRAW}?access_token=<teller>"),
    shows(175, "two headers", "Bearer <teller>", "Bearer <teller>"),
    shows(176, "10 KB of garbage", "Bearer " + "A" * 10_240),
    shows(177, "bytes", b"Bearer \xff\xff\xff"),
    bearer(178, "alg none", "alg-none"),
    bearer(179, "alg nOnE", "alg-none-odd"),
    bearer(180, "HS512", "hs512"),
    bearer(180, "a list of algorithms", "alg-list"),
    bearer(180, "an object for an algorithm", "alg-object"),
    bearer(181, "a public key as the secret", "public-key"),
    bearer(182, "its own key in jwk", "jwk"),
    bearer(182, "its own key at jku", "jku"),
    bearer(182, "its own key at x5u", "x5u"),
    bearer(183, "kid is a path", "kid-path"),
    bearer(183, "kid is SQL", "kid-sql"),
    bearer(184, "no signature", "no-signature"),
    bearer(185, "another subject", "edited"),
    bearer(186, "expired 61 s ago", "expired"),
    bearer(187, "valid later", "not-before"),
    bearer(188, "issued later", "issued-later"),
    bearer(189, "no expiry", "no-expiry"),
    bearer(190, "an expiry in words", "expiry-text"),
    bearer(190, "a negative expiry", "expiry-negative"),
    bearer(191, "no subject", "no-subject"),
    bearer(191, "an empty subject", "empty-subject"),
    bearer(192, "another audience", "other-audience"),
    bearer(193, "no audience", "no-audience"),
    bearer(194, "another issuer", "other-issuer"),
    bearer(195, "an id token", "id-token"),
    bearer(195, "a refresh token", "refresh-token"),
    bearer(196, "revoked", "expired", note=_STATELESS),
    get(212, "/docs", 200, token="", note="the pages hold no data; ENABLE_SWAGGER closes them"),
    get(212, "/docs/openapi.json", 200, token=""),
    get(212, "/openapi.json", 404, token=""),
    get(212, "/metrics", 200, 401, 403, token="", note="by policy; loopback may look"),
    get(212, "/debug", 404, token=""),
    get(212, "/health", 404, token=""),
    get(212, "/healthz", 200, token=""),
    get(212, "/v1/admin/dead-letters", 401, token=""),
)

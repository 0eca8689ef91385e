"""
This module is where it stands who may do what: a rule for every route, and nothing by default.

Pure: a role and a route go in, how far the caller's hand reaches comes out. See docs/adr/0023.
"""

from collections.abc import Collection, Mapping
from enum import Enum, StrEnum
from types import MappingProxyType
from typing import Final


class Role(StrEnum):
    """What a token's `roles` may hold."""

    USER = "user"
    PAYMENTS = "payments"
    AUDITOR = "auditor"
    ADMIN = "admin"


class Reach(Enum):
    """Which wallets are there for a caller; any other is as if it did not exist."""

    OWN = "those whose ownerId is the token's sub"
    ALL = "every one"


Rule = Mapping[Role, Reach]

NOBODY: Final = frozenset[Role]()
# Where nobody is asked (`WALLET_AUTH=off`), everybody is an administrator.
EVERYBODY: Final = frozenset({Role.ADMIN})

# Open to everybody, without a token: compared by identity.
OPEN: Final[Rule] = MappingProxyType({})

_WRITERS: Final[Rule] = {Role.PAYMENTS: Reach.ALL, Role.ADMIN: Reach.ALL}
_READERS: Final[Rule] = {**_WRITERS, Role.AUDITOR: Reach.ALL}
_AUDITORS: Final[Rule] = {Role.AUDITOR: Reach.ALL, Role.ADMIN: Reach.ALL}
ADMINS: Final[Rule] = {Role.ADMIN: Reach.ALL}
# A user moves what is its own and reads it; it brings nothing in from outside and takes none out.
_OWN_WRITES: Final[Rule] = {**_WRITERS, Role.USER: Reach.OWN}
_OWN_READS: Final[Rule] = {**_READERS, Role.USER: Reach.OWN}
_ONESELF: Final[Rule] = dict.fromkeys(Role, Reach.OWN)

RULES: Final[Mapping[tuple[str, str], Rule]] = {
    ("POST", "/v1/wallets"): _OWN_WRITES,
    ("GET", "/v1/wallets"): _OWN_READS,
    ("GET", "/v1/me/wallets"): _ONESELF,
    ("GET", "/api/v1/wallet/user"): _ONESELF,
    ("GET", "/v1/wallets/{wallet_id}"): _OWN_READS,
    ("GET", "/v1/wallets/{wallet_id}/history"): _OWN_READS,
    ("GET", "/v1/wallets/{wallet_id}/ledger"): _OWN_READS,
    ("GET", "/v1/wallets/{wallet_id}/stats"): _OWN_READS,
    ("GET", "/v1/wallets/{wallet_id}/operations/{request_id}"): _OWN_READS,
    ("GET", "/v1/wallets/{wallet_id}/events/stream"): _OWN_READS,
    ("GET", "/v1/transfers/{transfer_id}"): _OWN_READS,
    ("POST", "/v1/wallets/{wallet_id}/deposit"): _WRITERS,
    ("POST", "/v1/wallets/{wallet_id}/withdraw"): _WRITERS,
    ("POST", "/v1/wallets/{wallet_id}/transfer"): _OWN_WRITES,
    ("POST", "/v1/wallets/{wallet_id}/freeze"): ADMINS,
    ("POST", "/v1/wallets/{wallet_id}/unfreeze"): ADMINS,
    ("POST", "/v1/wallets/{wallet_id}/close"): _WRITERS,
    ("PUT", "/v1/wallets/{wallet_id}/limits"): ADMINS,
    ("GET", "/v1/wallets/{wallet_id}/limits"): _OWN_READS,
    ("POST", "/v1/wallets/{wallet_id}/holds"): _WRITERS,
    ("GET", "/v1/wallets/{wallet_id}/holds"): _OWN_READS,
    ("GET", "/v1/holds/{hold_id}"): _OWN_READS,
    ("POST", "/v1/holds/{hold_id}/capture"): _WRITERS,
    ("POST", "/v1/holds/{hold_id}/release"): _WRITERS,
    ("POST", "/v1/operations/{operation_id}/reverse"): _WRITERS,
    ("POST", "/v1/wallets/{wallet_id}/convert"): _OWN_WRITES,
    ("PUT", "/v1/fx/rates/{from_currency}/{to_currency}"): ADMINS,
    ("GET", "/v1/fx/rates/{from_currency}/{to_currency}"): _OWN_READS,
    ("POST", "/v1/fx/quotes"): _OWN_WRITES,
    ("PUT", "/v1/fees/{operation}/{currency}"): ADMINS,
    ("GET", "/v1/fees"): _OWN_READS,
    # Each of its commands has its own rule besides.
    ("POST", "/v1/batches"): _OWN_WRITES,
    ("POST", "/v1/batches/stream"): _OWN_WRITES,
    ("GET", "/v1/wallets/{wallet_id}/statement"): _OWN_READS,
    ("GET", "/v1/wallets/{wallet_id}/explain"): _AUDITORS,
    ("GET", "/v1/accounts"): _READERS,
    ("GET", "/v1/accounts/{account}"): _READERS,
    ("GET", "/v1/events"): _READERS,
    ("GET", "/v1/admin/audit"): ADMINS,
    ("GET", "/v1/admin/dead-letters"): ADMINS,
    ("GET", "/v1/admin/dead-letters/{letter_id}"): ADMINS,
    ("POST", "/v1/admin/dead-letters/{letter_id}/replay"): ADMINS,
    ("POST", "/v1/admin/dead-letters/replay"): ADMINS,
    ("POST", "/v1/admin/dead-letters/{letter_id}/discard"): ADMINS,
    ("POST", "/v1/admin/owners/{owner_id}/erase"): ADMINS,
    ("POST", "/v1/admin/verify"): ADMINS,
    ("GET", "/healthz"): OPEN,
    ("GET", "/readyz"): OPEN,
    # As WALLET_METRICS says; the route looks there itself.
    ("GET", "/metrics"): OPEN,
    ("GET", "/docs"): OPEN,
    ("GET", "/docs/{path}"): OPEN,
    ("GET", "/docs/openapi.json"): OPEN,
    ("GET", "/docs/oauth2-redirect.html"): OPEN,
    ("GET", "/docs/assets/{file_path}"): OPEN,
    ("HEAD", "/docs/assets/{file_path}"): OPEN,
}

# The same handlers answer below both.
_VERSIONED: Final = "/v1/wallets/{wallet_id}"
_PLAIN: Final = "/wallet/{wallet_id}"


def rule(method: str, route: str) -> Rule | None:
    """Return the rule of a route; None for one that has none and so is nobody's."""
    if method == "OPTIONS":
        # It tells the methods of an address, as the document does.
        return OPEN
    if route.startswith(_PLAIN):
        route = _VERSIONED + route.removeprefix(_PLAIN)
    return RULES.get((method, route))


def reach(roles: Collection[Role], needed: Rule | None) -> Reach | None:
    """Return how far a caller with these roles reaches by a rule; None: it may not come in."""
    granted = {(needed or {}).get(role) for role in roles}
    if Reach.ALL in granted:
        return Reach.ALL
    return Reach.OWN if Reach.OWN in granted else None


def roles_of(claim: object) -> frozenset[Role]:
    """Read the claim `roles`: a list of roles that we know, or else no rights at all."""
    if not isinstance(claim, list):
        return NOBODY
    try:
        return frozenset(Role(each) for each in claim)
    except (ValueError, TypeError):
        return NOBODY

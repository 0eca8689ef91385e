"""
The exceptions of the domain; a refusal that must be remembered is a value instead (`Rejected`).

```text
WalletError               base; caught at the edges only
├─ InvalidAmount          text that is no amount of money               -> 400
├─ IdempotencyKeyReused   same key, other meaning                       -> 422
├─ Busy                   queue full, lock or database not available    -> 503, retry
├─ NotPayable             a reversal for which the wallet lacks funds   -> retry, dead letter
├─ Unreadable             sealed data that does not open where it stands -> 503
├─ Poison                 a message that will never be understood       -> dead letter
└─ InvariantViolated      a bug: never caught, never mapped             -> 500, page somebody
```
"""


class WalletError(Exception):
    """The base of everything this project raises on purpose."""


class InvalidAmount(WalletError):
    """A text that is no amount: says what is wrong with it."""


class IdempotencyKeyReused(WalletError):
    """The key already names another intent; `fields` are the wire names that differ."""

    def __init__(self, fields: tuple[str, ...]) -> None:
        super().__init__(f"the key was first used with other values of: {', '.join(fields)}")
        self.fields = fields


class Busy(WalletError):
    """Nothing is known to have happened; the same request may be sent again."""


class NotPayable(WalletError):
    """A reversal has to wait until the wallet can pay it; says what lacks."""


class Unreadable(WalletError):
    """Sealed data was changed or moved, or its master key is not here; never shows any of it."""


class Poison(WalletError):
    """A message that no retry will make readable."""


class InvariantViolated(WalletError):
    """The books contradict themselves: stop rather than go on."""

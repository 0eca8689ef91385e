"""
The active currencies of ISO 4217 with their exponents, compared with the `iso4217` package.

Any other asset has its decimals in its code, `BTC.8` or `POINTS.0`: so nobody has to be told of it,
and no process can know other decimals than another.
"""

import re
from typing import Final

_CODES: Final = {
    0: "BIF CLP DJF GNF ISK JPY KMF KRW PYG RWF UGX UYI VND VUV XAF XOF XPF",
    2: """
        AED AFN ALL AMD AOA ARS AUD AWG AZN BAM BBD BDT BMD BND BOB BOV BRL BSD BTN BWP BYN BZD
        CAD CDF CHE CHF CHW CNY COP COU CRC CUP CVE CZK DKK DOP DZD EGP ERN ETB EUR FJD FKP GBP
        GEL GHS GIP GMD GTQ GYD HKD HNL HTG HUF IDR ILS INR IRR JMD KES KGS KHR KPW KYD KZT LAK
        LBP LKR LRD LSL MAD MDL MGA MKD MMK MNT MOP MRU MUR MVR MWK MXN MXV MYR MZN NAD NGN NIO
        NOK NPR NZD PAB PEN PGK PHP PKR PLN QAR RON RSD RUB SAR SBD SCR SDG SEK SGD SHP SLE SOS
        SRD SSP STN SVC SYP SZL THB TJS TMT TOP TRY TTD TWD TZS UAH USD USN UYU UZS VED VES WST
        XAD XCD XCG YER ZAR ZMW ZWG
    """,
    3: "BHD IQD JOD KWD LYD OMR TND",
    4: "CLF UYW",
}

# What a wallet can be kept in, so that Python, JSON Schema and PostgreSQL read it alike.
_OTHER: Final = r"[A-Z][A-Z0-9]{1,11}[.](0|[1-9]|1[0-8])"
PATTERN: Final = f"([A-Z]{{3}}|{_OTHER})"
LENGTH_MAX: Final = 15
_ASSET: Final = re.compile(rf"\A{_OTHER}\Z")


class _Exponents(dict[str, int]):
    """Those of ISO 4217 are there; any other asset's is read from its code."""

    def __missing__(self, code: str) -> int:
        found = _ASSET.match(code)
        if found is None:
            raise KeyError(code)
        return int(found[1])


# Decimals of each currency's minor unit. Codes without a minor unit (gold, test codes) are absent:
# no wallet can be kept in them.
EXPONENTS: Final = _Exponents(
    {code: exponent for exponent, codes in _CODES.items() for code in codes.split()}
)


def is_currency(code: str) -> bool:
    """Say whether a wallet can be kept in `code`."""
    return code in EXPONENTS or _ASSET.match(code) is not None

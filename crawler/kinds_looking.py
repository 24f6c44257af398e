"""The kinds of setting that those need who look at a crawl: where to listen, who may change something, what it costs."""

import ipaddress
import re
from decimal import Decimal, InvalidOperation
from typing import Any, Final, TypeAlias

from crawler.kinds import Kind

Price: TypeAlias = tuple[float, str]
"""An amount, and what it is counted in: ``(0.05, "EUR")``; the unit may be empty."""

_TOKEN: Final = re.compile(r"[!-~]{1,512}")
_HOST: Final = re.compile(r"(?!-)[A-Za-z0-9-]{1,63}(?<!-)(?:\.(?!-)[A-Za-z0-9-]{1,63}(?<!-))*\.?")
_PRICE: Final = re.compile(r"([0-9]+(?:\.[0-9]+)?)(?: *([^\s\d.]{1,8}))?")


def _token(value: Any) -> str:
    text = str(value).strip()
    if not _TOKEN.fullmatch(text):
        raise ValueError("printable ASCII without spaces, at most 512 characters")
    return text


def _listen(value: Any) -> str:
    text = str(value).strip().strip("[]")
    try:
        return str(ipaddress.ip_address(text))
    except ValueError:
        if not _HOST.fullmatch(text) or text.replace(".", "").isdigit():
            raise ValueError from None
        return text


def _price(value: Any) -> Price:
    if isinstance(value, tuple):
        return value
    found = _PRICE.fullmatch(str(value).strip())
    if found is None:
        raise ValueError
    try:
        return float(Decimal(found[1])), found[2] or ""
    except InvalidOperation:  # pragma: no cover - the pattern admits numbers only
        raise ValueError from None


def _show_price(price: Price) -> str:
    return f"{price[0]:g} {price[1]}".strip()


TOKEN: Final = Kind("a token", "3q8Zk0dVb1yXh5u2", _token)
LISTEN: Final = Kind("an address or a host name to listen on", "127.0.0.1", _listen)
PRICE: Final = Kind("a price: a number, and what it is counted in", "0.05 EUR", _price, _show_price)

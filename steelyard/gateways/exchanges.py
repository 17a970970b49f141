"""Exchanges of ccxt, for their candles and for orders."""

from collections.abc import Mapping
from difflib import get_close_matches
from typing import Any

from steelyard.errors import FixConfiguration, needing


def open_exchange(options: Mapping[str, Any], file: str) -> Any:
    """Return ccxt's client of an exchange; no request is made.

    Args:
        options: ``exchange``, ccxt's name of it; the others go to ccxt as they are.
        file: File in ``conf/`` that holds them, for messages.

    Raises:
        FixConfiguration: If ccxt is missing, or does not know the exchange.
    """
    with needing(f"{file}: ccxt"):
        import ccxt
    others = dict(options)
    name = str(others.pop("exchange", ""))
    if name not in ccxt.exchanges:
        near = get_close_matches(name, ccxt.exchanges, 1)
        raise FixConfiguration(
            f"{file}: options: exchange {name!r} is unknown to ccxt; use its name there, such as "
            f"{near[0] if near else 'binance'}"
        )
    return getattr(ccxt, name)(others)

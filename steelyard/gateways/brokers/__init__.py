"""Brokers: an embedded one that fills by the bars, and accounts at Alpaca or through ccxt."""

from steelyard.gateways.brokers.broker import (
    SCALED,
    WORKING,
    Broker,
    BrokerSettings,
    Order,
    exposures,
    load_broker,
    order_row,
)
from steelyard.gateways.brokers.paper import PaperBroker

__all__ = [
    "SCALED",
    "WORKING",
    "Broker",
    "BrokerSettings",
    "Order",
    "PaperBroker",
    "exposures",
    "load_broker",
    "order_row",
]

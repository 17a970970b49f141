"""The ledger: signals, models, predictions with their outcomes, and trades, in SQL (SPEC §7)."""

from steelyard.gateways.ledger.ledger import Ledger
from steelyard.gateways.ledger.tables import OUTCOME, SETTLED, Base

__all__ = ["OUTCOME", "SETTLED", "Base", "Ledger"]

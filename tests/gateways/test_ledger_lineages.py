"""Several lineages in one ledger: none reads or changes another's rows; older rows keep a name."""

from datetime import UTC, datetime

import pandas as pd
import pytest
from alembic import command
from alembic.config import Config
from sqlalchemy import text

from factories.digests import ledger_digest
from factories.evidence import EARLIER
from factories.settled import settled
from steelyard.errors import FixData
from steelyard.gateways.ledger import Ledger
from steelyard.gateways.ledger.digests import Digests
from steelyard.gateways.ledger.ledger import MIGRATIONS
from steelyard.monitoring.drift_record import DriftRecord

LONG_AGO, FAR_AHEAD = datetime(2000, 1, 1, tzinfo=UTC), datetime(2100, 1, 1, tzinfo=UTC)
MODEL = {"run_id": "r", "family": "xgboost", "metrics": {}, "trained_through": EARLIER}
TRADE = {
    "sequence": 1,
    "broker": "paper",
    "symbol": "S",
    "side": "buy",
    "quantity": 1.0,
    "stop_price": 9.0,
    "status": "open",
    "submitted_at": EARLIER,
}
LOGGED = pd.DataFrame(
    {
        "signal_id": ["S:0:buy"],
        "symbol": ["S"],
        "timestamp": [EARLIER],
        "decided_at": [EARLIER],
        "taken_in_at": [EARLIER],
        "side": ["buy"],
        "confidence": [71.0],
        "own": [{"a": 1.0}],
        "traded": [False],
        "source": ["log.csv"],
    }
)
HEIRLOOMS = "SELECT count(*) FROM {} WHERE lineage = 'old'"


def lived(ledger: Ledger, won: bool = True) -> Ledger:
    """Record three signals with features, two outcomes, and a row in every other table."""
    frame = settled(3, won=pd.array([won] * 3, dtype="boolean"))
    frame = frame.assign(timestamp=frame["decided_at"], rsi=float(won))
    ledger.record_features(frame, ["rsi"], "hash")
    ledger.record_predictions(frame)
    ledger.record_outcomes(frame.head(2))
    ledger.record_trades([{**TRADE, "signal_id": "S:0:buy", "order_id": "S:0:buy"}])
    ledger.record_log_signals(LOGGED)
    ledger.record_model({**MODEL, "version": "1", "stage": "champion"})
    ledger.record_trial_count(f"{ledger.lineage}/search/1", EARLIER, "search", 9 if won else 5)
    key = f"{ledger.lineage}/drift/1/2026-01-01"
    ledger.record_drift(DriftRecord(key, EARLIER, "1", "fine", 0.0, (), (), "r", False))
    return ledger


def seen(ledger: Ledger) -> dict[str, object]:
    """All that a lineage reads of itself."""
    outcomes = ledger.settled_predictions(LONG_AGO, FAR_AHEAD)
    return {
        "outcomes": outcomes["won"].tolist(),
        "real": len(ledger.real_outcomes(FAR_AHEAD)),
        "opinions": len(ledger.opinions(LONG_AGO, FAR_AHEAD)),
        "unsettled": ledger.unsettled()["signal_id"].tolist(),
        "features": ledger.frozen_features(LONG_AGO, FAR_AHEAD).to_dict(),
        "signal": (ledger.signal("S:0:buy") or {}).get("features"),
        "ids": ledger.latest_ids(9),
        "trades": ledger.trades()["quantity"].tolist(),
        "log": (len(ledger.log_signals(FAR_AHEAD)), ledger.own_names(), ledger.log_signal_count()),
        "trials": ledger.trial_counts(FAR_AHEAD),
        "drift": [check.key for check in ledger.drift_checks(9)],
        "proof": len(ledger.settled_for_proof()),
    }


def test_two_lineages_may_have_the_same_signal(ledger_url: str) -> None:
    """Ids, versions and digests meet; each lineage sees its own life, as it was without the other.

    The order book of the account alone is common.
    """
    trend, reversion = Ledger(ledger_url, "trend"), Ledger(ledger_url, "reversion")
    trend.migrate()
    alone = seen(lived(trend))
    first = Digests(trend).extend()
    assert not any({**seen(reversion), "log": reversion.log_signal_count()}.values())

    lived(reversion, won=False)
    reversion.fill_trades([{"signal_id": "S:0:buy", "quantity": 7.0}])
    second = Digests(reversion).extend()

    assert seen(trend) == alone
    assert seen(reversion)["outcomes"] == [False, False]
    assert first != second
    assert not Digests(trend).faults(*first)
    assert not Digests(reversion).faults(*second)
    assert trend.account_trades()["quantity"].tolist() == [7.0, 1.0]
    with pytest.raises(FixData, match="settled with won True"):
        trend.record_outcomes(settled(1, won=pd.array([False], dtype="boolean")))
    Digests(reversion).reset()
    assert not Digests(trend).faults(*first)
    assert Digests(reversion).faults(*second)


def test_older_rows_get_the_name_their_lineage_had(ledger_url: str) -> None:
    """Tables of before are upgraded by another lineage's process: rows, digests and orders stay.

    What the upgrade gave a name is what it was, also after going back and forth once more.
    """
    old = Ledger(ledger_url, "old")
    old.migrate()
    before = seen(lived(old))
    head, digest = Digests(old).extend(), ledger_digest(old)
    downgrade(old)

    Ledger(ledger_url, "trend", "old").migrate()

    assert seen(old) == before
    assert Digests(old).extend() == head, "it also makes the blocks that were no table of before"
    assert ledger_digest(old) == digest
    assert seen(old) == before
    assert not Digests(old).faults(*head)
    assert old.trades()["order_id"].tolist() == ["S:0:buy"]
    assert Ledger(ledger_url, "trend").unsettled().empty
    with old.transaction() as connection:
        for table in ("ml_models", "ml_trials", "ml_drift", "ml_digests", "log_signals"):
            assert connection.execute(text(HEIRLOOMS.format(table))).scalar() == 1


def downgrade(ledger: Ledger) -> None:
    """Take the tables back to the version before several lineages."""
    settings = Config()
    settings.set_main_option("script_location", str(MIGRATIONS))
    with ledger._migrating() as connection:
        settings.attributes["connection"] = connection
        command.downgrade(settings, "0009")

"""The account of a lineage: curves, months, symbols and the newest trades with their prices."""

import math
from collections.abc import Mapping
from datetime import datetime
from typing import Any

import numpy as np
import pandas as pd

from steelyard.evaluation.books import equity_curves
from steelyard.evaluation.influence import changed_signals
from steelyard.evaluation.tear_sheet import monthly_returns, symbol_figures, tear_sheets
from steelyard.home import Home
from steelyard.market.bars import Bars
from steelyard.market.brackets import OUTCOMES, outcomes
from steelyard.market.exits import exit_rule
from steelyard.views.account import Account, OpenTrade, SettledTrade, TradePrices

NEWEST = 250
"""Trades that are listed and drawn."""
BARS_BEFORE, BARS_AFTER = 24, 8
"""Bars drawn before the entry and after the exit."""
PRICES = ("entry_at", "entry_price", "stop_price", "target_price", "exit_at", "exit_price")


def lineage_account(
    home: Home, held: pd.DataFrame, proposed: pd.DataFrame | None, start: datetime, end: datetime
) -> Account:
    """Return the account of a lineage over (start, end].

    Args:
        home: Opened home.
        held: Settled predictions of the period, one row each, from ``held_predictions``.
        proposed: The existing system's signals of the period, one row each, from
            ``signals_between``; None without bars: then no trade is drawn.
        start: Begin of the lineage (UTC), exclusive.
        end: End of the report (UTC), inclusive.
    """
    bars: Mapping[str, Bars] = {}
    if home.has_source and proposed is not None:
        bars = home.lake.bars(until=pd.Timestamp(end))
    equity, symbols = equity_curves(held, start, end), symbol_figures(held, bars, start)
    changes = [each.buy_and_hold for each in symbols if math.isfinite(each.buy_and_hold)]
    traded = held["decision_taken"].to_numpy(dtype=bool) | held["baseline_taken"].to_numpy(
        dtype=bool
    )
    return Account(
        capital=home.settings.broker.start_equity,
        held=held,
        equity=equity,
        months=monthly_returns(equity),
        tear_sheets=tear_sheets(held, equity, start, end),
        symbols=symbols,
        buy_and_hold=float(np.mean(changes)) if changes else math.nan,
        trades=_newest_trades(home, held, traded, proposed, bars),
        trade_count=int(traded.sum()),
        open_trades=_open_trades(home, end),
    )


def _newest_trades(
    home: Home,
    held: pd.DataFrame,
    traded: Any,
    proposed: pd.DataFrame | None,
    bars: Mapping[str, Bars],
) -> tuple[SettledTrade, ...]:
    changed, gained = changed_signals(held)
    told = held.assign(
        changed=changed,
        gained=np.where(changed, gained, 0.0),
        account_return=np.where(
            held["decision_taken"], held["decision_return"], held["baseline_return"]
        ),
    )
    newest = told[traded].sort_values(["decided_at", "signal_id"], ascending=False).head(NEWEST)
    prices = {} if proposed is None else _prices(home, newest, proposed, bars)
    return tuple(
        _settled_trade(row, _drawn(row, prices.get(row["signal_id"]), bars))
        for row in newest.to_dict("records")
    )


def _prices(
    home: Home, newest: pd.DataFrame, proposed: pd.DataFrame, bars: Mapping[str, Bars]
) -> dict[str, Mapping[str, Any]]:
    """Return the prices of each trade by signal: the kernel's, or the fills of the broker."""
    asked = proposed["signal_id"].isin(newest["signal_id"]) & proposed["symbol"].isin(list(bars))
    rows = proposed[asked.to_numpy(dtype=bool)].reset_index(drop=True)
    if not set(OUTCOMES) <= set(rows):
        kernel = outcomes(bars, rows, home.settings.brackets, exit_rule(home.strategy))
        rows = pd.concat([rows, kernel], axis=1)
    filled = home.ledger.trades(["closed"])
    columns = ["signal_id", *PRICES]
    return {
        str(row["signal_id"]): {str(name): value for name, value in row.items()}
        for frame in (rows, filled)
        for row in frame[columns].to_dict("records")
    }


def _drawn(
    row: Mapping[Any, Any], prices: Mapping[str, Any] | None, bars: Mapping[str, Bars]
) -> TradePrices | None:
    """Return the prices with the bars around them; None if there are none."""
    history = bars.get(row["symbol"])
    if history is None or prices is None or pd.isna(prices["exit_at"]):
        return None
    first = max(history.position(prices["entry_at"]) - BARS_BEFORE, 0)
    end = history.position(prices["exit_at"]) + 1 + BARS_AFTER
    return TradePrices(
        bars=history[first:end],
        entry_at=prices["entry_at"],
        entry=float(prices["entry_price"]),
        stop=float(prices["stop_price"]),
        target=float(prices["target_price"]),
        exit_at=prices["exit_at"],
        exit=float(prices["exit_price"]),
    )


def _settled_trade(row: Mapping[Any, Any], prices: TradePrices | None) -> SettledTrade:
    return SettledTrade(
        signal_id=row["signal_id"],
        symbol=row["symbol"],
        side=row["side"],
        decided_at=row["decided_at"],
        settled_at=row["settled_at"],
        confidence_existing=row["confidence_existing"],
        confidence_ml=row["confidence_ml"],
        blended=row["blended"],
        weight=row["weight"],
        taken=bool(row["decision_taken"]),
        changed=bool(row["changed"]),
        won=bool(row["won"]),
        account_return=row["account_return"],
        gained=row["gained"],
        exit_reason="" if pd.isna(row["exit_reason"]) else row["exit_reason"],
        hold_minutes=row["hold_minutes"],
        prices=prices,
    )


def _open_trades(home: Home, end: datetime) -> tuple[OpenTrade, ...]:
    trades = home.ledger.trades(["submitted", "open"])
    trades = trades[(trades["submitted_at"] <= end).to_numpy(dtype=bool)]
    return tuple(
        OpenTrade(
            symbol=row["symbol"],
            side=row["side"],
            status=row["status"],
            quantity=row["quantity"],
            submitted_at=row["submitted_at"],
            entry_price=None if pd.isna(row["entry_price"]) else row["entry_price"],
            stop_price=row["stop_price"],
            target_price=None if pd.isna(row["target_price"]) else row["target_price"],
        )
        for row in trades.to_dict("records")
    )

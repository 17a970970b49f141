"""Asks ``steelyard serve`` before a freqtrade strategy enters, and tells it how trades ended.

Needs the standard library alone. Copy it beside your strategy and put ``Steelyard`` before
``IStrategy``; the README in this folder says how.
"""

import json
import logging
import math
import os
import re
from collections import deque
from datetime import datetime, timedelta
from http.client import HTTPConnection, HTTPSConnection
from typing import Any
from urllib.parse import urlsplit

logger = logging.getLogger(__name__)

UNITS = {"m": "minutes", "h": "hours", "d": "days", "w": "weeks"}
KEY = "steelyard_signal"
"""Name under which freqtrade keeps the signal's id with the trade."""
MAX_UNTOLD = 1_000
"""Outcomes kept while the service cannot be reached; the oldest go first."""


class Steelyard:
    """What a strategy inherits before ``IStrategy``.

    Whatever fails here, the strategy's own decision stands.

    Attributes:
        steelyard_url: Address of ``steelyard serve``.
        steelyard_timeout: Seconds that each step of a request may take.
        steelyard_confidence: Column of the strategy's dataframe with the confidence, 0 to 100;
            without that column every entry is a plain yes.
        steelyard_features: Columns of the dataframe that the model may learn from, as they stand
            at the candle of the signal.
        steelyard_in_backtest: Whether a backtest asks and reports, too; a hyperopt never does.
    """

    steelyard_url = "http://127.0.0.1:8787"
    steelyard_timeout = 0.5
    steelyard_confidence = "confidence"
    steelyard_features: tuple[str, ...] = ()
    steelyard_in_backtest = False

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self._asked: dict[tuple[str, str], tuple[str, bool | None]] = {}
        self._untold: deque[dict[str, Any]] = deque(maxlen=MAX_UNTOLD)
        self._trouble = ""

    def confirm_trade_entry(
        self,
        pair: str,
        order_type: str,
        amount: float,
        rate: float,
        time_in_force: str,
        current_time: datetime,
        entry_tag: str | None,
        side: str,
        **kwargs: Any,
    ) -> bool:
        """Return whether to enter: the blended decision, or the strategy's own if there is none.

        Args:
            pair: Pair to enter.
            order_type: As freqtrade gives it; not used, as all that are not listed here.
            amount: Not used.
            rate: Not used.
            time_in_force: Not used.
            current_time: Now; in a backtest the open of the candle, at which the signal's closed.
            entry_tag: Not used.
            side: "long" or "short".
            **kwargs: What later versions of freqtrade add.
        """
        own = super().confirm_trade_entry(  # type: ignore[misc]
            pair, order_type, amount, rate, time_in_force, current_time, entry_tag, side, **kwargs
        )
        if not own or not self._is_on:
            return bool(own)
        try:
            return self._ask(pair, side, current_time)
        except Exception as error:  # noqa: BLE001  # a trade must not depend on this file
            self._warn(f"{pair}: the strategy decides alone ({error!r})")
            return True

    def order_filled(
        self, pair: str, trade: Any, order: Any, current_time: datetime, **kwargs: Any
    ) -> None:
        """Remember which signal a trade came from, and report it once it is closed.

        Args:
            pair: Pair of the trade.
            trade: freqtrade's trade.
            order: The order that was filled.
            current_time: Now; in a backtest the open of the candle.
            **kwargs: What later versions of freqtrade add.
        """
        super().order_filled(pair, trade, order, current_time, **kwargs)  # type: ignore[misc]
        if not self._is_on:
            return
        try:
            self._follow(trade, order, current_time)
        except Exception as error:  # noqa: BLE001  # a trade must not depend on this file
            self._warn(f"{pair}: the outcome cannot be reported ({error!r})")
        self._tell()

    def bot_loop_start(self, current_time: datetime, **kwargs: Any) -> None:
        """Report the outcomes that the service could not take before.

        Args:
            current_time: Now.
            **kwargs: What later versions of freqtrade add.
        """
        super().bot_loop_start(current_time, **kwargs)  # type: ignore[misc]
        self._tell()

    @property
    def _mode(self) -> str:
        return str(self.dp.runmode.value)  # type: ignore[attr-defined]

    @property
    def _is_on(self) -> bool:
        return self._mode in ("live", "dry_run") or (
            self._mode == "backtest" and self.steelyard_in_backtest
        )

    @property
    def _candle_length(self) -> timedelta:
        timeframe = str(self.timeframe)  # type: ignore[attr-defined]
        return timedelta(**{UNITS[timeframe[-1]]: int(timeframe[:-1])})

    def _ask(self, pair: str, side: str, now: datetime) -> bool:
        """Return the decision about the signal of the last closed candle, asked once.

        freqtrade asks again every few seconds for as long as the candle lasts; the signal, and
        with it the answer, stays that of the candle.
        """
        signal = self._signal(pair, side, now)
        signal_id = f"{pair}:{signal['timestamp']}:{signal['side']}"
        known, decision = self._asked.get((pair, side), ("", None))
        if known == signal_id and decision is not None:
            return decision

        self._asked[pair, side] = signal_id, None
        status, answer = self._post("signals", signal)
        if status != 200:
            raise ValueError(f"{status}: {answer.get('detail')}")
        decision = bool(answer["decision"])
        self._asked[pair, side] = signal_id, decision
        self._trouble = ""
        logger.info(
            f"{signal_id}: {'trade' if decision else 'leave'} at {answer['blended']:.1f}, "
            f"weight {answer['weight']:.2f}, {answer['fallback_reason'] or 'blended'}"
        )
        return decision

    def _signal(self, pair: str, side: str, now: datetime) -> dict[str, Any]:
        """Return the signal of the last closed candle, decided when that candle closed."""
        frame, _ = self.dp.get_analyzed_dataframe(  # type: ignore[attr-defined]
            pair,
            self.timeframe,  # type: ignore[attr-defined]
        )
        candle = frame.iloc[-1]
        decided_at = candle["date"] + self._candle_length
        if decided_at > now:
            raise ValueError(f"the candle of {candle['date']} had not closed at {now}")
        return {
            "symbol": pair,
            "side": "sell" if side == "short" else "buy",
            "timestamp": _stamp(decided_at),
            "confidence": _number(candle.get(self.steelyard_confidence)),
            "own": {name: _number(candle[name]) for name in self.steelyard_features},
        }

    def _follow(self, trade: Any, order: Any, now: datetime) -> None:
        signal_id = trade.get_custom_data(KEY)
        if order.ft_order_side == trade.entry_side:
            side = "short" if trade.is_short else "long"
            asked, decision = self._asked.get((trade.pair, side), ("", None))
            if asked and decision is not False and signal_id is None:
                trade.set_custom_data(KEY, asked)
        elif signal_id is not None and self._is_over(trade, order):
            self._untold.append(self._outcome(signal_id, trade, order, now))

    def _is_over(self, trade: Any, order: Any) -> bool:
        if self._mode == "backtest":  # where the trade is closed after this call
            return bool(order.safe_amount >= trade.amount)
        return not trade.is_open

    def _outcome(self, signal_id: str, trade: Any, order: Any, now: datetime) -> dict[str, Any]:
        """Return the report of a closed trade: its return on the position, after fees.

        freqtrade's ratios are on the stake, thus times the leverage. A backtest knows the candle in
        which a trade ended, not the minute: the outcome is known when that candle closes.
        """
        if trade.is_open:
            ratio = trade.calculate_profit(order.safe_price).total_profit_ratio
            settled_at = now + self._candle_length
        else:
            ratio, settled_at = trade.close_profit, now
        report: dict[str, Any] = {
            "signal_id": signal_id,
            "settled_at": _stamp(settled_at),
            "net_return": ratio / (trade.leverage or 1.0),
            "exit_reason": _word(trade.exit_reason),
        }
        stop_distance = abs(1 - (trade.initial_stop_loss or 0.0) / trade.open_rate)
        if 0 < stop_distance < 1:
            report["stop_distance"] = stop_distance
        return report

    def _tell(self) -> None:
        """Report outcomes in order; what the service cannot take now is kept for later."""
        try:
            while self._untold:
                status, answer = self._post("outcome", self._untold[0])
                if status in (401, 429) or status >= 500:
                    raise ValueError(f"{status}: {answer.get('detail')}")
                report = self._untold.popleft()
                if status != 202:
                    detail = answer.get("detail")
                    logger.warning("%s: not taken (%s)", report["signal_id"], detail)
        except Exception as error:  # noqa: BLE001  # a trade must not depend on this file
            self._warn(f"{len(self._untold)} outcomes wait ({error!r})")

    def _warn(self, words: str) -> None:
        """Log what is wrong, once for as long as it is the same."""
        if words != self._trouble:
            self._trouble = words
            logger.warning("Steelyard: %s", words)

    def _post(self, route: str, document: dict[str, Any]) -> tuple[int, dict[str, Any]]:
        token = os.environ.get("STEELYARD_TOKEN")
        if not token:
            raise ValueError("set STEELYARD_TOKEN to the token of steelyard serve")
        address = urlsplit(self.steelyard_url)
        connect = HTTPSConnection if address.scheme == "https" else HTTPConnection
        connection = connect(address.netloc, timeout=self.steelyard_timeout)
        headers = {"Authorization": f"Bearer {token}", "Content-Type": "application/json"}
        try:
            where = f"{address.path.rstrip('/')}/{route}"
            connection.request("POST", where, json.dumps(document, allow_nan=False), headers)
            response = connection.getresponse()
            return response.status, json.loads(response.read())
        finally:
            connection.close()


def _stamp(moment: datetime) -> str:
    return f"{moment:%Y-%m-%dT%H:%M:%SZ}"


def _number(value: Any) -> float | None:
    """Return a cell of a dataframe; None if it is empty, so that the model sees it as unknown."""
    if value is None or not math.isfinite(value):
        return None
    return float(value)


def _word(reason: str | None) -> str:
    """Return an exit reason as the service takes it: at most 20 letters and underscores."""
    word = re.sub(r"[^a-z]+", "_", (reason or "").lower()).strip("_")
    return word[:20].rstrip("_") or "freqtrade"

"""freqtrade's adapter where the service is wrong, slow or away; the backtest is in .ci/."""

import importlib.util
import json
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from threading import Thread
from time import sleep
from types import SimpleNamespace
from typing import Any

import pandas as pd
import pytest

FILE = Path(__file__).parents[1] / "examples" / "freqtrade" / "steelyard_freqtrade.py"
CLOSED = datetime(2026, 1, 2, 12, tzinfo=UTC)
PAIR = "BTC/USDT"
LEAVE = {"decision": False, "blended": 61.0, "weight": 0.3, "fallback_reason": None}
Answer = tuple[int, bytes]


def adapter() -> Any:
    """The class of the example, loaded from its file as freqtrade does."""
    spec = importlib.util.spec_from_file_location("steelyard_freqtrade", FILE)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module.Steelyard


class Freqtrade:
    """freqtrade's ``IStrategy`` as far as the adapter calls it."""

    timeframe = "1h"
    own = True

    def __init__(self, mode: str = "live") -> None:
        self.dp = SimpleNamespace(runmode=SimpleNamespace(value=mode))
        self.dp.get_analyzed_dataframe = lambda pair, timeframe: (self.frame, CLOSED)
        self.frame = pd.DataFrame(
            {
                "date": [CLOSED - timedelta(hours=1)],
                "confidence": [72.0],
                "mood": [float("nan")],
            }
        )

    def confirm_trade_entry(self, *arguments: Any, **rest: Any) -> bool:
        return self.own

    def order_filled(self, *arguments: Any, **rest: Any) -> None:
        return None

    def bot_loop_start(self, *arguments: Any, **rest: Any) -> None:
        return None


class Service:
    """A service that answers as it is told, and keeps what it was sent."""

    def __init__(self) -> None:
        self.received: list[tuple[str, dict[str, Any]]] = []
        self.answer: Callable[[str], Answer] = lambda route: (200, json.dumps(LEAVE).encode())
        service = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                sent = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
                service.received.append((self.path, sent))
                status, body = service.answer(self.path)
                self.send_response(status)
                self.send_header("Content-Length", str(len(body)))
                self.end_headers()
                self.wfile.write(body)

            def log_message(self, *arguments: Any) -> None:
                return None

        self.server = HTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self.server.server_port}"
        Thread(target=self.server.serve_forever, args=(0.01,), daemon=True).start()

    def close(self) -> None:
        self.server.shutdown()
        self.server.server_close()


@pytest.fixture
def service(monkeypatch: pytest.MonkeyPatch) -> Iterator[Service]:
    monkeypatch.setenv("STEELYARD_TOKEN", "of-this-test")
    answering = Service()
    yield answering
    answering.close()


def strategy(service: Service, mode: str = "live", **settings: Any) -> Any:
    own = {"steelyard_url": service.url, "steelyard_features": ("mood",), **settings}
    return type("Own", (adapter(), Freqtrade), own)(mode)


def enters(asking: Any, minutes: float = 0.1, side: str = "long") -> bool:
    """Whether a strategy enters some minutes after the candle closed."""
    at = CLOSED + timedelta(minutes=minutes)
    return bool(asking.confirm_trade_entry(PAIR, "limit", 1.0, 100.0, "GTC", at, None, side))


def trade(**changes: Any) -> SimpleNamespace:
    """A trade of freqtrade with its custom data, as long as it is open."""
    kept: dict[str, str] = {}
    fields = {"pair": PAIR, "is_short": False, "is_open": True, "entry_side": "buy"}
    fields |= {"open_rate": 100.0, "initial_stop_loss": 97.0, "leverage": 2.0, "exit_reason": "roi"}
    fields |= {"amount": 2.0, "close_profit": 0.01}
    return SimpleNamespace(
        **(fields | changes),
        get_custom_data=kept.get,
        set_custom_data=kept.__setitem__,
        calculate_profit=lambda rate: SimpleNamespace(total_profit_ratio=0.03),
    )


def order(side: str, amount: float = 2.0) -> SimpleNamespace:
    """A filled order."""
    return SimpleNamespace(ft_order_side=side, safe_amount=amount, safe_price=101.0)


BUY, SELL = order("buy"), order("sell")


def test_a_signal_left_stays_left_for_its_candle(service: Service) -> None:
    """Freqtrade asks every few seconds: one question per candle, even if the service goes away."""
    asking = strategy(service)
    answers = [enters(asking)]
    service.answer = lambda route: (500, b"{}")
    answers += [enters(asking, minutes=5), enters(asking, side="short")]

    assert answers == [False, False, True]
    assert service.received == [
        (
            "/signals",
            {
                "symbol": PAIR,
                "side": side,
                "timestamp": "2026-01-02T12:00:00Z",
                "confidence": 72.0,
                "own": {"mood": None},
            },
        )
        for side in ("buy", "sell")
    ]


def test_without_a_confidence_column_an_entry_is_a_plain_yes(service: Service) -> None:
    """The service is told of no confidence, and gives it that of a yes."""
    enters(strategy(service, steelyard_confidence="none"))

    assert service.received[0][1]["confidence"] is None


def _slow(route: str) -> Answer:
    sleep(0.3)
    return 200, json.dumps(LEAVE).encode()


@pytest.mark.parametrize(
    "answer",
    [
        lambda route: (500, json.dumps(LEAVE).encode()),
        lambda route: (409, b'{"detail": "already decided"}'),
        lambda route: (200, b"no json"),
        lambda route: (200, b"[]"),
        lambda route: (200, b"{}"),
        _slow,
    ],
    ids=["error", "refused", "garbage", "list", "empty", "slow"],
)
def test_whatever_fails_the_strategy_decides(
    service: Service, answer: Callable[[str], Answer]
) -> None:
    """An answer that is none never stops an entry."""
    service.answer = answer

    assert enters(strategy(service, steelyard_timeout=0.1))


def test_without_service_token_or_candle_the_strategy_decides(
    service: Service, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Nobody is asked about a candle that had not closed, or in the name of nobody."""
    away = strategy(service, steelyard_url="http://127.0.0.1:9")
    early, empty = strategy(service), strategy(service)
    empty.frame = empty.frame.iloc[:0]
    assert enters(away)
    assert enters(early, minutes=-1)
    assert enters(empty)
    monkeypatch.delenv("STEELYARD_TOKEN")
    assert enters(strategy(service))
    assert service.received == []


@pytest.mark.parametrize(
    ("mode", "settings", "asked"),
    [
        ("live", {}, True),
        ("dry_run", {}, True),
        ("backtest", {}, False),
        ("backtest", {"steelyard_in_backtest": True}, True),
        ("hyperopt", {"steelyard_in_backtest": True}, False),
        ("live", {"own": False}, False),
    ],
)
def test_who_is_asked(service: Service, mode: str, settings: dict[str, Any], asked: bool) -> None:
    """A backtest only if told to, a hyperopt never, and nobody about what the strategy refuses."""
    assert enters(strategy(service, mode, **settings)) == (not asked and "own" not in settings)
    assert bool(service.received) == asked


def test_outcomes_wait_for_the_service(service: Service) -> None:
    """A trade is reported once it is closed, without its leverage, when the service is back."""
    asking, followed = strategy(service), trade()
    service.answer = lambda route: (503, b"{}")
    assert enters(asking)
    asking.order_filled(PAIR, followed, BUY, CLOSED + timedelta(minutes=1))
    asking.order_filled(PAIR, followed, SELL, CLOSED + timedelta(hours=1))  # a part of it
    assert [route for route, _ in service.received] == ["/signals"]
    followed.is_open, followed.close_profit, followed.exit_reason = False, 0.04, "Take profit #2"
    asking.order_filled(PAIR, followed, SELL, CLOSED + timedelta(hours=3))
    service.answer = lambda route: (202, b"{}")
    for _ in range(2):
        asking.bot_loop_start(CLOSED + timedelta(hours=4))

    [refused, taken] = [sent for route, sent in service.received if route == "/outcome"]
    assert refused == taken
    assert taken.pop("stop_distance") == pytest.approx(0.03)
    assert taken == {
        "signal_id": f"{PAIR}:2026-01-02T12:00:00Z:buy",
        "settled_at": "2026-01-02T15:00:00Z",
        "net_return": 0.02,
        "exit_reason": "take_profit",
    }


def test_a_backtest_knows_an_end_when_its_candle_closes(service: Service) -> None:
    """There the last exit is filled before the trade is closed; a partial one reports nothing."""
    asking = strategy(service, "backtest", steelyard_in_backtest=True)
    followed = trade()
    service.answer = lambda route: (200, json.dumps(LEAVE | {"decision": True}).encode())
    enters(asking, minutes=0)
    for filled in (BUY, order("sell", 0.5)):
        asking.order_filled(PAIR, followed, filled, CLOSED)
    assert [route for route, _ in service.received] == ["/signals"]
    followed.amount = 1.5
    asking.order_filled(PAIR, followed, order("sell", 1.5), CLOSED)
    [_, (_, report)] = service.received

    assert report["settled_at"] == "2026-01-02T13:00:00Z"
    assert report["net_return"] == 0.015


def test_a_trade_of_no_signal_is_not_reported(service: Service) -> None:
    """One that was open before the bot restarted, and was not asked about, has no outcome here."""
    asking, followed = strategy(service), trade(close_profit=0.04)
    asking.order_filled(PAIR, followed, BUY, CLOSED)
    followed.is_open = False
    asking.order_filled(PAIR, followed, SELL, CLOSED + timedelta(hours=3))

    assert service.received == []

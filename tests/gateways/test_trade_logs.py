"""Past trades in the layouts in which programs write them."""

from pathlib import Path

import pandas as pd
import pytest

from factories import trade_logs
from factories.trade_logs import TEXTS, freqtrade_trades, write_log
from steelyard.errors import FixConfiguration, FixData
from steelyard.gateways.trade_logs import ImportOptions, ParsedLog, read_trade_log

ATHENS = ImportOptions(timezone="Europe/Athens", symbol="BTC")


def read(file: Path, form: str | None = None, options: ImportOptions = ATHENS) -> ParsedLog:
    return read_trade_log(file, form, options)


def rows(log: ParsedLog) -> list[tuple[object, ...]]:
    """Line, symbol, side, entry, exit and return in basis points of each trade."""
    return [
        (
            row.Index,
            row.symbol,
            row.side,
            row.entry_price,
            None if pd.isna(row.exit_price) else round(row.exit_price, 6),
            None if pd.isna(row.net_return) else round(1e4 * row.net_return, 1),
        )
        for row in log.trades.itertuples()
    ]


@pytest.mark.parametrize(
    ("kind", "form", "trades"),
    [
        (
            "tradingview",
            "tradingview",
            [
                (3, "BTC", "buy", 106.0, None, None),
                (5, "BTC", "sell", 105.0, 104.0, 47.6),
                (7, "BTC", "buy", 100.0, 103.0, 290.0),
            ],
        ),
        (
            "mt5",
            "mt5",
            [
                (5, "XAUUSD", "sell", 4106.0, 4101.0, 11.9),
                (6, "EURUSD", "buy", 1.1, 1.102, 17.3),
                (7, "EURUSD", "buy", 1.1, 1.098, -19.1),
            ],
        ),
        (
            "mt5 deals",
            "mt5",
            [(3, "EURUSD", "buy", 1.1, 1.102, 17.5), (4, "EURUSD", "sell", 1.101, 1.103, -18.8)],
        ),
        (
            "backtesting",
            "backtesting",
            [(2, "BTC", "buy", 100.0, 103.0, 290.0), (3, "BTC", "sell", 104.0, 105.0, -105.8)],
        ),
        (
            "ibkr",
            "ibkr",
            [
                (4, "AAPL", "buy", 100.0, 103.0, 299.7),
                (12, "SPY C600", "buy", 5.0, 4.0, -2040.0),
            ],
        ),
        ("ibkr flex", "ibkr", [(2, "AAPL", "buy", 100.0, 103.0, 280.0)]),
        (
            "pyfolio",
            "pyfolio",
            [(2, "AAPL", "buy", 100.0, 103.0, 300.0), (3, "AAPL", "buy", 101.0, None, None)],
        ),
        (
            "generic",
            "generic",
            [
                (2, "BTC", "buy", 100.0, 103.0, 300.0),
                (3, "BTC", "sell", 104.0, 105.0, -96.2),
                (4, "BTC", "buy", pytest.approx(float("nan"), nan_ok=True), None, None),
            ],
        ),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_each_layout_is_told_by_its_header_and_read(
    kind: str, form: str, trades: list[tuple[object, ...]], tmp_path: Path
) -> None:
    """Trades, lines and returns are those of the file; costs are in the return."""
    log = read(write_log(tmp_path, kind))

    assert log.format == form
    assert rows(log) == trades


@pytest.mark.parametrize("kind", TEXTS)
def test_times_of_a_log_are_in_the_zone_that_the_user_names(kind: str, tmp_path: Path) -> None:
    """10:00 in Athens is 08:00 UTC; a log that names its own zone keeps it."""
    file = write_log(tmp_path, kind)
    entered = read(file).trades["entry_at"].dropna()
    says_it_itself = kind in ("pyfolio", "generic")

    assert set(entered.dt.hour) <= ({0, 10} if says_it_itself else {8})
    if says_it_itself:
        read(file, options=ImportOptions(symbol="BTC"))
        return
    with pytest.raises(FixConfiguration, match=r"its times name no zone.*pass --timezone"):
        read(file, options=ImportOptions(symbol="BTC"))


@pytest.mark.parametrize("suffix", ["json", "zip", "csv", "parquet", "feather", "sqlite", "jsonl"])
def test_freqtrade_is_read_from_everything_it_writes(suffix: str, tmp_path: Path) -> None:
    """The same trades from a backtest result, its archive, exports and the bot's own database."""
    trades, file = freqtrade_trades(5), tmp_path / f"trades.{suffix}"
    writers = {
        "json": lambda: file.write_text(trade_logs.freqtrade_document(trades), encoding="utf-8"),
        "zip": lambda: trade_logs.freqtrade_zip(file, trades),
        "csv": lambda: trades.to_csv(file, index=False),
        "parquet": lambda: trades.to_parquet(file),
        "feather": lambda: trades.to_feather(file),
        "sqlite": lambda: trade_logs.freqtrade_database(file, trades),
        "jsonl": lambda: trades.to_json(file, orient="records", lines=True, date_format="iso"),
    }
    writers[suffix]()
    log = read(file, options=ImportOptions())

    assert (log.format, log.read, log.skipped) == ("freqtrade", 5, ())
    assert log.trades["entry_at"].tolist() == trades["open_date"].tolist()
    assert log.trades["net_return"].tolist() == pytest.approx((trades["profit_abs"] / 200).tolist())
    gross = (log.trades["exit_price"] - log.trades["entry_price"]) * log.trades["quantity"]
    assert (gross - log.trades["fees"]).tolist() == pytest.approx(trades["profit_abs"].tolist())


def test_freqtrade_with_leverage_and_several_fills(tmp_path: Path) -> None:
    """The return is that of the position, not of the stake; an entry in parts is named."""
    orders = [
        {"ft_is_entry": True, "safe_price": 101.0},
        {"ft_is_entry": True, "safe_price": 99.0},
        {"ft_is_entry": False, "safe_price": 102.0},
    ]
    trades = freqtrade_trades(1, winners=1).assign(leverage=3.0, orders=[orders])
    trades["profit_ratio"] *= 3
    del trades["profit_abs"]
    trades.to_parquet(file := tmp_path / "trades.parquet")
    trade = read(file).trades.iloc[0]

    assert trade["net_return"] == pytest.approx(102 * 0.999 / 100.1 - 1)
    assert trade["faults"] == ["averaged entry: 2 fills from 99 to 101"]


def test_a_report_of_metatrader_is_read_as_a_page(tmp_path: Path) -> None:
    """MetaTrader writes HTML in UTF-16, with cells that a browser hides."""
    page = tmp_path / "ReportHistory.html"
    page.write_text(trade_logs.as_html(TEXTS["mt5 deals"]), encoding="utf-16")

    assert rows(read(page)) == rows(read(write_log(tmp_path, "mt5 deals")))


def test_features_of_a_log_are_numbers_known_at_the_decision(tmp_path: Path) -> None:
    """Texts are none, and neither is what is known only at the exit, unless it is asked for."""
    file = write_log(tmp_path, "generic")
    log = read(file)

    assert log.trades["own"].iloc[0] == {"Funding_rate": 0.01}
    assert pd.isna(log.trades["own"].iloc[1]["Funding_rate"])
    assert log.notes == (
        "features: Funding_rate",
        "known only at the exit, so no features: pnl",
    )
    asked = read(file, options=ImportOptions(features=("pnl",)))
    assert asked.trades["own"].iloc[0] == {"pnl": 3.0}


def test_names_of_another_program_can_be_mapped(tmp_path: Path) -> None:
    """What the header does not tell, the user says once."""
    file = tmp_path / "log.csv"
    file.write_text("Coin,When,Way\nBTC,2026-01-05T10:00:00Z,1\n", encoding="utf-8")
    columns = {"symbol": "Coin", "timestamp": "When", "side": "Way"}
    log = read(file, options=ImportOptions(columns=columns))

    assert (log.format, log.trades["side"].tolist()) == ("generic", ["buy"])


@pytest.mark.parametrize(
    ("cells", "kind", "reason"),
    [
        (",2026-01-05T10:00Z,buy,1,2026-01-05T11:00Z,2", "incomplete", "symbol is empty"),
        ("B,2026-01-05T10:00Z,flat,1,,", "incomplete", "side: 'flat' is neither buy nor sell"),
        (
            "B,2026-01-05T10:00Z,buy,,2026-01-05T11:00Z,2",
            "incomplete",
            "entry_price and net_return are empty",
        ),
        ("B,yesterday,buy,1,,", "incomplete", "entry_at: 'yesterday' is no time"),
        ("B,2026-01-05T10:00Z,buy,1.2.3,,", "incomplete", "entry_price: '1.2.3' is no number"),
        (
            "B,2026-01-05T10:00Z,buy,1,2026-01-05T11:00Z,",
            "incomplete",
            "exit_price and net_return are empty",
        ),
        (
            "B,2026-01-05T10:00Z,buy,1,2026-01-05T09:00Z,2",
            "impossible",
            "exit before entry",
        ),
        ("B,2026-01-05T10:00Z,buy,-1,,", "impossible", "entry_price is not positive"),
        ("A,2026-01-05T10:00Z,buy,1,,", "duplicate", "the same as an earlier line"),
    ],
)
def test_what_is_not_imported_is_named_with_its_line(
    cells: str, kind: str, reason: str, tmp_path: Path
) -> None:
    """The other rows are imported all the same."""
    file = tmp_path / "log.csv"
    good = "A,2026-01-05T10:00Z,buy,1,,"
    header = "symbol,entry_at,side,entry_price,exit_at,exit_price"
    file.write_text(f"{header}\n{good}\n{cells}\n", encoding="utf-8")
    log = read(file)

    assert [(skipped.line, skipped.kind, skipped.reason) for skipped in log.skipped] == [
        (3, kind, reason)
    ]
    assert log.trades.index.tolist() == [2]


def test_a_row_with_one_cell_ends_no_table(tmp_path: Path) -> None:
    """Only a title before another header does; otherwise the rest of the log would be lost."""
    file = tmp_path / "log.csv"
    rows = "A,2026-01-05T10:00Z,buy\nA,,\nA,2026-01-05T12:00Z,buy\n"
    file.write_text(f"symbol,entry_at,side\n{rows}", encoding="utf-8")
    log = read(file)

    assert (log.read, log.trades.index.tolist()) == (3, [2, 4])
    assert [skipped.line for skipped in log.skipped] == [3]


def test_executions_with_a_hole_are_refused(tmp_path: Path) -> None:
    """Without one execution every later pair of its symbol would be wrong."""
    file = tmp_path / "log.csv"
    file.write_text(TEXTS["pyfolio"].replace(",101,", ",,"), encoding="utf-8")

    with pytest.raises(FixData, match="line 3: price is empty; without this execution"):
        read(file)


def test_an_exit_that_the_log_did_not_open_is_named(tmp_path: Path) -> None:
    """The position was opened before the statement begins."""
    log = read(write_log(tmp_path, "ibkr"))

    assert [skipped.line for skipped in log.skipped] == [9]
    assert log.skipped[0].reason.startswith("closes a position that the log did not open")


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("x.csv", "", "no rows"),
        ("x.csv", "a,b\n1,2\n", "fits no format that is known .a, b.; pass --format freqtrade|mt5"),
        (
            "x.csv",
            "amount,price,symbol,side,timestamp\n1,1,A,buy,2026-01-01\n",
            "fits pyfolio and generic .*pass --format pyfolio or generic",
        ),
        ("x.json", "{", "cannot be read"),
        ("x.json", '{"strategy": {"A": {}, "B": {}}}', "the trades of A, B; export one of them"),
        ("x.parquet", "no parquet", "cannot be read"),
    ],
    ids=["empty", "unknown", "ambiguous", "half a document", "two strategies", "damaged"],
)
def test_a_file_that_is_no_log_is_one_clear_line(
    name: str, content: str, message: str, tmp_path: Path
) -> None:
    """What is wrong, and what to say or do."""
    file = tmp_path / name
    file.write_text(content, encoding="utf-8")

    with pytest.raises((FixData, FixConfiguration), match=message) as error:
        read(file, options=ImportOptions())
    assert "\n" not in str(error.value)


@pytest.mark.parametrize(
    ("form", "options", "message"),
    [
        ("mt4", ATHENS, "--format mt4: unknown; use one of freqtrade"),
        ("mt5", ATHENS, "has not the columns of mt5"),
        (None, ImportOptions(timezone="UTC"), "does not name its symbol; pass --symbol"),
    ],
    ids=["unknown", "another", "no symbol"],
)
def test_what_the_user_says_wrong_is_one_clear_line(
    form: str | None, options: ImportOptions, message: str, tmp_path: Path
) -> None:
    """The line says what to pass."""
    with pytest.raises((FixData, FixConfiguration), match=message):
        read(write_log(tmp_path, "backtesting"), form, options)


def test_a_missing_file_is_one_clear_line(tmp_path: Path) -> None:
    """The path is in it."""
    with pytest.raises(FixData, match=r"nothing.csv: cannot be read .*; correct the path"):
        read(tmp_path / "nothing.csv")

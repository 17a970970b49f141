"""Small files in the layouts in which trading programs export past trades."""

import json
import sqlite3
import zipfile
from pathlib import Path

import pandas as pd

TRADINGVIEW = """\
Trade #,Type,Date and time,Signal,Price USD,Position size (qty),Position size (value),\
Net P&L USD,Net P&L %,Run-up USD,Drawdown USD,Cumulative P&L USD
3,Exit long,2026-01-07 12:00,Open,106,1,106,0,0,0,0,31
3,Entry long,2026-01-07 10:00,Long,106,1,106,0,0,0,0,31
2,Exit short,2026-01-06 12:00,Close,104,1,105,0.5,0.48,1,0,31
2,Entry short,2026-01-06 10:00,Short,105,1,105,0.5,0.48,1,0,31
1,Exit long,2026-01-05 12:00,TP,103,10,1000,"29.0",2.9,30,0,30.5
1,Entry long,2026-01-05 10:00,Long,100,10,"1,000",29.0,2.9,30,0,30.5
"""
MT5_POSITIONS = """\
Trade History Report,,,,,,,,,,,,
Account:,,,"123 (USD, Broker, demo)",,,,,,,,,
Positions,,,,,,,,,,,,
Time,Position,Symbol,Type,Volume,Price,S / L,T / P,Time,Price,Commission,Swap,Profit
2026.01.05 10:00:00,111,XAUUSD,sell,0.01,4 106.00,4 129.50,,2026.01.05 12:00:00,\
4 101.00,- 0.10,0.00, 5.00
2026.01.06 10:00:00,112,EURUSD,buy,0.10, 1.10000,,,2026.01.06 12:00:00, 1.10200,-0.70,-0.30, 20.00
2026.01.07 10:00:00,113,EURUSD,buy,0.10, 1.10000,,,2026.01.07 12:00:00, 1.09800,-1.00,0.00,- 20.00
Orders,,,,,,,,,,,,
Open Time,Order,Symbol,Type,Volume,Price,S / L,T / P,Time,State,,Comment,
2026.01.05 10:00:00,111,XAUUSD,sell,0.01 / 0.01,market,,,2026.01.05 10:00:00,filled,,,
Deals,,,,,,,,,,,,
Time,Deal,Symbol,Type,Direction,Volume,Price,Order,Commission,Fee,Swap,Profit,Balance
2026.01.05 10:00:00,9,XAUUSD,sell,in,0.01,4106.0,111,0.00,0.00,0.00,0.00,10 000.00
"""
MT5_DEALS = """\
Time,Deal,Symbol,Type,Direction,Volume,Price,Order,Commission,Fee,Swap,Profit,Balance,Comment
2026.01.05 08:00:00,1,,balance,,,,,0.00,0.00,0.00,10 000.00,10 000.00,
2026.01.05 10:00:00,2,EURUSD,buy,in,0.10,1.10000,2,-0.35,0.00,0.00,0.00,10 000.00,
2026.01.05 10:30:00,3,EURUSD,sell,in,0.10,1.10100,3,-0.35,0.00,0.00,0.00,10 000.00,
2026.01.05 12:00:00,4,EURUSD,sell,out,0.10,1.10200,4,-0.35,0.00,0.00,20.00,10 020.00,
2026.01.05 13:00:00,5,EURUSD,buy,out,0.10,1.10300,5,-0.35,0.00,0.00,-20.00,10 000.00,
"""
BACKTESTING = """\
,Size,EntryBar,ExitBar,EntryPrice,ExitPrice,SL,TP,PnL,Commission,ReturnPct,EntryTime,ExitTime,\
Duration,Tag,Entry_SMA
0,10,5,7,100.0,103.0,95.0,,29.0,1.0,0.029,2026-01-05 10:00:00,2026-01-05 12:00:00,0 days,,99.1
1,-5,9,11,104.0,105.0,,,-5.5,0.5,-0.0105769,2026-01-06 10:00:00,2026-01-06 12:00:00,0 days,,99.2
"""
IBKR_STATEMENT = """\
Statement,Header,Field Name,Field Value
Statement,Data,BrokerName,Interactive Brokers
Trades,Header,DataDiscriminator,Asset Category,Currency,Symbol,Date/Time,Quantity,T. Price,\
C. Price,Proceeds,Comm/Fee,Basis,Realized P/L,MTM P/L,Code
Trades,Data,Order,Stocks,USD,AAPL,"2026-01-05, 10:00:00","1,000",100,100,-100000,-1,100001,0,0,O
Trades,Data,Execution,Stocks,USD,AAPL,"2026-01-05, 10:00:00",600,100,100,-60000,-0.6,60000,0,0,O;P
Trades,Data,Execution,Stocks,USD,AAPL,"2026-01-05, 10:00:01",400,100,100,-40000,-0.4,40000,0,0,O;P
Trades,Data,Order,Stocks,USD,AAPL,"2026-01-05, 12:00:00",-400,103,103,41200,-1,-40000,1199,0,C
Trades,Data,Order,Stocks,USD,AAPL,"2026-01-05, 12:30:00",-600,103,103,61800,-1,-60000,1799,0,C
Trades,Data,Order,Stocks,USD,MSFT,"2026-01-05, 13:00:00",-5,400,400,2000,-1,-1900,99,0,C
Trades,SubTotal,,Stocks,USD,AAPL,,0,,,3000,-3,0,2998,0,
Trades,Header,DataDiscriminator,Asset Category,Currency,Symbol,Date/Time,Quantity,T. Price,\
C. Price,Proceeds,Comm/Fee,Basis,Realized P/L,MTM P/L,Code
Trades,Data,Order,Equity and Index Options,USD,SPY C600,\
"2026-01-06, 10:00:00",1,5,5,-500,-1,501,0,0,O
Trades,Data,Order,Equity and Index Options,USD,SPY C600,\
"2026-01-06, 12:00:00",-1,4,4,400,-1,-501,-102,0,C
Open Positions,Header,DataDiscriminator,Asset Category,Currency,Symbol,Quantity
"""
IBKR_FLEX = """\
ClientAccountID,AssetClass,Symbol,DateTime,Quantity,TradePrice,IBCommission,Buy/Sell,\
Open/CloseIndicator,LevelOfDetail
U1,STK,AAPL,20260105;100000,10,100,-1,BUY,O,EXECUTION
U1,STK,AAPL,20260105;120000,-10,103,-1,SELL,C,EXECUTION
"""
PYFOLIO = """\
date,amount,price,sid,symbol,txn_dollars
2026-01-05 00:00:00+00:00,10,100,0,AAPL,-1000
2026-01-06 00:00:00+00:00,10,101,0,AAPL,-1010
2026-01-07 00:00:00+00:00,-15,103,0,AAPL,1545
"""
GENERIC = """\
symbol;timestamp;side;confidence;Funding rate;mode;pnl;entry_at;entry_price;exit_at;exit_price;stop
BTC;2026-01-05T09:00:00Z;long;81;0.01;fast;3;2026-01-05T10:00:00Z;100;2026-01-05T12:00:00Z;103;95
BTC;2026-01-06T09:00:00Z;short;55;;slow;-1;2026-01-06T10:00:00Z;104;2026-01-06T12:00:00Z;105;
BTC;2026-01-07T09:00:00Z;buy;64;0.03;slow;;;;;;
"""
TEXTS = {
    "tradingview": TRADINGVIEW,
    "mt5": MT5_POSITIONS,
    "mt5 deals": MT5_DEALS,
    "backtesting": BACKTESTING,
    "ibkr": IBKR_STATEMENT,
    "ibkr flex": IBKR_FLEX,
    "pyfolio": PYFOLIO,
    "generic": GENERIC,
}


def write_log(folder: Path, kind: str) -> Path:
    """Write one of ``TEXTS`` and return its file."""
    folder.mkdir(parents=True, exist_ok=True)
    file = folder / f"{kind.replace(' ', '-')}.csv"
    file.write_text(TEXTS[kind], encoding="utf-8")
    return file


def freqtrade_trades(
    count: int, winners: float = 0.5, start: str = "2026-01-05", hours: int = 2
) -> pd.DataFrame:
    """Trades with freqtrade's columns, some hours apart, each an hour long; the rest lose."""
    opened = pd.Timestamp(start, tz="UTC") + pd.to_timedelta(range(count), unit="h") * hours
    won = pd.Series([(number * 7919) % 1000 < 1000 * winners for number in range(count)])
    close_rate = won.map({True: 102.0, False: 99.0})
    return pd.DataFrame(
        {
            "pair": "BTC/USDT",
            "open_date": opened,
            "close_date": opened + pd.Timedelta("1h"),
            "open_rate": 100.0,
            "close_rate": close_rate,
            "amount": 2.0,
            "stake_amount": 200.0,
            "fee_open": 0.001,
            "fee_close": 0.001,
            "profit_ratio": close_rate * 0.999 / 100.1 - 1,
            "profit_abs": 2.0 * (close_rate * 0.999 - 100.1),
            "exit_reason": won.map({True: "roi", False: "stop_loss"}),
            "min_rate": 98.0,
            "max_rate": 103.0,
            "leverage": 1.0,
            "is_short": False,
        }
    )


def freqtrade_document(trades: pd.DataFrame) -> str:
    """A backtest result of freqtrade with one strategy."""
    rows = trades.assign(
        open_date=trades["open_date"].astype("str"), close_date=trades["close_date"].astype("str")
    )
    document = {
        "strategy": {"Momentum": {"trades": rows.to_dict("records"), "stake_currency": "USDT"}}
    }
    return json.dumps(document | {"strategy_comparison": []})


def freqtrade_zip(file: Path, trades: pd.DataFrame) -> Path:
    """A backtest result as freqtrade packs it, with its settings beside it."""
    with zipfile.ZipFile(file, "w") as archive:
        archive.writestr("backtest-result-2026.json", freqtrade_document(trades))
        archive.writestr("backtest-result-2026_config.json", '{"strategy": "Momentum"}')
        archive.writestr("Momentum.py", "class Momentum: pass")
    return file


def freqtrade_database(file: Path, trades: pd.DataFrame) -> Path:
    """The table of freqtrade's own database."""
    names = {
        "profit_ratio": "close_profit",
        "profit_abs": "close_profit_abs",
    }
    rows = trades.rename(columns=names).assign(id=range(len(trades)), is_open=0)
    for name in ("open_date", "close_date"):
        rows[name] = rows[name].dt.strftime("%Y-%m-%d %H:%M:%S.%f")
    with sqlite3.connect(file) as connection:
        rows.to_sql("trades", connection, index=False)
    connection.close()
    return file


def as_html(text: str) -> str:
    """A report of MetaTrader as a page, with the hidden cells that it has in each row."""
    rows = []
    for line in text.splitlines():
        cells = [cell.strip('"') for cell in line.split(",")]
        hidden = '<td class="hidden" colspan="8"></td>'
        first, *others = (f"<td nowrap>{cell}</td>" for cell in cells)
        rows.append(f"<tr>{first}{hidden}{''.join(others)}</tr>")
    return "<html><table>" + "\n".join(rows) + "\n</table></html>"

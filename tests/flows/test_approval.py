"""Versions too good to be true, or of a system that knows its bars, serve after an approval."""

from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path

import pytest

from factories.homes import registration
from factories.registry import copy_mlflow
from steelyard.errors import FixConfiguration
from steelyard.flows.collect import collect
from steelyard.gateways.registry import Version
from steelyard.home import Home, open_home
from steelyard.learning.samples import Samples
from steelyard.ops.doctor.home import approval
from steelyard.queries.history import known_history
from steelyard.queries.records import version_record
from steelyard.tasks.alerts import announce_waiting
from steelyard.tasks.approval import approve_version
from steelyard.tasks.training import compare_with_champion, settled_samples
from steelyard.views.format import version_words
from steelyard.views.operations import Check

Command = Callable[..., tuple[int, str, str]]
AT = datetime(2020, 7, 1, tzinfo=UTC)
BY_SYMBOL = """
from dataclasses import replace
from steelyard.market.strategy import TrendStrategy

class BySymbol(TrendStrategy):
    def scan(self, bars):
        scan = super().scan(bars)
        return replace(scan, confidence=scan.confidence * (0.9 if bars.symbol == "SIM00" else 1))
"""


@pytest.fixture
def stores(home: Path, conf: Path, empty_mlflow: Path) -> Home:
    """Half a year of a simulated market, no champion yet."""
    (conf / "source.yaml").write_text(
        "kind: simulated\nedge: hidden\nbar_size: auto\ncalendar: 24/7\n"
    )
    copy_mlflow(empty_mlflow, home / "mlruns")
    collect.fn(AT, str(home), str(conf))
    return open_home(home, conf)


def judged(stores: Home, samples: Samples, key: str, accuracy: float) -> Version:
    """Return a version with such a holdout after it was compared."""
    metrics = {"holdout_accuracy": accuracy, "holdout_no_information_rate": 0.52}
    names = stores.feature_names
    version = registration(key, AT, metrics=metrics, feature_names=names)
    return compare_with_champion(stores, samples, stores.registry.register(version), AT)


def test_a_version_too_good_to_be_true_waits_for_an_operator(
    stores: Home, home: Path, conf: Path, command: Command
) -> None:
    """It takes the place of an earlier one, asks how it knows, and serves once it is approved."""
    run = ("--reason", "three stops wide", "--home", home, "--conf", conf, "--as-of", f"{AT}")
    stores.registry.register(registration("earlier", AT))
    stores.registry.let_wait("1", ("too good",))
    samples = settled_samples(stores, known_history(stores, AT))
    waiting = judged(stores, samples, "good", 0.7501)
    announce_waiting(stores)
    announce_waiting(stores)
    [row], [stored] = approval(stores), stores.alerts.open()
    _, told, _ = command("status", *run[2:])
    entries = stores.journal.entries()
    unknown = command("approve", "9", *run)
    superseded = command("approve", "1", *run)
    approved = command("approve", "2", "--operator", "anna", *run)
    again = command("approve", "2", *run)
    given, promotion = (entry.decision for entry in stores.journal.entries())
    doubt = "holdout accuracy 75.01% is above 75%, too good to be true"

    assert stores.registry.version("1").reasons == (
        "superseded by version 2 before an operator approved it",
    )
    assert (waiting.stage, waiting.reasons, entries) == ("challenger", (doubt,), [])
    assert f"waits for steelyard approve 2: {doubt}" in " ".join(told.split())
    assert (row.standing, row.found) == ("warning", f"version 2 waits: {doubt}")
    assert stored.alert.figure == f"{doubt}: how does it know?"
    assert "steelyard approve 2 --reason TEXT" in stored.alert.advice
    assert unknown[0] == 1
    assert unknown[2].strip() == "steelyard: there is no version 9; waiting for an approval: 2"
    assert "version 1 is refused (superseded by" in superseded[2]
    assert approved[0] == 0
    assert approved[1].splitlines()[-1].startswith("version 2 (logistic): champion;")
    assert (given.kind, given.operator, given.version) == ("approve", "anna", "2")
    assert given.reasons == ("version 2 approved by anna: three stops wide", doubt)
    assert given.reasons[0] in promotion.reasons
    assert stores.registry.version("2").stage == "champion"
    assert version_words(version_record(stores.registry.version("2"))).endswith(given.reasons[0])
    assert again[2].strip() == (
        f"steelyard: {given.reasons[0]}, which holds; it is champion now; "
        "waiting for an approval: none"
    )
    assert stores.journal.faults() == []
    assert stores.registry.misplaced() == []


def test_an_approval_lifts_the_disguise_and_no_other_check(
    stores: Home, conf: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """A system that goes by the symbol is refused with both answers, and serves once approved."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "by_symbol.py").write_text(BY_SYMBOL)
    (conf / "strategy.yaml").write_text("system: by_symbol:BySymbol\n")
    stores = open_home(stores.folder, conf)
    samples = settled_samples(stores, known_history(stores, AT))
    refused = judged(stores, samples, "by symbol", 0.60)
    announce_waiting(stores)
    [row], [stored] = approval(stores), stores.alerts.open()
    stores.registry.register(registration("leak", AT, refused=("canary future: leaks",)))
    with pytest.raises(FixConfiguration, match="version 2 is refused"):
        approve_version(stores, "2", "why not", "anna", AT)
    reopened = approve_version(stores, "1", "symbols differ", "anna", AT)
    approved = judged(stores, samples, "by symbol", 0.60)
    promotion = stores.journal.entries()[-1].decision

    assert (refused.stage, reopened.stage, approved.stage) == ("refused", "challenger", "champion")
    assert "canary disguised: BySymbol answers otherwise" in refused.reasons[0]
    assert "the first: SIM00 2020-" in refused.reasons[0]
    assert row.found == f"version 1 is refused: {refused.reasons[0]}"
    assert stored.alert.figure == f"{refused.reasons[0]}: how does it know?"
    assert list(approval(stores)) == [Check("approval", "ok", "no version waits for an operator")]
    assert refused.reasons[0].endswith("; if it may, steelyard approve 1 --reason TEXT")
    assert [rule.name for rule in promotion.rules if rule.fired] == ["canary disguised"]
    assert "version 1 approved by anna: symbols differ" in promotion.reasons

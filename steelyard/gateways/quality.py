"""Data contracts: Great Expectations suites from ``expectations/`` held against bars, signals, features and predictions.

Bars that break a row rule go to quarantine under the rule's name and are kept; too many of them, or a broken table rule,
stop the run. Every check leaves a page that opens without a network. Checking the same frame twice changes nothing.
"""

import hashlib
import json
import logging
from collections.abc import Mapping
from dataclasses import dataclass
from fnmatch import fnmatch
from functools import cached_property
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import pandas as pd
from pydantic import Field

from steelyard.errors import FixConfiguration, FixData
from steelyard.gateways.calendars import holes
from steelyard.gateways.files import write_whole
from steelyard.gateways.quality_page import Line, quality_page
from steelyard.gateways.sources import RawBars
from steelyard.market.bars import COLUMNS, PRICES
from steelyard.market.jumps import explain, held_back
from steelyard.values import FrozenModel

FIRST_RULE = "duplicate"
STUCK_BARS = 6
"""Bars in a row, the newest with them, whose prices are those of the bar before: from so many on a feed seems stuck."""


class QualityPolicy(FrozenModel):
    """When a collection stops."""

    max_bad_share: Annotated[float, Field(ge=0, le=1)] = 0.02


OFF_GRID = (
    " (their stamps do not lie whole bars apart: set timezone in conf/source.yaml if daily bars begin at the midnight of a "
    "zone that changes its clock, leave out bars of another length)"
)


@dataclass(frozen=True, slots=True)
class Checked:
    """Bars that passed, bars that did not, and what is worth knowing about them.

    Attributes:
        good: Bars on one price scale, columns ``COLUMNS``, sorted; symbols held back are not among them.
        quarantined: Bars that broke a rule, as found, with columns ``row`` (position in the source) and ``rule``.
        findings: Quarantined rules, jumps, holes, bars without volume, filled weekends; one line each.
        held_back: Symbols with a jump only the user can explain.
        docs: Page with the result.
    """

    good: pd.DataFrame
    bar_size: pd.Timedelta
    quarantined: pd.DataFrame
    findings: tuple[str, ...]
    held_back: tuple[str, ...]
    docs: Path


@dataclass(frozen=True, slots=True)
class Outcome:
    """One expectation held against a frame."""

    rule: str
    expectation: str
    passed: bool
    rows: tuple[int, ...]
    observed: str

    @property
    def words(self) -> str:
        """The outcome in one phrase."""
        if self.passed:
            return "holds"
        return f"broken by {len(self.rows)} rows" if self.rows else f"broken, found {self.observed}"


@dataclass(frozen=True, slots=True)
class CheckedSuite:
    """A suite that was held against data, whether or not every rule held.

    Attributes:
        source: Where the data came from.
        lines: One for each expectation.
        findings: Other things worth knowing.
        file: The page with all of this.
        html: Its content.
    """

    suite: str
    source: str
    lines: tuple[Line, ...]
    findings: tuple[str, ...]
    file: Path
    html: bytes


class Quality:
    """The suites of one folder; results go to ``out/quarantine`` and ``out/data_docs``.

    Attributes:
        held: What was held against data here, the latest of each suite.
    """

    def __init__(self, expectations: Path, out: Path, policy: QualityPolicy) -> None:
        self._expectations = expectations
        self._out = out
        self._policy = policy
        self.held: dict[str, CheckedSuite] = {}

    def check_bars(self, raw: RawBars, as_of: pd.Timestamp, now: pd.Timestamp) -> Checked:
        """Return the bars closed by ``as_of`` that keep their contract, and everything that did not.

        Args:
            raw: Bars as the source has them.
            as_of: Bars not closed by then are left out.
            now: Bars that begin after it have a stamp from the future.

        Raises:
            FixData: If a table rule fails or more than ``max_bad_share`` of the rows are bad; nothing is stored then.
        """
        frame = self._known(raw, as_of, now)
        outcomes = self._hold("bars", frame)
        self._stop_if_a_table_rule_fails(raw.name, frame, outcomes)
        rules = _first_rules(frame, outcomes)
        quarantined = frame[rules != ""].assign(rule=rules[rules != ""])[
            [*raw.frame.columns, "row", "rule"]
        ]
        kept = self._quarantine(quarantined)
        good, jumps = explain(
            frame.loc[rules == "", raw.frame.columns].sort_values(
                ["symbol", "timestamp"], ignore_index=True
            ),
            raw.jumps,
            raw.timezone,
        )
        findings = (
            *raw.findings,
            *_broken(quarantined),
            *(str(jump) for jump in jumps),
            *holes(good, raw.bar_size, raw.calendar, raw.timezone),
            *_without_volume(frame),
            *_filled_forward(good, raw),
            *_stuck(good),
        )
        docs = self._publish("bars", raw.name, outcomes, findings)
        self._stop_if_too_bad(raw.name, frame, quarantined, kept)
        back = held_back(jumps)
        usable = good.loc[~good["symbol"].isin(back), list(COLUMNS)].reset_index(drop=True)
        if usable.empty:
            raise FixData(
                f"{raw.name}: every symbol is held back ({', '.join(back)}); decide in conf/source.yaml (jumps), see {docs}"
            )
        return Checked(usable, raw.bar_size, quarantined, findings, back, docs)

    def check_signals(self, signals: pd.DataFrame) -> Path:
        """Hold signals against their contract; returns the page.

        Raises:
            FixData: If a rule is broken.
        """
        return self._require("signals", signals)

    def check_features(self, features: pd.DataFrame) -> Path:
        """Hold features (one column each) against their contract; returns the page.

        Raises:
            FixData: If a rule is broken.
        """
        not_finite = (~np.isfinite(features.to_numpy(dtype=np.float64))).sum(axis=1)
        return self._require("features", features.assign(features_not_finite=not_finite))

    def _require(self, suite: str, frame: pd.DataFrame) -> Path:
        indexed = frame.reset_index(drop=True).assign(row=np.arange(len(frame)))
        outcomes = self._hold(suite, indexed)
        docs = self._publish(suite, suite, outcomes, ())
        for outcome in outcomes:
            if not outcome.passed:
                first = f", first in row {outcome.rows[0]}" if outcome.rows else ""
                raise FixData(f"{suite}: {outcome.expectation} {outcome.words}{first}; see {docs}")
        return docs

    @staticmethod
    def _known(raw: RawBars, as_of: pd.Timestamp, now: pd.Timestamp) -> pd.DataFrame:
        """Return the source's rows with their position, leaving out bars that are still open at ``as_of``."""
        frame = raw.frame.assign(row=np.arange(len(raw.frame)))
        opens = frame["timestamp"]
        if raw.bar_size >= pd.Timedelta("1D"):
            opens = opens.dt.tz_convert(raw.timezone).dt.tz_localize(None)
            opens = opens.dt.tz_localize("UTC")
        offset = (opens.astype("datetime64[ns, UTC]").astype("int64") % raw.bar_size.value).where(
            opens.notna()
        )
        usual = offset.mode().iloc[0] if offset.notna().any() else 0
        frame["seconds_off_grid"] = (offset - usual).abs() / 1e9
        frame["seconds_ahead"] = (frame["timestamp"] - now).dt.total_seconds()
        closed = ~(frame["timestamp"] + raw.bar_size > as_of) | (frame["timestamp"] > now)
        return frame[closed.to_numpy()].reset_index(drop=True)

    def _hold(self, suite: str, frame: pd.DataFrame) -> list[Outcome]:
        described = _expanded(self._suite(suite), [str(column) for column in frame.columns])
        order = [one["meta"]["rule"] for one in described["expectations"]]
        found = [_outcome(one) for one in self._validate(suite, described, frame)]
        return sorted(
            found, key=lambda one: order.index(one.rule)
        )  # results come in an order of their own

    def _suite(self, name: str) -> dict[str, Any]:
        file = self._expectations / f"{name}.json"
        try:
            suite: dict[str, Any] = json.loads(file.read_text(encoding="utf-8"))
        except (OSError, ValueError) as error:
            raise FixConfiguration(
                f"{file}: {' '.join(str(error).split())}; restore the suite"
            ) from error
        return suite

    def _validate(
        self, name: str, described: Mapping[str, Any], frame: pd.DataFrame
    ) -> list[dict[str, Any]]:
        from great_expectations.core.expectation_suite import ExpectationSuite

        suite = ExpectationSuite(name=name, expectations=described["expectations"])
        if len(suite.expectations) != len(
            described["expectations"]
        ):  # unknown types are dropped with only a log line
            raise FixConfiguration(
                f"{self._expectations / name}.json: an expectation has an unknown type"
            )
        wanted = {"result_format": "COMPLETE", "unexpected_index_column_names": ["row"]}
        result = self._definition.get_batch(batch_parameters={"dataframe": frame}).validate(
            suite, result_format=wanted
        )
        return list(result.to_json_dict()["results"])

    @cached_property
    def _definition(self) -> Any:
        """Great Expectations over data frames, imported when first used: it takes six seconds."""
        import great_expectations as gx

        for name in ("great_expectations", "great_expectations.data_context.types.base"):
            logging.getLogger(name).setLevel(logging.ERROR)
        context = gx.get_context(mode="ephemeral")
        context.variables.progress_bars = {"globally": False, "metric_calculations": False}  # type: ignore[assignment]
        context.enable_analytics(False)
        asset = context.data_sources.add_pandas("frames").add_dataframe_asset("frame")
        return asset.add_batch_definition_whole_dataframe("whole")

    def _quarantine(self, rows: pd.DataFrame) -> Path:
        """Keep quarantined rows in a file named by their content, so that the same rows are kept once."""
        content = rows.to_csv(index=False).encode()
        file = self._out / "quarantine" / f"bars-{hashlib.sha256(content).hexdigest()[:12]}.csv"
        if len(rows):
            _write_changed(file, content)
        return file

    def _publish(
        self, suite: str, name: str, outcomes: list[Outcome], findings: tuple[str, ...]
    ) -> Path:
        lines = tuple((o.rule, o.expectation, o.passed, o.words) for o in outcomes)
        file, html = (
            self._out / "data_docs" / f"{suite}.html",
            quality_page(suite, name, lines, findings).encode(),
        )
        _write_changed(file, html)
        self.held[suite] = CheckedSuite(suite, name, lines, findings, file, html)
        return file

    def _stop_if_a_table_rule_fails(
        self, name: str, frame: pd.DataFrame, outcomes: list[Outcome]
    ) -> None:
        """A rule broken without naming a row is about all of them, or could not be held at all."""
        broken = [outcome for outcome in outcomes if not outcome.passed and not outcome.rows]
        if not broken:
            return
        docs = self._publish("bars", name, outcomes, ())
        if frame.empty:
            raise FixData(
                f"{name}: no bar had closed by then; pass a later date or check the stamps"
            )
        raise FixData(
            f"{name}: {broken[0].rule}: {broken[0].expectation} {broken[0].words}; see {docs}"
        )

    def _stop_if_too_bad(
        self, name: str, frame: pd.DataFrame, quarantined: pd.DataFrame, kept: Path
    ) -> None:
        share = len(quarantined) / len(frame)
        if share > self._policy.max_bad_share:
            worst = quarantined["rule"].value_counts().index[0]
            hint = OFF_GRID if worst == "off_grid" else ""
            raise FixData(
                f"{name}: {share:.1%} of the bars are bad, at most {self._policy.max_bad_share:.1%} allowed "
                f"(max_bad_share in conf/quality.yaml); most often {worst}{hint}; they are in {kept}"
            )


def _expanded(suite: dict[str, Any], columns: list[str]) -> dict[str, Any]:
    """Return the suite with each column pattern (``score_*``) written out for the columns it fits."""
    written: list[dict[str, Any]] = []
    for one in suite["expectations"]:
        pattern = one["kwargs"].get("column", "")
        if "*" not in pattern:
            written.append(one)
            continue
        fitting = [column for column in columns if fnmatch(column, pattern) and column != "row"]
        written += [{**one, "kwargs": {**one["kwargs"], "column": column}} for column in fitting]
    return {**suite, "expectations": written}


def _outcome(result: dict[str, Any]) -> Outcome:
    config, found = result["expectation_config"], result["result"]
    rows = tuple(sorted({int(one["row"]) for one in found.get("unexpected_index_list") or ()}))
    arguments = {
        k: v for k, v in config["kwargs"].items() if k not in ("batch_id", "ignore_row_if")
    }
    words = ", ".join(f"{k}={v}" for k, v in arguments.items())
    kind = config["type"].removeprefix("expect_").replace("_", " ")
    observed = str(found.get("observed_value", "no such column"))
    return Outcome(
        config["meta"]["rule"], f"{kind} ({words})", bool(result["success"]), rows, observed
    )


def _first_rules(frame: pd.DataFrame, outcomes: list[Outcome]) -> np.ndarray:
    """Return the rule each row is quarantined for, "" for good rows.

    Of bars with the same stamp and the same values the first is kept; where values differ, nobody knows which is right
    and all of them go.
    """
    position = pd.Series(np.arange(len(frame)), index=frame["row"])
    rules = np.full(len(frame), "", dtype=object)
    values = [
        name for name in frame.columns if name not in ("row", "seconds_off_grid", "seconds_ahead")
    ]
    repeats = frame.duplicated(values, keep="first").to_numpy()
    copies = frame.duplicated(values, keep=False).to_numpy()
    per_stamp = frame.groupby(["symbol", "timestamp"])["row"].transform("size")
    per_copy = frame.groupby(values, dropna=False)["row"].transform("size")
    lone_original = copies & ~repeats & (per_stamp == per_copy).to_numpy()
    for outcome in sorted(outcomes, key=lambda one: one.rule != FIRST_RULE):
        rows = position[list(outcome.rows)].to_numpy()
        if outcome.rule == FIRST_RULE:
            rows = rows[~lone_original[rows]]
        rows = rows[rules[rows] == ""]
        rules[rows] = outcome.rule
    return rules


def _broken(quarantined: pd.DataFrame) -> list[str]:
    lines = []
    for rule, rows in quarantined.groupby("rule", sort=False):
        first, stamps = rows.iloc[0], len(rows[["symbol", "timestamp"]].drop_duplicates())
        where = f"first {first['symbol']} {first['timestamp']} (row {first['row']})"
        lines.append(f"quarantined {len(rows)} × {rule} at {stamps} stamps, {where}")
    return lines


def _without_volume(bars: pd.DataFrame) -> list[str]:
    """Return how many bars of each symbol have volume 0, where the symbol has volume at all."""
    silent = (bars["volume"] == 0).groupby(bars["symbol"]).agg(["sum", "all"])
    return [
        f"{symbol}: {row['sum']} bars without volume"
        for symbol, row in silent.iterrows()
        if row["sum"] and not row["all"]
    ]


def _filled_forward(good: pd.DataFrame, raw: RawBars) -> list[str]:
    """Return how many daily bars of a weekend only repeat the prices of the bar before."""
    if raw.bar_size != pd.Timedelta("1D"):
        return []
    weekend = good["timestamp"].dt.tz_convert(raw.timezone).dt.dayofweek >= 5
    filled = good.loc[weekend & _repeats(good), "symbol"].value_counts(sort=False)
    return [
        f"{symbol}: {count} weekend bars repeat the bar before, filled forward?"
        for symbol, count in filled.items()
    ]


def _stuck(good: pd.DataFrame) -> list[str]:
    """Return which symbols' newest bars only repeat the prices before them."""
    moving = (~_repeats(good)).groupby(good["symbol"])
    run = moving.apply(lambda one: len(one) - 1 - int(one.to_numpy().nonzero()[0][-1]))
    return [
        f"{symbol}: the last {count} bars repeat the prices before them, is the feed stuck?"
        for symbol, count in run.items()
        if count >= STUCK_BARS
    ]


def _repeats(good: pd.DataFrame) -> "pd.Series[bool]":
    """Return whether each bar has the prices of the bar before; false for a symbol's first."""
    return (good.groupby("symbol")[list(PRICES)].diff() == 0).all(axis=1)


def _write_changed(file: Path, content: bytes) -> None:
    if file.exists() and file.read_bytes() == content:
        return
    file.parent.mkdir(parents=True, exist_ok=True)
    write_whole(file, content)

"""Data contracts: checks bars, signals and features by the suites in ``expectations/``.

The suites are Great Expectations'. Bars that break a row rule are kept in quarantine under the
rule's name; too many of them, or a broken table rule, stop the run. Every check writes a page that
opens without a network. Checking the same frame twice changes nothing.
"""

import hashlib
import json
import logging
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from fnmatch import fnmatch
from functools import cached_property
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import pandas as pd
from pydantic import Field

from steelyard.errors import FixConfiguration, FixData
from steelyard.gateways.calendars import holes, known_after
from steelyard.gateways.files import write_page
from steelyard.gateways.outside import in_sheet
from steelyard.gateways.quality_page import Line, quality_page
from steelyard.gateways.sources import RawBars
from steelyard.gateways.suspects import suspects
from steelyard.market.bars import COLUMNS, PRICES, are_in_order, before, first_bars
from steelyard.market.features import may_be_missing
from steelyard.market.jumps import explain, held_back
from steelyard.market.own_features import idle_features, missing_shares
from steelyard.values import FrozenModel

FIRST_RULE = "duplicate"
STUCK_BARS = 6
"""Newest bars that repeat the prices before them: from this number on the feed seems stuck."""
WITH_ROWS = {"result_format": "COMPLETE", "unexpected_index_column_names": ["row"]}
BRIEF = {"result_format": "BOOLEAN_ONLY"}
"""Great Expectations says whether a rule holds, at a third of the cost of which rows break it."""


ABOUT_ROWS = ("expect_column_values_", "expect_column_pair_values_", "expect_compound_columns_")
"""How the names of expectations begin that every row, or pair of rows, holds or breaks."""


class QualityPolicy(FrozenModel):
    """When a collection stops (``conf/quality.yaml``).

    Attributes:
        max_bad_share: Share of the bars that may be quarantined, in [0, 1].
    """

    max_bad_share: Annotated[float, Field(ge=0, le=1)] = 0.02


@dataclass(frozen=True, slots=True)
class Checked:
    """Bars that passed, bars that did not, and the findings.

    Attributes:
        good: Bars on one price scale, columns ``COLUMNS``, sorted; without the symbols held back.
        bar_size: Time from a bar's open to the next.
        known_after: Time from a bar's open until it is known.
        quarantined: Bars that broke a rule, unchanged, with the additional columns ``row``
            (position in the source) and ``rule``.
        findings: Broken rules, jumps, holes, bars without volume, filled weekends; one line each.
        held_back: Symbols with a jump that only the user can explain.
        docs: Page with the result.
    """

    good: pd.DataFrame
    bar_size: pd.Timedelta
    known_after: pd.Timedelta
    quarantined: pd.DataFrame
    findings: tuple[str, ...]
    held_back: tuple[str, ...]
    docs: Path


@dataclass(frozen=True, slots=True)
class RuleResult:
    """Result of one expectation.

    Attributes:
        rule: Name of the rule in the suite.
        expectation: The expectation with its arguments.
        passed: Whether it holds.
        rows: Rows that break it; empty for a rule about the whole table.
        observed: Observed value of a rule about the whole table.
    """

    rule: str
    expectation: str
    passed: bool
    rows: tuple[int, ...]
    observed: str

    @property
    def text(self) -> str:
        """The result in one phrase."""
        if self.passed:
            return "holds"
        return f"broken by {len(self.rows)} rows" if self.rows else f"broken, found {self.observed}"


@dataclass(frozen=True, slots=True)
class CheckedSuite:
    """A suite that was checked, whether or not every rule holds.

    Attributes:
        suite: Name of the suite.
        source: Name of the source of the data.
        lines: One for each expectation.
        findings: Other findings, one line each.
        file: The page with all of this.
        html: Content of the page.
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
        held: The latest check of each suite.
    """

    def __init__(self, expectations: Path, out: Path, policy: QualityPolicy) -> None:
        self._expectations = expectations
        self._out = out
        self._policy = policy
        self.held: dict[str, CheckedSuite] = {}
        self._kept_by_all: dict[str, list[RuleResult]] = {}

    def check_bars(self, raw: RawBars, as_of: pd.Timestamp, now: pd.Timestamp) -> Checked:
        """Return the bars known at ``as_of``, separated into good and quarantined.

        Args:
            raw: Bars of the source, one row per bar.
            as_of: Bars known later are left out (UTC).
            now: Bars that begin later have a stamp from the future (UTC).

        Raises:
            FixData: If a table rule fails or more than ``max_bad_share`` of the rows are bad;
                nothing may be stored then.
        """
        delay = known_after(raw.frame["timestamp"], raw.bar_size, raw.calendar, raw.timezone)
        frame = self._closed_bars(raw, delay, as_of, now)
        results = self._check("bars", frame)
        self._stop_if_a_table_rule_fails(raw.name, frame, results)
        rules = _first_rules(frame, results)
        bad = rules != ""
        columns = [*raw.frame.columns, "row", "rule"]
        quarantined = frame[bad].assign(rule=rules[bad])[columns]
        quarantine_file = self._quarantine(quarantined)
        passed = (frame[~bad] if bad.any() else frame)[list(raw.frame.columns)]
        if not are_in_order(passed):
            passed = passed.sort_values(["symbol", "timestamp"])
        good, jumps = explain(passed.reset_index(drop=True), raw.jumps, raw.timezone)
        findings = (
            *raw.findings,
            *_broken(quarantined),
            *(str(jump) for jump in jumps),
            *holes(good, raw.bar_size, raw.calendar, raw.timezone),
            *_without_volume(frame),
            *_filled_forward(good, raw),
            *_stuck(good),
        )
        docs = self._publish("bars", raw.name, results, findings)
        self._stop_if_too_bad(raw, frame, quarantined, quarantine_file)
        symbols = held_back(jumps)
        usable = good.loc[~good["symbol"].isin(symbols), list(COLUMNS)].reset_index(drop=True)
        if usable.empty:
            raise FixData(
                f"{raw.name}: every symbol is held back ({', '.join(symbols)}); decide on its "
                f"jumps under 'jumps' in conf/source.yaml, see {docs}"
            )
        return Checked(usable, raw.bar_size, delay, quarantined, findings, symbols, docs)

    def check_signals(self, signals: pd.DataFrame) -> Path:
        """Check signals, one per row, by their contract and return the page with the result.

        Raises:
            FixData: If a rule is broken.
        """
        return self._require("signals", signals)

    def check_features(self, features: pd.DataFrame) -> Path:
        """Check features, one column each, by their contract and return the page with the result.

        The user's own features may be missing; the page says how often.

        Raises:
            FixData: If a rule is broken.
        """
        findings = (*idle_features(features), *missing_shares(features))
        return self._require("features", _with_faults(features), findings)

    @contextmanager
    def parts_of(self, signals: pd.DataFrame, features: pd.DataFrame) -> Iterator[None]:
        """Check rows once, instead of every part of them that is checked in this context.

        A rule about single rows that all of them keep is kept by any part of them. Parts are
        checked one by one where a rule is broken, or where a suite has a rule about the whole
        table.

        Args:
            signals: All signals, one per row.
            features: Their features, one column each.
        """
        for suite, rows in (("signals", signals), ("features", _with_faults(features))):
            if all(map(_keeps_in_parts, self._suite(suite)["expectations"])):
                results = self._check(suite, _numbered(rows), BRIEF)
                if all(result.passed for result in results):
                    self._kept_by_all[suite] = results
        try:
            yield
        finally:
            self._kept_by_all.clear()

    def _require(self, suite: str, frame: pd.DataFrame, findings: tuple[str, ...] = ()) -> Path:
        results = self._kept_by_all.get(suite) or self._check(suite, _numbered(frame), BRIEF)
        if not all(result.passed for result in results):
            results = self._check(suite, _numbered(frame))
        docs = self._publish(suite, suite, results, findings)
        for result in results:
            if not result.passed:
                first = f", first in row {result.rows[0]}" if result.rows else ""
                raise FixData(f"{suite}: {result.expectation} {result.text}{first}; see {docs}")
        return docs

    @staticmethod
    def _closed_bars(
        raw: RawBars, delay: pd.Timedelta, as_of: pd.Timestamp, now: pd.Timestamp
    ) -> pd.DataFrame:
        """Return the source's rows with their position, without bars not known at ``as_of``."""
        frame = raw.frame.assign(row=np.arange(len(raw.frame)))
        opens = frame["timestamp"]
        if raw.bar_size >= pd.Timedelta("1D"):
            opens = opens.dt.tz_convert(raw.timezone).dt.tz_localize(None)
            opens = opens.dt.tz_localize("UTC")
        frame["seconds_off_grid"] = _off_the_grid(opens, raw.bar_size)
        frame["seconds_ahead"] = (frame["timestamp"] - now).dt.total_seconds()
        closed = ~(frame["timestamp"] + delay > as_of) | (frame["timestamp"] > now)
        return frame if closed.all() else frame[closed.to_numpy()].reset_index(drop=True)

    def _check(
        self, suite: str, frame: pd.DataFrame, detail: Mapping[str, Any] = WITH_ROWS
    ) -> list[RuleResult]:
        """Return one result per expectation, in the order of the suite."""
        expanded = _expanded(self._suite(suite), [str(column) for column in frame.columns])
        order = [expectation["meta"]["rule"] for expectation in expanded]
        by_row, others, suspicious = _parted(expanded, frame)
        counted = all(other["type"].startswith("expect_table_row_count") for other in others)
        validated = [
            *self._validate(suite, others, frame[["row"]] if counted else frame, detail),
            *self._validate(suite, by_row, frame[suspicious], detail),
        ]
        results = [_rule_result(result) for result in validated]
        return sorted(results, key=lambda result: order.index(result.rule))

    def _suite(self, name: str) -> dict[str, Any]:
        file = self._expectations / f"{name}.json"
        try:
            suite: dict[str, Any] = json.loads(file.read_text(encoding="utf-8"))
        except (OSError, ValueError) as error:
            raise FixConfiguration(
                f"{file}: cannot be read ({' '.join(str(error).split())}); restore the file"
            ) from error
        return suite

    def _validate(
        self,
        name: str,
        expectations: list[dict[str, Any]],
        frame: pd.DataFrame,
        detail: Mapping[str, Any],
    ) -> list[dict[str, Any]]:
        if not expectations:
            return []
        from great_expectations.core.expectation_suite import ExpectationSuite

        suite = ExpectationSuite(name=name, expectations=expectations)
        if len(suite.expectations) != len(expectations):  # unknown types are dropped silently
            raise FixConfiguration(
                f"{self._expectations / name}.json: an expectation has an unknown type; correct "
                "its 'type' to one of Great Expectations"
            )
        batch = self._definition.get_batch(batch_parameters={"dataframe": frame})
        result = batch.validate(suite, result_format=dict(detail))
        return list(result.to_json_dict()["results"])

    @cached_property
    def _definition(self) -> Any:
        """Great Expectations for data frames, imported on first use: that takes six seconds."""
        import great_expectations as gx

        for name in ("great_expectations", "great_expectations.data_context.types.base"):
            logging.getLogger(name).setLevel(logging.ERROR)
        context = gx.get_context(mode="ephemeral")
        progress_bars: Any = {"globally": False, "metric_calculations": False}
        context.variables.progress_bars = progress_bars
        context.enable_analytics(False)
        asset = context.data_sources.add_pandas("frames").add_dataframe_asset("frame")
        return asset.add_batch_definition_whole_dataframe("whole")

    def _quarantine(self, rows: pd.DataFrame) -> Path:
        """Write quarantined rows to a file named by their content: the same rows are kept once."""
        content = in_sheet(rows)
        file = self._out / "quarantine" / f"bars-{hashlib.sha256(content).hexdigest()[:12]}.csv"
        if len(rows):
            _write_changed(file, content)
        return file

    def _publish(
        self, suite: str, source: str, results: list[RuleResult], findings: tuple[str, ...]
    ) -> Path:
        lines = tuple(
            (result.rule, result.expectation, result.passed, result.text) for result in results
        )
        file = self._out / "data_docs" / f"{suite}.html"
        html = quality_page(suite, source, lines, findings).encode()
        _write_changed(file, html)
        self.held[suite] = CheckedSuite(suite, source, lines, findings, file, html)
        return file

    def _stop_if_a_table_rule_fails(
        self, source: str, frame: pd.DataFrame, results: list[RuleResult]
    ) -> None:
        """Stop if a rule is broken by no single row: it is about all rows, or was not checked."""
        broken = [result for result in results if not result.passed and not result.rows]
        if not broken:
            return
        docs = self._publish("bars", source, results, ())
        if frame.empty:
            raise FixData(
                f"{source}: no bar had closed by then; pass a later date or correct the timestamps"
            )
        first = broken[0]
        raise FixData(f"{source}: {first.rule}: {first.expectation} {first.text}; see {docs}")

    def _stop_if_too_bad(
        self, raw: RawBars, frame: pd.DataFrame, quarantined: pd.DataFrame, quarantine_file: Path
    ) -> None:
        share, allowed = len(quarantined) / len(frame), self._policy.max_bad_share
        if share > allowed:
            commonest = quarantined["rule"].value_counts().index[0]
            rows = quarantined.loc[quarantined["rule"] == "off_grid", "row"]
            off_grid = (
                _off_grid(raw, frame.loc[frame["row"].isin(rows)])
                if commonest == "off_grid"
                else ""
            )
            raise FixData(
                f"{raw.name}: {off_grid}{share:.1%} of the bars are bad, at most {allowed:.1%} "
                f"allowed (max_bad_share in conf/quality.yaml), most by rule {commonest}; correct "
                f"the bars listed in {quarantine_file}"
            )


def _parted(
    expectations: list[dict[str, Any]], frame: pd.DataFrame
) -> tuple[list[dict[str, Any]], list[dict[str, Any]], np.ndarray]:
    """Part a suite into what single rows can break, the rest, and the rows that may break any.

    Great Expectations takes seconds for a million rows, hardly any of which break a rule. So it is
    asked about the rows that arrays cannot clear, and about the first one, that it has any.
    """
    suspicious = np.zeros(len(frame), dtype=bool)
    suspicious[:1] = True
    by_row: list[dict[str, Any]] = []
    others: list[dict[str, Any]] = []
    for expectation in expectations:
        rows = suspects(frame, expectation["type"], expectation["kwargs"])
        (others if rows is None else by_row).append(expectation)
        suspicious |= False if rows is None else rows
    return by_row, others, suspicious


def _expanded(suite: dict[str, Any], columns: list[str]) -> list[dict[str, Any]]:
    """Return the expectations, each column pattern (``score_*``) repeated for what it fits.

    A suite with ``optional_columns`` says nothing about columns that are not there.
    """
    expanded: list[dict[str, Any]] = []
    optional = suite.get("meta", {}).get("optional_columns", False)
    for expectation in suite["expectations"]:
        pattern = expectation["kwargs"].get("column", "")
        if optional and pattern and "*" not in pattern and pattern not in columns:
            continue
        if "*" not in pattern:
            expanded.append(expectation)
            continue
        expanded += [
            {**expectation, "kwargs": {**expectation["kwargs"], "column": column}}
            for column in columns
            if fnmatch(column, pattern) and column != "row"
        ]
    return expanded


def _rule_result(result: dict[str, Any]) -> RuleResult:
    config, details = result["expectation_config"], result["result"]
    unexpected = details.get("unexpected_index_list") or ()
    arguments = ", ".join(
        f"{name}={value}"
        for name, value in config["kwargs"].items()
        if name not in ("batch_id", "ignore_row_if")
    )
    kind = config["type"].removeprefix("expect_").replace("_", " ")
    return RuleResult(
        rule=config["meta"]["rule"],
        expectation=f"{kind} ({arguments})",
        passed=bool(result["success"]),
        rows=tuple(sorted({int(index["row"]) for index in unexpected})),
        observed=str(details.get("observed_value", "no such column")),
    )


def _off_the_grid(opens: pd.Series, bar_size: pd.Timedelta) -> pd.Series:
    """Return the distance of each open from the commonest place within a bar, in seconds."""
    nanoseconds = opens.astype("datetime64[ns, UTC]").astype("int64")
    offsets = nanoseconds % bar_size.value
    if opens.notna().all() and (offsets == offsets.iloc[0] if len(offsets) else offsets).all():
        return pd.Series(0.0, index=opens.index)
    offsets = offsets.where(opens.notna())
    commonest = offsets.mode().iloc[0] if offsets.notna().any() else 0
    return (offsets - commonest).abs() / 1e9


def _first_rules(frame: pd.DataFrame, results: list[RuleResult]) -> np.ndarray:
    """Return the rule each row is quarantined for, "" for good rows.

    Of bars with the same stamp and the same values the first is kept; if values differ, all of them
    go: which one is right is unknown.
    """
    rules = np.full(len(frame), "", dtype=object)
    for result in sorted(results, key=lambda result: result.rule != FIRST_RULE):
        rows = np.searchsorted(frame["row"].to_numpy(), result.rows)
        if result.rule == FIRST_RULE and len(rows):
            rows = rows[_to_go(frame.iloc[rows])]
        rules[rows[rules[rows] == ""]] = result.rule
    return rules


def _to_go(repeated: pd.DataFrame) -> np.ndarray:
    """Return which of the bars that share their stamps with others go, shape (m,)."""
    derived = ("row", "seconds_off_grid", "seconds_ahead")
    values = [name for name in repeated.columns if name not in derived]
    repeats = repeated.duplicated(values, keep="first").to_numpy()
    copies = repeated.duplicated(values, keep=False).to_numpy()
    per_stamp = repeated.groupby(["symbol", "timestamp"])["row"].transform("size")
    per_copy = repeated.groupby(values, dropna=False)["row"].transform("size")
    lone_original = copies & ~repeats & (per_stamp == per_copy).to_numpy()
    has_stamp = repeated["timestamp"].notna().to_numpy()  # rows without one are no copies
    return np.asarray(~lone_original & has_stamp)


def _with_faults(features: pd.DataFrame) -> pd.DataFrame:
    """Return features with the number of values in each row that may not be as they are."""
    values = features.to_numpy(dtype=np.float64)
    allowed = np.isfinite(values) | (np.isnan(values) & may_be_missing(features.columns))
    return features.assign(features_not_finite=(~allowed).sum(axis=1))


def _numbered(frame: pd.DataFrame) -> pd.DataFrame:
    return frame.reset_index(drop=True).assign(row=np.arange(len(frame)))


def _keeps_in_parts(expectation: Mapping[str, Any]) -> bool:
    """Return whether any rows of a table hold an expectation that the whole table holds."""
    kind, arguments = expectation["type"], expectation["kwargs"]
    if kind == "expect_table_row_count_to_be_between":
        return int(arguments.get("min_value", 0)) <= 1
    return kind.startswith(ABOUT_ROWS) and "mostly" not in arguments


def _off_grid(raw: RawBars, off: pd.DataFrame) -> str:
    """Return which bars are off the grid and what can be set, as the begin of a message.

    Args:
        raw: Bars of the source; its zone names the times.
        off: Bars off the grid, columns ``symbol``, ``timestamp`` and ``seconds_off_grid``.
    """
    local = off["timestamp"].dt.tz_convert(raw.timezone)
    first = f"first {off['symbol'].iloc[0]} {local.iloc[0]:%Y-%m-%d %H:%M} {raw.timezone}"
    if raw.bar_size >= pd.Timedelta("1D") and (off["seconds_off_grid"] == 3600).all():
        return (
            f"{len(off)} daily bars begin an hour off the others ({first}): midnights of a zone "
            "that changes its clock; set timezone in conf/source.yaml to that zone, such as "
            "America/New_York; "
        )
    times = ", ".join(local.dt.strftime("%H:%M").value_counts().index[:3])
    return (
        f"{len(off)} stamps are off the grid of the others ({first}, mostly at {times}): bars of "
        "another length or begin; leave them out, or raise max_bad_share to quarantine them and "
        "keep the rest; "
    )


def _broken(quarantined: pd.DataFrame) -> list[str]:
    lines = []
    for rule, rows in quarantined.groupby("rule", sort=False):
        first, stamps = rows.iloc[0], len(rows[["symbol", "timestamp"]].drop_duplicates())
        where = f"first {first['symbol']} {first['timestamp']} (row {first['row']})"
        lines.append(f"quarantined {len(rows)} × {rule} at {stamps} stamps, {where}")
    return lines


def _without_volume(bars: pd.DataFrame) -> list[str]:
    """Return how many bars of each symbol have volume 0, for symbols that have any volume."""
    if not (bars["volume"] == 0).any():
        return []
    silent = (bars["volume"] == 0).groupby(bars["symbol"]).agg(["sum", "all"])
    return [
        f"{symbol}: {row['sum']} bars without volume"
        for symbol, row in silent.iterrows()
        if row["sum"] and not row["all"]
    ]


def _filled_forward(good: pd.DataFrame, raw: RawBars) -> list[str]:
    """Return how many daily bars on weekends only repeat the prices of the bar before."""
    if raw.bar_size != pd.Timedelta("1D"):
        return []
    weekend = good["timestamp"].dt.tz_convert(raw.timezone).dt.dayofweek >= 5
    filled = good.loc[weekend & _repeats(good), "symbol"].value_counts(sort=False)
    return [
        f"{symbol}: {count} weekend bars repeat the bar before, are they filled forward?"
        for symbol, count in filled.items()
    ]


def _stuck(good: pd.DataFrame) -> list[str]:
    """Return the symbols whose newest bars only repeat the prices before them."""
    first = first_bars(good)
    moves = np.where(_repeats(good), 0, np.arange(len(good)))
    last_moves = np.maximum.reduceat(moves, first) if len(first) else first
    counts = np.append(first[1:], len(good)) - 1 - last_moves
    return [
        f"{good['symbol'].iloc[first[number]]}: the last {counts[number]} bars repeat the prices "
        "before them, is the feed stuck?"
        for number in np.flatnonzero(counts >= STUCK_BARS)
    ]


def _repeats(good: pd.DataFrame) -> np.ndarray:
    """Return whether each bar repeats the prices of the bar before; False for a symbol's first."""
    first, repeats = first_bars(good), np.ones(len(good), dtype=bool)
    for name in PRICES:
        prices = good[name].to_numpy()
        repeats &= prices - before(prices, first) == 0
    return repeats


def _write_changed(file: Path, content: bytes) -> None:
    if file.exists() and file.read_bytes() == content:
        return
    write_page(file, content)

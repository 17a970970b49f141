"""The chain of decisions: whole when untouched, broken at the right place when not."""

from datetime import timedelta

import pytest

from factories.evidence import NOW, POLICY, evidence, state
from steelyard.weight.case import Case
from steelyard.weight.decision import Entry, Kind, Verdict, first_break, link, make_decision
from steelyard.weight.ladder import evaluate
from steelyard.weight.limits import guard


@pytest.mark.parametrize(
    ("kind", "verdict", "before", "after", "outcome"),
    [
        ("weight", "RAISE", 0.25, 0.30, "RAISE 25.0% → 30.0%"),
        ("guard", "CUT", 0.30, 0.15, "CUT 30.0% → 15.0%"),
        ("weight", "HOLD", 0.25, 0.25, "HOLD at 25.0%"),
        ("gates", "RAISE", 0.0, 0.0, "phase pilot entered at 0.0%"),
        ("gates", "RAISE", 0.0, 0.15, "phase pilot entered, 0.0% → 15.0%"),
        ("gates", "HOLD", 0.0, 0.0, "HOLD at 0.0%"),
        ("promotion", "HOLD", 0.25, 0.25, "promoted at 25.0%"),
        ("hold", "HOLD", 0.25, 0.25, "HOLD at 25.0%"),
    ],
)
def test_a_decision_is_told_as_what_it_did(
    kind: Kind, verdict: Verdict, before: float, after: float, outcome: str
) -> None:
    """A gate that opens is a phase entered, at whatever weight, and a promotion holds nothing."""
    reached = state(weight=after).model_copy(update={"phase": "pilot"})
    decision = make_decision(
        kind, state(weight=before), reached, POLICY, NOW, verdict=verdict, reasons=("made",)
    )

    assert decision.outcome == outcome


def chain(months: int) -> list[Entry]:
    current, entries = state(weight=0.10), list[Entry]()
    for number in range(months):
        at = NOW + timedelta(days=30 * number)
        decision = evaluate(Case(current, evidence(), POLICY, at, at))
        entry = link(decision, entries[-1] if entries else None).model_copy(
            update={"run_id": f"run{number}"}
        )
        entries.append(entry)
        current = entry.state
    return entries


def test_an_untouched_chain_is_whole_and_replays_to_the_state() -> None:
    """Each entry starts from the state the one before left, numbered from 1."""
    entries = chain(4)

    assert first_break(entries) is None
    assert [entry.sequence for entry in entries] == [1, 2, 3, 4]
    assert entries[-1].state.weight == 0.20


def test_an_entry_survives_json() -> None:
    """Written and read back, an entry is equal and still hashes to the same value."""
    entry = chain(2)[1]

    assert Entry.read(entry.model_dump_json()) == entry


@pytest.mark.parametrize(
    ("tamper", "where"),
    [
        pytest.param(
            lambda e: [e[0], e[2], e[3]],
            "decision 3 (run run2): decision 2 (run run1) before it is missing",
            id="an entry removed",
        ),
        pytest.param(
            lambda e: [e[0], _with_verdict(e[1]), e[2], e[3]],
            "decision 2 (run run1): its content was changed",
            id="changed",
        ),
        pytest.param(
            lambda e: [e[0], e[1].model_copy(update={"previous_hash": "0" * 64}), e[2]],
            "decision 2 (run run1): does not carry the hash",
            id="cut from its predecessor",
        ),
    ],
)
def test_tampering_is_found_where_it_happened(tamper: object, where: str) -> None:
    """The first broken link is named with its sequence and run."""
    fault = first_break(tamper(chain(4)))  # type: ignore[operator]

    assert fault is not None
    assert fault.startswith(where)


def _with_verdict(entry: Entry) -> Entry:
    return Entry.read(entry.model_dump_json().replace('"verdict":"RAISE"', '"verdict":"CUT"'))


def test_a_state_from_nowhere_is_found() -> None:
    """An entry that starts from a weight never decided breaks the chain; its hash may be right."""
    first = chain(1)[0]
    forged = guard(
        Case(first.state.model_copy(update={"weight": 0.70}), evidence(), POLICY, NOW, NOW)
    )
    fault = first_break([first, link(forged, first)])

    assert fault is not None
    assert "starts from a state" in fault


def test_a_key_names_lineage_kind_and_period() -> None:
    """The key under which a decision is recorded once."""
    assert (
        evaluate(Case(state(), evidence(), POLICY, NOW, NOW)).key
        == "signal-confidence/weight/2026-03-01T00:00:00+00:00"
    )

"""Simulate thousands of lives under the configured policy, and write the page that shows them."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from steelyard.errors import FixConfiguration
from steelyard.progress import report_progress
from steelyard.settings import Settings
from steelyard.simulation.characteristics import SCENARIOS, Design, simulate
from steelyard.views import simulation
from steelyard.views.format import weight_bands

NOTE = (
    "Simulated lives of known truth: an honest model unless said otherwise, "
    "an existing system without skill. After a breaker the retraining yields a model of the same "
    "true skill. A month is 30 days; – where fewer than half got there."
)


def operating_characteristics(
    settings: Settings, designs: Sequence[Design], file: Path
) -> dict[str, Any]:
    """Simulate every scenario under the configured policy in both modes, and write the page.

    Args:
        settings: Settings with the policy.
        designs: Paces, numbers of lives and seeds to simulate.
        file: File to write the page to.

    Returns:
        The results as plain JSON values.

    Raises:
        FixConfiguration: If the file cannot be written.
    """
    cells: list[dict[str, Any]] = []
    for cell in simulate(settings.weight, settings.books, designs):
        cells.append(cell)
        report_progress(
            "simulate",
            len(cells),
            len(designs) * len(SCENARIOS),
            f"{cell['world']} at {cell['signals']} a month",
        )
    document = {
        "answer": _answer(settings, cells),
        "evidence": settings.weight.evidence,
        "months": designs[0].months,
        "seed": designs[0].seed,
        "rise": settings.weight.sequential.rise,
        "note": NOTE,
        "cells": cells,
    }
    try:
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(
            simulation.simulation_page(document, weight_bands(settings.weight)), encoding="utf-8"
        )
    except OSError as error:
        raise FixConfiguration(
            f"{file} cannot be written ({error.strerror}); pass another --out"
        ) from error
    return document | {"page": str(file)}


def _answer(settings: Settings, cells: Sequence[dict[str, Any]]) -> str:
    """Return how the mode in force treats a model without skill and a healthy one."""
    mode = settings.weight.evidence
    results = {cell["world"]: cell[mode] for cell in reversed(cells)}  # of the first design
    unskilled, healthy = results["no skill"], results["58 %"]
    return (
        f"In {mode} mode a model without skill reaches 20 % in "
        f"{unskilled['reached']['20%']:.1%} of lives; one of 58 % "
        f"ends at {healthy['held_at_end']:.0%} on average, and a breaker disables it in "
        f"{healthy['disabled']:.1%} of lives."
    )

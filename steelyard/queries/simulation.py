"""Operating characteristics of the configured policy, from thousands of simulated lives."""

from collections.abc import Sequence

from steelyard.gateways.cluster import open_workers
from steelyard.progress import report_progress
from steelyard.settings import Settings
from steelyard.simulation.characteristics import SCENARIOS, Cell, Design, one_by_one, simulate
from steelyard.views.format import weight_bands
from steelyard.views.simulation import OperatingCharacteristics, simulation_page

NOTE = (
    "Simulated lives of known truth: an honest model unless said otherwise, an existing system "
    "without skill. Trainings go on weekly until the first gate lets a version in. After a "
    "breaker the retraining yields a model of the same true skill. "
    "A month is 30 days; – where fewer than half got there."
)


def operating_characteristics(
    settings: Settings, designs: Sequence[Design], *, ingredients: bool = False
) -> tuple[OperatingCharacteristics, str]:
    """Simulate every life under ``settings.weight`` in both modes of evidence.

    Args:
        settings: Policy and books of the simulation.
        designs: Number, length, pace and dependence of the lives; at least one.
        ingredients: Add courses of the first design that each lack one ingredient of the policy.

    Returns:
        The characteristics, and the HTML page that shows them.
    """
    cells: list[Cell] = []
    courses = len(designs) + (len(one_by_one(settings.weight, designs[0])) if ingredients else 0)
    accuracy = settings.learning.gate_accuracy
    with open_workers(settings.scale) as apply:
        for cell in simulate(
            settings.weight,
            settings.books,
            designs,
            first_accuracy=accuracy,
            ingredients=ingredients,
            apply=apply,
        ):
            cells.append(cell)
            pace = f"{cell.world} at {cell.signals} a month"
            report_progress("drill", len(cells), courses * len(SCENARIOS), pace)
    simulated = OperatingCharacteristics(
        answer=_answer(settings, cells),
        evidence=settings.weight.evidence,
        months=designs[0].months,
        seed=designs[0].seed,
        rise=settings.weight.sequential.rise,
        note=NOTE,
        cells=tuple(cells),
    )
    return simulated, simulation_page(simulated, weight_bands(settings.weight))


def _answer(settings: Settings, cells: Sequence[Cell]) -> str:
    """Return the effect of the configured mode on a model without skill and on a healthy one."""
    mode = settings.weight.evidence
    first_pace = {cell.world: cell.modes[mode] for cell in reversed(cells)}
    unskilled, healthy = first_pace["no skill"], first_pace["58 %"]
    return (
        f"In {mode} mode a model without skill reaches 20 % in {unskilled.reached['20%']:.1%} "
        f"of lives; one of 58 % ends at {healthy.held_at_end:.0%} on average, and a breaker "
        f"disables it in {healthy.disabled:.1%} of lives."
    )

"""The journal's protocol as a model: every interleaving of its processes, and death at any step."""

import shutil
import subprocess
from pathlib import Path

import pytest

from factories.sizes import CI, Size, sized

MODEL = Path(__file__).parents[1] / "models" / "journal.pml"
RULES = {
    "the lock": "WITHOUT_LOCK",
    "completing a decision that was cut short": "WITHOUT_COMPLETION",
    "one run per key": "WITHOUT_KEY",
    "refusing a decision from an outdated state": "WITHOUT_REFUSAL",
    "the run before the state tag": "TAG_FIRST",
    "reading the state tag before the journal": "JOURNAL_FIRST",
}

pytestmark = pytest.mark.skipif(
    not (shutil.which("spin") and shutil.which("cc")), reason="needs spin and a C compiler"
)


def explored(folder: Path, *definitions: str) -> str:
    """What spin says after it has visited every state, or up to the first fault."""
    options = [f"-D{definition}" for definition in definitions]
    for command in (
        ["spin", *options, "-a", MODEL],
        ["cc", "-w", "-DSAFETY", "-DCOLLAPSE", "-o", "pan", "pan.c"],
    ):
        subprocess.run(command, cwd=folder, check=True, capture_output=True)
    return subprocess.run(
        ["./pan", "-m10000"], cwd=folder, check=True, capture_output=True, text=True
    ).stdout


@sized
def test_no_order_of_steps_and_deaths_loses_a_decision_or_makes_one_twice(
    tmp_path: Path, size: Size
) -> None:
    """No lost decision, no double step, no state without a decision, no reader behind the times."""
    said = explored(tmp_path, f"DEATHS={size.deaths}")

    assert "errors: 0" in said
    assert "max search depth too small" not in said


@pytest.mark.parametrize("rule", RULES)
def test_each_rule_of_the_protocol_is_needed(tmp_path: Path, rule: str) -> None:
    """Without it spin finds a fault, so the model can fail."""
    said = explored(tmp_path, f"DEATHS={CI.deaths}", RULES[rule])

    assert "assertion violated" in said

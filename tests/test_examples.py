"""What can be said of the examples without running them whole; ``make examples`` does that."""

import importlib.util
import json
import re
import subprocess
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pytest

EXAMPLES = Path(__file__).parents[1] / "examples"
NOTEBOOK_BYTES = 300_000


def loaded(name: str) -> ModuleType:
    spec = importlib.util.spec_from_file_location(name, EXAMPLES / f"{name}.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_the_page_names_every_example() -> None:
    """One line each, so that none is hidden."""
    listed = re.findall(r"^\| \[`([^`]+?)/?`\]", (EXAMPLES / "README.md").read_text(), re.MULTILINE)

    assert sorted(listed) == sorted(
        entry.name for entry in EXAMPLES.iterdir() if entry.name not in ("README.md", "__pycache__")
    )


def test_the_notebook_is_kept_small_and_as_it_ran() -> None:
    """Every cell was executed in order, none failed, and pictures are of the size of a page."""
    file = EXAMPLES / "tour.ipynb"
    notebook: dict[str, Any] = json.loads(file.read_text())
    cells = [cell for cell in notebook["cells"] if cell["cell_type"] == "code"]

    assert [cell["execution_count"] for cell in cells] == list(range(1, len(cells) + 1))
    outputs = [output for cell in cells for output in cell["outputs"]]
    assert {output["output_type"] for output in outputs} == {
        "display_data",
        "execute_result",
        "stream",
    }
    assert {output.get("name", "stdout") for output in outputs} == {"stdout"}
    assert file.stat().st_size < NOTEBOOK_BYTES


@pytest.mark.parametrize(
    ("prices", "expected"),
    [
        ("1 1 1 1 2", r"EURUSD,[\dT:Z-]{20},buy,90\.0,2\.0000"),
        ("2 2 2 2 1", r"EURUSD,[\dT:Z-]{20},sell,90\.0,-2\.0000"),
        ("1 1 1", "symbol,timestamp,side,confidence,distance"),
    ],
    ids=["buy", "sell", "nothing moved"],
)
def test_the_shell_script_logs_a_signal_under_a_header(
    prices: str, expected: str, tmp_path: Path
) -> None:
    """It needs no more than a POSIX shell; where nothing moved it logs nothing."""
    (tmp_path / "prices").write_text("\n".join(prices.split()) + "\n")
    script = ["sh", EXAMPLES / "log_signals.sh", "EURUSD", "prices", "log.csv"]
    printed = subprocess.run(script, cwd=tmp_path, check=True, capture_output=True, text=True)
    lines = (tmp_path / "log.csv").read_text().splitlines()

    assert re.fullmatch(expected, printed.stdout.strip())
    assert lines[0] == "symbol,timestamp,side,confidence,distance"


def test_the_own_family_answers_alike_when_it_was_stored() -> None:
    """It finds what separates the outcomes, takes what is not known, and reads itself back."""
    module, random = loaded("own_family"), np.random.default_rng(1)
    x = random.normal(size=(400, 3))
    won = x[:, 0] + 0.3 * random.normal(size=400) > 0
    x[::7, 2] = np.nan
    family = module.Neighbours().fit(x[:300], won[:300])
    again = module.Neighbours.from_files(family.to_files())
    answers = family.predict_proba(x[300:])

    np.testing.assert_array_equal(again.predict_proba(x[300:]), answers)
    assert np.allclose(answers.sum(axis=1), 1)
    assert ((answers[:, 1] > 0.5) == won[300:]).mean() > 0.8
